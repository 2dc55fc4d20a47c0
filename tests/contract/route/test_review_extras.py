"""Second opinions, duplicates, and a queue of ten thousand."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from apaise.route.v1 import decision_pb2 as pb
from apaise.route.v1 import review_service_pb2 as reviews
from apaise.type.v1 import message_pb2
from apaise_kit.runtime.status import failure_of
from apaise_route.testing import input_pb, reading

UNSURE = reading(unsure=["remove"])
CONFIRM, CORRECT, SKIP = reviews.RESOLUTION_CONFIRM, reviews.RESOLUTION_CORRECT, reviews.RESOLUTION_SKIP
HIDE = reviews.Correction(visibility=pb.VISIBILITY_HIDE)


async def opened(door: Any, brand: str, external_id: str, text: str = "gg ez", **fields: Any) -> str:
    (decision,) = await door.decide(input_pb(brand, external_id, UNSURE, text=text, **fields))
    name: str = decision.review_item
    return name


async def claim(door: Any, name: str, actor: str) -> reviews.ReviewItem:
    response = await door.review(actor=actor).ClaimReviewItem(reviews.ClaimReviewItemRequest(name=name))
    item: reviews.ReviewItem = response.review_item
    return item


async def refused(awaitable: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await awaitable
    return failure_of(error.value)


async def resolve_all(
    door: Any, item: reviews.ReviewItem, resolution: Any = CORRECT, actor: str = "ana", **fields: Any
) -> reviews.ResolveDuplicatesResponse:
    request = reviews.ResolveDuplicatesRequest(name=item.name, etag=item.etag, resolution=resolution, **fields)
    response: reviews.ResolveDuplicatesResponse = await door.review(actor=actor).ResolveDuplicates(request)
    return response


async def test_one_item_is_read_by_name_whoever_holds_it(door: Any, brand: str) -> None:
    names = [await opened(door, brand, f"x{n}") for n in range(3)]
    await opened(door, brand, "other", text="autre chose")
    await claim(door, names[0], "ana")
    request = reviews.GetReviewItemRequest(name=names[0])
    found = await door.review(actor="ben", roles=["operator"]).GetReviewItem(request)
    assert (found.review_item.name, found.review_item.claim_actor, found.duplicates) == (names[0], "ana", 2)
    assert found.review_item.message.text == "gg ez"
    missing = reviews.GetReviewItemRequest(name=f"brands/{brand}/reviewItems/nothing")
    assert (await refused(door.review().GetReviewItem(missing))).reason == "NOT_FOUND"


async def waiting(door: Any, brand: str) -> set[str]:
    page = await door.review().ListReviewItems(reviews.ListReviewItemsRequest(parent=f"brands/{brand}"))
    return {item.name for item in page.review_items}


async def test_a_second_opinion_is_somebody_elses(door: Any, brand: str) -> None:
    name = await opened(door, brand, "x")
    item = await claim(door, name, "ana")
    request = reviews.AskSecondOpinionRequest(name=name, etag=item.etag)
    assert (await refused(door.review(actor="ben").AskSecondOpinion(request))).reason == "CLAIMED_BY_OTHER"
    asked = (await door.review(actor="ana").AskSecondOpinion(request)).review_item
    assert (asked.state, asked.reason) == (reviews.REVIEW_STATE_OPEN, reviews.REVIEW_REASON_SECOND_OPINION)
    assert (await refused(claim(door, name, "ana"))).reason == "WRONG_STATE"
    assert (await refused(claim(door, f"brands/{brand}/reviewItems/-", "ana"))).reason == "NOT_FOUND"
    mine = await claim(door, f"brands/{brand}/reviewItems/-", "ben")
    assert (mine.name, mine.claim_actor) == (name, "ben")


async def test_duplicates_are_decided_with_the_one_in_hand(door: Any, brand: str) -> None:
    item = await claim(door, await opened(door, brand, "x1"), "ana")
    same = {await opened(door, brand, "x2", "GG  ez"), await opened(door, brand, "x3", "gg\nEZ")}
    other = await opened(door, brand, "x4", "gg wp")
    private = await opened(
        door,
        brand,
        "x5",
        kind=message_pb2.CHANNEL_KIND_PRIVATE_MESSAGE,
        audience=message_pb2.AUDIENCE_PRIVATE,
    )
    held = await opened(door, brand, "x6")
    await claim(door, held, "ben")
    done = await resolve_all(door, item, correction=HIDE)
    assert done.decision.visibility == pb.VISIBILITY_HIDE
    assert {review.review_item for review in done.duplicates} == same
    assert {review.actor for review in done.duplicates} == {"ana"}
    assert {review.visibility_after for review in done.duplicates} == {pb.VISIBILITY_HIDE}
    assert done.left == 1
    assert await waiting(door, brand) == {other, private, held}


async def test_another_brands_duplicates_are_not_ours(door: Any, brand: str) -> None:
    theirs = await opened(door, f"{brand}-b", "x")
    item = await claim(door, await opened(door, brand, "x"), "ana")
    assert not (await resolve_all(door, item, CONFIRM)).duplicates
    assert await waiting(door, f"{brand}-b") == {theirs}


async def test_each_of_a_cluster_is_undone_by_itself(door: Any, brand: str) -> None:
    item = await claim(door, await opened(door, brand, "x1"), "ana")
    second = await opened(door, brand, "x2")
    await resolve_all(door, item, correction=HIDE)
    page = await door.review().ListReviewItems(
        reviews.ListReviewItemsRequest(parent=f"brands/{brand}", state=reviews.REVIEW_STATE_RESOLVED)
    )
    etags = {resolved.name: resolved.etag for resolved in page.review_items}
    undone = await door.review().UndoResolution(reviews.UndoResolutionRequest(name=second, etag=etags[second]))
    assert undone.decision.visibility == pb.VISIBILITY_KEEP
    assert dict(undone.review.labels_after) == {}  # what was learnt from it is withdrawn
    assert await waiting(door, brand) == {second}


async def test_a_skip_is_not_for_duplicates(door: Any, brand: str) -> None:
    item = await claim(door, await opened(door, brand, "x1"), "ana")
    assert (await refused(resolve_all(door, item, SKIP))).reason == "INVALID_FIELD"


async def test_ten_thousand_open_items_are_found_by_index(clocked: Any, brand: str) -> None:
    name = await opened(clocked, brand, "x")
    async with clocked.deps.db.engine.begin() as conn:
        await conn.execute(
            sa.text(
                "insert into review_items select (jsonb_populate_record(i, jsonb_build_object("
                "'id', 'n' || n, 'message', 'm' || n, 'due_key', i.due_key + n, 'urgency', -(n % 100)))).* "
                "from review_items i, generate_series(1, 10000) n where i.brand = :brand and i.id = :id"
            ),
            {"brand": brand, "id": name.rpartition("/")[2]},
        )
        await conn.execute(sa.text("analyze review_items"))
        pages = {
            "ix_review_items_brand_waiting": f"brand in ('{brand}') and",
            "ix_review_items_waiting": "",
        }
        for index, mine in pages.items():
            query = (
                f"select * from review_items where {mine} state in (1, 2) and (state = 1 or (state = 2 and "
                "lease_expire_time <= now())) and asked_by <> 'ana' and for_actor in ('', 'ana') "
                "and (urgency, due_key, id) > (-50, 0, '') "
                "order by urgency, due_key, id limit 51"
            )
            plan = "\n".join(row[0] for row in await conn.execute(sa.text(f"explain {query}")))
            assert f"Index Scan using {index}" in plan
            assert "Sort" not in plan
        await conn.execute(sa.text("delete from review_items where brand = :brand and id like 'n%'"), {"brand": brand})
