"""The gate: may a candidate serve? Judged on reviews newer than all it learnt from and copies of none of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from apaise_train.domain.jobs import Judged

MIN_JUDGED: Final = 20
MIN_JUDGED_PER_CLASS: Final = 5
CLEAR_GAIN: Final = 0.01
# A candidate that is no better looks better by luck in half of all cases: the resamples must agree.
SURE: Final = 0.9
HARMLESS: Final = 0.005
SURE_OF_NO_HARM: Final = 0.95
RESAMPLES: Final = 1000

CANDIDATE: Final = "candidate"
CHAMPION: Final = "champion"
HOUSE: Final = "house"


@dataclass(frozen=True, slots=True)
class Score:
    """One competitor: `auc` is None when only one class was there to rank."""

    who: str
    adapter: str
    auc: float | None
    macro_f1: float
    accuracy: float


@dataclass(frozen=True)
class GateReport:
    """The gate's word, with its reasons for people."""

    promoted: bool
    reasons: tuple[str, ...]
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Rival:
    """Who the candidate is compared with, and on which of the rows (those it had not learnt from)."""

    who: str
    adapter: str
    judged: Judged
    rows: tuple[int, ...]


def judge(truth: Sequence[bool], revision: str, candidate: Judged, rivals: Sequence[Rival]) -> GateReport:
    """Promote or refuse.

    The rule: there are at least 20 reviews with at least 5 of each decision; against every rival (the house,
    and the champion if there is one, on the rows the champion had not learnt from either) the candidate is better by
    0.01 of AUC of `remove`, and better at all in nine of ten resamples of those rows (paired bootstrap). Failing that,
    it ranks at least as well, is not 0.005 worse in 19 of 20 resamples, and is strictly better in macro-F1 at its own
    threshold. A tie is a refusal: what serves has served.

    Args:
        truth: what people decided, per row that the candidate is judged on: held out, or out of fold.
        revision: the candidate's.
        candidate: its scores on all of them.
        rivals: the house first.
    """
    everything = tuple(range(len(truth)))
    scores = [_score(CANDIDATE, revision, candidate, truth, everything)]
    reasons: list[str] = []
    promoted = True
    for rival in rivals:
        theirs = _score(rival.who, rival.adapter, rival.judged, truth, rival.rows)
        ours = _score(CANDIDATE, revision, candidate, truth, rival.rows)
        here = [truth[row] for row in rival.rows]
        gains = paired_gains(here, *([side.scores[row] for row in rival.rows] for side in (candidate, rival.judged)))
        passed, reason = _compare(ours, theirs, here, gains)
        scores.append(theirs)
        reasons.append(reason)
        promoted = promoted and passed
    return GateReport(promoted, tuple(reasons), tuple(scores))


def _compare(ours: Score, theirs: Score, truth: Sequence[bool], gains: Sequence[float]) -> tuple[bool, str]:
    against = f"Against the {theirs.who}"
    removed = sum(truth)
    fewest = min(removed, len(truth) - removed)
    lacking = max(MIN_JUDGED - len(truth), MIN_JUDGED_PER_CLASS - fewest, 0)
    if lacking or ours.auc is None or theirs.auc is None:
        return False, (
            f"{against}: {len(truth)} reviews are new to both, {fewest} of the rarer decision; at least "
            f"{MIN_JUDGED} and {MIN_JUDGED_PER_CLASS} are needed, so {lacking} more."
        )
    gain = ours.auc - theirs.auc
    low, high = _spread(gains)
    figures = (
        f"AUC {ours.auc:.3f} to {theirs.auc:.3f}, gain {low:+.3f} to {high:+.3f} in nine of ten resamples, "
        f"macro-F1 {ours.macro_f1:.3f} to {theirs.macro_f1:.3f} on {len(truth)} reviews"
    )
    if gain >= CLEAR_GAIN and _share_above(gains, 0.0) >= SURE:
        return True, f"{against}: better at telling what goes from what stays ({figures})."
    if gain >= 0 and _share_above(gains, -HARMLESS) >= SURE_OF_NO_HARM and ours.macro_f1 > theirs.macro_f1:
        return True, f"{against}: ranks as well and decides better at its threshold ({figures})."
    if gain >= CLEAR_GAIN:
        more = reviews_to_tell(gain, gains, len(truth))
        return False, f"{against}: better, but it may be luck: about {more} more reviews would tell ({figures})."
    return False, f"{against}: not better ({figures})."


def reviews_to_tell(gain: float, gains: Sequence[float], reviews: int) -> int:
    """How many more reviews would put nine of ten resamples above 0, should the gain stay what it is.

    Args:
        gain: in AUC, positive.
        gains: of resamples, sorted; they spread by the root of the number of reviews.
        reviews: that were judged.
    """
    short = gain - gains[int((1 - SURE) * len(gains))]
    return max(1, math.ceil(reviews * ((short / gain) ** 2 - 1)))


def _spread(gains: Sequence[float]) -> tuple[float, float]:
    cut = len(gains) // 20
    return gains[cut], gains[-1 - cut]


def _share_above(gains: Sequence[float], floor: float) -> float:
    return sum(gain > floor for gain in gains) / len(gains)


def paired_gains(truth: Sequence[bool], ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Gains of AUC in resamples of the rows, sorted; the same resample for both, each decision resampled on its own.

    Empty with one decision only. Efron and Tibshirani, "An Introduction to the Bootstrap" (1993). The same rows give
    the same gains.
    """
    sides = [[row for row, yes in enumerate(truth) if yes is side] for side in (True, False)]
    if not all(sides):
        return []
    chance = random.Random(len(truth))
    ranked = [_ranking(truth, scores) for scores in (ours, theirs)]
    gains = []
    for _ in range(RESAMPLES):
        counts = [0] * len(truth)
        for side in sides:
            for row in chance.choices(side, k=len(side)):
                counts[row] += 1
        gains.append(ranked[0](counts) - ranked[1](counts))
    return sorted(gains)


def _ranking(truth: Sequence[bool], scores: Sequence[float]) -> Callable[[Sequence[int]], float]:
    """AUC as a function of how often each row counts."""
    order = sorted(range(len(scores)), key=lambda row: scores[row])
    levels = [
        ([row for row in tied if truth[row]], [row for row in tied if not truth[row]])
        for tied in (list(group) for _, group in groupby(order, key=lambda row: scores[row]))
    ]
    pairs = sum(truth) * (len(truth) - sum(truth))

    def of(counts: Sequence[int]) -> float:
        below, above = 0, 0.0
        for goes, stays in levels:
            here = sum(counts[row] for row in stays)
            above += sum(counts[row] for row in goes) * (below + here / 2)
            below += here
        return above / pairs

    return of


def auc(truth: Sequence[bool], scores: Sequence[float]) -> float | None:
    """Area under the ROC curve, ties counting half; None with one class only."""
    positives = sum(truth)
    negatives = len(truth) - positives
    if not positives or not negatives:
        return None
    order = sorted(range(len(scores)), key=lambda row: scores[row])
    ranks = [0.0] * len(scores)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and scores[order[end + 1]] == scores[order[start]]:
            end += 1
        for at in range(start, end + 1):
            ranks[order[at]] = (start + end) / 2 + 1
        start = end + 1
    above = sum(rank for rank, yes in zip(ranks, truth, strict=True) if yes)
    return (above - positives * (positives + 1) / 2) / (positives * negatives)


def macro_f1(truth: Sequence[bool], decided: Sequence[bool]) -> float:
    """Mean F1 of both classes; a class that is neither there nor claimed counts as 1."""
    return (_f1(truth, decided, True) + _f1(truth, decided, False)) / 2


def _f1(truth: Sequence[bool], decided: Sequence[bool], side: bool) -> float:
    hits = sum(yes is side and said is side for yes, said in zip(truth, decided, strict=True))
    claimed, there = sum(said is side for said in decided), sum(yes is side for yes in truth)
    return 1.0 if claimed + there == 0 else 2 * hits / (claimed + there)


def _score(who: str, adapter: str, judged: Judged, truth: Sequence[bool], rows: Sequence[int]) -> Score:
    here = [truth[row] for row in rows]
    values = [judged.scores[row] for row in rows]
    decided = [value >= judged.threshold for value in values]
    right = sum(yes is said for yes, said in zip(here, decided, strict=True))
    return Score(who, adapter, auc(here, values), macro_f1(here, decided), right / len(here) if here else 0.0)
