"""Recorded messages decided again: by another charter, to see what changes; by the same, to see that nothing does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

from apaise_route.domain import charter as rules
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.decide import decide
from apaise_route.domain.model import Decision, Queue, RouteInput, Ruling, Visibility
from apaise_route.domain.thread import draw_of

MAX_EXAMPLES: Final = 20
# No audit is drawn in a comparison: both sides would draw the same.
_NO_DRAW: Final = 1.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Change(NamedTuple):
    """How a message is decided by one charter and by another."""

    visibility_before: Visibility
    visibility_after: Visibility
    queue_before: Queue
    queue_after: Queue

    @property
    def differs(self) -> bool:
        """Whether the two decide otherwise."""
        return self.visibility_before is not self.visibility_after or self.queue_before is not self.queue_after


def change_of(before: Ruling, after: Ruling) -> Change:
    """How two rulings on one message differ."""
    return Change(before.visibility, after.visibility, before.queue, after.queue)


class Example(NamedTuple):
    """A message decided otherwise."""

    message: str
    change: Change
    clause_before: str
    clause_after: str


@dataclass(slots=True)
class Difference:
    """What changes from one charter to another, over messages."""

    compared: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    labels_changed: Counter[str] = field(default_factory=Counter)
    queues_before: Counter[Queue] = field(default_factory=Counter)
    queues_after: Counter[Queue] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """Messages decided otherwise."""
        return self.changes.total()

    def add(self, entry: RouteInput, before: Ruling, after: Ruling) -> None:
        """Count one message."""
        change = change_of(before, after)
        held = [label for label, score in entry.assessment.scores.items() if score.holds] if entry.assessment else []
        self.compared += 1
        self.labels.update(held)
        self.queues_before[before.queue] += 1
        self.queues_after[after.queue] += 1
        if change.differs:
            self.changes[change] += 1
            self.labels_changed.update(held)
            if len(self.examples) < MAX_EXAMPLES:
                self.examples.append(Example(entry.message.name, change, before.clause, after.clause))


def compare(
    entries: Iterable[RouteInput], before: CompiledCharter, after: CompiledCharter, now: datetime
) -> Difference:
    """Decide messages by both charters, without any quota spent and without an audit."""
    difference = Difference()
    for entry in entries:
        first, second = (decide(entry, charter, now, _NO_DRAW).ruling for charter in (before, after))
        difference.add(entry, first, second)
    return difference


def decide_again(entry: RouteInput, recorded: Decision, charter: CompiledCharter) -> Ruling:
    """The ruling of a recorded decision, made again at the same instant from the same reading."""
    message = entry.message
    quota = charter.charter.here(entry.channel, message).quota
    cited = any(reason.clause == rules.QUOTA for reason in recorded.ruling.reasons)
    # How much of a quota was spent is not kept; whether it was used up is, as a reason.
    spent = quota.actions if quota and cited else 0
    draw = draw_of(message.brand, message.id, message.edit_revision)
    return decide(entry, charter, recorded.create_time, draw, spent).ruling


def differing(one: Ruling, other: Ruling) -> tuple[str, ...]:
    """Names of the fields in which two rulings differ."""
    return tuple(f.name for f in fields(Ruling) if getattr(one, f.name) != getattr(other, f.name))


def timeless(ruling: Ruling, decided: datetime) -> Ruling:
    """A ruling with its hold's end counted from 1970, not from when it was decided; all else is of the message."""
    end = ruling.hold_expire_time
    return ruling if end is None else replace(ruling, hold_expire_time=_EPOCH + (end - decided))
