"""An evening as its users live it: replay, review, learning, swap, and nobody's words in the logs."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from urllib.request import urlopen

import pytest

from .conftest import SAMPLES, Mesh


def test_classify_says_what_made_its_answer(mesh: Mesh) -> None:
    (assessment,) = mesh.json("classify", "--brand", "demo-esport", "gg ez noob, uninstall")["assessments"]
    assert assessment["fallback"] is True
    assert assessment["fallback_reason"] == "NO_ADAPTER"
    assert set(assessment["provenance"]) >= {"encoder", "adapter", "thresholds"}
    assert {"toxic", "insult", "remove", "complaint"} <= set(assessment["labels"])


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_replay_loses_nothing_and_decides_nothing_twice(mesh: Mesh, time: str) -> None:
    report = mesh.json("replay", str(SAMPLES / "event.jsonl"), "--speed", "max")
    lines = len((SAMPLES / "event.jsonl").read_text().splitlines())
    assert report["sent"] == report["decided"] == lines
    assert (report["lost"], report["duplicated"], report["refused"]) == (0, 0, 0)
    assert report["msgs_per_s"] > 0
    assert report["p50_ms"] <= report["p99_ms"]


def test_the_same_ids_again_change_nothing(mesh: Mesh, tmp_path: Path) -> None:
    some = tmp_path / "some.jsonl"
    some.write_text("".join((SAMPLES / "event.jsonl").read_text().splitlines(keepends=True)[:50]))
    arguments = ("replay", str(some), "--same-ids", "--keep-times", "--speed", "max")
    first, second = mesh.json(*arguments), mesh.json(*arguments)
    assert first["decided"] == second["decided"] == second["redelivered"] == 50
    assert (second["lost"], second["duplicated"]) == (0, 0)


def test_a_broken_line_is_named_and_the_rest_goes_through(mesh: Mesh, tmp_path: Path) -> None:
    lines = (SAMPLES / "event.jsonl").read_text().splitlines()[:3]
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join([lines[0], '{"brand": "demo-retail", ', lines[1], "[]", lines[2]]))
    done = mesh.run("replay", str(broken), "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert [each["line"] for each in report["broken_lines"]] == [2, 4]
    assert report["decided"] == 3


def test_errors_are_one_line_with_a_way_out(mesh: Mesh, tmp_path: Path) -> None:
    missing = mesh.run("review", "claim", "brands/demo-retail/reviewItems/nothing")
    assert missing.returncode == 1
    assert "does not exist" in missing.stderr
    assert "Traceback" not in missing.stderr
    charter = tmp_path / "charter.yaml"
    charter.write_text(
        "name: x\nlanguage: fr\nclauses:\n  - id: a\n    when: labels.insutl > 0.5\n    visibility: HIDE\n"
    )
    refused = mesh.run("charter", "apply", "--brand", "demo-retail", str(charter))
    assert refused.returncode == 1
    assert "insult" in refused.stderr + refused.stdout
    assert mesh.run("train", "--brand", "demo-retail").returncode == 1
    assert mesh.run("classify").returncode == 2


def test_nobodys_words_are_in_a_log_or_a_metric(mesh: Mesh, tmp_path: Path) -> None:
    canary, person = f"canari{secrets.token_hex(6)}", f"perroquet{secrets.token_hex(6)}"
    event = tmp_path / "canary.jsonl"
    row = {
        "brand": "demo-retail",
        "channel": "twitch-live",
        "external_id": "canary",
        "text": f"votre colis {canary} est nul et {canary} encore",
        "published_time": "2026-10-08T18:30:04Z",
        "author": {"platform_id": f"id-{person}", "display_name": person},
    }
    event.write_text(json.dumps(row) + "\n" + json.dumps({**row, "text": canary * 4000, "external_id": "long"}))
    mesh.run("replay", str(event), "--json")
    mesh.json("classify", "--brand", "demo-retail", f"{canary} {person}")
    written = b"".join(file.read_bytes() for file in (mesh.home / "log").rglob("*") if file.is_file())
    assert b"listening" in written
    for secret in (canary, person, mesh.token("operator"), mesh.token("service")):
        assert secret.encode() not in written
    assert canary not in _metrics(mesh)


def _metrics(mesh: Mesh) -> str:
    pages = []
    for service in ("ingest", "classify", "route", "train"):
        with urlopen(f"http://{mesh.address(service + '_metrics')}/metrics", timeout=10) as page:
            pages.append(page.read().decode())
    text = "\n".join(pages)
    assert "apaise_" in text
    return text
