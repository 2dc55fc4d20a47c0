"""The words of the domain. Enumerations carry the numbers of the contract; a test holds the two equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

from apaise_kit.core.names import CHANNEL, MESSAGE

AUTOMATON: Final = "apaise"
HOUSE_CHARTERS: Final = "defaults"


class Visibility(IntEnum):
    """What becomes of a message, from mildest to strictest: the numbers order it."""

    NONE = 0
    KEEP = 1
    HOLD = 2
    HIDE = 3
    DELETE = 4


class Queue(IntEnum):
    """Who owes the next step."""

    NONE = 0
    MODERATOR = 1
    CARE = 2
    LEGAL = 3
    MARKETING = 4
    SALES = 5
    PRODUCT = 6
    CRISIS = 7
    ANIMATION = 8


class Cause(IntEnum):
    """What made a decision."""

    AUTOMATIC = 1
    HUMAN = 2
    UNDO = 3
    RULE_CHANGE = 4
    HOLD_EXPIRY = 5
    ERASURE = 6
    REASSESSMENT = 7


class Ground(IntEnum):
    """On what a visibility stricter than KEEP stands."""

    NONE = 0
    CHARTER = 1
    ILLEGAL = 2


class Absence(IntEnum):
    """Why there is no assessment; NONE when there is one."""

    NONE = 0
    UNAVAILABLE = 1
    TOO_LATE = 2
    DEAD_LETTER = 3
    NO_TEXT = 4


class ChannelKind(IntEnum):
    """What kind of conversation a channel is."""

    LIVE_CHAT = 1
    COMMENT = 2
    PRIVATE_MESSAGE = 3
    REVIEW = 4
    EMAIL = 5
    FORUM = 6


class Audience(IntEnum):
    """Who can read a channel."""

    PUBLIC = 1
    PRIVATE = 2


class Moderation(IntEnum):
    """Whether a message is seen before it is decided."""

    PRE = 1
    POST = 2


class Verdict(IntEnum):
    """The reading of one label."""

    YES = 1
    NO = 2
    UNSURE = 3


class ReviewReason(IntEnum):
    """Why an item is in the queue."""

    CLAUSE = 1
    HOLD = 2
    UNSURE = 3
    NO_ASSESSMENT = 4
    AUDIT = 5
    ILLEGAL = 6
    EDITED = 7
    SECOND_OPINION = 8
    SECOND_LOOK = 9


class ReviewState(IntEnum):
    """Where an item stands."""

    OPEN = 1
    CLAIMED = 2
    RESOLVED = 3
    WITHDRAWN = 4


class Resolution(IntEnum):
    """What a person did with an item."""

    CONFIRM = 1
    CORRECT = 2
    SKIP = 3
    UNDO = 4


class ActionState(IntEnum):
    """Whether the platform applied a decision."""

    APPLIED = 1
    REFUSED = 2
    TOO_LATE = 3


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a message, as the platform tells it."""

    platform_id: str = ""
    display_name: str = ""
    author_key: str = ""
    account_create_time: datetime | None = None
    follows_page: bool | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something sent along with, or instead of, text; `kind` is the contract's number."""

    kind: int
    uri: str = ""
    alt_text: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One revision of one message."""

    brand: str
    id: str
    channel: str
    edit_revision: int
    text: str
    external_id: str
    received_time: datetime
    author: Author = Author()
    event: str = ""
    thread: str = ""
    parent: str = ""
    permalink: str = ""
    language_hint: str = ""
    language: str = ""
    language_confidence: float = 0.0
    attachments: tuple[Attachment, ...] = ()
    rating: float | None = None
    published_time: datetime | None = None
    published_time_trusted: bool = False
    edit_time: datetime | None = None
    may_train: bool | None = None
    gone: bool = False

    @property
    def name(self) -> str:
        """Resource name."""
        return MESSAGE.format(self.brand, self.id)

    @property
    def channel_name(self) -> str:
        """Resource name of its channel."""
        return CHANNEL.format(self.brand, self.channel)

    @property
    def origin(self) -> datetime:
        """The instant due times count from."""
        trusted = self.published_time if self.published_time_trusted else None
        return trusted or self.received_time


@dataclass(frozen=True, slots=True)
class Channel:
    """What routing needs to know of the place a message was written in."""

    brand: str
    id: str
    kind: ChannelKind
    audience: Audience
    moderation: Moderation
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """One label's calibrated probability (3 decimals), how sure that is, and whether the label holds."""

    probability: float
    verdict: Verdict
    holds: bool


@dataclass(frozen=True, slots=True)
class Provenance:
    """The revisions that made an assessment."""

    encoder: str = ""
    adapter: str = ""
    thresholds: str = ""
    normalizer: str = ""
    precedents: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a message was understood to be, by label id."""

    scores: Mapping[str, Score]
    language: str = ""
    truncated: bool = False
    fallback: bool = False
    fallback_reason: int = 0
    provenance: Provenance = Provenance()

    def says(self, label: str) -> bool:
        """Whether the label holds."""
        score = self.scores.get(label)
        return score is not None and score.holds

    def probability(self, label: str) -> float:
        """The label's probability; 0 when the model does not know the label."""
        score = self.scores.get(label)
        return score.probability if score else 0.0


@dataclass(frozen=True, slots=True)
class RouteInput:
    """A message to decide: with an assessment, or with the reason for its absence."""

    message: Message
    channel: Channel
    assessment: Assessment | None = None
    absence: Absence = Absence.NONE


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that counted: a clause or a rule of the mesh, what it alone asked for, the labels it read."""

    clause: str
    visibility: Visibility
    evidence: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ReviewOwed:
    """A person should look: why, and with what probability a message like this one is sent to them."""

    reason: ReviewReason
    sampling_probability: float = 1.0


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A decision not to answer, as recorded: the clause that asks for it, why, and who answers for it."""

    clause: str
    reason: str
    reviewer: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is decided, apart from who decided it and when; `harm` is what it may cost that nobody looks, 0 to 1."""

    visibility: Visibility
    clause: str
    reasons: tuple[Reason, ...]
    ground: Ground = Ground.NONE
    queue: Queue = Queue.NONE
    priority: int = 0
    due_time: datetime | None = None
    reply_posture: str = ""
    hold_expire_time: datetime | None = None
    hold_then: Visibility = Visibility.NONE
    hold_finally: Visibility = Visibility.NONE
    explanation: str = ""
    notify: tuple[Queue, ...] = ()
    silence: Unanswered | None = None
    harm: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the publishing tool reported."""

    state: ActionState
    time: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """A ruling in its place: one row of a message's append-only sequence."""

    brand: str
    message: str
    sequence: int
    edit_revision: int
    cause: Cause
    actor: str
    ruling: Ruling
    charter: str
    charter_digest: str
    create_time: datetime
    channel: str
    external_id: str
    provenance: Provenance | None = None
    absence: Absence = Absence.NONE
    review_item: str = ""
    outcome: Outcome | None = None

    @property
    def automated(self) -> bool:
        """Whether no person was involved."""
        return self.actor == AUTOMATON

    @property
    def name(self) -> str:
        """Resource name."""
        return decision_name(self.brand, self.message, self.sequence)

    @property
    def supersedes(self) -> str:
        """Resource name of the decision it replaces, or ""."""
        return decision_name(self.brand, self.message, self.sequence - 1) if self.sequence > 1 else ""


def decision_name(brand: str, message: str, sequence: int) -> str:
    """A decision's resource name: its id is its place in the message's sequence."""
    return f"{MESSAGE.format(brand, message)}/decisions/{sequence}"


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """One message revision waiting for a person. `sequence` is the decision it is about; `asked_by` is who held it and
    asked for somebody else's opinion; `for_actor` alone sees it, if given: it is their copy of a golden item."""

    brand: str
    id: str
    message: str
    edit_revision: int
    sequence: int
    reason: ReviewReason
    sampling_probability: float
    queue: Queue
    priority: int
    due_time: datetime | None
    create_time: datetime
    state: ReviewState = ReviewState.OPEN
    claim_actor: str = ""
    lease_expire_time: datetime | None = None
    version: int = 1
    asked_by: str = ""
    harm: float = 0.0
    for_actor: str = ""

    def state_at(self, now: datetime) -> ReviewState:
        """Where it stands at an instant: an expired lease reads as open."""
        expired = self.lease_expire_time is not None and self.lease_expire_time <= now
        return ReviewState.OPEN if self.state is ReviewState.CLAIMED and expired else self.state

    @property
    def waiting(self) -> bool:
        """Whether someone is still expected to look."""
        return self.state in (ReviewState.OPEN, ReviewState.CLAIMED)


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person says is right instead."""

    visibility: Visibility
    labels: Mapping[str, bool]
    clause: str = ""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody leant to who asked for another's opinion; `clause` had decided."""

    brand: str
    id: str
    review_item: str
    message: str
    actor: str
    leaning: Visibility
    clause: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Review:
    """One resolution or its undo; never changed, and without text."""

    brand: str
    id: str
    review_item: str
    message: str
    edit_revision: int
    resolution: Resolution
    actor: str
    create_time: datetime
    visibility_before: Visibility
    visibility_after: Visibility
    clause: str
    labels_before: Mapping[str, float]
    labels_after: Mapping[str, bool]
    reason: ReviewReason
    sampling_probability: float
    provenance: Provenance | None = None
    undoes: str = ""
    decision_sequence: int = 0
    second_look: bool = False
    request_id: str = ""
    request_digest: str = ""
