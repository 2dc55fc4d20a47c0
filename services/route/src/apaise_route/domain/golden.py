"""Golden items: messages whose right answer leads agree on, put among the others to know how sure a reviewer is.

What a reviewer sees is a copy of a review item, for them alone, about a message that was decided long ago: it borrows
the times of the item they just resolved, so that it stands where that one stood. Their answer is kept apart. It decides
nothing, and no model hears of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from apaise_route.domain.model import (
    Cause,
    Decision,
    Message,
    Queue,
    Review,
    ReviewItem,
    ReviewReason,
    Visibility,
)
from apaise_route.domain.thread import Thread

APART: Final = timedelta(seconds=5)
_MACHINE: Final = (Cause.AUTOMATIC, Cause.REASSESSMENT)


@dataclass(frozen=True, slots=True)
class GoldenItem:
    """A message revision, the machine's decision about it, what is right instead or as well, and how it stands in the
    queue. It refers to its text: a tombstone ends it."""

    brand: str
    id: str
    message: str
    edit_revision: int
    sequence: int
    visibility: Visibility
    clause: str
    reason: ReviewReason
    sampling_probability: float
    queue: Queue
    priority: int
    harm: float
    decide_time: datetime
    create_actor: str
    create_time: datetime
    withdraw_time: datetime | None = None


class Tally(NamedTuple):
    """How many answered a golden item, and how many of them rightly."""

    answered: int
    right: int


@dataclass(frozen=True, slots=True)
class GoldenAnswer:
    """One resolution of a reviewer's copy, or its undo: the review that would have been made, and what it would have
    decided. `right` is None when they said neither."""

    review: Review
    golden: str
    right: bool | None
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class Mask:
    """What a copy shows instead of the truth: times later by `shift`, and what its reviewer decided, if they did."""

    shift: timedelta
    decision: Decision | None = None

    def message(self, message: Message) -> Message:
        """The message, as if written lately."""
        return replace(
            message,
            received_time=message.received_time + self.shift,
            published_time=self._later(message.published_time),
            edit_time=self._later(message.edit_time),
        )

    def machine(self, decision: Decision, item: str) -> Decision:
        """The machine's decision, as if made when the copy was opened."""
        ruling = decision.ruling
        later = replace(
            ruling, due_time=self._later(ruling.due_time), hold_expire_time=self._later(ruling.hold_expire_time)
        )
        opened = decision.create_time + self.shift
        return replace(decision, ruling=later, create_time=opened, review_item=item, outcome=None)

    def _later(self, time: datetime | None) -> datetime | None:
        return None if time is None else time + self.shift


def machine_decision(thread: Thread) -> Decision | None:
    """The machine's last word about a message as it now reads, which its copies show; None when there is none."""
    if thread.holding is None or thread.holding.cause is Cause.ERASURE:
        return None
    revision = thread.holding.edit_revision
    return next((d for d in reversed(thread.decisions) if d.edit_revision == revision and d.cause in _MACHINE), None)


def is_right(said: Visibility, right: Visibility) -> bool | None:
    """Whether an answer is on the right side: taken down or left up. A hold says neither."""
    return None if said is Visibility.HOLD else (said > Visibility.HOLD) is (right > Visibility.HOLD)


def is_drawn(share: float, draw: float) -> bool:
    """Whether a reviewer who has resolved `least_between` items since their last golden one gets another now.

    Together the two make one in 1 / `share` on average, at a place that cannot be told.

    Args:
        share: of all they resolve, 0 to 1; 0 is never.
        draw: a number in [0, 1).
    """
    return share > 0 and draw * (round(1 / share) - least_between(share)) < 1


def least_between(share: float) -> int:
    """How many others a reviewer resolves at least between two golden items: half of what they do on average."""
    return round(1 / share) // 2


def draw_from(seed: str) -> float:
    """A number in [0, 1) made of an unguessable word."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big") / (1 << 56)


def opened_beside(done: ReviewItem, now: datetime, draw: float) -> datetime:
    """When a copy says it was opened: about when the item just resolved was. Never at the same microsecond, by which
    it could be told."""
    return min(now, done.create_time + APART * draw)


def copy_for(golden: GoldenItem, decision: Decision, actor: str, opened: datetime, new_id: str) -> ReviewItem:
    """The copy one reviewer gets, as if opened at an instant."""
    mask = Mask(opened - golden.decide_time)
    return ReviewItem(
        brand=golden.brand,
        id=new_id,
        message=golden.message,
        edit_revision=golden.edit_revision,
        sequence=golden.sequence,
        reason=golden.reason,
        sampling_probability=golden.sampling_probability,
        queue=golden.queue,
        priority=golden.priority,
        harm=golden.harm,
        due_time=mask.machine(decision, new_id).ruling.due_time,
        create_time=opened,
        for_actor=actor,
    )


def thread_of_copy(thread: Thread, item: ReviewItem, golden: GoldenItem, answers: list[GoldenAnswer]) -> Thread:
    """The message's thread as its reviewer lives it: up to the machine's decision, then their own. Never saved."""
    mask = Mask(item.create_time - golden.decide_time)
    known = thread.decisions[: golden.sequence]
    decided = [mask.machine(known[-1], item.id), *(a.decision for a in answers if a.decision is not None)]
    gone = [d for d in thread.decisions[-1:] if d.cause is Cause.ERASURE]
    return Thread(item.brand, item.message, [*known[:-1], *decided, *gone], item if item.waiting else None)
