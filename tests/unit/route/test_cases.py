"""A case's states, its clock, and what heats it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from apaise_kit.core.errors import Aborted, FailedPrecondition
from apaise_route.domain.cases import (
    DELAYS,
    MAX_ENTRIES,
    Case,
    CaseFile,
    CaseState,
    EntryKind,
    Tension,
    check_case_etag,
    due_time,
    tension_of,
)
from apaise_route.domain.model import ActionState, Audience, ChannelKind, Queue, Ruling, Visibility
from apaise_route.testing import START, reading

LATER = START + timedelta(minutes=3)
MOVES: dict[str, Callable[[CaseFile], None]] = {
    "assign": lambda f: f.assign(Queue.NONE, "cleo", "ana", LATER),
    "note": lambda f: f.note("n", "ana", LATER),
    "answer": lambda f: f.answer("a", None, "desk", LATER),
    "reply": lambda f: f.reply("r", Audience.PUBLIC, "in-thread", "ana", LATER),
    "applied": lambda f: f.report(ActionState.APPLIED, "x", "", "tool", LATER),
    "refused": lambda f: f.report(ActionState.REFUSED, "", "closed", "tool", LATER),
    "close": lambda f: f.close("", "ana", LATER),
    "close, saying why": lambda f: f.close("silence", "ana", LATER),
    "reopen": lambda f: f.reopen("", LATER + timedelta(hours=1), "ana", LATER),
}


def opened(note: str = "") -> CaseFile:
    case = Case(
        brand="b",
        id="c",
        message="m",
        edit_revision=1,
        author_key="k",
        channel="live",
        platform="twitch",
        kind=ChannelKind.LIVE_CHAT,
        audience=Audience.PUBLIC,
        team=Queue.CARE,
        tension=Tension.TENSE,
        due_time=START + timedelta(minutes=10),
        open_actor="ana",
        open_time=START,
    )
    file = CaseFile(case)
    file.open(note, "ana", START)
    return file


def after(*moves: str) -> CaseFile:
    file = opened()
    for move in moves:
        MOVES[move](file)
    return file


@pytest.mark.parametrize(
    ("moves", "state"),
    [
        ((), CaseState.OPEN),
        (("assign",), CaseState.ASSIGNED),
        (("answer",), CaseState.ANSWERED),
        (("assign", "answer", "answer"), CaseState.ANSWERED),
        (("answer", "reply"), CaseState.ANSWERED),
        (("answer", "reply", "refused"), CaseState.ANSWERED),
        (("answer", "reply", "refused", "reply", "applied"), CaseState.RETURNED),
        (("answer", "reply", "applied", "close"), CaseState.CLOSED),
        (("close, saying why",), CaseState.CLOSED),
        (("close, saying why", "note"), CaseState.CLOSED),
        (("close, saying why", "reopen"), CaseState.OPEN),
        (("assign", "answer", "reply", "applied", "close", "reopen"), CaseState.ASSIGNED),
    ],
)
def test_the_ways_through(moves: tuple[str, ...], state: CaseState) -> None:
    assert after(*moves).case.state is state


@pytest.mark.parametrize(
    ("moves", "refused"),
    [
        ((), "reply"),
        ((), "applied"),
        ((), "close"),
        ((), "reopen"),
        (("answer",), "assign"),
        (("answer",), "close"),
        (("answer", "reply"), "reply"),
        (("answer", "reply"), "answer"),
        (("answer", "reply"), "close, saying why"),
        (("answer", "reply", "applied"), "answer"),
        (("answer", "reply", "applied"), "refused"),
        (("close, saying why",), "close, saying why"),
        (("close, saying why",), "assign"),
    ],
)
def test_what_a_state_does_not_allow_changes_nothing(moves: tuple[str, ...], refused: str) -> None:
    file = after(*moves)
    before, entries = file.case, len(file.added)
    with pytest.raises(FailedPrecondition) as refusal:
        MOVES[refused](file)
    assert refusal.value.metadata["state"] == before.state.name
    assert (file.case, len(file.added)) == (before, entries)


def test_every_move_leaves_its_line_in_order() -> None:
    file = after("assign", "note", "answer", "reply", "applied", "close", "reopen")
    assert [entry.number for entry in file.added] == list(range(1, 9))
    assert [entry.kind.name for entry in file.added] == [
        "OPENED",
        "ASSIGNED",
        "NOTE",
        "ANSWER",
        "REPLY",
        "OUTCOME",
        "CLOSED",
        "REOPENED",
    ]
    assert file.case.entries == 8


def test_reopened_its_clock_and_its_times_are_new() -> None:
    file = after("answer", "reply", "applied", "close")
    assert (file.case.answer_time, file.case.return_time, file.case.close_time) == (LATER, LATER, LATER)
    file.run_late("apaise", LATER)
    MOVES["reopen"](file)
    assert (file.case.answer_time, file.case.return_time, file.case.close_time) == (None, None, None)
    assert (file.case.due_time, file.case.late) == (LATER + timedelta(hours=1), False)


def test_notes_end_before_the_history_grows_too_long_and_work_goes_on() -> None:
    file = opened()
    while file.case.entries < MAX_ENTRIES:
        file.note("n", "ana", LATER)
    with pytest.raises(FailedPrecondition):
        file.note("n", "ana", LATER)
    file.answer("a", None, "desk", LATER)
    assert file.added[-1].kind is EntryKind.ANSWER


def test_an_old_etag_is_refused_and_none_passes() -> None:
    case = opened().case
    check_case_etag(case, "")
    check_case_etag(case, str(case.version))
    with pytest.raises(Aborted):
        check_case_etag(case, "99")


@pytest.mark.parametrize(
    ("labels", "queue", "tension"),
    [
        (["praise"], Queue.NONE, Tension.CALM),
        (["anger", "complaint"], Queue.CARE, Tension.TENSE),
        (["boycott"], Queue.CARE, Tension.CRISIS),
        (["distress"], Queue.MODERATOR, Tension.CRISIS),
        (["question"], Queue.CRISIS, Tension.CRISIS),
    ],
)
def test_tension(labels: list[str], queue: Queue, tension: Tension) -> None:
    assert tension_of(Ruling(Visibility.KEEP, "c", (), queue=queue), reading(labels)) is tension


def test_what_nobody_read_is_calm_unless_it_is_the_crisis_cells() -> None:
    assert tension_of(Ruling(Visibility.KEEP, "c", ()), None) is Tension.CALM


@pytest.mark.parametrize("kind", list(ChannelKind))
def test_the_clock_shortens_with_the_tension(kind: ChannelKind) -> None:
    calm, tense, crisis = (due_time(START, kind, tension, None) for tension in Tension)
    assert START < crisis < tense < calm
    assert crisis <= START + timedelta(hours=12)  # the trade's promise for a crisis
    assert kind in DELAYS


def test_the_charters_promise_stands_and_tension_only_shortens_it() -> None:
    promised = START + timedelta(minutes=30)
    assert due_time(START, ChannelKind.LIVE_CHAT, Tension.CALM, promised) == promised
    assert due_time(START, ChannelKind.LIVE_CHAT, Tension.CRISIS, promised) == START + timedelta(minutes=5)
    assert due_time(START, ChannelKind.EMAIL, Tension.CRISIS, promised) == promised


def test_a_brands_own_delays_come_first() -> None:
    own = {ChannelKind.COMMENT: {Tension.CALM: timedelta(minutes=7)}}
    assert due_time(START, ChannelKind.COMMENT, Tension.CALM, None, own) == START + timedelta(minutes=7)
    assert due_time(START, ChannelKind.COMMENT, Tension.TENSE, None, own) == START + timedelta(hours=1)
