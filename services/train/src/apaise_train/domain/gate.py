"""The gate: may a candidate serve? Judged on reviews newer than all it learnt from and copies of none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from apaise_train.domain.jobs import Judged

MIN_JUDGED: Final = 20
MIN_JUDGED_PER_CLASS: Final = 5
CLEAR_GAIN: Final = 0.01

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
    """Who the candidate is compared with, and on which of the held-out rows (those it had not learnt from)."""

    who: str
    adapter: str
    judged: Judged
    rows: tuple[int, ...]


def judge(truth: Sequence[bool], revision: str, candidate: Judged, rivals: Sequence[Rival]) -> GateReport:
    """Promote or refuse.

    The rule: there are at least 20 held-out reviews with at least 5 of each decision; against every rival (the house,
    and the champion if there is one, on the rows the champion had not learnt from either) the candidate ranks at least
    as well (AUC of `remove`), and is better by 0.01 of AUC or, failing that, strictly better in macro-F1 at its own
    threshold without losing any AUC. A tie is a refusal: what serves has served.

    Args:
        truth: what people decided, per held-out row.
        revision: the candidate's.
        candidate: its scores on all held-out rows.
        rivals: the house first.
    """
    everything = tuple(range(len(truth)))
    scores = [_score(CANDIDATE, revision, candidate, truth, everything)]
    reasons: list[str] = []
    promoted = True
    for rival in rivals:
        theirs = _score(rival.who, rival.adapter, rival.judged, truth, rival.rows)
        ours = _score(CANDIDATE, revision, candidate, truth, rival.rows)
        passed, reason = _compare(ours, theirs, [truth[row] for row in rival.rows])
        scores.append(theirs)
        reasons.append(reason)
        promoted = promoted and passed
    return GateReport(promoted, tuple(reasons), tuple(scores))


def _compare(ours: Score, theirs: Score, truth: Sequence[bool]) -> tuple[bool, str]:
    against = f"Against the {theirs.who}"
    removed = sum(truth)
    fewest = min(removed, len(truth) - removed)
    lacking = max(MIN_JUDGED - len(truth), MIN_JUDGED_PER_CLASS - fewest, 0)
    if lacking or ours.auc is None or theirs.auc is None:
        return False, (
            f"{against}: {len(truth)} held-out reviews are new to both, {fewest} of the rarer decision; at least "
            f"{MIN_JUDGED} and {MIN_JUDGED_PER_CLASS} are needed, so {lacking} more."
        )
    gain = ours.auc - theirs.auc
    figures = (
        f"AUC {ours.auc:.3f} to {theirs.auc:.3f}, macro-F1 {ours.macro_f1:.3f} to {theirs.macro_f1:.3f} "
        f"on {len(truth)} reviews"
    )
    if gain >= CLEAR_GAIN:
        return True, f"{against}: better at telling what goes from what stays ({figures})."
    if gain >= 0 and ours.macro_f1 > theirs.macro_f1:
        return True, f"{against}: ranks as well and decides better at its threshold ({figures})."
    return False, f"{against}: not better ({figures})."


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
