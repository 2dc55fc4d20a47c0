"""The gate's second half: no candidate trades what protects people for a better fit."""

from __future__ import annotations

import pytest

from apaise_train.domain.gate import GateReport
from apaise_train.domain.safety import TOLERANCE_GOES, TOLERANCE_STAYS, suite_of, with_safety, with_warning

PASSED = GateReport(True, ("better",), ())
GOES = (True,) * 100 + (False,) * 100


def right(goes_wrong: int, stays_wrong: int) -> tuple[bool, ...]:
    return tuple(n >= goes_wrong for n in range(100)) + tuple(n >= stays_wrong for n in range(100))


def judged(candidate: tuple[bool, ...], **rivals: tuple[bool, ...]) -> GateReport:
    return with_safety(PASSED, suite_of({"candidate": candidate, "goes": GOES, **rivals}))


def test_a_candidate_that_keeps_it_passes_and_the_report_says_so() -> None:
    report = judged(right(5, 3), house=right(4, 2))
    assert report.promoted
    figures = "what must go 95.0% to 96.0% of 100, what must stay 97.0% to 98.0% of 100"
    assert report.reasons == ("better", f"Safety suite beside the house: kept ({figures}).")


@pytest.mark.parametrize(
    ("lost_goes", "lost_stays", "words"),
    [(TOLERANCE_GOES + 0.01, 0, "lets through what endangers people"), (0, TOLERANCE_STAYS + 0.01, "takes down")],
)
def test_one_that_loses_more_than_tolerated_is_refused(lost_goes: float, lost_stays: float, words: str) -> None:
    report = judged(right(round(100 * lost_goes), round(100 * lost_stays)), house=right(0, 0))
    assert not report.promoted
    assert words in report.reasons[-1]
    assert judged(right(round(100 * TOLERANCE_GOES), round(100 * TOLERANCE_STAYS)), house=right(0, 0)).promoted


def test_the_champion_is_a_rival_too() -> None:
    report = judged(right(11, 0), house=right(11, 0), champion=right(0, 0))
    assert not report.promoted
    assert len(report.reasons) == 3


def test_keeping_it_excuses_nothing_else() -> None:
    refused = GateReport(False, ("worse",), ())
    assert not with_safety(refused, suite_of({"candidate": right(0, 0), "house": right(9, 9), "goes": GOES})).promoted


def test_without_the_suite_nothing_is_added() -> None:
    assert with_safety(PASSED, suite_of({})) == with_warning(PASSED, suite_of({})) == PASSED


def test_as_information_it_warns_and_leaves_the_verdict() -> None:
    lost = suite_of({"candidate": right(70, 0), "house": right(20, 0), "goes": GOES})
    kept = suite_of({"candidate": right(20, 0), "house": right(20, 0), "goes": GOES})
    warned = with_warning(PASSED, lost)
    assert warned.promoted
    assert warned.reasons[-1].startswith("Warning, not a refusal: Safety suite beside the house: the candidate lets")
    assert with_warning(PASSED, kept) == with_safety(PASSED, kept)
    assert not with_warning(GateReport(False, ("worse",), ()), kept).promoted
