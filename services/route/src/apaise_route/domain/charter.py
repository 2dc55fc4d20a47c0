"""A brand's charter as data. Reading YAML and compiling conditions are adapters' work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from apaise_route.domain.hours import BusinessHours
from apaise_route.domain.lists import WordList, WordLists
from apaise_route.domain.model import Channel, ChannelKind, Message, Moderation, Queue, Visibility

CAP: Final = "complaint-cap"
DISTRESS: Final = "distress-first"
PRIVATE: Final = "private-channel"
FAILURE: Final = "failure-policy"
BROKEN: Final = "clause-failed"
AUDIT: Final = "audit"
AUTONOMY: Final = "autonomy"
QUOTA: Final = "action-quota"
DEFAULT: Final = "default"
EXPIRY: Final = "hold-expiry"
GONE: Final = "gone"
HUMAN: Final = "human"
MESH_RULES: Final = frozenset(
    {CAP, DISTRESS, PRIVATE, FAILURE, BROKEN, AUDIT, AUTONOMY, QUOTA, DEFAULT, EXPIRY, GONE, HUMAN}
)

# The decision threshold of the house model for `complaint`. A charter may ask for a lower one, never for a higher one;
# a test holds it equal to the weights shipped.
HOUSE_COMPLAINT: Final = 0.135

POSTURES: Final = ("reassure", "explain", "solve", "apologise", "light_humour", "none")
LANGUAGES: Final = ("fr", "en")


class FailurePolicy(StrEnum):
    """What to do with a message nobody could read."""

    HOLD = "hold"
    KEYWORD_ONLY = "keyword_only"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class FailurePolicies:
    """The policy by channel: its kind's if there is one, else that of pre-moderation, else the default."""

    default: FailurePolicy = FailurePolicy.KEYWORD_ONLY
    pre: FailurePolicy | None = None
    kinds: Mapping[ChannelKind, FailurePolicy] = field(default_factory=dict)

    def of(self, channel: Channel) -> FailurePolicy:
        """The policy of one channel."""
        if channel.kind in self.kinds:
            return self.kinds[channel.kind]
        return self.pre if self.pre and channel.moderation is Moderation.PRE else self.default


@dataclass(frozen=True, slots=True)
class HoldRule:
    """How long a message is held, and what it becomes when nobody looked. Complaints and questions become KEEP."""

    expire_after: timedelta = timedelta(minutes=30)
    then: Visibility = Visibility.KEEP


class Autonomy(StrEnum):
    """Whether the machine may do something: alone, with a person looking afterwards, or not at all."""

    ALONE = "alone"
    REVIEWED = "reviewed"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Quota:
    """At most this many messages of a channel taken down by the machine in any such time."""

    actions: int
    per: timedelta


@dataclass(frozen=True, slots=True)
class ReplyAlone:
    """What messages may be answered without a person, by what they ask for: from approved answers alone, and at most
    `quota` of a brand in any such time."""

    intents: frozenset[str] = frozenset()
    quota: Quota = Quota(20, timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class Silence:
    """A decision not to answer: why, and who answers for it."""

    reason: str
    reviewer: str


# A kind of channels, or the id of one.
Place = ChannelKind | str


@dataclass(frozen=True, slots=True)
class Clause:
    """One rule: when its condition holds, what the brand wants. `reads` are the labels its condition looks at.

    `channels` are the only places where it applies, `event` the only override; empty is everywhere, always.
    """

    id: str
    when: str
    visibility: Visibility = Visibility.NONE
    queue: Queue = Queue.NONE
    priority: int = 0
    due: timedelta | None = None
    reply_posture: str = ""
    review: bool = False
    illegal: bool = False
    notify: tuple[Queue, ...] = ()
    silence: Silence | None = None
    channels: frozenset[Place] = frozenset()
    event: str = ""
    explain: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    reads_unsure: bool = False

    def applies(self, channel: Channel, events: frozenset[str]) -> bool:
        """Whether it may speak of a message of this channel while these overrides are in force."""
        here = not self.channels or channel.kind in self.channels or channel.id in self.channels
        return here and (not self.event or self.event in events)


@dataclass(frozen=True, slots=True)
class Override:
    """What is different in a channel or during an event; what is None or empty stays as it is."""

    thresholds: Mapping[str, float] = field(default_factory=dict)
    delays: Mapping[Queue, timedelta] = field(default_factory=dict)
    hold: HoldRule | None = None
    audit_share: float | None = None
    quota: Quota | None = None
    off: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EventOverride:
    """An override from `start` to `end`, of all messages or of those of one event."""

    id: str
    start: datetime
    end: datetime
    override: Override = Override()
    event: str = ""

    def covers(self, message: Message) -> bool:
        """Whether it is in force for a message: by when it was written, so that deciding again decides the same."""
        return self.start <= message.origin < self.end and (not self.event or self.event == message.event)


@dataclass(frozen=True, slots=True)
class Charter:
    """What a brand hides, holds, answers and to whom it hands what."""

    name: str
    language: str
    clauses: tuple[Clause, ...]
    voice: str = ""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    failure: FailurePolicies = FailurePolicies()
    audit_share: float = 0.02
    hold: HoldRule = HoldRule()
    delays: Mapping[Queue, timedelta] = field(default_factory=dict)
    lists: Mapping[str, WordList] = field(default_factory=dict)
    channels: Mapping[Place, Override] = field(default_factory=dict)
    events: tuple[EventOverride, ...] = ()
    hours: BusinessHours | None = None
    autonomy: Mapping[Visibility, Autonomy] = field(default_factory=dict)
    quota: Quota | None = None
    off: frozenset[str] = frozenset()
    train_private: bool = False
    replies: ReplyAlone = ReplyAlone()

    def quotas(self) -> frozenset[Quota]:
        """Every quota of the charter, its channels and events."""
        overrides = [*self.channels.values(), *(event.override for event in self.events)]
        return frozenset(quota for quota in (self.quota, *(o.quota for o in overrides)) if quota)

    def events_of(self, message: Message) -> frozenset[str]:
        """The overrides in force for a message, by id."""
        return frozenset(event.id for event in self.events if event.covers(message))

    def here(self, channel: Channel, message: Message) -> Charter:
        """The charter as it stands for one message: its channel's kind, its channel, then events, the last one wins."""
        if not self.channels and not self.events:
            return self
        changed = self
        for override in self._overrides(channel, message):
            changed = replace(
                changed,
                thresholds={**changed.thresholds, **override.thresholds},
                delays={**changed.delays, **override.delays},
                hold=override.hold or changed.hold,
                audit_share=changed.audit_share if override.audit_share is None else override.audit_share,
                quota=override.quota or changed.quota,
                off=changed.off | override.off,
            )
        return changed

    def _overrides(self, channel: Channel, message: Message) -> Iterator[Override]:
        yield from (self.channels[place] for place in (channel.kind, channel.id) if place in self.channels)
        yield from (event.override for event in self.events if event.covers(message))


class Evaluation(NamedTuple):
    """Which conditions hold, in the order of the clauses, and which could not be evaluated."""

    holds: Sequence[bool]
    failed: frozenset[int]


class Conditions(Protocol):
    """The conditions of a charter, compiled together."""

    def evaluate(self, facts: Mapping[str, Mapping[str, Any]]) -> Evaluation:
        """Evaluate every condition over the facts {labels, yes, unsure, lists, message, author}."""
        ...


@dataclass(frozen=True, slots=True)
class CompiledCharter:
    """A charter ready to decide: its conditions, its word lists, the name and digest that decisions cite."""

    charter: Charter
    conditions: Conditions
    words: WordLists
    name: str
    digest: str

    def with_words(self, added: Mapping[str, WordList]) -> CompiledCharter:
        """The same charter with words added to its lists, those it does not have left out."""
        known = {name: words for name, words in added.items() if name in self.charter.lists}
        return replace(self, words=self.words.plus(known)) if known else self


class Severity(StrEnum):
    """How bad a problem of a charter is."""

    WARNING = "warning"
    ERROR = "error"


class Problem(NamedTuple):
    """What is wrong with a charter's text and how to mend it; `line` counts from 1, 0 is the whole."""

    line: int
    severity: Severity
    message: str
