"""A brand's whole loop in a real mesh: correction → precedent → run → gate → canary → champion → rollback."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from .conftest import SAMPLES, Mesh
from .lesson import REVIEW, _resolve, _submit, teach
from .reflected import ReflectedClient
from .test_precedents import COPIES, TEXT

TRAIN = "apaise.train.v1.TrainService"
BRAND, OTHER = "demo-esport", "demo-kids"
PROMOTED = "RUN_STATE_PROMOTED"
NEEDED = 100
# Thanks, of which the house is sure: what it is unsure of is looked at for that reason, and not by chance.
THANKS = ("merci pour le direct", "merci à toute l'équipe", "j'adore cette carte", "quelle belle partie")
WATCHED = [f"{words}, épisode {number}" for number in range(75) for words in THANKS]


@pytest.mark.timeout(900)  # a fine-tune on one thread, beside a mesh on an old CPU
def test_a_brands_culture_is_learnt_gated_tried_trusted_and_taken_back(mesh: Mesh) -> None:
    lead = ReflectedClient(mesh.address("route"), mesh.token("lead"))
    ingest = ReflectedClient(mesh.address("ingest"), mesh.token("operator"))
    train = ReflectedClient(mesh.address("train"), mesh.token("ml_engineer"))

    # One correction speaks for its near-duplicates.
    assert all(removed(mesh, COPIES))
    teach(mesh, BRAND, [{"text": TEXT, "remove": False}])
    until(lambda: not any(removed(mesh, COPIES)), 10)
    before = verdicts(mesh, BRAND), verdicts(mesh, OTHER)

    # A few hundred make a revision, which the gate lets through: it is tried, and nothing else is promised yet.
    teach(mesh, BRAND, lines(SAMPLES / f"corrections/{BRAND}.jsonl"))
    run = mesh.json("train", "--brand", BRAND, timeout=600)["training_run"]
    assert run["state"] == "CANARY", run["gate"]
    revision = run["adapter"].rsplit("/", 1)[-1]
    assert kinds(mesh) == ["CANARY"]
    assert champion_in_mlflow(run) is None
    until(lambda: set(readers(mesh, WATCHED).values()) == {"house", revision}, 30)

    # People find right what the canary decided and wrong what the house did: it becomes champion by itself.
    arms = readers(mesh, WATCHED)
    watched = {f"watched-{secrets.token_hex(4)}": text for text in WATCHED}
    _submit(ingest, BRAND, {external_id: {"text": text} for external_id, text in watched.items()})
    wrong = {external_id: arms[text] == "house" for external_id, text in watched.items()}
    # All of them first: a correction speaks at once for what looks like it, and these look like one another.
    until(lambda: enough([wrong[one] for one in audits(lead, wrong)]), 60)
    for external_id, item in audits(lead, wrong).items():
        assert "provenance" not in item["assessment"], "who reviews is not told whose reading it was"
        _resolve(lead, item, {"remove": wrong[external_id]})
    until(lambda: train.call(TRAIN, "GetTrainingRun", {"name": run["name"]})["training_run"]["state"] == PROMOTED, 30)
    assert kinds(mesh) == ["CANARY", "PROMOTED"]
    until(lambda: set(readers(mesh, WATCHED).values()) == {revision}, 30)
    until(lambda: champion_in_mlflow(run) is not None, 30)
    after = verdicts(mesh, BRAND), verdicts(mesh, OTHER)
    assert sum(one != other for one, other in zip(before[0], after[0], strict=True)) >= 5
    assert before[1] == after[1]

    # One command, and it is gone.
    mesh.json("rollback", "--brand", BRAND, "--house", "--reason", "end of the test")
    assert set(readers(mesh, WATCHED).values()) == {"house"}
    assert kinds(mesh) == ["CANARY", "PROMOTED", "ROLLED_BACK"]
    assert verdicts(mesh, BRAND) == before[0]
    until(lambda: champion_in_mlflow(run) is None, 30)
    for client in (lead, ingest, train):
        client.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assessed(mesh: Mesh, brand: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = mesh.json("classify", "--brand", brand, *texts)["assessments"]
    return found


def removed(mesh: Mesh, texts: Sequence[str]) -> list[bool]:
    """Of each text, whether it would be taken down."""
    return [bool(each["labels"]["remove"].get("holds")) for each in assessed(mesh, BRAND, texts)]


def verdicts(mesh: Mesh, brand: str) -> list[str]:
    """What becomes of the probes."""
    texts = [row["text"] for row in lines(SAMPLES / "probes.jsonl")]
    return [each["labels"]["remove"]["verdict"] for each in assessed(mesh, brand, texts)]


def readers(mesh: Mesh, texts: Sequence[str]) -> dict[str, str]:
    """By text, the revision that reads it: always the same one while a canary lasts."""
    found = assessed(mesh, BRAND, texts)
    return {text: each["provenance"]["adapter"] for text, each in zip(texts, found, strict=True)}


def kinds(mesh: Mesh) -> list[str]:
    return [entry["kind"] for entry in reversed(mesh.json("ledger", "--brand", BRAND)["entries"])]


def champion_in_mlflow(run: Mapping[str, Any]) -> str | None:
    """The version MLflow calls the brand's champion, as anybody who asks MLflow sees it."""
    place = urlsplit(run["mlflow_url"])
    query = f"/api/2.0/mlflow/registered-models/get?name=apaise-{BRAND}"
    with urlopen(f"{place.scheme}://{place.netloc}{query}", timeout=10) as answer:
        model = json.load(answer)["registered_model"]
    return next((each["version"] for each in model.get("aliases", ()) if each["alias"] == "champion"), None)


def audits(lead: ReflectedClient, wanted: Container[str]) -> dict[str, dict[str, Any]]:
    """The waiting audit items of these messages, by external id."""
    query = {"parent": f"brands/{BRAND}", "page_size": 500, "reason": "REVIEW_REASON_AUDIT"}
    items = lead.call(REVIEW, "ListReviewItems", query).get("review_items", ())
    return {one["message"]["external_id"]: one for one in items if one["message"]["external_id"] in wanted}


def enough(wrong: list[bool]) -> bool:
    """Whether both arms have what a verdict takes."""
    return min(wrong.count(True), wrong.count(False)) >= NEEDED


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)
