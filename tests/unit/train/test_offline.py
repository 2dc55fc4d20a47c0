"""The offline door: what it learns, what it decides on, what it never looks at before it has decided."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from apaise_kit.core.errors import InvalidArgument
from apaise_train import offline
from apaise_train.domain import gate
from apaise_train.domain.gate import GateReport
from apaise_train.domain.jobs import HouseSource, Row
from apaise_train.domain.safety import Safety, suite_of
from apaise_train.offline import Task, rival_scores, trained
from apaise_train.testing import examples
from apaise_train.worker.learning import Recipe
from mlops.base.adapter import read_adapter


@pytest.fixture(autouse=True)
def short_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs on two folds: what is learnt is not the point here."""
    monkeypatch.setattr("apaise_train.worker.job.Recipe", lambda: Recipe(epochs=2, steps=0, folds=2))


def lines(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"text": one.text, "remove": one.remove} for one in examples(first + count)[first:]]


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def task_of(folder: Path, source: HouseSource, holdout: Sequence[dict[str, Any]], count: int = 60) -> Task:
    corrections = written(folder / "corrections.jsonl", lines(count))
    return Task("acme", corrections, written(folder / "holdout.jsonl", holdout), folder / "out", source, threads=1)


def quiet(brand: str, fraction: float) -> None:
    assert 0 <= fraction <= 1


def test_everything_the_document_promises(tmp_path: Path, source: HouseSource) -> None:
    document = trained(task_of(tmp_path, source, lines(30, first=60)), quiet)
    assert (document["n_corrections"], document["n_holdout"]) == (60, 30)
    assert set(document["house"]) == set(document["candidate"]) == {"auc", "macro_f1"}
    assert document["gain_auc"] == pytest.approx(document["candidate"]["auc"] - document["house"]["auc"], abs=2e-4)
    assert document["rival_auc"] == document["rivals"]["alone_auc"] > 0.9
    assert set(document["rivals"]) == {"alone_auc", "with_house_auc"}
    assert document["gate"]["reasons"][-1].startswith("Learning curve")
    assert [point["corrections"] for point in document["learning_curve"]] == [0, 8, 16, 22, 30]
    assert read_adapter(Path(document["artefact"])).manifest.brand == "acme"


def test_what_the_safety_suite_says_is_in_the_report_and_refuses_nothing(
    tmp_path: Path, source: HouseSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(tmp_path, source, lines(30, first=60))
    read = trained(task, quiet)["gate"]
    assert "Safety suite beside the house" in read["reasons"][-2]

    def lost(right: Mapping[str, Sequence[bool]]) -> Safety | None:
        return suite_of({**right, "house": (True,) * len(right["goes"]), "candidate": (False,) * len(right["goes"])})

    monkeypatch.setattr(offline, "suite_of", lost)
    written(task.holdout, lines(31, first=60))
    warned = trained(task, quiet)["gate"]
    assert warned["reasons"][-2].startswith("Warning, not a refusal: Safety suite beside the house: the candidate lets")
    assert (warned["promoted"], warned["reasons"][:-2]) == (read["promoted"], read["reasons"][:-2])


def test_the_holdout_changes_neither_artefact_nor_verdict(tmp_path: Path, source: HouseSource) -> None:
    held = lines(30, first=60)
    turned = [{**row, "remove": not row["remove"]} for row in held]
    one, other = (trained(task_of(tmp_path / name, source, rows), quiet) for name, rows in (("a", held), ("b", turned)))
    assert one["gate"] == other["gate"]
    assert one["candidate"]["auc"] == pytest.approx(1 - other["candidate"]["auc"], abs=2e-4)
    first, second = (read_adapter(Path(document["artefact"])) for document in (one, other))
    assert first.manifest.parity == second.manifest.parity
    assert first.manifest.thresholds == second.manifest.thresholds
    assert all(first.down[name].equal(second.down[name]) and first.up[name].equal(second.up[name]) for name in first.up)
    assert first.weight.equal(second.weight)


def test_the_holdout_is_opened_after_the_gate_has_decided(
    tmp_path: Path, source: HouseSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    decide, read = gate.judge, offline.read_rows

    def judge(*given: Any) -> GateReport:
        seen.append("gate")
        return decide(*given)

    def read_rows(path: Path) -> tuple[Row, ...]:
        seen.append(path.stem)
        return read(path)

    monkeypatch.setattr(offline, "judge", judge)
    monkeypatch.setattr(offline, "read_rows", read_rows)
    trained(task_of(tmp_path, source, lines(30, first=60)), quiet)
    assert seen == ["corrections", "gate", "holdout"]


def test_what_was_done_on_the_same_files_is_not_done_again(
    tmp_path: Path, source: HouseSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(tmp_path, source, lines(30, first=60))
    before = trained(task, quiet)
    with monkeypatch.context() as patched:
        patched.setattr(offline, "learn", None)
        assert trained(task, quiet) == before
    written(task.holdout, lines(31, first=60))
    assert trained(task, quiet)["n_holdout"] == 31


def test_too_few_corrections_are_an_answer(tmp_path: Path, source: HouseSource) -> None:
    document = trained(task_of(tmp_path, source, lines(30, first=60), count=12), quiet)
    assert document["gate"]["promoted"] is False
    assert "28 more corrections" in document["gate"]["reasons"][0]
    assert document["candidate"] is document["artefact"] is document["gain_auc"] is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "Invalid JSON"),
        ('{"text": "a"}', "remove"),
        ('{"text": "a", "remove": "yes"}', "remove"),
        ('{"text": "a", "remove": true, "labels": {"nice": true}}', "unknown label 'nice'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "ok", "remove": false}\n\n' + line + "\n")
    with pytest.raises(InvalidArgument, match=f"rows.jsonl:3: .*{said}"):
        offline.read_rows(path)


def test_an_empty_or_binary_file_is_refused_and_gz_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for content, said in ((b"", "no row"), (b"\xff\xfe\x00", "not UTF-8")):
        path.write_bytes(content)
        with pytest.raises(InvalidArgument, match=said):
            offline.read_rows(path)
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress('{"text": "é", "remove": true}\n'.encode()))
    assert offline.read_rows(packed)[0].text == "é"
    packed.write_bytes(b"plain")
    with pytest.raises(InvalidArgument):
        offline.read_rows(packed)


def test_one_decision_only_gives_the_rival_nothing_to_learn(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", [{"text": "a", "remove": True}])
    assert rival_scores(offline.read_rows(path), offline.read_rows(path), [0.5], [0.5])["alone_auc"] == []


def test_many_brands_come_as_one_array(
    tmp_path: Path, source: HouseSource, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for brand in ("b", "a"):
        written(tmp_path / "many" / brand / "corrections.jsonl", lines(10))
        written(tmp_path / "many" / brand / "holdout.jsonl", lines(10, first=60))
    tasks = offline._tasks
    monkeypatch.setattr(
        offline,
        "_tasks",
        lambda options: [Task(t.brand, t.corrections, t.holdout, t.out, source, threads=1) for t in tasks(options)],
    )
    assert offline.main(["--many", str(tmp_path / "many"), "--out", str(tmp_path / "out")]) == 0
    assert [one["brand"] for one in json.loads(capsys.readouterr().out)] == ["a", "b"]
    (tmp_path / "many" / "c").mkdir()
    assert offline.main(["--many", str(tmp_path / "many"), "--out", str(tmp_path / "out")]) == 2
    assert "no corrections.jsonl" in capsys.readouterr().err
