"""RouteService: once and only once, in order, and to those who may see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, timedelta
from typing import Any

import grpc
import pytest

from apaise.route.v1 import decision_pb2 as pb
from apaise.route.v1 import route_service_pb2 as routes
from apaise.type.v1 import message_pb2
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.runtime.status import failure_of, failure_of_status
from apaise_route.app import clocks
from apaise_route.testing import input_pb, reading

BAD = reading(["insult", "remove"])
CALM = reading(["praise"])
PRE = message_pb2.MODERATION_MODE_PRE
UNAVAILABLE = pb.ASSESSMENT_ABSENCE_UNAVAILABLE


@asynccontextmanager
async def following(door: Any, brand: str, cursor: str = "", **caller: Any) -> AsyncIterator[Any]:
    """The stream of a brand's decisions, cancelled at the end of the block."""
    request = routes.FollowDecisionsRequest(parent=f"brands/{brand}", cursor=cursor)
    call = door.route(**caller).FollowDecisions(request, timeout=20)
    try:
        yield call
    finally:
        call.cancel()


async def take(call: Any, count: int) -> list[routes.FollowDecisionsResponse]:
    return [await asyncio.wait_for(call.read(), 10) for _ in range(count)]


async def test_a_decision_says_what_made_it(door: Any, brand: str) -> None:
    (decision,) = await door.decide(input_pb(brand, "x1", BAD))
    assert decision.name == f"{decision.message}/decisions/1"
    assert (decision.visibility, decision.cause, decision.clause) == (pb.VISIBILITY_HIDE, pb.CAUSE_AUTOMATIC, "insult")
    assert (decision.automated, decision.actor, decision.ground) == (True, "apaise", pb.GROUND_CHARTER)
    assert decision.provenance.encoder == "enc"
    assert decision.charter == "defaults/charters/1"
    assert len(decision.charter_digest) == 64
    assert decision.reasons[0].evidence["insult"] == 0.9
    assert decision.external_id == "x1"
    assert decision.channel == f"brands/{brand}/channels/live"
    assert decision.explanation == "Insulte envers une personne (0,90) : masqué."
    read = await door.route().GetDecision(routes.GetDecisionRequest(name=decision.name))
    assert read.decision == decision


async def test_sent_again_it_is_answered_again(door: Any, brand: str) -> None:
    inputs = [input_pb(brand, f"x{n}", BAD if n % 2 else CALM) for n in range(20)]
    first, second = await door.decide(*inputs), await door.decide(*inputs)
    assert first == second


async def test_copies_in_one_batch_are_one_decision(door: Any, brand: str) -> None:
    first, second, third = await door.decide(*[input_pb(brand, "x", BAD)] * 2, input_pb(brand, "x", BAD, revision=2))
    assert first == second
    assert (third.sequence, third.edit_revision) == (2, 2)


async def test_at_once_from_two_sides_it_is_decided_once(door: Any, brand: str) -> None:
    inputs = [input_pb(brand, f"x{n}", BAD) for n in range(60)]
    both = await asyncio.gather(door.decide(*inputs), door.decide(*reversed(inputs)), door.decide(*inputs))
    names = {decision.name for decisions in both for decision in decisions}
    assert len(names) == 60
    assert all(decision.sequence == 1 for decisions in both for decision in decisions)


async def test_a_late_assessment_decides_once_more(door: Any, brand: str) -> None:
    (unread,) = await door.decide(input_pb(brand, "x", absence=UNAVAILABLE, moderation=PRE))
    assert (unread.visibility, unread.absence) == (pb.VISIBILITY_HOLD, UNAVAILABLE)
    assert unread.HasField("hold_expire_time")
    assert not unread.HasField("provenance")
    (again,) = await door.decide(input_pb(brand, "x", BAD, moderation=PRE))
    assert (again.cause, again.sequence, again.supersedes) == (pb.CAUSE_REASSESSMENT, 2, unread.name)
    assert await door.decide(input_pb(brand, "x", BAD, moderation=PRE)) == [again]
    assert await door.decide(input_pb(brand, "x", absence=UNAVAILABLE, moderation=PRE)) == [unread]


async def test_both_in_one_batch(door: Any, brand: str) -> None:
    decided = await door.decide(input_pb(brand, "x", absence=UNAVAILABLE), input_pb(brand, "x", BAD))
    assert [d.cause for d in decided] == [pb.CAUSE_AUTOMATIC, pb.CAUSE_REASSESSMENT]


async def test_a_batch_is_announced_in_its_order(door: Any, brand: str) -> None:
    async with following(door, brand, "now") as call:
        await take(call, 1)
        await door.decide(*[input_pb(brand, f"x{n}", CALM) for n in range(12)])
        seen = await take(call, 12)
    assert [response.decision.external_id for response in seen] == [f"x{n}" for n in range(12)]


async def test_an_older_text_never_holds_again(door: Any, brand: str) -> None:
    (newer,) = await door.decide(input_pb(brand, "x", CALM, revision=2))
    assert await door.decide(input_pb(brand, "x", BAD, revision=1)) == [newer]
    listed = await door.route().ListDecisions(routes.ListDecisionsRequest(parent=newer.message))
    assert list(listed.decisions) == [newer]


async def test_one_bad_item_hurts_no_other(door: Any, brand: str) -> None:
    wrong = input_pb(brand, "x2", CALM)
    wrong.message.edit_revision = 0
    hidden = input_pb("other-brand", "x3", CALM)
    stub = door.route(roles=["service"], brands=[brand])
    request = routes.BatchRouteRequest(inputs=[input_pb(brand, "x1", CALM), wrong, hidden, input_pb(brand, "x4", BAD)])
    response = await stub.BatchRoute(request)
    failures = [failure_of_status(result.status) for result in response.results]
    assert [f.reason if f else "" for f in failures] == ["", "INVALID_FIELD", "NOT_FOUND", ""]
    assert [result.HasField("decision") for result in response.results] == [True, False, False, True]


@pytest.mark.parametrize(("count", "reason"), [(0, "INVALID_FIELD"), (501, "BATCH_TOO_LARGE")])
async def test_a_batch_has_limits(door: Any, brand: str, count: int, reason: str) -> None:
    inputs = [input_pb(brand, "x", CALM)] * count
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await door.route().BatchRoute(routes.BatchRouteRequest(inputs=inputs))
    assert failure_of(refused.value).reason == reason


async def test_odd_texts_are_messages_like_others(door: Any, brand: str) -> None:
    texts = ["", "😀😀", "\x00\x07\x1b[0m", "é" * 16_000, "\u202e\u200b", "💔" * 8000]
    decided = await door.decide(*[input_pb(brand, f"x{n}", CALM, text=text) for n, text in enumerate(texts)])
    assert all(decision.visibility == pb.VISIBILITY_KEEP for decision in decided)


async def test_a_tombstone(door: Any, brand: str) -> None:
    await door.decide(input_pb(brand, "x", BAD, text="à effacer"))
    (erased,) = await door.decide(input_pb(brand, "x", absence=pb.ASSESSMENT_ABSENCE_NO_TEXT, gone=True))
    assert (erased.cause, erased.sequence) == (pb.CAUSE_ERASURE, 2)
    again = await door.decide(input_pb(brand, "x", absence=pb.ASSESSMENT_ABSENCE_NO_TEXT, gone=True))
    assert again == [erased]


async def test_pages_go_through_everything_once(door: Any, brand: str) -> None:
    decided = await door.decide(*[input_pb(brand, f"x{n}", CALM) for n in range(25)])
    names, token = [], ""
    while True:
        page = await door.route().ListDecisions(
            routes.ListDecisionsRequest(parent=f"brands/{brand}/messages/-", page_size=10, page_token=token)
        )
        names += [decision.name for decision in page.decisions]
        token = page.next_page_token
        if not token:
            break
    assert sorted(names) == sorted(decision.name for decision in decided)


async def test_a_page_token_of_another_list_is_refused(door: Any, brand: str) -> None:
    await door.decide(*[input_pb(brand, f"x{n}", CALM) for n in range(3)])
    parent = f"brands/{brand}/messages/-"
    page = await door.route().ListDecisions(routes.ListDecisionsRequest(parent=parent, page_size=1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await door.route().ListDecisions(
            routes.ListDecisionsRequest(parent="brands/else/messages/-", page_token=page.next_page_token)
        )
    assert failure_of(refused.value).reason == "BAD_CURSOR"


async def test_a_stream_starts_with_its_cursor_and_resumes_without_loss(door: Any, brand: str) -> None:
    first = await door.decide(*[input_pb(brand, f"a{n}", CALM) for n in range(5)])
    async with following(door, brand) as call:
        start, *seen = await take(call, 4)
    assert not start.HasField("decision")
    assert start.cursor
    second = await door.decide(*[input_pb(brand, f"b{n}", BAD) for n in range(5)])
    async with following(door, brand, seen[-1].cursor) as call:
        _, *rest = await take(call, 8)
    names = [response.decision.name for response in [*seen, *rest]]
    assert len(names) == len(set(names)) == 10
    assert set(names) == {decision.name for decision in [*first, *second]}


async def test_now_means_only_what_comes(door: Any, brand: str) -> None:
    await door.decide(input_pb(brand, "before", CALM))
    async with following(door, brand, "now") as call:
        await take(call, 1)
        (after,) = await door.decide(input_pb(brand, "after", CALM))
        (seen,) = await take(call, 1)
    assert seen.decision == after


async def test_overlapping_batches_are_all_seen(door: Any, brand: str) -> None:
    async with following(door, brand, "now") as call:
        await take(call, 1)
        batches = [[input_pb(brand, f"{b}-{n}", CALM) for n in range(10)] for b in range(8)]
        await asyncio.gather(*[door.decide(*batch) for batch in batches])
        seen = await take(call, 80)
    assert len({response.decision.name for response in seen}) == 80


async def test_a_stream_over_all_brands_shows_only_the_callers(door: Any, brand: str) -> None:
    async with following(door, "-", "now", roles=["service"], brands=[brand]) as call:
        await take(call, 1)
        await door.decide(input_pb("someone-else", f"{brand}", CALM), input_pb(brand, "mine", CALM))
        (seen,) = await take(call, 1)
    assert seen.decision.external_id == "mine"


async def test_an_outcome_is_kept_once_a_state(door: Any, brand: str) -> None:
    (decision,) = await door.decide(input_pb(brand, "x", BAD))
    for state, detail in [
        (pb.ACTION_STATE_REFUSED, "429"),
        (pb.ACTION_STATE_APPLIED, ""),
        (pb.ACTION_STATE_APPLIED, "x"),
    ]:
        outcome = pb.ActionOutcome(state=state, detail=detail)
        reported = await door.route().ReportActionOutcome(
            routes.ReportActionOutcomeRequest(name=decision.name, outcome=outcome)
        )
    assert (reported.decision.outcome.state, reported.decision.outcome.detail) == (pb.ACTION_STATE_APPLIED, "")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await door.route().ReportActionOutcome(
            routes.ReportActionOutcomeRequest(name=decision.name, outcome=pb.ActionOutcome())
        )
    assert failure_of(refused.value).reason == "INVALID_FIELD"


async def test_a_hold_ends_by_the_clock(clocked: Any, brand: str) -> None:
    complaint = reading(["complaint", "remove"])
    received = clocked.clock.now()
    (held,) = await clocked.decide(input_pb(brand, "x", complaint, moderation=PRE, received=received))
    assert (held.visibility, held.clause, held.hold_then) == (pb.VISIBILITY_HOLD, "complaint-cap", pb.VISIBILITY_KEEP)
    assert held.hold_expire_time.ToDatetime(tzinfo=UTC) == received + timedelta(minutes=30)
    async with following(clocked, brand, "now") as call:
        await take(call, 1)
        clocked.clock.advance(minutes=31)
        with acting_as(system_caller("route")):
            assert await clocks.end_holds(clocked.deps) >= 1
            assert await clocks.end_holds(clocked.deps) == 0
        (seen,) = await take(call, 1)
    decision = seen.decision
    assert (decision.cause, decision.visibility) == (pb.CAUSE_HOLD_EXPIRY, pb.VISIBILITY_KEEP)
    assert (decision.automated, decision.supersedes) == (True, held.name)


async def test_what_is_older_than_the_stream_is_refused(clocked: Any, brand: str) -> None:
    await clocked.decide(input_pb(brand, "old", CALM))
    async with following(clocked, brand) as call:
        old = (await take(call, 2))[1].cursor
    clocked.clock.advance(days=31)
    await clocked.decide(*[input_pb(brand, f"new{n}", CALM) for n in range(2)])
    await clocks.forget_events(clocked.deps)
    async with following(clocked, brand) as call:
        _, kept = await take(call, 2)
    assert kept.decision.external_id == "new0"
    await clocked.decide(input_pb(brand, "newer", CALM))
    clocked.clock.advance(days=31)
    await clocked.decide(input_pb(brand, "newest", CALM))
    await clocks.forget_events(clocked.deps)
    async with following(clocked, brand, old) as call:
        await take(call, 1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await take(call, 1)
    assert failure_of(refused.value).reason == "CURSOR_EXPIRED"
