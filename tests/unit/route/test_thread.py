"""A message's thread: exactly one automatic decision a revision, and a person's word is not overridden."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.errors import Aborted, FailedPrecondition
from apaise_route.adapters.charter_yaml import compile_charter, default_charter
from apaise_route.domain.model import (
    Absence,
    Audience,
    Cause,
    Correction,
    Decision,
    Moderation,
    Queue,
    Resolution,
    Review,
    ReviewReason,
    ReviewState,
    RouteInput,
    Visibility,
)
from apaise_route.domain.thread import Thread, check_claim, draw_of, labels_after
from apaise_route.testing import START, entry, reading

CHARTER = default_charter()
KEEP, HOLD, HIDE = Visibility.KEEP, Visibility.HOLD, Visibility.HIDE


class Story:
    """A thread driven step by step."""

    def __init__(self) -> None:
        self.thread = Thread("b", "m")
        self.now = START
        self.ids = itertools.count(1)

    def new_id(self) -> str:
        return f"id{next(self.ids)}"

    def route(self, given: RouteInput) -> Decision:
        return self.thread.route(given, CHARTER, self.now, self.new_id)

    def resolve(self, resolution: Resolution, correction: Correction | None = None) -> Review:
        assert self.thread.item is not None
        item = replace(self.thread.item, state=ReviewState.CLAIMED, claim_actor="ana")
        return self.thread.resolve(item, resolution, correction, None, CHARTER, "ana", self.now, self.new_id)

    def undo(self, review: Review) -> Review:
        item = self.thread.touched[review.review_item]
        return self.thread.undo(item, review, CHARTER, "ben", self.now, self.new_id)

    def expire(self, minutes: float) -> Decision | None:
        self.now += timedelta(minutes=minutes)
        return self.thread.expire_hold(CHARTER, self.now, self.new_id)

    @property
    def causes(self) -> list[Cause]:
        return [decision.cause for decision in self.thread.decisions]


HELD = entry(reading(unsure=["remove"]), moderation=Moderation.PRE)
UNREAD = entry(None, Absence.UNAVAILABLE, moderation=Moderation.PRE)
BAD = entry(reading(["insult", "remove"]), moderation=Moderation.PRE)


def edited(given: RouteInput, revision: int = 2) -> RouteInput:
    return replace(given, message=replace(given.message, edit_revision=revision, text="autre texte"))


def gone(given: RouteInput) -> RouteInput:
    return replace(given, message=replace(given.message, gone=True, text=""))


def test_sent_again_it_is_answered_again() -> None:
    story = Story()
    assert story.route(BAD) is story.route(BAD)
    assert story.causes == [Cause.AUTOMATIC]


def test_a_late_assessment_decides_once_more() -> None:
    story = Story()
    assert story.route(UNREAD).ruling.visibility is HOLD
    again = story.route(BAD)
    assert (again.cause, again.ruling.visibility, again.absence) == (Cause.REASSESSMENT, HIDE, Absence.NONE)
    assert story.route(BAD) is again
    assert story.route(UNREAD).cause is Cause.AUTOMATIC
    assert story.causes == [Cause.AUTOMATIC, Cause.REASSESSMENT]


def test_a_reassessment_withdraws_the_review_nobody_owes_any_more() -> None:
    story = Story()
    story.route(UNREAD)
    assert story.thread.item is not None
    opened = story.thread.item.id
    story.route(BAD)
    assert story.thread.item is None
    assert story.thread.touched[opened].state is ReviewState.WITHDRAWN


def test_a_reassessment_leaves_the_item_someone_works_on() -> None:
    story = Story()
    story.route(UNREAD)
    item = story.thread.item
    assert item is not None
    lease = START + timedelta(minutes=5)
    story.thread.item = replace(item, state=ReviewState.CLAIMED, claim_actor="ana", lease_expire_time=lease)
    story.route(BAD)
    kept = story.thread.item
    assert kept is not None
    assert (kept.state, kept.sequence, kept.version) == (ReviewState.CLAIMED, 2, item.version + 1)


def test_no_machine_overrides_a_person() -> None:
    story = Story()
    story.route(UNREAD)
    story.resolve(Resolution.CORRECT, Correction(KEEP, {}))
    assert story.route(BAD).cause is Cause.HUMAN
    assert story.causes == [Cause.AUTOMATIC, Cause.HUMAN]


def test_once_the_person_takes_it_back_the_machine_may() -> None:
    story = Story()
    story.route(UNREAD)
    story.undo(story.resolve(Resolution.CORRECT, Correction(KEEP, {})))
    assert story.route(BAD).cause is Cause.REASSESSMENT


def test_an_edit_is_decided_anew_and_an_older_text_is_not() -> None:
    story = Story()
    story.route(edited(BAD))
    assert story.route(HELD).edit_revision == 2
    assert story.causes == [Cause.AUTOMATIC]


def test_an_edit_withdraws_the_older_review() -> None:
    story = Story()
    story.route(HELD)
    assert story.thread.item is not None
    older = story.thread.item.id
    story.route(edited(HELD))
    assert story.thread.touched[older].state is ReviewState.WITHDRAWN
    assert story.thread.item is not None
    assert story.thread.item.edit_revision == 2


def test_an_edit_after_a_person_decided_goes_to_a_person() -> None:
    story = Story()
    story.route(HELD)
    story.resolve(Resolution.CONFIRM)
    story.route(edited(entry(reading(["praise"]))))
    assert story.thread.item is not None
    assert story.thread.item.reason is ReviewReason.EDITED


def test_a_tombstone_blanks_withdraws_and_says_so_once() -> None:
    story = Story()
    story.route(HELD)
    first = story.route(gone(HELD))
    assert story.route(gone(HELD)) is first
    assert story.causes == [Cause.AUTOMATIC, Cause.ERASURE]
    assert first.ruling.visibility is KEEP
    assert story.thread.item is None
    assert story.thread.blanked
    assert story.route(BAD).cause is Cause.AUTOMATIC


def test_a_message_gone_before_it_was_decided_still_has_its_automatic_decision() -> None:
    story = Story()
    story.route(gone(UNREAD))
    assert story.causes == [Cause.AUTOMATIC, Cause.ERASURE]


def test_a_hold_is_put_before_people_once_more_then_ends() -> None:
    story = Story()
    story.route(HELD)
    assert story.expire(29) is None
    escalated = story.expire(1)
    assert escalated is not None
    assert (escalated.cause, escalated.ruling.visibility, escalated.ruling.priority) == (Cause.HOLD_EXPIRY, HOLD, 100)
    assert story.thread.item is not None
    assert story.thread.item.priority == 100
    ended = story.expire(30)
    assert ended is not None
    assert ended.ruling.visibility is KEEP
    assert story.thread.item is not None
    assert story.expire(1000) is None


def test_a_held_complaint_shows_when_its_hold_ends() -> None:
    story = Story()
    story.route(entry(reading(["complaint", "remove"]), moderation=Moderation.PRE))
    ended = story.expire(30)
    assert ended is not None
    assert (ended.ruling.visibility, ended.ruling.clause) == (KEEP, "hold-expiry")
    assert ended.ruling.explanation.startswith("Fin de la retenue")


def test_undo_gives_back_what_held_and_opens_the_item() -> None:
    story = Story()
    automatic = story.route(HELD)
    review = story.resolve(Resolution.CORRECT, Correction(HIDE, {"insult": True}))
    assert (review.visibility_before, review.visibility_after) == (HOLD, HIDE)
    story.now += timedelta(hours=3)
    undone = story.undo(review)
    restored = story.thread.decisions[-1]
    assert (restored.cause, restored.actor) == (Cause.UNDO, "ben")
    assert restored.ruling.visibility is automatic.ruling.visibility
    assert restored.ruling.hold_expire_time == story.now + timedelta(minutes=30)
    assert (undone.undoes, undone.labels_after) == (review.id, {})
    assert story.thread.item is not None
    assert story.thread.item.state is ReviewState.OPEN


def test_undo_after_an_edit_withdraws_the_review_and_decides_nothing() -> None:
    story = Story()
    story.route(HELD)
    review = story.resolve(Resolution.CONFIRM)
    story.route(edited(BAD))
    story.undo(review)
    assert story.causes == [Cause.AUTOMATIC, Cause.HUMAN, Cause.AUTOMATIC]
    assert story.thread.touched[review.review_item].state is ReviewState.WITHDRAWN


def test_undo_of_a_skip_opens_the_item_again() -> None:
    story = Story()
    story.route(HELD)
    story.undo(story.resolve(Resolution.SKIP))
    assert story.causes == [Cause.AUTOMATIC]
    assert story.thread.item is not None


@pytest.mark.parametrize(
    ("resolution", "visibility", "given", "said"),
    [
        (Resolution.CONFIRM, HIDE, {}, {"remove": True}),
        (Resolution.CONFIRM, KEEP, {}, {"remove": False}),
        (Resolution.CONFIRM, HOLD, {}, {}),
        (Resolution.CORRECT, Visibility.DELETE, {"insult": True}, {"insult": True, "remove": True}),
        (Resolution.CORRECT, KEEP, {"remove": True}, {"remove": True}),
        (Resolution.SKIP, HIDE, {}, {}),
    ],
)
def test_what_a_person_says_of_remove(
    resolution: Resolution, visibility: Visibility, given: dict[str, bool], said: dict[str, bool]
) -> None:
    assert labels_after(resolution, visibility, given) == said


def test_only_the_holder_closes_an_item_and_only_as_last_read() -> None:
    story = Story()
    story.route(HELD)
    item = story.thread.item
    assert item is not None
    lease = START + timedelta(minutes=5)
    claimed = replace(item, state=ReviewState.CLAIMED, claim_actor="ana", lease_expire_time=lease)
    check_claim(claimed, "ana", "1", START)
    with pytest.raises(FailedPrecondition, match="Someone else"):
        check_claim(claimed, "ben", "1", START)
    with pytest.raises(FailedPrecondition, match="Claim it first"):
        check_claim(claimed, "ana", "1", lease)
    with pytest.raises(Aborted):
        check_claim(claimed, "ana", "2", START)


def test_the_audit_draw_is_stable_and_even() -> None:
    draws = [draw_of("b", f"m{number}", 1) for number in range(4000)]
    assert draws == [draw_of("b", f"m{number}", 1) for number in range(4000)]
    assert 0.015 < sum(draw < 0.02 for draw in draws) / 4000 < 0.026


steps = st.lists(
    st.sampled_from(
        [UNREAD, BAD, HELD, edited(BAD), edited(UNREAD), gone(HELD), "confirm", "keep", "skip", "undo", "wait"]
    ),
    max_size=14,
)


@given(steps)
def test_whatever_happens_the_sequence_stays_whole(happened: list[RouteInput | str]) -> None:
    story = Story()
    last: Review | None = None
    for step in happened:
        if isinstance(step, RouteInput):
            story.route(step)
        elif step == "wait":
            story.expire(31)
        elif step == "undo":
            if last is not None and story.thread.touched[last.review_item].state is ReviewState.RESOLVED:
                story.undo(last)
                last = None
        elif story.thread.item is not None:
            chosen = {"confirm": Resolution.CONFIRM, "keep": Resolution.CORRECT, "skip": Resolution.SKIP}[step]
            last = story.resolve(chosen, Correction(KEEP, {}) if step == "keep" else None)
    decisions = story.thread.decisions
    assert [d.sequence for d in decisions] == list(range(1, len(decisions) + 1))
    for cause in (Cause.AUTOMATIC, Cause.REASSESSMENT):
        revisions = [d.edit_revision for d in decisions if d.cause is cause]
        assert len(revisions) == len(set(revisions))
    assert {d.edit_revision for d in decisions} == {d.edit_revision for d in decisions if d.cause is Cause.AUTOMATIC}
    assert [d.edit_revision for d in decisions] == sorted(d.edit_revision for d in decisions)
    assert sum(item.waiting for item in story.thread.touched.values()) <= 1
    held = bool(decisions) and decisions[-1].ruling.visibility is HOLD
    assert not held or decisions[-1].ruling.hold_expire_time is not None


@pytest.mark.parametrize(
    ("allowed", "said", "kept"),
    [("false", None, None), ("true", None, True), ("true", False, False), ("false", True, True)],
)
def test_a_private_message_trains_only_where_the_charter_lets_it(
    allowed: str, said: bool | None, kept: bool | None
) -> None:
    source = f"name: t\nlanguage: fr\ntraining: {{private_messages: {allowed}}}\nclauses: []\n"
    charter = compile_charter(source, "brands/b/charters/1")
    thread = Thread("b", "m")
    given = entry(reading(), audience=Audience.PRIVATE, may_train=said)
    thread.route(given, charter, START, lambda: "id")
    assert thread.texts[1].message.may_train is kept


def test_whom_to_notify_is_told_once() -> None:
    source = (
        "name: t\nlanguage: fr\nclauses:\n"
        "  - {id: a, when: yes.spam, visibility: HOLD, queue: moderator, notify: [legal], explain: {fr: x}}\n"
    )
    charter = compile_charter(source, "brands/b/charters/1")
    thread = Thread("b", "m")
    first = thread.route(entry(reading(["spam"])), charter, START, lambda: "id")
    later = thread.expire_hold(charter, START + timedelta(hours=1), lambda: "id2")
    assert first.ruling.notify == (Queue.LEGAL,)
    assert later is not None
    assert later.ruling.notify == ()
