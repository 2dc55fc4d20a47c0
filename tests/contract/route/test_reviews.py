"""ReviewService: one holder, one resolution, and nothing that cannot be taken back."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from apaise.route.v1 import decision_pb2 as pb
from apaise.route.v1 import review_service_pb2 as reviews
from apaise.route.v1 import route_service_pb2 as routes
from apaise.type.v1 import message_pb2
from apaise_kit.runtime.status import failure_of
from apaise_route.testing import input_pb, reading

UNSURE = reading(unsure=["remove"])
THREAT = reading(["threat", "remove"])
PRE = message_pb2.MODERATION_MODE_PRE
CONFIRM, CORRECT, SKIP = reviews.RESOLUTION_CONFIRM, reviews.RESOLUTION_CORRECT, reviews.RESOLUTION_SKIP


async def opened(door: Any, brand: str, *external_ids: str, assessment: Any = UNSURE, **fields: Any) -> list[str]:
    """Route messages that owe a review; the items' names."""
    decided = await door.decide(*[input_pb(brand, x, assessment, **fields) for x in external_ids or ("x",)])
    return [decision.review_item for decision in decided]


async def claim(door: Any, name: str, actor: str = "ana", **fields: Any) -> reviews.ReviewItem:
    request = reviews.ClaimReviewItemRequest(name=name, **fields)
    response: reviews.ClaimReviewItemResponse = await door.review(actor=actor).ClaimReviewItem(request)
    return response.review_item


async def resolve(
    door: Any, item: reviews.ReviewItem, resolution: Any = CONFIRM, actor: str = "ana", **fields: Any
) -> reviews.ResolveReviewItemResponse:
    request = reviews.ResolveReviewItemRequest(name=item.name, **{"etag": item.etag, "resolution": resolution} | fields)
    response: reviews.ResolveReviewItemResponse = await door.review(actor=actor).ResolveReviewItem(request)
    return response


def reason_of(refused: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> tuple[grpc.StatusCode, str]:
    return refused.value.code(), failure_of(refused.value).reason


async def test_the_queue_is_ordered_by_urgency_and_pages(door: Any, brand: str) -> None:
    calm = await opened(door, brand, *[f"c{n}" for n in range(7)])
    (urgent,) = await opened(door, brand, "t", assessment=THREAT)
    names, token = [], ""
    while True:
        page = await door.review().ListReviewItems(
            reviews.ListReviewItemsRequest(parent=f"brands/{brand}", page_size=3, page_token=token)
        )
        names += [item.name for item in page.review_items]
        token = page.next_page_token
        if not token:
            break
    assert names[0] == urgent
    assert sorted(names[1:]) == sorted(calm)


async def test_within_the_same_tens_the_greater_harm_is_first(door: Any, brand: str) -> None:
    """All three fall under one clause of the default charter; only what may come of them differs."""
    mild = reading(unsure=["remove"])
    grave = reading(unsure=["remove", "threat"])
    (calm,) = await opened(door, brand, "calm", assessment=mild)
    private: dict[str, Any] = {"audience": message_pb2.AUDIENCE_PRIVATE}
    (unseen,) = await opened(door, brand, "unseen", assessment=grave, **private)
    (worst,) = await opened(door, brand, "worst", assessment=grave)
    page = await door.review().ListReviewItems(reviews.ListReviewItemsRequest(parent=f"brands/{brand}"))
    found = [(item.name, item.expected_harm) for item in page.review_items]
    assert found == [(worst, 1.0), (calm, 0.4), (unseen, 0.2)]
    assert len({item.priority for item in page.review_items}) == 1
    assert (await claim(door, f"brands/{brand}/reviewItems/-")).name == worst


async def test_an_item_shows_what_a_person_needs(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    page = await door.review().ListReviewItems(reviews.ListReviewItemsRequest(parent=f"brands/{brand}"))
    (item,) = page.review_items
    assert item.name == name
    assert item.message.text == "bonjour à tous"
    assert item.decision.review_item == name
    assert item.assessment.labels["remove"].probability == 0.5
    assert (item.reason, item.sampling_probability) == (reviews.REVIEW_REASON_UNSURE, 1)
    assert (item.queue, item.state) == (pb.QUEUE_MODERATOR, reviews.REVIEW_STATE_OPEN)
    assert item.HasField("due_time")


async def test_long_texts_make_shorter_pages(door: Any, brand: str) -> None:
    await opened(door, brand, *[f"x{n}" for n in range(60)], text="é" * 16_000)
    names, token = [], ""
    while True:
        page = await door.review().ListReviewItems(
            reviews.ListReviewItemsRequest(parent=f"brands/{brand}", page_size=500, page_token=token)
        )
        names += [item.name for item in page.review_items]
        token = page.next_page_token
        if not token:
            break
    assert len(names) == len(set(names)) == 60


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"queue": pb.QUEUE_CARE}, 0),
        ({"queue": pb.QUEUE_MODERATOR}, 1),
        ({"reason": reviews.REVIEW_REASON_AUDIT}, 0),
        ({"state": reviews.REVIEW_STATE_CLAIMED}, 0),
        ({"state": reviews.REVIEW_STATE_OPEN}, 1),
        ({"state": reviews.REVIEW_STATE_RESOLVED}, 0),
    ],
)
async def test_filters(door: Any, brand: str, filters: dict[str, Any], found: int) -> None:
    await opened(door, brand)
    request = reviews.ListReviewItemsRequest(parent=f"brands/{brand}", **filters)
    assert len((await door.review().ListReviewItems(request)).review_items) == found


async def test_of_many_racing_for_one_exactly_one_wins(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    racing = [claim(door, name, actor=f"m{n}") for n in range(6)]
    results = await asyncio.gather(*racing, return_exceptions=True)
    won = [result for result in results if isinstance(result, reviews.ReviewItem)]
    lost = [failure_of(result).reason for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert len(won) == 1
    assert lost == ["CLAIMED_BY_OTHER"] * 5


async def test_racing_for_the_most_urgent_each_gets_another(door: Any, brand: str) -> None:
    names = await opened(door, brand, *[f"x{n}" for n in range(6)])
    any_of = f"brands/{brand}/reviewItems/-"
    items = await asyncio.gather(*[claim(door, any_of, actor=f"m{n}") for n in range(6)])
    assert sorted(item.name for item in items) == sorted(names)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await claim(door, any_of, actor="late")
    assert reason_of(refused) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_the_most_urgent_over_all_the_callers_brands(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    stub = door.review(actor="ana", roles=["moderator"], brands=[brand])
    item = (await stub.ClaimReviewItem(reviews.ClaimReviewItemRequest(name="brands/-/reviewItems/-"))).review_item
    assert item.name == name


async def test_claiming_ones_own_extends_it(clocked: Any, brand: str) -> None:
    (name,) = await opened(clocked, brand)
    first = await claim(clocked, name)
    clocked.clock.advance(minutes=4)
    second = await claim(clocked, name)
    assert second.lease_expire_time.seconds == first.lease_expire_time.seconds + 240


async def test_an_expired_lease_reads_as_open(clocked: Any, brand: str) -> None:
    (name,) = await opened(clocked, brand)
    item = await claim(clocked, name)
    assert (item.state, item.claim_actor) == (reviews.REVIEW_STATE_CLAIMED, "ana")
    clocked.clock.advance(minutes=5)
    page = await clocked.review().ListReviewItems(
        reviews.ListReviewItemsRequest(parent=f"brands/{brand}", state=reviews.REVIEW_STATE_OPEN)
    )
    assert [(i.name, i.claim_actor) for i in page.review_items] == [(name, "")]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await resolve(clocked, item)
    assert reason_of(refused) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert (await claim(clocked, name, actor="ben")).claim_actor == "ben"


@pytest.mark.parametrize("seconds", [9, 3601, 10**11])
async def test_a_lease_has_limits(door: Any, brand: str, seconds: int) -> None:
    (name,) = await opened(door, brand)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await claim(door, name, lease={"seconds": seconds})
    assert reason_of(refused) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_released_it_is_anyones(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    item = await claim(door, name)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await door.review(actor="ben").ReleaseReviewItem(reviews.ReleaseReviewItemRequest(name=name, etag=item.etag))
    assert reason_of(refused) == (grpc.StatusCode.FAILED_PRECONDITION, "CLAIMED_BY_OTHER")
    free = await door.review(actor="ana").ReleaseReviewItem(reviews.ReleaseReviewItemRequest(name=name, etag=item.etag))
    assert free.review_item.state == reviews.REVIEW_STATE_OPEN
    assert (await claim(door, name, actor="ben")).claim_actor == "ben"


async def test_a_confirmation_is_a_human_decision_and_a_review(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand, assessment=THREAT)
    done = await resolve(door, await claim(door, name))
    assert (done.decision.cause, done.decision.actor, done.decision.automated) == (pb.CAUSE_HUMAN, "ana", False)
    assert done.decision.visibility == pb.VISIBILITY_HIDE
    assert done.review.decision == done.decision.name
    assert dict(done.review.labels_after) == {"remove": True}
    assert done.review.labels_before["threat"] == 0.9
    assert done.review.provenance.encoder == "enc"
    assert done.review_item.state == reviews.REVIEW_STATE_RESOLVED
    assert done.review_item.decision == done.decision


async def test_a_correction_says_what_is_right(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    correction = reviews.Correction(visibility=pb.VISIBILITY_HIDE, labels={"insult": True}, clause="insult")
    done = await resolve(door, await claim(door, name), CORRECT, correction=correction)
    assert (done.review.visibility_before, done.review.visibility_after) == (pb.VISIBILITY_KEEP, pb.VISIBILITY_HIDE)
    assert dict(done.review.labels_after) == {"insult": True, "remove": True}
    assert (done.decision.clause, done.decision.visibility) == ("insult", pb.VISIBILITY_HIDE)
    assert done.decision.reasons[0].clause == "human"


async def test_a_skip_teaches_nothing_and_leaves_the_decision(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    done = await resolve(door, await claim(door, name), SKIP)
    assert dict(done.review.labels_after) == {}
    assert done.review.decision == ""
    assert done.decision.cause == pb.CAUSE_AUTOMATIC


@pytest.mark.parametrize(
    "fields",
    [
        {"resolution": CORRECT},
        {"resolution": CONFIRM, "correction": {"visibility": "VISIBILITY_KEEP"}},
        {"resolution": CORRECT, "correction": {}},
        {"resolution": CORRECT, "correction": {"visibility": "VISIBILITY_KEEP", "labels": {"insullt": True}}},
        {"resolution": CORRECT, "correction": {"visibility": "VISIBILITY_KEEP", "clause": "insullt"}},
        {"resolution": reviews.RESOLUTION_UNDO},
        {"resolution": reviews.RESOLUTION_UNSPECIFIED},
        {"request_id": "with a space"},
    ],
)
async def test_a_resolution_that_makes_no_sense(door: Any, brand: str, fields: dict[str, Any]) -> None:
    (name,) = await opened(door, brand)
    item = await claim(door, name)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await resolve(door, item, **fields)
    assert reason_of(refused) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_an_old_etag_is_refused(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    item = await claim(door, name)
    await claim(door, name)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await resolve(door, item)
    assert reason_of(refused) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


async def test_only_the_holder_resolves(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    item = await claim(door, name)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await resolve(door, item, actor="ben")
    assert reason_of(refused) == (grpc.StatusCode.FAILED_PRECONDITION, "CLAIMED_BY_OTHER")


async def test_the_same_request_again_gets_the_same_answer(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    item = await claim(door, name)
    first = await resolve(door, item, request_id="r-1")
    assert await resolve(door, item, request_id="r-1") == first
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await resolve(door, item, SKIP, request_id="r-1")
    assert reason_of(refused) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await resolve(door, item)
    assert reason_of(refused) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")


async def test_undo_gives_back_what_held(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    correction = reviews.Correction(visibility=pb.VISIBILITY_HIDE)
    done = await resolve(door, await claim(door, name), CORRECT, correction=correction)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await door.review().UndoResolution(reviews.UndoResolutionRequest(name=name, etag="0"))
    assert reason_of(refused) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    undone = await door.review(actor="ben").UndoResolution(
        reviews.UndoResolutionRequest(name=name, etag=done.review_item.etag)
    )
    assert (undone.decision.cause, undone.decision.actor) == (pb.CAUSE_UNDO, "ben")
    assert undone.decision.visibility == pb.VISIBILITY_KEEP
    assert undone.decision.supersedes == done.decision.name
    assert (undone.review.resolution, undone.review.undoes) == (reviews.RESOLUTION_UNDO, done.review.name)
    assert undone.review_item.state == reviews.REVIEW_STATE_OPEN
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await door.review().UndoResolution(reviews.UndoResolutionRequest(name=name, etag=undone.review_item.etag))
    assert reason_of(refused) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    await resolve(door, await claim(door, name))


async def test_a_person_is_not_overridden(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand, assessment=None, absence=pb.ASSESSMENT_ABSENCE_UNAVAILABLE, moderation=PRE)
    correction = reviews.Correction(visibility=pb.VISIBILITY_KEEP)
    done = await resolve(door, await claim(door, name), CORRECT, correction=correction)
    assert await door.decide(input_pb(brand, "x", THREAT, moderation=PRE)) == [done.decision]


async def test_an_edit_after_a_person_decided_comes_back(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    await resolve(door, await claim(door, name))
    await door.decide(input_pb(brand, "x", reading(["praise"]), revision=2))
    page = await door.review().ListReviewItems(reviews.ListReviewItemsRequest(parent=f"brands/{brand}"))
    (item,) = page.review_items
    assert (item.reason, item.message.edit_revision) == (reviews.REVIEW_REASON_EDITED, 2)


async def test_what_is_gone_is_not_reviewed(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    await door.decide(input_pb(brand, "x", absence=pb.ASSESSMENT_ABSENCE_NO_TEXT, gone=True))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await claim(door, name)
    assert reason_of(refused) == (grpc.StatusCode.FAILED_PRECONDITION, "MESSAGE_GONE")
    page = await door.review().ListReviewItems(
        reviews.ListReviewItemsRequest(parent=f"brands/{brand}", state=reviews.REVIEW_STATE_WITHDRAWN)
    )
    (item,) = page.review_items
    assert (item.message.text, item.message.gone) == ("", True)


async def followed(door: Any, brand: str, count: int, cursor: str = "") -> list[reviews.FollowReviewsResponse]:
    request = reviews.FollowReviewsRequest(parent=f"brands/{brand}", cursor=cursor)
    call = door.review(roles=["service"]).FollowReviews(request, timeout=20)
    seen = [await asyncio.wait_for(call.read(), 10) for _ in range(count)]
    call.cancel()
    return seen


async def test_reviews_are_followed_with_their_messages_undos_included(door: Any, brand: str) -> None:
    (name,) = await opened(door, brand)
    done = await resolve(door, await claim(door, name))
    start, first = await followed(door, brand, 2)
    assert not start.HasField("review")
    assert first.review == done.review
    assert first.message.text == "bonjour à tous"
    assert first.audience == message_pb2.AUDIENCE_PUBLIC
    undone = await door.review().UndoResolution(reviews.UndoResolutionRequest(name=name, etag=done.review_item.etag))
    _, second = await followed(door, brand, 2, first.cursor)
    assert second.review == undone.review


async def test_what_may_not_train_comes_without_its_text(door: Any, brand: str) -> None:
    private: dict[str, Any] = {
        "audience": message_pb2.AUDIENCE_PRIVATE,
        "kind": message_pb2.CHANNEL_KIND_PRIVATE_MESSAGE,
    }
    names = await opened(door, brand, "private", **private)
    refused = input_pb(brand, "refused", UNSURE)
    refused.message.may_train = False
    allowed = input_pb(brand, "allowed", UNSURE, **private)
    allowed.message.may_train = True
    names += [decision.review_item for decision in await door.decide(refused, allowed)]
    for name in names:
        await resolve(door, await claim(door, name))
    _, *seen = await followed(door, brand, 4)
    assert [s.audience for s in seen] == [
        message_pb2.AUDIENCE_PRIVATE,
        message_pb2.AUDIENCE_PUBLIC,
        message_pb2.AUDIENCE_PRIVATE,
    ]
    assert [(s.message.external_id, bool(s.message.text)) for s in seen] == [
        ("private", False),
        ("refused", False),
        ("allowed", True),
    ]


async def test_the_audit_sample_is_the_same_each_time(door: Any, brand: str) -> None:
    inputs = [input_pb(brand, f"x{n}", reading(["praise"])) for n in range(400)]
    first = await door.decide(*inputs)
    sampled = [decision for decision in first if decision.review_item]
    assert 1 <= len(sampled) <= 25
    page = await door.review().ListReviewItems(
        reviews.ListReviewItemsRequest(parent=f"brands/{brand}", reason=reviews.REVIEW_REASON_AUDIT)
    )
    assert {item.name for item in page.review_items} == {decision.review_item for decision in sampled}
    assert {item.sampling_probability for item in page.review_items} == {0.02}
    listed = await door.route().ListDecisions(routes.ListDecisionsRequest(parent=sampled[0].message))
    assert listed.decisions[0].reasons[-1].clause == "audit"
