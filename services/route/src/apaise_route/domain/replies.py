"""Which reply a message is owed: by what it asks for, with which posture, to be read by whom."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from apaise_route.domain.lists import fold
from apaise_route.domain.model import Assessment, Audience, Visibility

HUMOUR: Final = "light_humour"
POSTURES: Final = ("reassure", "explain", "solve", "apologise", HUMOUR)
# What a message asks for, the most owed first.
INTENTS: Final = ("complaint", "care_request", "bug_report", "question", "suggestion", "mockery", "praise")
# Whom no draft is for.
PERSON_FIRST: Final = ("distress", "self_harm")
# What makes a laugh at a message a laugh at a person, or a fight.
NOT_FUNNY: Final = (
    "complaint",
    "care_request",
    "bug_report",
    "question",
    "distress",
    "self_harm",
    "worry",
    "anger",
    "frustration",
    "toxic",
    "hate",
    "insult",
    "harassment",
    "threat",
    "provocation",
    "veiled",
    "boycott",
    "target_user",
    "target_group",
    "target_guest",
    "target_self",
    "remove",
)
# Written by ear: whoever writes so may take a joke for a jibe. A sign among others, meant to err on the careful side.
_BY_EAR: Final = re.compile(
    r"\b(?:jé|jai|ke|kan|koi|kom+en?t?|pk|pkoi|pourkoi|chui|jsuis|sava|sa marche|c pas|g pas|vou|svp aidé|bcp"
    r"|plz|pls|u r|ur|wot|dont no|cant no)\b"
)

Scenarios = Mapping[str, Mapping[str, Mapping[str, str]]]


class DraftNote(IntEnum):
    """What to know about a draft; NONE is nothing."""

    NONE = 0
    NOT_READ = 1
    NO_SCENARIO = 2
    WOULD_NOT_SHOW = 3
    A_PERSON_FIRST = 4
    NO_HUMOUR = 5


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft, or why there is none; from a scenario, or from one of the brand's answers (its name)."""

    text: str = ""
    scenario: str = ""
    posture: str = ""
    language: str = ""
    audience: Audience = Audience.PRIVATE
    note: DraftNote = DraftNote.NONE
    answer: str = ""
    similarity: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A message that is owed a reply: its text is looked at for how it is written, never repeated."""

    text: str
    language: str
    audience: Audience
    visibility: Visibility
    assessment: Assessment | None


def may_joke(asked: Asked) -> bool:
    """Whether humour has its place: mockery within the rules, that shows, and nothing that is owed more."""
    reading = asked.assessment
    return (
        reading is not None
        and reading.says("mockery")
        and asked.visibility is Visibility.KEEP
        and asked.audience is Audience.PUBLIC
        and not any(reading.says(label) for label in NOT_FUNNY)
        and not by_ear(asked.text)
    )


def by_ear(text: str) -> bool:
    """Whether a text looks written by ear."""
    return bool(_BY_EAR.search(text.casefold()) or _BY_EAR.search(fold(text)))


def draft(scenarios: Scenarios, asked: Asked, posture: str, language: str) -> Draft:
    """The scenario for a message.

    Args:
        scenarios: by intent, posture, language.
        asked: the message.
        posture: what is wished for, or "".
        language: the one to fall back to.
    """
    if asked.assessment is None:
        return Draft(note=DraftNote.NOT_READ)
    if any(asked.assessment.says(label) for label in PERSON_FIRST):
        return Draft(note=DraftNote.A_PERSON_FIRST)
    intent = next((intent for intent in INTENTS if asked.assessment.says(intent)), None)
    if intent is None:
        return Draft(note=DraftNote.NO_SCENARIO)
    postures = scenarios[intent]
    fits = posture in postures and (posture != HUMOUR or may_joke(asked))
    taken = posture if fits else next(iter(postures))
    spoken = asked.language if asked.language in postures[taken] else language
    return Draft(
        text=postures[taken][spoken],
        scenario=f"{intent}/{taken}",
        posture=taken,
        language=spoken,
        audience=asked.audience,
        note=note_of(posture, taken),
    )


def note_of(wished: str, taken: str) -> DraftNote:
    """What to know of a draft in a posture other than the one wished for."""
    return DraftNote.NO_HUMOUR if wished == HUMOUR and taken != HUMOUR else DraftNote.NONE
