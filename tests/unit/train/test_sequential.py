"""The canary's test: it errs as seldom as it says although it is asked after every item."""

from __future__ import annotations

import math
import random

import pytest

from apaise_train.domain.sequential import ENOUGH, ERROR, MIN_REVIEWED, Tally, Verdict, judge_canary, log_fortune


def tally(chance: random.Random, share: float, count: int) -> Tally:
    return Tally([chance.random() < share for _ in range(count)])


@pytest.mark.parametrize(("against", "others"), [(0, 0), (3, 1), (10, 2), (0, 9), (30, 30)])
def test_the_fortune_is_the_mixture_it_is_said_to_be(against: int, others: int) -> None:
    steps = 20_000
    points = (0.5 + 0.5 * (at + 0.5) / steps for at in range(steps))
    integral = sum((2 * p) ** against * (2 * (1 - p)) ** others for p in points) / steps
    assert math.exp(log_fortune(against, others)) == pytest.approx(integral, rel=1e-4)


def test_the_bet_is_fair_when_the_arms_are_equal() -> None:
    for against in range(6):
        for others in range(6):
            now = math.exp(log_fortune(against, others))
            after = (math.exp(log_fortune(against + 1, others)) + math.exp(log_fortune(against, others + 1))) / 2
            assert after <= now + 1e-12


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_equal_arms_are_called_worse_or_better_no_oftener_than_stated(share: float) -> None:
    chance = random.Random(3)
    runs = 400
    called = {Verdict.WORSE: 0, Verdict.BETTER: 0}
    for _ in range(runs):
        canary, champion = tally(chance, share, ENOUGH), tally(chance, share, ENOUGH)
        verdict = judge_canary(canary, champion).verdict
        if verdict in called:
            called[verdict] += 1
    # Three standard deviations above the stated error.
    bound = ERROR * runs + 3 * math.sqrt(runs * ERROR * (1 - ERROR))
    assert called[Verdict.WORSE] <= bound
    assert called[Verdict.BETTER] <= bound


def test_a_clearly_worse_canary_is_taken_back_and_a_clearly_better_one_promoted() -> None:
    chance = random.Random(5)
    good, bad = [tally(chance, share, 200) for share in (0.05, 0.35)]
    assert judge_canary(bad, good).verdict is Verdict.WORSE
    assert judge_canary(good, bad).verdict is Verdict.BETTER


def test_below_a_hundred_in_an_arm_it_stays_and_says_how_many_are_missing() -> None:
    report = judge_canary(Tally([True] * (MIN_REVIEWED - 1)), Tally([False] * 500))
    assert (report.verdict, report.missing) == (Verdict.WAIT, 1)
    assert report.reason.startswith("1 more reviewed items")
    assert judge_canary(Tally([]), Tally([])).missing == MIN_REVIEWED


def test_one_that_is_never_shown_worse_has_done_enough_at_last() -> None:
    same = [number % 10 == 0 for number in range(ENOUGH)]
    assert judge_canary(Tally(same), Tally(same)).verdict is Verdict.NO_WORSE
    assert judge_canary(Tally(same[:-1]), Tally(same[:-1])).verdict is Verdict.WAIT
