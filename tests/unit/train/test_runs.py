"""The line of champions, and the model card."""

from __future__ import annotations

from datetime import UTC, datetime

from apaise_train.domain.card import model_card
from apaise_train.domain.gate import Rival, judge
from apaise_train.domain.jobs import Job, Row
from apaise_train.domain.runs import LedgerEntry, LedgerKind, Run, RunState, champions, revision_id
from apaise_train.testing import outcome

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ledger(*lines: tuple[LedgerKind, str | None]) -> list[LedgerEntry]:
    return [
        LedgerEntry("acme", at, kind, revision, None, "lea", NOW, "because", None)
        for at, (kind, revision) in enumerate(lines, 1)
    ]


def test_rolling_back_twice_goes_two_champions_back() -> None:
    up = [(LedgerKind.PROMOTED, "r1"), (LedgerKind.PROMOTED, "r2")]
    assert champions(ledger(*up)) == [None, "r1", "r2"]
    once = [*up, (LedgerKind.ROLLED_BACK, "r1")]
    assert champions(ledger(*once)) == [None, "r1"]
    assert champions(ledger(*once, (LedgerKind.ROLLED_BACK, None))) == [None]


def test_refusals_change_no_champion() -> None:
    assert champions(ledger((LedgerKind.PROMOTED, "r1"), (LedgerKind.REFUSED, "r2"))) == [None, "r1"]


def test_going_back_to_a_champion_given_up_puts_it_on_top() -> None:
    lines = [(LedgerKind.PROMOTED, "r1"), (LedgerKind.ROLLED_BACK, None), (LedgerKind.ROLLED_BACK, "r1")]
    assert champions(ledger(*lines)) == [None, "r1"]


def test_revisions_have_no_dots() -> None:
    assert revision_id(3, "ab12cd34ef") == "r3-ab12cd34"


def test_the_card_has_figures_and_no_text() -> None:
    secret = "canari dans la mine"
    rows = tuple(Row(secret, bool(n % 2)) for n in range(30))
    job = Job("acme", "r1-x", 1, NOW, rows, rows)
    done = outcome(job)
    report = judge(
        [row.remove for row in rows], "r1-x", done.candidate, [Rival("house", "house", done.house, tuple(range(30)))]
    )
    run = Run("acme", "run", 1, 1, RunState.EVALUATING, 0, 30, 30, "digest", 1, "lea", NOW, revision="r1-x")
    card = model_card(run, done, report)
    assert secret not in card
    assert "| candidate | r1-x | 1.000" in card
    assert "promoted" in card
