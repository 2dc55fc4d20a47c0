"""What may be answered without a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.labels import LABELS
from apaise_route.adapters.charter_yaml import read_charter
from apaise_route.domain.alone import NEVER, may_reply_alone
from apaise_route.domain.charter import Charter, ReplyAlone
from apaise_route.domain.hours import BusinessHours
from apaise_route.domain.model import AUTOMATON, Audience, Cause, Decision, Queue, Ruling, Unanswered, Visibility
from apaise_route.domain.replies import INTENTS, Asked, by_ear
from apaise_route.testing import START, reading

CALM = "Quel est le délai de livraison ?"
RULING = Ruling(Visibility.KEEP, "default", ())
DECISION = Decision("b", "m", 1, 1, Cause.AUTOMATIC, AUTOMATON, RULING, "c", "d", START, "c", "x")
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
OPEN_AT_NOON = BusinessHours(ZoneInfo("UTC"), {day: [(time(9), time(18))] for day in range(7)})


def charter(*intents: str, **fields: Any) -> Charter:
    return Charter("t", "fr", (), replies=ReplyAlone(frozenset(intents)), **fields)


def asked(*labels: str, text: str = CALM, unsure: tuple[str, ...] = ()) -> Asked:
    return Asked(text, "fr", Audience.PUBLIC, Visibility.KEEP, reading(labels, unsure))


def test_what_a_charter_names_is_answered_and_nothing_else() -> None:
    assert may_reply_alone(charter("question"), asked("question"), DECISION, NOON)
    assert not may_reply_alone(charter(), asked("question"), DECISION, NOON)
    assert not may_reply_alone(charter("praise"), asked("question"), DECISION, NOON)
    assert not may_reply_alone(charter("question"), asked("question", "praise"), DECISION, NOON)
    assert not may_reply_alone(charter("question"), asked("joy"), DECISION, NOON)


def test_a_complaint_is_answered_where_complaints_are_named() -> None:
    assert not may_reply_alone(charter("question"), asked("question", "complaint"), DECISION, NOON)
    assert not may_reply_alone(charter("question"), asked("question", unsure=("complaint",)), DECISION, NOON)
    assert may_reply_alone(charter("question", "complaint"), asked("question", "complaint"), DECISION, NOON)
    sensitive = charter("question", thresholds={"complaint": 0.05})
    assert not may_reply_alone(sensitive, asked("question"), DECISION, NOON)


labels_said = st.lists(st.sampled_from(LABELS), max_size=6)


@given(labels_said, st.lists(st.sampled_from(LABELS), max_size=3), st.text(max_size=40))
def test_never_to_who_is_owed_a_person(labels: list[str], unsure: list[str], text: str) -> None:
    message = asked(*labels, text=text, unsure=tuple(unsure))
    if may_reply_alone(charter(*INTENTS), message, DECISION, NOON):
        said = {*labels, *unsure}
        assert not said & set(NEVER)
        assert {"distress", "self_harm"} <= set(NEVER)
        assert not by_ear(text)


@given(st.sets(st.sampled_from(INTENTS)), labels_said)
def test_all_a_message_asks_for_is_named(named: set[str], labels: list[str]) -> None:
    if may_reply_alone(charter(*named), asked(*labels), DECISION, NOON):
        assert {label for label in labels if label in INTENTS} <= named


@pytest.mark.parametrize(
    "changes",
    [
        {"actor": "mo"},
        {"cause": Cause.HOLD_EXPIRY},
        {"review_item": "r1"},
        {"ruling": replace(RULING, visibility=Visibility.HOLD)},
        {"ruling": replace(RULING, queue=Queue.LEGAL)},
        {"ruling": replace(RULING, queue=Queue.CRISIS)},
        {"ruling": replace(RULING, reply_posture="none")},
        {"ruling": replace(RULING, silence=Unanswered("bait", "appât", "Léa"))},
    ],
)
def test_what_a_person_looks_at_or_silence_was_chosen_for_is_theirs(changes: dict[str, Any]) -> None:
    assert not may_reply_alone(charter("question"), asked("question"), replace(DECISION, **changes), NOON)


def test_hours_and_hands_that_write_by_ear() -> None:
    hours = charter("question", hours=OPEN_AT_NOON)
    assert may_reply_alone(hours, asked("question"), DECISION, NOON)
    assert not may_reply_alone(hours, asked("question"), DECISION, NOON.replace(hour=20))
    assert not may_reply_alone(charter("question"), asked("question", text="jé pa compri koi"), DECISION, NOON)
    unread = replace(asked("question"), assessment=None)
    assert not may_reply_alone(charter("question"), unread, DECISION, NOON)
    fallback = replace(asked("question"), assessment=replace(reading(["question"]), fallback=True))
    assert not may_reply_alone(charter("question"), fallback, DECISION, NOON)


def test_a_charter_says_it() -> None:
    source = "name: t\nlanguage: fr\nclauses: []\nreplies: {alone: [question, praise], most: 5, per: 10m}\n"
    found = read_charter(source)
    assert found.charter is not None
    assert found.charter.replies.intents == {"question", "praise"}
    assert (found.charter.replies.quota.actions, found.charter.replies.quota.per.total_seconds()) == (5, 600)
    assert not found.errors
    silent = read_charter("name: t\nlanguage: fr\nclauses: []\n").charter
    assert silent is not None
    assert not silent.replies.intents


def test_lint_says_what_is_wrong_and_what_to_think_twice_of() -> None:
    wrong = read_charter("name: t\nlanguage: fr\nclauses: []\nreplies: {alone: [questions]}\n")
    assert [(one.line, "did you mean `question`" in one.message) for one in wrong.errors] == [(4, True)]
    twice = read_charter("name: t\nlanguage: fr\nclauses: []\nreplies: {alone: [complaint]}\n")
    assert not twice.errors
    assert any("complaints will be answered without a person" in one.message for one in twice.problems)
