"""Where a platform lets a brand reply. The rules are data, each with its source and the day that was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple

from apaise_route.domain.model import Audience, ChannelKind


class LegVerdict(IntEnum):
    """Whether a reply may go that way; DEPENDS is known to the platform alone."""

    ALLOWED = 1
    DENIED = 2
    DEPENDS = 3


class Quota(NamedTuple):
    """At most so many replies of this kind by brand and platform within a time."""

    most: int
    per: timedelta


@dataclass(frozen=True, slots=True)
class PlatformRule:
    """One rule of one platform. What a rule does not mention, it does not look at."""

    id: str
    audience: Audience
    verdict: LegVerdict
    explanation: Mapping[str, str]
    source: str = ""
    source_date: date | None = None
    kinds: frozenset[ChannelKind] = frozenset()
    follows: bool | None = None
    within: timedelta | None = None
    once: bool = False
    quota: Quota | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What the rules look at: the message's place and age, whether its author is known to follow the page, whether
    they had a private reply to it already, and how many replies of each audience went out lately (by rule id)."""

    platform: str
    kind: ChannelKind
    audience: Audience
    age: timedelta
    follows: bool | None = None
    answered_in_private: bool = False
    sent: Mapping[str, int] = field(default_factory=dict)


Rules = Mapping[str, Sequence[PlatformRule]]

_SAME: Final = PlatformRule(
    "same-conversation",
    Audience.PRIVATE,
    LegVerdict.ALLOWED,
    {"fr": "Réponse dans la conversation privée.", "en": "A reply in the private conversation."},
)
_KEPT_PRIVATE: Final = PlatformRule(
    "private-stays-private",
    Audience.PUBLIC,
    LegVerdict.DENIED,
    {
        "fr": "Message privé : jamais de réponse publique.",
        "en": "A private message never gets a public reply.",
    },
)
_IN_THREAD: Final = PlatformRule(
    "in-thread",
    Audience.PUBLIC,
    LegVerdict.ALLOWED,
    {"fr": "Réponse publique dans le fil.", "en": "A public reply in the thread."},
)
_UNKNOWN: Final = PlatformRule(
    "unknown-platform",
    Audience.PRIVATE,
    LegVerdict.DEPENDS,
    {
        "fr": "Aucune règle connue de cette plateforme : essayer et voir.",
        "en": "No rule of this platform is known: try, and hear.",
    },
)
_SPENT: Final = {
    "fr": "Quota de la plateforme atteint : attendre ou répondre autrement.",
    "en": "The platform's quota is spent: wait, or reply another way.",
}


def rule_for(rules: Rules, audience: Audience, at: Situation) -> PlatformRule:
    """The first rule that applies; its verdict is DENIED when its quota is spent."""
    if at.audience is Audience.PRIVATE:
        return _SAME if audience is Audience.PRIVATE else _KEPT_PRIVATE
    for rule in rules.get(at.platform, ()):
        if rule.audience is audience and _applies(rule, at):
            return _spent(rule) if rule.quota and at.sent.get(rule.id, 0) >= rule.quota.most else rule
    return _IN_THREAD if audience is Audience.PUBLIC else _UNKNOWN


def _applies(rule: PlatformRule, at: Situation) -> bool:
    return (
        (not rule.kinds or at.kind in rule.kinds)
        and (rule.follows is None or rule.follows is at.follows)
        and (rule.within is None or at.age <= rule.within)
        and not (rule.once and at.answered_in_private)
    )


def _spent(rule: PlatformRule) -> PlatformRule:
    return PlatformRule(
        rule.id, rule.audience, LegVerdict.DENIED, _SPENT, rule.source, rule.source_date, quota=rule.quota
    )


def quotas_of(rules: Rules, platform: str) -> dict[str, Quota]:
    """The quotas that count on a platform, by rule id."""
    return {rule.id: rule.quota for rule in rules.get(platform, ()) if rule.quota}


def age_of(origin: datetime, now: datetime) -> timedelta:
    """How old a message is; never negative."""
    return max(now - origin, timedelta(0))
