"""FiguresService: counted by hand, then asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest

from apaise.route.v1 import case_service_pb2 as cases
from apaise.route.v1 import decision_pb2 as decisions
from apaise.route.v1 import figures_service_pb2 as pb
from apaise.route.v1 import review_service_pb2 as reviews
from apaise.type.v1 import message_pb2
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.runtime.status import failure_of
from apaise_route.app.cases import run_late
from apaise_route.testing import START, input_pb, reading

UNSURE, THREAT, ANGRY = reading(unsure=["remove"]), reading(["threat", "remove"]), reading(["complaint", "anger"])
KEEP = reviews.Correction(visibility=decisions.VISIBILITY_KEEP)
HIDE = reviews.Correction(visibility=decisions.VISIBILITY_HIDE)


async def figures(door: Any, brand: str, **fields: Any) -> pb.GetFiguresResponse:
    request = pb.GetFiguresRequest(name=f"brands/{brand}", **fields)
    response: pb.GetFiguresResponse = await door.figures().GetFigures(request)
    return response


async def resolve(door: Any, name: str, actor: str, **fields: Any) -> reviews.ReviewItem:
    stub = door.review(actor=actor)
    item = (await stub.ClaimReviewItem(reviews.ClaimReviewItemRequest(name=name))).review_item
    request = reviews.ResolveReviewItemRequest(name=name, etag=item.etag, **fields)
    resolved: reviews.ReviewItem = (await stub.ResolveReviewItem(request)).review_item
    return resolved


async def test_a_quiet_brand_has_zeros(clocked: Any, brand: str) -> None:
    found = await figures(clocked, brand)
    assert (found.decided, found.automated, found.hidden, found.restored) == (0, 0, 0, 0)
    assert (found.review.count, found.review.HasField("median")) == (0, False)
    assert [len(found.queues), len(found.clauses), len(found.reviewers)] == [0, 0, 0]
    assert found.end_time.seconds - found.start_time.seconds == 86_400


async def test_decisions_reviews_clauses_and_reviewers(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    threats = await clocked.decide(*[input_pb(brand, f"t{n}", THREAT) for n in range(3)])
    unsure = await clocked.decide(*[input_pb(brand, f"u{n}", UNSURE) for n in range(3)])
    clocked.clock.advance(minutes=2)
    correct, confirm, skip = reviews.RESOLUTION_CORRECT, reviews.RESOLUTION_CONFIRM, reviews.RESOLUTION_SKIP
    await resolve(clocked, threats[0].review_item, "ana", resolution=correct, correction=KEEP)
    await resolve(clocked, threats[1].review_item, "ana", resolution=confirm)
    await resolve(clocked, unsure[0].review_item, "ben", resolution=skip)
    clocked.clock.advance(hours=2)
    undone = await resolve(clocked, unsure[1].review_item, "ben", resolution=correct, correction=HIDE)
    undo = reviews.UndoResolutionRequest(name=undone.name, etag=undone.etag)
    await clocked.review(actor="ana").UndoResolution(undo)
    clocked.clock.advance(minutes=1)

    found = await figures(clocked, brand)
    assert (found.decided, found.automated, found.hidden) == (6, 4, 3)
    assert found.restored == 2  # Ana's correction, and the undo of Ben's
    assert found.review.count == 2
    assert found.review.median.ToTimedelta() == timedelta(minutes=2)
    assert found.review.with_deadline == found.review.within_deadline == 2
    clauses = {clause.clause: (clause.reviewed, clause.overridden) for clause in found.clauses}
    assert clauses == {threats[0].clause: (2, 1)}
    reviewers = {r.actor: (r.reviewed, r.overridden, r.skipped, r.undone) for r in found.reviewers}
    assert reviewers == {"ana": (2, 1, 0, 0), "ben": (0, 0, 1, 1)}
    waiting = {queue.queue: (queue.waiting, queue.oldest.ToTimedelta()) for queue in found.queues}
    assert waiting == {decisions.QUEUE_MODERATOR: (3, timedelta(hours=2, minutes=3))}


async def test_replies_in_time_and_late(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    names = []
    for decision in await clocked.decide(*[input_pb(brand, f"x{n}", ANGRY) for n in range(3)]):
        names.append((await clocked.case().OpenCase(cases.OpenCaseRequest(message=decision.message))).case.name)
    for minutes, name in ((4, names[0]), (12, names[1])):
        clocked.clock.set(START + timedelta(minutes=minutes))
        stub = clocked.case()
        await stub.AnswerCase(cases.AnswerCaseRequest(name=name, text="Voilà."))
        await stub.ReturnCase(cases.ReturnCaseRequest(name=name, audience=message_pb2.AUDIENCE_PUBLIC))
        applied = decisions.ACTION_STATE_APPLIED
        await stub.ReportCaseReply(cases.ReportCaseReplyRequest(name=name, outcome=applied))
    with acting_as(system_caller("route")):
        await run_late(clocked.deps)
    clocked.clock.advance(minutes=1)
    reply = (await figures(clocked, brand)).reply
    assert (reply.count, reply.with_deadline, reply.within_deadline) == (2, 3, 1)
    assert reply.median.ToTimedelta() == timedelta(minutes=8)


async def test_only_the_time_asked_for_counts(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    await clocked.decide(input_pb(brand, "x", THREAT))
    clocked.clock.advance(hours=25)
    assert (await figures(clocked, brand)).decided == 0
    start = {"seconds": int(START.timestamp())}
    assert (await figures(clocked, brand, start_time=start)).decided == 1


@pytest.mark.parametrize(("start", "end"), [(10, 10), (20, 10), (0, 93 * 86_400)])
async def test_a_time_that_cannot_be(door: Any, brand: str, start: int, end: int) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await figures(door, brand, start_time={"seconds": start}, end_time={"seconds": end})
    assert failure_of(refused.value).violations[0].field == "start_time"
