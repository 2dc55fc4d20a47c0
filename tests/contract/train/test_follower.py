"""Reviews become examples: once, in order, and withdrawn when taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from apaise.route.v1 import decision_pb2 as decision_pb
from apaise.route.v1 import review_service_pb2 as review_pb
from apaise.type.v1 import assessment_pb2 as assessment_pb
from apaise.type.v1 import message_pb2 as message_pb
from apaise_kit.core.errors import OutOfRange, Unavailable
from apaise_train.adapters import store
from apaise_train.adapters.mesh import followed_from
from apaise_train.adapters.tables import corrections
from apaise_train.domain.corrections import Correction
from apaise_train.domain.examples import Example
from apaise_train.domain.ports import ReviewKind
from apaise_train.testing import example

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Mesh


async def current(mesh: Mesh) -> dict[str, Example]:
    async with mesh.db.read() as conn:
        return {row.message: row for row in await store.current_examples(conn, "acme")}


async def followed(mesh: Mesh) -> None:
    async def caught_up() -> bool:
        async with mesh.db.read() as conn:
            return await store.read_cursor(conn) == str(len(mesh.reviews.steps))

    await until(caught_up)


async def test_a_later_review_replaces_and_its_undo_gives_the_first_back(mesh: Mesh) -> None:
    mesh.reviews.add(example(1, True))
    mesh.reviews.add(example(2, False, message="message-0001"))
    await followed(mesh)
    assert (await current(mesh))["message-0001"].remove is False
    mesh.reviews.undo("acme", "review-0002")
    await followed(mesh)
    assert (await current(mesh))["message-0001"].remove is True
    mesh.reviews.undo("acme", "review-0001")
    await followed(mesh)
    assert await current(mesh) == {}


async def test_a_blanked_message_leaves_no_text(mesh: Mesh) -> None:
    mesh.reviews.add(example(1, True))
    mesh.reviews.blank("acme", "message-0001")
    await followed(mesh)
    async with mesh.db.read() as conn:
        kept = await store.examples_by_review(conn, "acme", ["review-0001"])
    assert kept["review-0001"].text == ""
    assert await current(mesh) == {}


async def test_an_undo_of_another_brands_review_withdraws_nothing(mesh: Mesh) -> None:
    mesh.reviews.add(example(1, True))
    mesh.reviews.undo("other", "review-0001")
    await followed(mesh)
    assert len(await current(mesh)) == 1


async def test_it_goes_on_after_a_restart_and_after_route_was_away(mesh: Mesh) -> None:
    mesh.reviews.add(example(1, True))
    await followed(mesh)
    await mesh.stop()
    mesh.reviews.add(example(2, False))
    mesh.reviews.down = Unavailable("away")
    await mesh.start()
    mesh.reviews.down = None
    await followed(mesh)
    assert set(await current(mesh)) == {"message-0001", "message-0002"}
    assert mesh.reviews.started[0] == ""
    assert set(mesh.reviews.started[1:]) == {"1"}


async def test_an_expired_cursor_starts_again_and_keeps_nothing_twice(mesh: Mesh) -> None:
    mesh.reviews.add(example(1, True))
    await followed(mesh)
    mesh.reviews.down = OutOfRange("expired")

    async def began_again() -> bool:
        return mesh.reviews.started.count("") > 1

    await until(began_again)
    mesh.reviews.down = None
    mesh.reviews.add(example(2, True))
    await followed(mesh)
    assert len(await current(mesh)) == 2
    assert await mesh.db.verify_chain() == 2


def response(**changes: object) -> review_pb.FollowReviewsResponse:
    made = review_pb.FollowReviewsResponse(
        cursor="c7",
        review=review_pb.Review(
            name="brands/acme/reviews/rev1",
            message="brands/acme/messages/msg1",
            edit_revision=2,
            resolution=review_pb.RESOLUTION_CORRECT,
            sampling_probability=0.5,
            actor="lea",
            clause="insult",
            reason=review_pb.REVIEW_REASON_AUDIT,
            visibility_before=decision_pb.VISIBILITY_KEEP,
            visibility_after=decision_pb.VISIBILITY_HIDE,
            labels_before={"remove": 0.25, "hate": 0.75, "threat": 0.5},
            labels_after={"remove": True, "toxic": False},
            provenance=assessment_pb.Provenance(encoder="e1", adapter="r3"),
        ),
        audience=message_pb.AUDIENCE_PUBLIC,
    )
    made.review.create_time.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
    made.message.name = "brands/acme/messages/msg1"
    made.message.text = "un texte"
    made.message.author.author_key = "key"
    for field, value in changes.items():
        setattr(made.review if field != "text" else made.message, field, value)
    return made


def test_a_correction_is_read_from_the_contract() -> None:
    step = followed_from(response())
    assert step.kind is ReviewKind.EXAMPLE
    assert step.example is not None
    assert (step.example.review, step.example.message, step.example.author_key) == ("rev1", "msg1", "key")
    assert (step.example.remove, step.example.labels, step.example.weight) == (True, {"toxic": False}, 2.0)
    assert step.example.review_time == datetime(2026, 1, 2, tzinfo=UTC)
    assert step.example.published_time is None
    assert (step.example.actor, step.example.model_remove, step.example.danger) == ("lea", 0.25, 0.75)
    assert step.example.audit
    assert not step.example.private


def test_a_correction_says_who_when_why_and_what_the_model_had_said() -> None:
    record = followed_from(response()).correction
    assert record == Correction(
        brand="acme",
        review="rev1",
        message="msg1",
        edit_revision=2,
        resolution="CORRECT",
        undoes=None,
        actor="lea",
        review_time=datetime(2026, 1, 2, tzinfo=UTC),
        clause="insult",
        visibility_before="KEEP",
        visibility_after="HIDE",
        labels_before={"remove": 0.25, "hate": 0.75, "threat": 0.5},
        labels_after={"remove": True, "toxic": False},
        reason="AUDIT",
        sampling_probability=0.5,
        encoder="e1",
        adapter="r3",
    )


async def test_every_review_is_on_record_for_ever_also_one_that_teaches_nothing(mesh: Mesh) -> None:
    first, undo = response(), response(resolution=review_pb.RESOLUTION_UNDO, undoes="brands/acme/reviews/rev1")
    undo.review.name = "brands/acme/reviews/rev2"
    skipped = response(resolution=review_pb.RESOLUTION_SKIP)
    skipped.review.name = "brands/acme/reviews/rev3"
    for number, step in enumerate((first, undo, skipped, first), 1):
        mesh.reviews.steps.append(replace(followed_from(step), cursor=str(number)))
    await followed(mesh)
    async with mesh.db.read() as conn:
        kept = (await conn.execute(select(corrections).order_by(corrections.c.review))).all()
    assert [(row.review, row.resolution, row.undoes) for row in kept] == [
        ("rev1", "CORRECT", None),
        ("rev2", "UNDO", "rev1"),
        ("rev3", "SKIP", None),
    ]
    assert await current(mesh) == {}
    async with mesh.db.engine.connect() as conn:
        for change in ("delete from corrections", "truncate corrections", "update corrections set actor = 'x'"):
            with pytest.raises(DBAPIError, match="append-only"):
                await conn.execute(text(change))
            await conn.rollback()


@pytest.mark.parametrize(
    "changes",
    [{"resolution": review_pb.RESOLUTION_SKIP}, {"text": ""}, {"reason": review_pb.REVIEW_REASON_SECOND_LOOK}],
)
def test_skips_second_looks_and_texts_that_may_not_train_teach_nothing(changes: dict[str, object]) -> None:
    step = followed_from(response(**changes))
    assert step.kind is ReviewKind.NOTHING
    assert step.cursor == "c7"


def test_a_second_look_is_on_record_and_so_is_that_it_was_asked_for() -> None:
    asked = followed_from(response(second_look=True)).correction
    made = followed_from(response(reason=review_pb.REVIEW_REASON_SECOND_LOOK)).correction
    assert asked is not None
    assert made is not None
    assert (asked.reason, asked.second_look) == ("AUDIT", True)
    assert (made.reason, made.second_look, made.adapter) == ("SECOND_LOOK", False, "r3")


def test_an_undo_names_what_it_takes_back() -> None:
    step = followed_from(response(resolution=review_pb.RESOLUTION_UNDO, undoes="brands/acme/reviews/rev0"))
    assert (step.kind, step.undoes) == (ReviewKind.UNDO, ("acme", "rev0"))


def test_the_first_response_only_carries_the_cursor() -> None:
    step = followed_from(review_pb.FollowReviewsResponse(cursor="c0"))
    assert (step.cursor, step.kind) == ("c0", ReviewKind.NOTHING)
