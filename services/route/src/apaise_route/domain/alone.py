"""What may be answered without a person: only what a charter names, and never what is owed one."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from apaise_route.domain.charter import Charter
from apaise_route.domain.model import Assessment, Cause, Decision, Queue, Verdict, Visibility
from apaise_route.domain.replies import INTENTS, PERSON_FIRST, Asked, by_ear

# Whoever is upset, attacked or attacking is read by a person, whatever a charter says.
NEVER: Final = (
    *PERSON_FIRST,
    "toxic",
    "hate",
    "insult",
    "harassment",
    "threat",
    "sexual",
    "profanity",
    "spam",
    "scam",
    "personal_data",
    "political",
    "provocation",
    "veiled",
    "boycott",
    "anger",
    "frustration",
    "worry",
    "sarcasm",
    "remove",
)
_QUEUES: Final = (Queue.NONE, Queue.CARE, Queue.MARKETING, Queue.SALES, Queue.PRODUCT, Queue.ANIMATION)


def may_reply_alone(charter: Charter, asked: Asked, decision: Decision, now: datetime) -> bool:
    """Whether the charter in force leaves the reply to a message to the machine.

    Everything the message asks for must be named in the charter, so a complaint is never answered so unless complaints
    are; what the model is unsure of counts as said. A message that a person will look at, that silence was chosen for,
    or that was written by ear, is theirs.
    """
    reading = asked.assessment
    return (
        reading is not None
        and not (reading.fallback or reading.truncated)
        and _decided_alone(decision)
        and (charter.hours is None or charter.hours.is_open(now))
        and _asks_only(reading, charter)
        and not any(_may_say(reading, charter, label) for label in NEVER)
        and not by_ear(asked.text)
    )


def _decided_alone(decision: Decision) -> bool:
    ruling = decision.ruling
    return (
        decision.automated
        and decision.cause is Cause.AUTOMATIC
        and ruling.visibility is Visibility.KEEP
        and ruling.queue in _QUEUES
        and ruling.silence is None
        and ruling.reply_posture != "none"
        and not decision.review_item
    )


def _asks_only(reading: Assessment, charter: Charter) -> bool:
    asked = {intent for intent in INTENTS if _says(reading, charter, intent)}
    doubtful = {"complaint"} if _may_say(reading, charter, "complaint") else set()
    return bool(asked) and asked | doubtful <= charter.replies.intents


def _says(reading: Assessment, charter: Charter, label: str) -> bool:
    """By the model, or by the brand's own threshold where that is lower."""
    return reading.says(label) or reading.probability(label) >= charter.thresholds.get(label, 2)


def _may_say(reading: Assessment, charter: Charter, label: str) -> bool:
    score = reading.scores.get(label)
    return score is not None and (score.verdict is not Verdict.NO or _says(reading, charter, label))
