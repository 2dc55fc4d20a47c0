"""Golden items: given to each reviewer apart, answered like any other, deciding and teaching nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from apaise.route.v1 import decision_pb2 as pb
from apaise.route.v1 import review_service_pb2 as reviews
from apaise.route.v1 import route_service_pb2 as routes
from apaise_kit.runtime.status import failure_of
from apaise_route.domain.golden import APART
from apaise_route.testing import START, input_pb, reading

UNSURE = reading(unsure=["remove"])
CONFIRM, CORRECT, SKIP = reviews.RESOLUTION_CONFIRM, reviews.RESOLUTION_CORRECT, reviews.RESOLUTION_SKIP
KEEP, HIDE, DELETE = pb.VISIBILITY_KEEP, pb.VISIBILITY_HIDE, pb.VISIBILITY_DELETE


async def opened(door: Any, brand: str, *external_ids: str, **fields: Any) -> list[str]:
    now = door.clock.now()
    decided = await door.decide(*[input_pb(brand, x, UNSURE, received=now, **fields) for x in external_ids])
    return [decision.review_item for decision in decided]


async def claim(door: Any, name: str, actor: str) -> reviews.ReviewItem:
    found = await door.review(actor=actor).ClaimReviewItem(reviews.ClaimReviewItemRequest(name=name))
    item: reviews.ReviewItem = found.review_item
    return item


async def resolve(
    door: Any, item: reviews.ReviewItem, actor: str, right: Any = None, **fields: Any
) -> reviews.ResolveReviewItemResponse:
    """Correct an item to a visibility, confirm it without."""
    said: dict[str, Any] = {"resolution": CONFIRM}
    if right:
        said = {"resolution": CORRECT, "correction": reviews.Correction(visibility=right)}
    request = reviews.ResolveReviewItemRequest(name=item.name, etag=item.etag, **said | fields)
    done: reviews.ResolveReviewItemResponse = await door.review(actor=actor).ResolveReviewItem(request)
    return done


async def refused(awaitable: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await awaitable
    return failure_of(error.value)


async def add(door: Any, message: str, right: Any = HIDE, actor: str = "lea") -> reviews.GoldenItem:
    request = reviews.AddGoldenItemRequest(message=message, visibility=right)
    golden: reviews.GoldenItem = (await door.review(actor=actor).AddGoldenItem(request)).golden_item
    return golden


async def settled(door: Any, brand: str, external_id: str = "old", actor: str = "zoe", **fields: Any) -> str:
    """A message somebody else resolved long ago; its name."""
    door.clock.set(START)
    (name,) = await opened(door, brand, external_id, **fields)
    item = await claim(door, name, actor)
    await resolve(door, item, actor)
    door.clock.advance(days=9)
    message: str = item.message.name
    return message


async def listed(door: Any, brand: str, actor: str, **fields: Any) -> list[reviews.ReviewItem]:
    request = reviews.ListReviewItemsRequest(parent=f"brands/{brand}", **fields)
    return list((await door.review(actor=actor).ListReviewItems(request)).review_items)


async def goldens(door: Any, brand: str) -> list[tuple[int, int]]:
    page = await door.review(actor="lea").ListGoldenItems(reviews.ListGoldenItemsRequest(parent=f"brands/{brand}"))
    return [(golden.answered, golden.right) for golden in page.golden_items]


async def dealt(door: Any, brand: str, actor: str = "ana", now: str = "now") -> reviews.ReviewItem:
    """What a reviewer is given after they resolved one real item."""
    (real,) = await opened(door, brand, f"{now}-{actor}", text="un vrai message")
    await resolve(door, await claim(door, real, actor), actor)
    (copy,) = await listed(door, brand, actor)
    return copy


async def decisions_of(door: Any, message: str) -> int:
    return len((await door.route().ListDecisions(routes.ListDecisionsRequest(parent=message))).decisions)


def made_at(item: reviews.ReviewItem) -> int:
    """The milliseconds an id begins with."""
    number = 0
    for letter in item.name.rpartition("/")[2]:
        number = number << 5 | "0123456789abcdefghjkmnpqrstvwxyz".index(letter)
    return number >> 80


async def test_a_copy_reads_like_any_other_item(clocked: Any, brand: str) -> None:
    message = await settled(clocked, brand, text="un vieux message")
    await add(clocked, message)
    first, second = await opened(clocked, brand, "n1", "n2")
    real = await claim(clocked, first, "ana")
    clocked.clock.advance(seconds=20)
    await resolve(clocked, real, "ana")
    items = {item.name: item for item in await listed(clocked, brand, "ana")}
    other = items.pop(second)
    (copy,) = items.values()
    assert copy.message.name == message
    assert (copy.reason, copy.queue, copy.priority) == (other.reason, other.queue, other.priority)
    assert (copy.state, copy.expected_harm) == (other.state, other.expected_harm)
    later = copy.create_time.ToDatetime() - other.create_time.ToDatetime()
    assert timedelta(0) <= later <= APART
    assert copy.due_time.ToDatetime() - other.due_time.ToDatetime() == later
    assert (copy.decision.create_time, copy.decision.due_time) == (copy.create_time, copy.due_time)
    assert abs(made_at(copy) - copy.create_time.ToMilliseconds()) <= 1
    assert (copy.decision.cause, copy.decision.review_item) == (pb.CAUSE_AUTOMATIC, copy.name)
    assert copy.assessment == other.assessment
    age = copy.create_time.ToDatetime() - copy.message.received_time.ToDatetime()
    assert age == timedelta(0)  # as fresh as it was then
    said = {descriptor.name for descriptor, _ in copy.ListFields()}
    assert said == {descriptor.name for descriptor, _ in other.ListFields()}


async def test_nobody_else_sees_it(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, brand))
    copy = await dealt(clocked, brand)
    for state in (reviews.REVIEW_STATE_UNSPECIFIED, reviews.REVIEW_STATE_OPEN):
        assert await listed(clocked, brand, "ben", state=state) == []
        assert await listed(clocked, brand, "lea", state=state) == []
    assert (await refused(claim(clocked, copy.name, "ben"))).reason == "NOT_FOUND"
    assert (await refused(claim(clocked, f"brands/{brand}/reviewItems/-", "ben"))).reason == "NOT_FOUND"
    mine = await claim(clocked, f"brands/{brand}/reviewItems/-", "ana")
    assert mine.name == copy.name
    stub = clocked.review(actor="ben")
    release = reviews.ReleaseReviewItemRequest(name=mine.name, etag=mine.etag)
    assert (await refused(stub.ReleaseReviewItem(release))).reason == "NOT_FOUND"
    assert (await refused(resolve(clocked, mine, "ben"))).reason == "NOT_FOUND"
    undo = reviews.UndoResolutionRequest(name=mine.name, etag=mine.etag)
    assert (await refused(stub.UndoResolution(undo))).reason == "NOT_FOUND"


async def followed(door: Any, brand: str, count: int) -> list[reviews.Review]:
    call = door.review().FollowReviews(reviews.FollowReviewsRequest(parent=f"brands/{brand}"))
    seen = [await asyncio.wait_for(call.read(), 10) for _ in range(count + 1)]
    call.cancel()
    return [each.review for each in seen[1:]]


async def test_an_answer_looks_like_a_resolution_and_decides_and_teaches_nothing(clocked: Any, brand: str) -> None:
    message = await settled(clocked, brand)
    await add(clocked, message)
    before, last = await decisions_of(clocked, message), await clocked.deps.db.last_sequence()
    assert last
    copy = await claim(clocked, (await dealt(clocked, brand)).name, "ana")
    done = await resolve(clocked, copy, "ana", HIDE)
    assert (done.review.resolution, done.review.visibility_after, done.review.actor) == (CORRECT, HIDE, "ana")
    assert dict(done.review.labels_after) == {"remove": True}
    assert (done.decision.cause, done.decision.visibility, done.decision.actor) == (pb.CAUSE_HUMAN, HIDE, "ana")
    assert done.decision.sequence == copy.decision.sequence + 1
    assert done.review_item.state == reviews.REVIEW_STATE_RESOLVED
    (closed,) = [i for i in await listed(clocked, brand, "ana", state=3) if i.name == copy.name]
    assert closed.decision == done.decision
    # Nothing of it is in the message's history, in what trains, nor on the way to platforms.
    assert await decisions_of(clocked, message) == before
    (shown,) = await clocked.decide(input_pb(brand, "old", UNSURE))
    assert shown.visibility == KEEP
    await opened(clocked, brand, "last")
    await resolve(clocked, await claim(clocked, f"brands/{brand}/reviewItems/-", "ben"), "ben")
    assert [review.actor for review in await followed(clocked, brand, 3)] == ["zoe", "ana", "ben"]
    assert copy.name not in {review.review_item for review in await followed(clocked, brand, 3)}
    assert await goldens(clocked, brand) == [(1, 1)]


@pytest.mark.parametrize(
    ("right", "said", "tally"),
    [(HIDE, HIDE, (1, 1)), (HIDE, DELETE, (1, 1)), (HIDE, None, (1, 0)), (KEEP, None, (1, 1)), (KEEP, DELETE, (1, 0))],
)
async def test_how_sure_a_reviewer_is(clocked: Any, brand: str, right: Any, said: Any, tally: tuple[int, int]) -> None:
    await add(clocked, await settled(clocked, brand), right)
    await resolve(clocked, await claim(clocked, (await dealt(clocked, brand)).name, "ana"), "ana", said)
    assert await goldens(clocked, brand) == [tally]


async def test_a_skip_is_no_answer(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, brand))
    copy = await claim(clocked, (await dealt(clocked, brand)).name, "ana")
    done = await resolve(clocked, copy, "ana", resolution=SKIP)
    assert done.decision == copy.decision
    assert await goldens(clocked, brand) == [(0, 0)]


async def test_an_answer_taken_back_counts_no_more_and_stays_on_record(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, brand))
    copy = await claim(clocked, (await dealt(clocked, brand)).name, "ana")
    done = await resolve(clocked, copy, "ana", HIDE)
    undo = reviews.UndoResolutionRequest(name=copy.name, etag=done.review_item.etag)
    undone = await clocked.review(actor="ana").UndoResolution(undo)
    assert (undone.review.resolution, undone.review.undoes) == (reviews.RESOLUTION_UNDO, done.review.name)
    assert (undone.decision.cause, undone.decision.visibility) == (pb.CAUSE_UNDO, copy.decision.visibility)
    assert undone.decision.sequence == done.decision.sequence + 1
    assert undone.review_item.state == reviews.REVIEW_STATE_OPEN
    assert await goldens(clocked, brand) == [(0, 0)]
    again = await resolve(clocked, await claim(clocked, copy.name, "ana"), "ana", DELETE)
    assert again.decision.sequence == undone.decision.sequence + 1
    assert await goldens(clocked, brand) == [(1, 1)]
    async with clocked.deps.db.read() as conn:
        kept = await conn.scalar(sa.text("select count(*) from golden_answers where brand = :b"), {"b": brand})
    assert kept == 3


async def test_the_same_request_gets_the_same_answer(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, brand))
    copy = await claim(clocked, (await dealt(clocked, brand)).name, "ana")
    first = await resolve(clocked, copy, "ana", HIDE, request_id="r1")
    second = await resolve(clocked, copy, "ana", HIDE, request_id="r1")
    assert (second.review, second.decision) == (first.review, first.decision)
    assert (await refused(resolve(clocked, copy, "ana", KEEP, request_id="r1"))).reason == "REQUEST_ID_REUSED"


async def test_racing_each_gets_their_own_copy_of_the_same_one(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, brand))
    people = [f"m{n}" for n in range(5)]
    names = await opened(clocked, brand, *people)
    items = [await claim(clocked, name, who) for name, who in zip(names, people, strict=True)]
    await asyncio.gather(*[resolve(clocked, item, who) for item, who in zip(items, people, strict=True)])
    racing = [claim(clocked, f"brands/{brand}/reviewItems/-", who) for who in people]
    copies = await asyncio.gather(*racing)
    assert len({copy.name for copy in copies}) == len(people)
    assert len({copy.message.name for copy in copies}) == 1
    for copy, who in zip(copies, people, strict=True):
        assert [item.name for item in await listed(clocked, brand, who)] == [copy.name]
    answers = [resolve(clocked, copy, who, HIDE) for copy, who in zip(copies, people, strict=True)]
    await asyncio.gather(*answers)
    assert await goldens(clocked, brand) == [(5, 5)]


async def test_two_tabs_of_one_person_get_one_copy(clocked: Any, brand: str) -> None:
    for number in range(3):
        await add(clocked, await settled(clocked, brand, f"old{number}"))
    names = await opened(clocked, brand, *[f"x{n}" for n in range(6)])
    items = [await claim(clocked, name, "ana") for name in names]
    await asyncio.gather(*[resolve(clocked, item, "ana") for item in items])
    (copy,) = await listed(clocked, brand, "ana")
    twice = await asyncio.gather(*[claim(clocked, copy.name, "ana") for _ in range(2)])
    done = await asyncio.gather(*[resolve(clocked, item, "ana", HIDE) for item in twice], return_exceptions=True)
    assert sum(isinstance(each, reviews.ResolveReviewItemResponse) for each in done) == 1
    assert sorted(await goldens(clocked, brand)) == [(0, 0), (0, 0), (1, 1)]


async def test_nobody_is_asked_what_they_know(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, brand, actor="zoe"), actor="lea")
    for knows in ("zoe", "lea"):
        (real,) = await opened(clocked, brand, f"n-{knows}")
        await resolve(clocked, await claim(clocked, real, knows), knows)
        assert await listed(clocked, brand, knows) == []
    copy = await dealt(clocked, brand, "ana")
    await resolve(clocked, await claim(clocked, copy.name, "ana"), "ana")
    (real,) = await opened(clocked, brand, "once more")
    await resolve(clocked, await claim(clocked, real, "ana"), "ana")
    assert await listed(clocked, brand, "ana") == []  # each once


async def test_another_brands_are_not_asked(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, f"{brand}-b"))
    (real,) = await opened(clocked, brand, "n")
    await resolve(clocked, await claim(clocked, real, "ana"), "ana")
    assert await listed(clocked, brand, "ana") == []
    assert await goldens(clocked, brand) == []


async def test_withdrawn_it_is_asked_no_more(clocked: Any, brand: str) -> None:
    golden = await add(clocked, await settled(clocked, brand))
    copy = await claim(clocked, (await dealt(clocked, brand)).name, "ana")
    stub = clocked.review(actor="lea")
    request = reviews.WithdrawGoldenItemRequest(name=golden.name)
    ended = (await stub.WithdrawGoldenItem(request)).golden_item
    assert ended.HasField("withdraw_time")
    assert (await stub.WithdrawGoldenItem(request)).golden_item == ended
    assert (await refused(resolve(clocked, copy, "ana"))).reason == "WRONG_STATE"
    (real,) = await opened(clocked, brand, "n")
    await resolve(clocked, await claim(clocked, real, "ben"), "ben")
    assert await listed(clocked, brand, "ben") == []
    missing = reviews.WithdrawGoldenItemRequest(name=f"brands/{brand}/goldenItems/none")
    assert (await refused(stub.WithdrawGoldenItem(missing))).reason == "NOT_FOUND"


async def test_a_message_that_goes_takes_its_copies_along(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, brand))
    copy = await claim(clocked, (await dealt(clocked, brand)).name, "ana")
    await clocked.decide(input_pb(brand, "old", reading(), text="", gone=True))
    assert await listed(clocked, brand, "ana") == []
    assert (await refused(resolve(clocked, copy, "ana"))).reason == "MESSAGE_GONE"


async def test_duplicates_of_a_golden_item_are_not_decided_with_it(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, brand, text="gg ez"))
    copy = await claim(clocked, (await dealt(clocked, brand)).name, "ana")
    (same,) = await opened(clocked, brand, "same", text="gg ez")
    request = reviews.ResolveDuplicatesRequest(
        name=copy.name, etag=copy.etag, resolution=CORRECT, correction=reviews.Correction(visibility=HIDE)
    )
    done = await clocked.review(actor="ana").ResolveDuplicates(request)
    assert (len(done.duplicates), done.left) == (0, 0)
    assert [item.name for item in await listed(clocked, brand, "ana")] == [same]


async def test_a_real_items_duplicates_leave_golden_ones_alone(clocked: Any, brand: str) -> None:
    await add(clocked, await settled(clocked, brand, text="gg ez"))
    copy = await dealt(clocked, brand)
    (same,) = await opened(clocked, brand, "same", text="gg ez")
    item = await claim(clocked, same, "ana")
    request = reviews.ResolveDuplicatesRequest(
        name=item.name, etag=item.etag, resolution=CORRECT, correction=reviews.Correction(visibility=HIDE)
    )
    done = await clocked.review(actor="ana").ResolveDuplicates(request)
    assert (len(done.duplicates), done.left) == (0, 0)
    assert [i.name for i in await listed(clocked, brand, "ana")] == [copy.name]


async def test_passed_on_for_a_second_opinion_it_makes_room_for_another(clocked: Any, brand: str) -> None:
    for number in range(2):
        await add(clocked, await settled(clocked, brand, f"old{number}"))
    copy = await claim(clocked, (await dealt(clocked, brand)).name, "ana")
    stub = clocked.review(actor="ana")
    asked = await stub.AskSecondOpinion(reviews.AskSecondOpinionRequest(name=copy.name, etag=copy.etag))
    assert asked.review_item.state == reviews.REVIEW_STATE_OPEN
    assert await listed(clocked, brand, "ben") == []
    (real,) = await opened(clocked, brand, "n")
    await resolve(clocked, await claim(clocked, real, "ana"), "ana")
    (other,) = await listed(clocked, brand, "ana")
    assert other.message.name != copy.message.name


@pytest.mark.parametrize("right", [pb.VISIBILITY_UNSPECIFIED, pb.VISIBILITY_HOLD, 9])
async def test_an_answer_that_is_none(clocked: Any, brand: str, right: Any) -> None:
    message = await settled(clocked, brand)
    assert (await refused(add(clocked, message, right))).reason == "INVALID_FIELD"


async def test_what_cannot_be_golden(clocked: Any, brand: str) -> None:
    (decision,) = await clocked.decide(input_pb(brand, "open", UNSURE))
    assert (await refused(add(clocked, decision.message))).reason == "WRONG_STATE"
    assert (await refused(add(clocked, f"brands/{brand}/messages/none"))).reason == "NOT_FOUND"
    (gone,) = await clocked.decide(input_pb(brand, "open", reading(), text="", gone=True))
    assert (await refused(add(clocked, gone.message))).reason == "MESSAGE_GONE"


async def test_leads_agree_on_the_answer(clocked: Any, brand: str) -> None:
    message = await settled(clocked, brand)
    golden = await add(clocked, message, HIDE, "lea")
    assert await add(clocked, message, DELETE, "max") == golden
    assert (await refused(add(clocked, message, KEEP, "max"))).reason == "WRONG_STATE"


async def test_the_list_pages_newest_first(clocked: Any, brand: str) -> None:
    added = []
    for number in range(3):
        added.append((await add(clocked, await settled(clocked, brand, f"old{number}", text=f"n{number}"))).name)
    names, token = [], ""
    while True:
        request = reviews.ListGoldenItemsRequest(parent=f"brands/{brand}", page_size=2, page_token=token)
        page = await clocked.review().ListGoldenItems(request)
        names += [golden.name for golden in page.golden_items]
        token = page.next_page_token
        if not token:
            break
    assert sorted(names) == sorted(added)
    assert len(names) == 3


@pytest.mark.parametrize(("share", "others"), [(0.0, 12), (0.2, 2)])
async def test_the_share_bounds_how_many_are_given(clocked: Any, brand: str, share: float, others: int) -> None:
    """A share of none gives none; of a fifth, two real ones lie between two golden ones at least."""
    for number in range(3):
        await add(clocked, await settled(clocked, brand, f"old{number}"))
    object.__setattr__(clocked.deps, "golden_share", share)
    between, since = [], 0
    for number in range(12):
        (real,) = await opened(clocked, brand, f"x{number}")
        await resolve(clocked, await claim(clocked, real, "ana"), "ana")
        clocked.clock.advance(seconds=1)
        since += 1
        for copy in await listed(clocked, brand, "ana"):
            await resolve(clocked, await claim(clocked, copy.name, "ana"), "ana")
            between.append(since)
            since = 0
    assert all(gap >= others for gap in between)
    assert share > 0 or between == []
