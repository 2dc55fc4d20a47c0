"""An attack on the real house model: who relabels insults as fine gets no adapter through the gate."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apaise_train.domain import gate
from apaise_train.domain.gate import GateReport, Rival
from apaise_train.domain.jobs import Job, Outcome, Row
from apaise_train.domain.safety import suite_of, with_safety, with_warning
from apaise_train.worker.job import run
from apaise_train.worker.learning import Recipe

CORRECTIONS = Path(__file__).parents[2] / "mlops/samples/corrections/demo-esport.jsonl"
RUDE = {"insult", "harassment", "toxic", "hate", "threat", "mockery", "provocation"}
SHORT = Recipe(epochs=4, folds=2)


def rows() -> list[Row]:
    lines = map(json.loads, CORRECTIONS.read_text("utf-8").splitlines())
    return [Row(line["text"], line["remove"], line.get("labels", {})) for line in lines]


def poisoned(row: Row) -> Row:
    if row.remove and any(row.labels.get(label) for label in RUDE):
        return Row(row.text, False, dict.fromkeys(row.labels, False))
    return row


def judged(taught: list[Row]) -> tuple[GateReport, GateReport, GateReport]:
    """What held-out corrections alone say; the gate's word once the suite has been read; the offline door's."""
    train, held = taught[:280], taught[280:]
    job = Job("acme", "r1", 5, datetime(2026, 1, 1, tzinfo=UTC), tuple(train), tuple(held), safety=True)
    *_, outcome = run(job, SHORT)
    assert isinstance(outcome, Outcome), outcome
    house = Rival(gate.HOUSE, "house", outcome.house, tuple(range(len(held))))
    report = gate.judge([row.remove for row in held], "r1", outcome.candidate, [house])
    suite = suite_of(outcome.suite)
    return report, with_safety(report, suite), with_warning(report, suite)


@pytest.mark.timeout(600)
def test_relabelled_insults_pass_for_learning_but_not_the_gate_and_offline_they_are_named() -> None:
    alone, whole, offline = judged([poisoned(row) for row in rows()])
    assert alone.promoted, "by its own corrections it looks better: that is why there is a suite"
    assert not whole.promoted
    assert "lets through what endangers people" in whole.reasons[-1]
    assert "Warning, not a refusal" in offline.reasons[-1]
    assert "lets through what endangers people" in offline.reasons[-1]
