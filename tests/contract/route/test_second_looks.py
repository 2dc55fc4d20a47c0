"""Blind second looks: somebody else, who knows neither the first answer nor which revision read the message."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from apaise.route.v1 import charter_service_pb2 as charters
from apaise.route.v1 import decision_pb2 as pb
from apaise.route.v1 import figures_service_pb2 as figures
from apaise.route.v1 import review_service_pb2 as reviews
from apaise_route.app.reviews import _drawn_again
from apaise_route.domain.model import Queue, Resolution, ReviewItem, ReviewReason
from apaise_route.testing import START, input_pb, reading

from .test_review_extras import refused, waiting
from .test_reviews import CONFIRM, CORRECT, SKIP, claim, resolve

SECOND_LOOKS = 1.0
HIDE = reviews.Correction(visibility=pb.VISIBILITY_HIDE)
CHARTER = """
name: audited
language: fr
audit_share: 1
clauses:
  - {id: rude, when: yes.remove, visibility: HIDE}
"""


async def audited(door: Any, brand: str, external_id: str = "x", **fields: Any) -> str:
    """A message that needed nobody and was drawn for audit; its item."""
    parent = f"brands/{brand}"
    created = await door.charter().CreateCharter(
        charters.CreateCharterRequest(parent=parent, charter=charters.Charter(source=CHARTER))
    )
    await door.charter().ActivateCharter(charters.ActivateCharterRequest(name=created.charter.name))
    (decision,) = await door.decide(input_pb(brand, external_id, reading(adapter="r2"), **fields))
    name: str = decision.review_item
    return name


async def looked_at(door: Any, brand: str, **fields: Any) -> tuple[reviews.Review, reviews.ReviewItem]:
    """The first person's review, and the item the second one is asked with."""
    item = await claim(door, await audited(door, brand))
    review = (await resolve(door, item, **fields)).review
    page = await door.review(actor="ben").ListReviewItems(reviews.ListReviewItemsRequest(parent=f"brands/{brand}"))
    (second,) = page.review_items
    return review, second


async def test_the_second_is_shown_what_the_machine_decided_and_not_by_whom_or_what_was_said(
    door: Any, brand: str
) -> None:
    first, second = await looked_at(door, brand, resolution=CORRECT, correction=HIDE)
    assert first.second_look
    assert (first.reason, first.provenance.adapter) == (reviews.REVIEW_REASON_AUDIT, "r2")
    assert second.reason == reviews.REVIEW_REASON_SECOND_LOOK
    assert second.decision.visibility == pb.VISIBILITY_KEEP
    mine = await claim(door, second.name, "ben")
    for shown in (second, mine):
        assert "r2" not in str(shown)
        assert '"ana"' not in str(shown)
        assert "HIDE" not in str(shown)
        assert shown.assessment.labels["remove"].probability == 0.05


async def test_who_looked_first_cannot_look_again(door: Any, brand: str) -> None:
    _, second = await looked_at(door, brand)
    assert (await refused(claim(door, second.name, "ana"))).reason == "WRONG_STATE"
    assert (await refused(claim(door, f"brands/{brand}/reviewItems/-", "ana"))).reason == "NOT_FOUND"
    assert (await claim(door, f"brands/{brand}/reviewItems/-", "ben")).name == second.name


@pytest.mark.parametrize(("resolution", "after"), [(CONFIRM, pb.VISIBILITY_KEEP), (CORRECT, pb.VISIBILITY_DELETE)])
async def test_the_answer_is_about_the_machine_and_changes_nothing(
    door: Any, brand: str, resolution: Any, after: Any
) -> None:
    first, second = await looked_at(door, brand, resolution=CORRECT, correction=HIDE)
    mine = await claim(door, second.name, "ben")
    said = {"correction": reviews.Correction(visibility=after)} if resolution == CORRECT else {}
    done = await resolve(door, mine, resolution, "ben", **said)
    review = done.review
    assert (review.visibility_before, review.visibility_after) == (pb.VISIBILITY_KEEP, after)
    assert (review.reason, review.provenance.adapter) == (reviews.REVIEW_REASON_SECOND_LOOK, "r2")
    assert (review.decision, review.second_look) == ("", False)
    assert review.sampling_probability == first.sampling_probability
    request = pb_decisions(first.message)
    newest = (await door.route().ListDecisions(request)).decisions[0]
    assert (newest.visibility, newest.cause) == (pb.VISIBILITY_HIDE, pb.CAUSE_HUMAN)
    assert await waiting(door, brand) == set()


def pb_decisions(message: str) -> Any:
    from apaise.route.v1 import route_service_pb2 as routes

    return routes.ListDecisionsRequest(parent=message)


async def test_train_hears_both(door: Any, brand: str) -> None:
    first, second = await looked_at(door, brand)
    await resolve(door, await claim(door, second.name, "ben"), CONFIRM, "ben")
    heard = []
    async with asyncio.timeout(10):
        async for step in door.review().FollowReviews(reviews.FollowReviewsRequest(parent=f"brands/{brand}")):
            heard += [step.review] if step.HasField("review") else []
            if len(heard) == 2:
                break
    assert [(each.actor, each.second_look) for each in heard] == [("ana", True), ("ben", False)]
    assert heard[0].name == first.name


async def test_a_skip_asks_nobody_and_a_second_look_is_looked_at_once(door: Any, brand: str) -> None:
    item = await claim(door, await audited(door, brand))
    assert not (await resolve(door, item, SKIP)).review.second_look
    assert await waiting(door, brand) == set()
    other = f"{brand}-b"
    _, second = await looked_at(door, other)
    await resolve(door, await claim(door, second.name, "ben"), CONFIRM, "ben")
    assert await waiting(door, other) == set()


async def test_an_undo_asks_the_first_question_again_and_the_second_no_more(door: Any, brand: str) -> None:
    first, second = await looked_at(door, brand, resolution=CORRECT, correction=HIDE)
    item = await door.review().UndoResolution(
        reviews.UndoResolutionRequest(name=first.review_item, etag=str(await etag(door, brand, first.review_item)))
    )
    assert item.decision.visibility == pb.VISIBILITY_KEEP
    assert await waiting(door, brand) == {first.review_item}
    assert (await refused(claim(door, second.name, "ben"))).reason == "WRONG_STATE"


async def etag(door: Any, brand: str, name: str) -> str:
    request = reviews.ListReviewItemsRequest(parent=f"brands/{brand}", state=reviews.REVIEW_STATE_RESOLVED)
    found: str = next(each.etag for each in (await door.review().ListReviewItems(request)).review_items)
    return found


async def test_undoing_a_second_look_still_does_not_show_the_first(door: Any, brand: str) -> None:
    _, second = await looked_at(door, brand, resolution=CORRECT, correction=HIDE)
    done = await resolve(door, await claim(door, second.name, "ben"), CONFIRM, "ben")
    request = reviews.UndoResolutionRequest(name=second.name, etag=done.review_item.etag)
    undone = await door.review(actor="ben").UndoResolution(request)
    assert undone.review_item.decision.visibility == pb.VISIBILITY_KEEP
    assert await waiting(door, brand) == {second.name}


async def test_it_is_nobodys_duplicate(door: Any, brand: str) -> None:
    _, second = await looked_at(door, brand)
    (decision,) = await door.decide(input_pb(brand, "y", reading()))
    item = await claim(door, decision.review_item, "ben")
    request = reviews.ResolveDuplicatesRequest(name=item.name, etag=item.etag, resolution=CONFIRM)
    done = await door.review(actor="ben").ResolveDuplicates(request)
    assert (len(done.duplicates), done.left) == (0, 0)
    assert second.name in await waiting(door, brand)


def test_chance_alone_draws_a_share_of_the_audit_items() -> None:
    def item(number: int, reason: ReviewReason) -> ReviewItem:
        return ReviewItem("b", f"item-{number}", "m", 1, 1, reason, 0.02, Queue.MODERATOR, 0, None, START)

    audits = [item(number, ReviewReason.AUDIT) for number in range(2000)]
    drawn = [_drawn_again(each, Resolution.CONFIRM, 0.2) for each in audits]
    assert 310 <= sum(drawn) <= 490, "2000 items, a fifth, give or take five deviations"
    assert drawn == [_drawn_again(each, Resolution.CORRECT, 0.2) for each in audits]
    assert not any(_drawn_again(each, Resolution.CONFIRM, 0.0) for each in audits)
    others = set(ReviewReason) - {ReviewReason.AUDIT}
    assert not any(_drawn_again(item(1, reason), Resolution.CONFIRM, 1.0) for reason in others)


@pytest.mark.parametrize(("first", "same"), [(pb.VISIBILITY_DELETE, 1), (pb.VISIBILITY_KEEP, 0)])
async def test_two_who_looked_are_compared(clocked: Any, brand: str, first: Any, same: int) -> None:
    clocked.clock.set(START)
    said = reviews.Correction(visibility=first)
    _, second = await looked_at(clocked, brand, resolution=CORRECT, correction=said)
    await resolve(clocked, await claim(clocked, second.name, "ben"), CORRECT, "ben", correction=HIDE)
    clocked.clock.advance(minutes=1)
    found = await clocked.figures().GetFigures(figures.GetFiguresRequest(name=f"brands/{brand}"))
    people = {who.actor: (who.agreement.count, who.agreement.hits) for who in found.reviewers}
    assert people == {"ana": (1, same), "ben": (1, same)}
    clauses = {clause.clause: (clause.agreement.count, clause.agreement.hits) for clause in found.clauses}
    assert clauses == {"default": (1, same)}


async def test_an_answer_to_a_golden_item_is_not_looked_at_again(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    old = await claim(clocked, await audited(clocked, brand, "old"), "zoe")
    await resolve(clocked, old, SKIP, "zoe")
    right = reviews.AddGoldenItemRequest(message=old.message.name, visibility=pb.VISIBILITY_KEEP)
    await clocked.review(actor="lea").AddGoldenItem(right)
    (real,) = await clocked.decide(input_pb(brand, "new", reading(adapter="r2")))
    await resolve(clocked, await claim(clocked, real.review_item, "ana"), SKIP, "ana")
    copy = await claim(clocked, f"brands/{brand}/reviewItems/-", "ana")
    assert (copy.reason, copy.message.name) == (reviews.REVIEW_REASON_AUDIT, old.message.name)
    assert "r2" not in str(copy)  # blind, as every audit item
    await resolve(clocked, copy, CONFIRM, "ana")
    assert await waiting(clocked, brand) == set()
