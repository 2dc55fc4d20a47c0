"""Is the canary worse, or better, than the champion? Asked after every reviewed item, with the error of asking once.

Reviewed items come one by one, people look at the tally whenever they like, and a test made for one look would be wrong
far more often than it says. A test by betting is not: a gambler who starts with 1 and bets, item by item, on one
hypothesis against the other can only grow rich if the hypothesis bet against is false. By Ville's inequality the
fortune reaches 1/alpha with probability at most alpha if it is true, however long one looks.

The bets. Items of the two arms are taken in pairs, in the order they were reviewed. A pair counts when one arm's
machine was wrong and the other's right; were both arms equally wrong, the canary would be the wrong one in half of
these pairs. The fortune is the likelihood ratio of a mixture (uniform over the canary's share above, or below, one
half) against one half: Robbins' mixture sequential probability ratio test, which in this form is a betting martingale.

Sources: H. Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Statist. 41 (1970);
R. Johari, P. Koomen, L. Pekelis, D. Walsh, "Always valid inference", Operations Research 70 (2022); A. Ramdas,
P. Grünwald, V. Vovk, G. Shafer, "Game-theoretic statistics and safe anytime-valid inference", Statist. Sci. 38 (2023).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# Chance of calling a canary worse (or better) that is not, over the whole of its life.
ERROR: Final = 0.05
MIN_REVIEWED: Final = 100
# A canary this long no worse, to this margin, has shown what a canary can: see `judge_canary`.
ENOUGH: Final = 400


class Verdict(StrEnum):
    """What the tally says of the canary."""

    WAIT = "WAIT"
    WORSE = "WORSE"
    BETTER = "BETTER"
    NO_WORSE = "NO_WORSE"


@dataclass(frozen=True)
class Tally:
    """One arm's reviewed items in the order of their reviews: whether the machine was wrong."""

    wrong: Sequence[bool]


@dataclass(frozen=True)
class CanaryReport:
    """The test's word.

    Attributes:
        verdict: what follows.
        missing: reviewed items still needed in the arm that has fewest, 0 once both have `MIN_REVIEWED`.
        reason: for people, one sentence.
    """

    verdict: Verdict
    missing: int
    reason: str


def judge_canary(canary: Tally, champion: Tally) -> CanaryReport:
    """Go on, take back or promote.

    Below `MIN_REVIEWED` items in an arm nothing follows. Then a canary ever shown worse is taken back; one shown better
    is promoted, and so is one that was never shown worse once each arm has `ENOUGH` items.
    """
    worse, better = _fortunes(canary.wrong, champion.wrong)
    enough = math.log(1 / ERROR)
    fewest = min(len(canary.wrong), len(champion.wrong))
    missing = max(0, MIN_REVIEWED - fewest)
    figures = f"wrong in {_share(canary.wrong)} reviewed items, the champion in {_share(champion.wrong)}"
    if missing:
        return CanaryReport(Verdict.WAIT, missing, f"{missing} more reviewed items are needed in an arm: {figures}.")
    if worse >= enough:
        return CanaryReport(Verdict.WORSE, 0, f"The canary is worse: {figures}.")
    if better >= enough:
        return CanaryReport(Verdict.BETTER, 0, f"The canary is better: {figures}.")
    if fewest >= ENOUGH:
        return CanaryReport(Verdict.NO_WORSE, 0, f"The canary was never shown worse: {figures}.")
    return CanaryReport(Verdict.WAIT, 0, f"Not told apart yet: {figures}.")


def _fortunes(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[float, float]:
    """The greatest fortunes (logarithms) ever reached by betting that the canary is worse, and that it is better."""
    blamed = excused = 0
    worse = better = 0.0
    for one, other in zip(ours, theirs, strict=False):
        if one is not other:
            blamed, excused = blamed + one, excused + other
            worse = max(worse, log_fortune(blamed, excused))
            better = max(better, log_fortune(excused, blamed))
    return worse, better


def log_fortune(against: int, others: int) -> float:
    """Logarithm of the fortune of who bet that more than half of the pairs that count go against one arm.

    Args:
        against: pairs that did.
        others: pairs that went against the other arm.

    It is the integral over p in [1/2, 1], uniform, of (2p)^against (2(1-p))^others.
    """
    total = against + others
    if not total:
        return 0.0
    # 2 * integral of p^a (1-p)^b over [1/2, 1] = 2 B(a+1, b+1) P(at most a of a+b+1 fair coins): a binomial tail.
    log_beta = math.lgamma(against + 1) + math.lgamma(others + 1) - math.lgamma(total + 2)
    tail = math.log(sum(math.comb(total + 1, heads) for heads in range(against + 1))) - (total + 1) * math.log(2)
    return math.log(2) + total * math.log(2) + log_beta + tail


def _share(wrong: Iterable[bool]) -> str:
    counted = list(wrong)
    return f"{sum(counted)} of {len(counted)}"
