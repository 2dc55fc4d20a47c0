"""A brand's charter as data. Reading YAML and compiling conditions are adapters' work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from apaise_route.domain.lists import WordLists
from apaise_route.domain.model import Channel, ChannelKind, Moderation, Queue, Visibility

CAP: Final = "complaint-cap"
DISTRESS: Final = "distress-first"
PRIVATE: Final = "private-channel"
FAILURE: Final = "failure-policy"
BROKEN: Final = "clause-failed"
AUDIT: Final = "audit"
DEFAULT: Final = "default"
EXPIRY: Final = "hold-expiry"
GONE: Final = "gone"
HUMAN: Final = "human"
MESH_RULES: Final = frozenset({CAP, DISTRESS, PRIVATE, FAILURE, BROKEN, AUDIT, DEFAULT, EXPIRY, GONE, HUMAN})

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


@dataclass(frozen=True, slots=True)
class Clause:
    """One rule: when its condition holds, what the brand wants. `reads` are the labels its condition looks at."""

    id: str
    when: str
    visibility: Visibility = Visibility.NONE
    queue: Queue = Queue.NONE
    priority: int = 0
    due: timedelta | None = None
    reply_posture: str = ""
    review: bool = False
    illegal: bool = False
    explain: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    reads_unsure: bool = False


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
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)


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


class Severity(StrEnum):
    """How bad a problem of a charter is."""

    WARNING = "warning"
    ERROR = "error"


class Problem(NamedTuple):
    """What is wrong with a charter's text and how to mend it; `line` counts from 1, 0 is the whole."""

    line: int
    severity: Severity
    message: str
