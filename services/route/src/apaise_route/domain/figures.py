"""What a brand's moderation did in a time, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from apaise_route.domain.model import Queue


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


class ReviewerFigures(NamedTuple):
    """What one reviewer did; resolutions taken back count in `undone` alone."""

    actor: str
    reviewed: int
    overridden: int
    skipped: int
    undone: int


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
