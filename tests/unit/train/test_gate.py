"""The gate's rule, its reasons and its figures."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from apaise_train.domain.gate import RESAMPLES, Rival, auc, judge, macro_f1, paired_gains, reviews_to_tell
from apaise_train.domain.jobs import Judged

TRUTH = [True, False] * 15
EVERY = tuple(range(30))
PERFECT = Judged(tuple(0.9 if yes else 0.1 for yes in TRUTH), 0.5)
BLIND = Judged((0.5,) * 30, 0.5)


def house(judged: Judged = BLIND, rows: tuple[int, ...] = EVERY) -> Rival:
    return Rival("house", "house", judged, rows)


def test_a_better_candidate_passes_and_says_why() -> None:
    report = judge(TRUTH, "r2", PERFECT, [house()])
    assert report.promoted
    assert "AUC 1.000 to 0.500" in report.reasons[0]
    assert [score.who for score in report.scores] == ["candidate", "house"]


def test_a_tie_is_a_refusal() -> None:
    assert not judge(TRUTH, "r2", PERFECT, [house(PERFECT)]).promoted


def test_the_champion_must_be_beaten_too() -> None:
    champion = Rival("champion", "r1", PERFECT, EVERY)
    report = judge(TRUTH, "r2", PERFECT, [house(), champion])
    assert not report.promoted
    assert "champion: not better" in report.reasons[1]


def test_equal_ranking_passes_on_a_better_threshold_alone() -> None:
    misplaced = Judged(PERFECT.scores, 0.95)
    assert judge(TRUTH, "r2", PERFECT, [house(misplaced)]).promoted
    assert not judge(TRUTH, "r2", misplaced, [house(PERFECT)]).promoted


def test_a_better_threshold_does_not_pay_for_a_worse_ranking() -> None:
    one_wrong = Judged((0.4, *PERFECT.scores[1:]), 0.45)
    better_ranking = Judged(tuple(0.3 if yes else 0.1 for yes in TRUTH), 0.5)
    report = judge(TRUTH, "r2", Judged((0.05, *one_wrong.scores[1:]), 0.5), [house(better_ranking)])
    assert not report.promoted


def noisy(seed: int, skill: float, count: int) -> tuple[list[bool], Judged]:
    chance = random.Random(seed)
    truth = [row % 2 == 0 for row in range(count)]
    return truth, Judged(tuple(skill * yes + chance.gauss(0, 1) for yes in truth), 0.0)


def test_luck_is_told_from_skill() -> None:
    passed = {}
    for skill in (0.0, 1.2):
        rounds = [(noisy(seed, skill, 100), noisy(1000 + seed, 0.0, 100)) for seed in range(40)]
        reports = [
            judge(truth, "r2", ours, [house(theirs, tuple(range(100)))]) for (truth, ours), (_, theirs) in rounds
        ]
        passed[skill] = sum(report.promoted for report in reports)
    assert passed[0.0] <= 8  # one in ten by the rule, and the luck of forty rounds
    assert passed[1.2] >= 38


def test_what_may_be_luck_says_so() -> None:
    truth, ours = noisy(3, 0.0, 30)
    behind = Judged(tuple(-score for score in ours.scores), 0.0)
    one, other = (ours, behind) if (auc(truth, ours.scores) or 0) > 0.5 else (behind, ours)
    report = judge(truth, "r2", one, [house(other)])
    assert not report.promoted
    assert "may be luck: about" in report.reasons[0]


def test_how_many_reviews_would_tell_grows_with_the_square_of_how_far_the_resamples_reach() -> None:
    gains = [-0.02 + 0.0001 * (at - 99) for at in range(1000)]  # nine of ten are above -0.02, the gain is 0.02
    assert reviews_to_tell(0.02, gains, 50) == pytest.approx(150, abs=2)
    assert reviews_to_tell(0.04, gains, 50) == pytest.approx(50 * (1.5**2 - 1), abs=2)
    assert reviews_to_tell(0.1, [0.05] * 1000, 50) == 1, "they agree already"


def test_resamples_are_paired_and_repeatable() -> None:
    truth, ours = noisy(1, 1.0, 60)
    assert set(paired_gains(truth, ours.scores, ours.scores)) == {0.0}
    _, theirs = noisy(2, 0.0, 60)
    gains = paired_gains(truth, ours.scores, theirs.scores)
    assert len(gains) == RESAMPLES
    assert gains == paired_gains(truth, ours.scores, theirs.scores)
    observed = (auc(truth, ours.scores) or 0) - (auc(truth, theirs.scores) or 0)
    assert sum(gains) / len(gains) == pytest.approx(observed, abs=0.02)
    assert paired_gains([True] * 5, [0.1] * 5, [0.2] * 5) == []


def test_a_champion_is_judged_only_on_what_it_had_not_learnt() -> None:
    # Blind on what it had not seen, perfect on the rest: the rest must not count.
    scores = tuple(PERFECT.scores[row] if row < 8 else 0.5 for row in EVERY)
    champion = Rival("champion", "r1", Judged(scores, 0.5), tuple(range(8, 30)))
    report = judge(TRUTH, "r2", PERFECT, [house(), champion])
    assert report.promoted
    assert report.scores[2].auc == 0.5


@pytest.mark.parametrize(
    ("truth", "rows"),
    [(TRUTH, tuple(range(19))), ([True] * 4 + [False] * 26, EVERY), ([False] * 30, EVERY), (TRUTH, ())],
)
def test_too_few_to_judge_is_a_refusal_that_says_how_many_are_missing(truth: list[bool], rows: tuple[int, ...]) -> None:
    perfect = Judged(tuple(0.9 if yes else 0.1 for yes in truth), 0.5)
    report = judge(truth, "r2", perfect, [house(rows=rows)])
    assert not report.promoted
    assert "more" in report.reasons[0]


scored = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.booleans()), min_size=2, max_size=60)


@given(scored)
def test_auc_is_the_textbooks(rows: list[tuple[bool, int, bool]]) -> None:
    truth, scores = [row[0] for row in rows], [row[1] / 12 for row in rows]
    if len(set(truth)) == 1:
        assert auc(truth, scores) is None
    else:
        assert auc(truth, scores) == pytest.approx(roc_auc_score(truth, scores))


@given(scored)
def test_macro_f1_is_the_textbooks(rows: list[tuple[bool, int, bool]]) -> None:
    truth, said = [row[0] for row in rows], [row[2] for row in rows]
    expected = f1_score(truth, said, average="macro", labels=[True, False], zero_division=1.0)
    assert macro_f1(truth, said) == pytest.approx(expected)
