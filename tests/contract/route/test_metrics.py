"""What /metrics shows of an evening: how long, in time or not, overridden, hidden, restored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from apaise.route.v1 import case_service_pb2 as cases
from apaise.route.v1 import decision_pb2 as decisions
from apaise.route.v1 import review_service_pb2 as reviews
from apaise.type.v1 import message_pb2
from apaise_route.testing import START, input_pb, reading

THREAT, ANGRY = reading(["threat", "remove"]), reading(["complaint", "anger"])
KEEP = reviews.Correction(visibility=decisions.VISIBILITY_KEEP)
CONFIRM, CORRECT, SKIP = reviews.RESOLUTION_CONFIRM, reviews.RESOLUTION_CORRECT, reviews.RESOLUTION_SKIP


async def resolve(door: Any, decision: decisions.Decision, **fields: Any) -> reviews.ReviewItem:
    """Claim and resolve, twice with the same request id: the second time changes and counts nothing."""
    stub, name = door.review(), decision.review_item
    item = (await stub.ClaimReviewItem(reviews.ClaimReviewItemRequest(name=name))).review_item
    request = reviews.ResolveReviewItemRequest(name=name, etag=item.etag, request_id=item.etag + name[-8:], **fields)
    await stub.ResolveReviewItem(request)
    resolved: reviews.ReviewItem = (await stub.ResolveReviewItem(request)).review_item
    return resolved


async def test_reviews_by_clause_and_what_was_hidden_and_restored(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    first, second, third = await clocked.decide(*[input_pb(brand, f"t{n}", THREAT) for n in range(3)])
    assert (first.clause, first.visibility) == ("threat", decisions.VISIBILITY_HIDE)
    assert clocked.metric("apaise_route_hidden_total") == {("threat",): 3}
    due = first.due_time.ToDatetime() - START.replace(tzinfo=None)
    clocked.clock.advance(minutes=2)
    assert due > timedelta(minutes=2)
    corrected = await resolve(clocked, first, resolution=CORRECT, correction=KEEP)
    await resolve(clocked, second, resolution=SKIP)
    clocked.clock.advance(days=1)
    await resolve(clocked, third, resolution=CONFIRM)
    assert clocked.metric("apaise_route_restored_total") == {("threat",): 1}

    await clocked.review().UndoResolution(reviews.UndoResolutionRequest(name=corrected.name, etag=corrected.etag))
    # Labels in order: changed, clause, resolution.
    assert clocked.metric("apaise_route_reviews_total") == {
        ("true", "threat", "CORRECT"): 1,
        ("false", "threat", "SKIP"): 1,
        ("false", "threat", "CONFIRM"): 1,
        ("true", "threat", "UNDO"): 1,
    }
    assert clocked.metric("apaise_route_restored_total") == {("threat",): 1}
    # Labels in order: kept, kind, queue.
    kept = {("true", "review", "MODERATOR"): 1, ("false", "review", "MODERATOR"): 1}
    assert clocked.metric("apaise_route_deadlines_total") == kept
    assert clocked.metric("apaise_route_review_duration_seconds_sum") == {("MODERATOR",): 120 + 86_520}
    within = clocked.metric("apaise_route_review_duration_seconds_bucket")
    assert (within["60", "MODERATOR"], within["120", "MODERATOR"], within["+Inf", "MODERATOR"]) == (0, 1, 2)


async def test_replies_count_when_the_author_can_read_them_and_once(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    (decision,) = await clocked.decide(input_pb(brand, "x", ANGRY))
    stub = clocked.case()
    name = (await stub.OpenCase(cases.OpenCaseRequest(message=decision.message))).case.name
    await stub.AnswerCase(cases.AnswerCaseRequest(name=name, text="Voilà."))
    for outcome in (decisions.ACTION_STATE_REFUSED, decisions.ACTION_STATE_APPLIED):
        clocked.clock.advance(minutes=4)
        await stub.ReturnCase(cases.ReturnCaseRequest(name=name, audience=message_pb2.AUDIENCE_PUBLIC))
        report = cases.ReportCaseReplyRequest(name=name, outcome=outcome, request_id=f"r{outcome}")
        await stub.ReportCaseReply(report)
        await stub.ReportCaseReply(report)
    assert clocked.metric("apaise_route_reply_duration_seconds_count") == {("CARE",): 1}
    assert clocked.metric("apaise_route_reply_duration_seconds_sum") == {("CARE",): 480}
    assert clocked.metric("apaise_route_deadlines_total") == {("true", "reply", "CARE"): 1}


async def test_a_brands_own_clause_is_not_named(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    item = (await clocked.decide(input_pb(brand, "x", THREAT)))[0]
    named = reviews.Correction(visibility=decisions.VISIBILITY_HIDE, clause="insult")
    await resolve(clocked, item, resolution=CORRECT, correction=named)
    assert ("false", "threat", "CORRECT") in clocked.metric("apaise_route_reviews_total")
    for name in ("reviews_total", "hidden_total", "deadlines_total", "review_duration_seconds_count"):
        shown = clocked.metric(f"apaise_route_{name}")
        assert shown
        assert brand not in str(shown)
