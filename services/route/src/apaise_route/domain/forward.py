"""Which messages are worth bringing forward, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from apaise_route.domain.model import Assessment, Audience, Channel, Message


class ForwardReason(IntEnum):
    """Why a message is worth bringing forward."""

    QUESTION = 1
    SUGGESTION = 2
    AMBASSADOR = 3
    CONSTRUCTIVE = 4


EXPLANATIONS: Final = {
    ForwardReason.QUESTION: {
        "fr": "Une question que d'autres se posent : y répondre en public.",
        "en": "A question others have, too: answer it in public.",
    },
    ForwardReason.SUGGESTION: {
        "fr": "Une idée : la remercier, la transmettre.",
        "en": "An idea: thank for it, pass it on.",
    },
    ForwardReason.AMBASSADOR: {
        "fr": "Un compliment argumenté : un ambassadeur à remercier.",
        "en": "Reasoned praise: an ambassador to thank.",
    },
    ForwardReason.CONSTRUCTIVE: {
        "fr": "Une critique qui propose : montrer qu'elle est entendue.",
        "en": "A criticism that says what would be better: show that it is heard.",
    },
}
# What takes a message out, whatever else it says.
_NEVER: Final = (
    "toxic",
    "hate",
    "insult",
    "harassment",
    "threat",
    "sexual",
    "self_harm",
    "profanity",
    "spam",
    "scam",
    "personal_data",
    "political",
    "provocation",
    "veiled",
    "boycott",
    "distress",
    "sarcasm",
    "mockery",
    "remove",
)
_FEWEST_WORDS: Final = 5
_FEWEST_OF_PRAISE: Final = 8
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Forward:
    """A message, why it is worth it, and how sure that is: the least of the probabilities the reason rests on."""

    message: Message
    reason: ForwardReason
    score: float


def forward_of(message: Message, channel: Channel | None, assessment: Assessment | None) -> Forward | None:
    """The message with its reason; None when it is private, gone, not read, or not worth it."""
    if channel is None or channel.audience is not Audience.PUBLIC or message.gone or assessment is None:
        return None
    words = len(_WORD.findall(message.text))
    if words < _FEWEST_WORDS or any(assessment.says(label) for label in _NEVER):
        return None
    reason = _reason(assessment, words)
    if reason is None:
        return None
    return Forward(message, reason[0], min(assessment.probability(label) for label in reason[1]))


def _reason(assessment: Assessment, words: int) -> tuple[ForwardReason, Sequence[str]] | None:
    says = assessment.says
    if says("suggestion"):
        criticism = next((label for label in ("complaint", "frustration", "bug_report") if says(label)), None)
        if criticism:
            return ForwardReason.CONSTRUCTIVE, ("suggestion", criticism)
        return ForwardReason.SUGGESTION, ("suggestion",)
    if says("complaint") or says("care_request"):
        return None
    if says("question"):
        return ForwardReason.QUESTION, ("question",)
    if says("praise") and words >= _FEWEST_OF_PRAISE:
        return ForwardReason.AMBASSADOR, ("praise",)
    return None


def best(found: Sequence[Forward], limit: int) -> list[Forward]:
    """The surest first; of two equally sure, the later one. A text said by many is there once."""
    ordered = sorted(found, key=lambda f: (-f.score, -f.message.origin.timestamp(), f.message.id))
    unique = {" ".join(_WORD.findall(forward.message.text.casefold())): forward for forward in reversed(ordered)}
    return [forward for forward in ordered if forward in unique.values()][:limit]
