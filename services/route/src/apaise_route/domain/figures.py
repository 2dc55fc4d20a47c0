"""What a brand's moderation did in a time, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import Final, NamedTuple

from apaise_route.domain.model import Queue

# Fewer than this say nothing of a person or a clause.
MIN_JUDGED: Final = 10
_Z: Final = 1.959964  # of a normal distribution, 95 % lie within so many standard deviations


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something was so, of how many."""

    count: int = 0
    hits: int = 0

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's score interval at 95 % (Wilson 1927); None when fewer than `MIN_JUDGED` were judged."""
        n = self.count
        if n < MIN_JUDGED:
            return None
        share, scale = self.hits / n, 1 + _Z**2 / n
        middle = (share + _Z**2 / (2 * n)) / scale
        half = _Z * sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / scale
        # Of none and of all, one end is exact; written out, rounding cannot move it past the share.
        return (middle - half if self.hits else 0.0), (middle + half if self.hits < n else 1.0)


NOTHING: Final = Rate()


class Rates(NamedTuple):
    """How often second opinions agreed, and golden items were answered rightly, by reviewer and by clause."""

    reviewers: Mapping[str, Rate]
    clauses: Mapping[str, Rate]


@dataclass(frozen=True, slots=True)
class Delay:
    """How long something took; quantiles are None when nothing was counted."""

    count: int
    median: timedelta | None
    p90: timedelta | None
    with_deadline: int
    within_deadline: int


class QueueFigures(NamedTuple):
    """What waits in a queue, and since when the oldest does."""

    queue: Queue
    waiting: int
    oldest: datetime


class ClauseFigures(NamedTuple):
    """How often people changed what a clause decided."""

    clause: str
    reviewed: int
    overridden: int
    agreement: Rate = NOTHING
    golden: Rate = NOTHING

    @property
    def override(self) -> Rate:
        """Of what people reviewed, what they changed."""
        return Rate(self.reviewed, self.overridden)


class ReviewerFigures(NamedTuple):
    """What one reviewer did; resolutions taken back count in `undone` alone."""

    actor: str
    reviewed: int
    overridden: int
    skipped: int
    undone: int
    agreement: Rate = NOTHING
    golden: Rate = NOTHING

    @property
    def override(self) -> Rate:
        """Of what they reviewed, what they changed."""
        return Rate(self.reviewed, self.overridden)


class Counts(NamedTuple):
    """Messages decided, those no person has decided since, and decisions that hid or showed again."""

    decided: int
    automated: int
    hidden: int
    restored: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it, from `start` to `end`; queues are as they stand now."""

    start: datetime
    end: datetime
    counts: Counts
    review: Delay
    reply: Delay
    queues: Sequence[QueueFigures]
    clauses: Sequence[ClauseFigures]
    reviewers: Sequence[ReviewerFigures]


def clauses_with(found: Sequence[ClauseFigures], opinions: Rates, golden: Rates) -> list[ClauseFigures]:
    """Clauses with what is known of their agreement; those only known by it come last."""
    more = sorted({*opinions.clauses, *golden.clauses} - {each.clause for each in found})
    every = [*found, *(ClauseFigures(clause, 0, 0) for clause in more)]
    return [
        each._replace(
            agreement=opinions.clauses.get(each.clause, NOTHING), golden=golden.clauses.get(each.clause, NOTHING)
        )
        for each in every
    ]


def reviewers_with(found: Sequence[ReviewerFigures], opinions: Rates, golden: Rates) -> list[ReviewerFigures]:
    """Reviewers with what is known of their agreement; those only known by it come last."""
    more = sorted({*opinions.reviewers, *golden.reviewers} - {each.actor for each in found})
    every = [*found, *(ReviewerFigures(actor, 0, 0, 0, 0) for actor in more)]
    return [
        each._replace(
            agreement=opinions.reviewers.get(each.actor, NOTHING), golden=golden.reviewers.get(each.actor, NOTHING)
        )
        for each in every
    ]
