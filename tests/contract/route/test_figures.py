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


def counts(rate: pb.Rate) -> tuple[int, int]:
    return rate.count, rate.hits


async def ask(door: Any, name: str, actor: str, leaning: Any) -> None:
    stub = door.review(actor=actor)
    await stub.ClaimReviewItem(reviews.ClaimReviewItemRequest(name=name))
    await stub.AskSecondOpinion(reviews.AskSecondOpinionRequest(name=name, leaning=leaning))


async def test_second_opinions_compared_with_the_first(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    keep, hide, delete = decisions.VISIBILITY_KEEP, decisions.VISIBILITY_HIDE, decisions.VISIBILITY_DELETE
    correct, confirm = reviews.RESOLUTION_CORRECT, reviews.RESOLUTION_CONFIRM
    unsure = await clocked.decide(*[input_pb(brand, f"u{n}", UNSURE) for n in range(6)])
    names = [decision.review_item for decision in unsure]
    for name, leaning in zip(names, (keep, delete, keep, hide, keep, 0), strict=True):
        await ask(clocked, name, "ana", leaning)
    await resolve(clocked, names[0], "ben", resolution=confirm)  # the same
    await resolve(clocked, names[1], "ben", resolution=correct, correction=HIDE)  # down as well
    await resolve(clocked, names[2], "cleo", resolution=correct, correction=HIDE)  # the other
    hold = reviews.Correction(visibility=decisions.VISIBILITY_HOLD)
    await resolve(clocked, names[3], "cleo", resolution=correct, correction=hold)  # neither
    undone = await resolve(clocked, names[4], "ben", resolution=confirm)
    undo = reviews.UndoResolutionRequest(name=undone.name, etag=undone.etag)
    await clocked.review(actor="ben").UndoResolution(undo)  # taken back
    await resolve(clocked, names[5], "ben", resolution=confirm)  # nothing to compare with
    clocked.clock.advance(minutes=1)
    found = await figures(clocked, brand)
    people = {who.actor: counts(who.agreement) for who in found.reviewers}
    assert people == {"ana": (3, 2), "ben": (2, 2), "cleo": (1, 0)}
    assert {c.clause: counts(c.agreement) for c in found.clauses} == {unsure[0].clause: (3, 2)}
    assert not any(who.agreement.HasField("low") for who in found.reviewers)


@pytest.mark.parametrize("leaning", [decisions.VISIBILITY_HOLD, 9])
async def test_a_leaning_is_one_way_or_the_other(clocked: Any, brand: str, leaning: Any) -> None:
    (decision,) = await clocked.decide(input_pb(brand, "x", UNSURE))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(clocked, decision.review_item, "ana", leaning)
    assert failure_of(refused.value).reason == "INVALID_FIELD"


async def golden(door: Any, brand: str, count: int) -> list[str]:
    """Golden items that are rightly taken down, each resolved by somebody before; their names."""
    names = []
    for n in range(count):
        (old,) = await door.decide(input_pb(brand, f"old{n}", UNSURE, text=f"vieux {n}"))
        await resolve(door, old.review_item, "zoe", resolution=reviews.RESOLUTION_CONFIRM)
        request = reviews.AddGoldenItemRequest(message=old.message, visibility=decisions.VISIBILITY_HIDE)
        names.append((await door.review(actor="lea").AddGoldenItem(request)).golden_item.name)
    return names


async def answer(door: Any, brand: str, count: int, right: int, actor: str = "ana") -> None:
    """Resolve real items until that many golden ones were answered, the first `right` of them rightly."""
    stub = door.review(actor=actor)
    for n in range(count):
        (real,) = await door.decide(input_pb(brand, f"new{n}-{actor}", UNSURE))
        await resolve(door, real.review_item, actor, resolution=reviews.RESOLUTION_CONFIRM)
        (copy,) = (await stub.ListReviewItems(reviews.ListReviewItemsRequest(parent=f"brands/{brand}"))).review_items
        said: dict[str, Any] = {"resolution": reviews.RESOLUTION_CONFIRM}
        if n < right:
            said = {"resolution": reviews.RESOLUTION_CORRECT, "correction": HIDE}
        await resolve(door, copy.name, actor, **said)


async def test_golden_answers_by_reviewer_and_clause(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    names = await golden(clocked, brand, 12)
    await answer(clocked, brand, 12, right=9)
    await answer(clocked, brand, 3, right=3, actor="ben")
    clocked.clock.advance(minutes=1)
    found = await figures(clocked, brand)
    people = {who.actor: who for who in found.reviewers}
    assert {actor: counts(who.golden) for actor, who in people.items()} == {
        "ana": (12, 9),
        "ben": (3, 3),
        "zoe": (0, 0),
    }
    assert people["ana"].golden.low == pytest.approx(0.4677, abs=1e-4)
    assert people["ana"].golden.high == pytest.approx(0.9111, abs=1e-4)
    assert not people["ben"].golden.HasField("low")  # three are not enough
    assert [counts(clause.golden) for clause in found.clauses] == [(15, 12)]
    # What they answered is nowhere else: Ana confirmed twelve real ones.
    assert (people["ana"].reviewed, people["ana"].overridden, found.review.count) == (12, 0, 27)
    assert counts(people["ana"].override) == (12, 0)
    assert people["ana"].override.HasField("low")
    await clocked.review(actor="lea").WithdrawGoldenItem(reviews.WithdrawGoldenItemRequest(name=names[0]))
    after = {who.actor: counts(who.golden) for who in (await figures(clocked, brand)).reviewers}
    assert after["ana"][0] == 11


async def test_an_undone_golden_answer_does_not_count(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    await golden(clocked, brand, 1)
    await answer(clocked, brand, 1, right=0)
    stub = clocked.review(actor="ana")
    request = reviews.ListReviewItemsRequest(parent=f"brands/{brand}", state=reviews.REVIEW_STATE_RESOLVED)
    resolved = (await stub.ListReviewItems(request)).review_items
    clocked.clock.advance(minutes=1)
    assert counts({w.actor: w for w in (await figures(clocked, brand)).reviewers}["ana"].golden) == (1, 0)
    mine = [item for item in resolved if item.message.text == "vieux 0"]
    others = {item.name for item in (await clocked.review(actor="ben").ListReviewItems(request)).review_items}
    (copy,) = [item for item in mine if item.name not in others]
    await stub.UndoResolution(reviews.UndoResolutionRequest(name=copy.name, etag=copy.etag))
    assert counts({w.actor: w for w in (await figures(clocked, brand)).reviewers}["ana"].golden) == (0, 0)


async def test_another_brands_answers_are_not_ours(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    await golden(clocked, f"{brand}-b", 1)
    await answer(clocked, f"{brand}-b", 1, right=1)
    clocked.clock.advance(minutes=1)
    found = await figures(clocked, brand)
    assert (len(found.reviewers), len(found.clauses)) == (0, 0)
