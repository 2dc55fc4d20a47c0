"""What is illegal is archived as it was, at once, for the legal role alone, and nothing takes it out."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from apaise.route.v1 import archive_service_pb2 as pb
from apaise.route.v1 import decision_pb2 as decisions
from apaise.route.v1 import review_service_pb2 as reviews
from apaise.type.v1 import message_pb2
from apaise_route.testing import START, input_pb, reading

INCITEMENT = reading(["complaint"], at={"hate": 0.98, "threat": 0.99})
TEXT = "canari : on va tous les brûler"


async def listed(door: Any, brand: str) -> list[pb.Exhibit]:
    found = await door.archive(roles=["legal"]).ListExhibits(pb.ListExhibitsRequest(parent=f"brands/{brand}"))
    return list(found.exhibits)


async def content_of(door: Any, exhibit: pb.Exhibit) -> dict[str, Any]:
    found = await door.archive(roles=["legal"]).GetExhibit(pb.GetExhibitRequest(name=exhibit.name))
    assert hashlib.sha256(found.content).hexdigest() == found.exhibit.digest == exhibit.digest
    document: dict[str, Any] = json.loads(found.content)
    return document


async def test_an_illegal_clause_hides_archives_and_opens_a_review_in_one_transaction(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    (decision,) = await clocked.decide(input_pb(brand, "x", INCITEMENT, text=TEXT))
    assert (decision.visibility, decision.ground) == (decisions.VISIBILITY_HIDE, decisions.GROUND_ILLEGAL)
    items = await clocked.review().ListReviewItems(reviews.ListReviewItemsRequest(parent=f"brands/{brand}"))
    assert [item.reason for item in items.review_items] == [reviews.REVIEW_REASON_ILLEGAL]
    (exhibit,) = await listed(clocked, brand)
    assert (exhibit.message, exhibit.decision, exhibit.edit_revision) == (decision.message, decision.name, 1)
    assert (exhibit.clause, exhibit.reason, exhibit.actor) == ("illegal-incitement", decision.explanation, "apaise")
    assert (exhibit.charter, exhibit.charter_digest) == (decision.charter, decision.charter_digest)
    assert exhibit.create_time == decision.create_time
    content = await content_of(clocked, exhibit)
    assert content["message"]["text"] == TEXT
    assert content["message"]["author"]["platform_id"] == "p1"
    assert content["channel"]["platform"] == "twitch"
    assert content["assessment"]["scores"]["threat"]["probability"] == 0.99
    assert content["decision"]["ruling"]["ground"] == "ILLEGAL"


async def test_routing_again_archives_nothing_twice_and_what_is_only_harsh_is_not_archived(
    clocked: Any, brand: str
) -> None:
    for _ in range(2):
        await clocked.decide(input_pb(brand, "x", INCITEMENT), input_pb(brand, "y", reading(["threat", "remove"])))
    assert len(await listed(clocked, brand)) == 1


async def test_a_private_message_stays_visible_and_is_archived_and_reviewed(clocked: Any, brand: str) -> None:
    private = input_pb(brand, "x", INCITEMENT, audience=message_pb2.AUDIENCE_PRIVATE)
    (decision,) = await clocked.decide(private)
    assert decision.visibility == decisions.VISIBILITY_KEEP
    assert decision.review_item
    (exhibit,) = await listed(clocked, brand)
    assert exhibit.visibility == decisions.VISIBILITY_KEEP


async def test_deleting_the_message_leaves_the_evidence_and_an_edit_adds_its_own(clocked: Any, brand: str) -> None:
    await clocked.decide(input_pb(brand, "x", INCITEMENT, text=TEXT))
    clocked.clock.advance(minutes=1)
    await clocked.decide(input_pb(brand, "x", INCITEMENT, text=TEXT + " !", revision=2))
    await clocked.decide(input_pb(brand, "x", reading(), text="", revision=2, gone=True))
    newest, oldest = await listed(clocked, brand)
    assert [(await content_of(clocked, each))["message"]["text"] for each in (newest, oldest)] == [TEXT + " !", TEXT]


async def test_a_person_who_shows_it_again_is_seen_and_one_who_names_the_law_archives(clocked: Any, brand: str) -> None:
    shown, threat = await clocked.decide(
        input_pb(brand, "x", INCITEMENT), input_pb(brand, "y", reading(["threat", "remove"]), text=TEXT)
    )
    keep = reviews.Correction(visibility=decisions.VISIBILITY_KEEP, clause="illegal-incitement")
    law = reviews.Correction(visibility=decisions.VISIBILITY_DELETE, clause="illegal-incitement")
    clocked.clock.advance(minutes=1)
    await correct(clocked, shown.review_item, keep)
    person = await correct(clocked, threat.review_item, law)
    assert person.ground == decisions.GROUND_ILLEGAL
    newest, oldest = await listed(clocked, brand)
    assert (newest.actor, newest.decision, newest.ground) == ("tester", person.name, decisions.GROUND_ILLEGAL)
    assert (await content_of(clocked, newest))["message"]["text"] == TEXT
    assert (oldest.actor, oldest.visibility) == ("apaise", decisions.VISIBILITY_KEEP)
    assert oldest.ground == decisions.GROUND_UNSPECIFIED


async def correct(door: Any, name: str, correction: reviews.Correction) -> decisions.Decision:
    item = (await door.review().ClaimReviewItem(reviews.ClaimReviewItemRequest(name=name))).review_item
    request = reviews.ResolveReviewItemRequest(
        name=name, etag=item.etag, resolution=reviews.RESOLUTION_CORRECT, correction=correction
    )
    decision: decisions.Decision = (await door.review().ResolveReviewItem(request)).decision
    return decision


async def test_pages_and_all_brands_of_ones_own(clocked: Any, brand: str) -> None:
    for number in range(3):
        clocked.clock.advance(minutes=1)
        await clocked.decide(input_pb(brand, f"x{number}", INCITEMENT))
    await clocked.decide(input_pb(f"{brand}-b", "x", INCITEMENT))
    stub = clocked.archive(roles=["legal"], brands=[brand])
    names: list[str] = []
    request = pb.ListExhibitsRequest(parent="brands/-", page_size=2)
    while True:
        page = await stub.ListExhibits(request)
        names += [exhibit.name for exhibit in page.exhibits]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert len(names) == len(set(names)) == 3
    assert all(name.startswith(f"brands/{brand}/exhibits/") for name in names)


@pytest.mark.parametrize("read", [False, True])
async def test_archiving_and_reading_are_events_without_words(clocked: Any, brand: str, read: bool) -> None:
    before = await clocked.deps.db.last_sequence()
    await clocked.decide(input_pb(brand, "x", INCITEMENT, text=TEXT))
    (exhibit,) = await listed(clocked, brand)
    if read:
        await content_of(clocked, exhibit)
    kinds = ("exhibit.archived", "exhibit.read")
    stream = clocked.deps.db.follow(before, kinds, [brand])
    found = await anext(stream)
    await stream.aclose()
    assert [(event.kind, event.actor) for event in found] == [(kind, "tester") for kind in kinds[: 1 + read]]
    assert all(event.payload == {"digest": exhibit.digest} for event in found)
