"""Two charters on the same messages: what one would decide otherwise than the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.decide import decide
from apaise_route.domain.model import Queue, RouteInput, Ruling, Visibility

MAX_EXAMPLES: Final = 20
# No audit is drawn in a comparison: both sides would draw the same.
_NO_DRAW: Final = 1.0


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
