"""The pump: nothing lost, nobody starved, the failure policy when classify is away."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from apaise.ingest.v1 import ingest_service_pb2 as pb
from apaise_ingest.domain import Lane
from apaise_ingest.pump import LEASE, MAX_ATTEMPTS
from apaise_kit.core.errors import ApaiseError, DeadlineExceeded, InvalidArgument, Unavailable

from .conftest import World, batch, message

if TYPE_CHECKING:
    from apaise.ingest.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub as Stub

AWAY = Unavailable("away", retry_after=timedelta(milliseconds=100))


async def state(stub: Stub, external_id: str) -> str:
    listed = (await stub.ListMessages(pb.ListMessagesRequest(parent="brands/b", page_size=500))).messages
    (name,) = [each.name for each in listed if each.external_id == external_id]
    found = await stub.GetMessage(pb.GetMessageRequest(name=name))
    return pb.MessageState.Name(found.state).removeprefix("MESSAGE_STATE_")


async def test_what_is_accepted_is_decided(stub: Stub, world: World) -> None:
    await stub.BatchSubmitMessages(batch(message("1"), message("2", channel="comments")))
    assert await world.pump.step(Lane.LIVE) == 1
    assert await world.pump.step(Lane.CALM) == 1
    assert world.router.decided == [("1", 1, "ASSESSED"), ("2", 1, "ASSESSED")]
    assert await state(stub, "1") == "DECIDED"
    assert await world.pump.step(Lane.LIVE) == 0


async def test_a_raid_on_one_brand_starves_no_other(stub: Stub, world: World) -> None:
    await stub.BatchSubmitMessages(batch(*(message(str(i)) for i in range(100))))
    await stub.BatchSubmitMessages(batch(*(message(f"o{i}", brand="other") for i in range(5))))
    await world.pump.step(Lane.LIVE)
    assert world.router.brands.count("other") == 5
    assert world.router.brands.count("b") == 64 - 32


async def test_classify_away_a_live_message_waits_then_goes_by_the_failure_policy(stub: Stub, world: World) -> None:
    await stub.BatchSubmitMessages(batch(message("live"), message("calm", channel="comments")))
    world.classifier.down = AWAY
    for _ in range(40):
        await world.pump.step(Lane.LIVE)
        await world.pump.step(Lane.CALM)
        world.clock.advance(seconds=0.1)
    assert world.router.decided == [("live", 1, "UNAVAILABLE")]
    assert await state(stub, "live") == "PROVISIONAL"
    assert await state(stub, "calm") == "PENDING"
    world.clock.advance(seconds=60)
    await world.pump.step(Lane.CALM)
    assert world.router.decided[1] == ("calm", 1, "TOO_LATE")


async def test_decided_again_when_classify_returns(stub: Stub, world: World) -> None:
    await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1")))
    world.classifier.down = DeadlineExceeded("slow")
    world.clock.advance(seconds=2.8)
    await world.pump.step(Lane.LIVE)
    assert world.router.decided == [("1", 1, "TOO_LATE")]
    await world.pump.step(Lane.LATE)
    assert await state(stub, "1") == "PROVISIONAL"
    world.classifier.down = None
    world.clock.advance(seconds=2)
    await world.pump.step(Lane.LATE)
    assert world.router.decided[-1] == ("1", 1, "ASSESSED")
    assert await state(stub, "1") == "DECIDED"


async def test_what_is_late_takes_a_small_part_while_others_wait(stub: Stub, world: World) -> None:
    await stub.BatchSubmitMessages(batch(*(message(str(i)) for i in range(40))))
    world.clock.advance(seconds=2.8)
    assert await world.pump.step(Lane.LIVE) == 40
    assert {how for _, _, how in world.router.decided} == {"TOO_LATE"}
    await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("new")))
    assert await world.pump.step(Lane.LATE) == 16
    world.backlog.refresh({})
    assert await world.pump.step(Lane.LATE) == 24


async def test_who_has_little_time_left_does_not_hurry_the_others(stub: Stub, world: World) -> None:
    await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("old")))
    world.clock.advance(seconds=2.3)
    await stub.BatchSubmitMessages(batch(message("new"), message("newer")))
    assert await world.pump.step(Lane.LIVE) == 3
    assert sorted(zip(world.classifier.timeouts, world.classifier.calls, strict=True)) == [
        (timedelta(seconds=0.7), 1),
        (timedelta(seconds=3), 2),
    ]
    assert {how for _, _, how in world.router.decided} == {"ASSESSED"}


async def test_a_message_that_breaks_classify_becomes_a_dead_letter_alone(stub: Stub, world: World) -> None:
    await stub.BatchSubmitMessages(batch(*(message(str(i), channel="comments") for i in range(9))))
    world.classifier.poison["4"] = ApaiseError("boom")
    for _ in range(MAX_ATTEMPTS):
        await world.pump.step(Lane.CALM)
        world.clock.advance(seconds=2)
    decided = {name: how for name, _, how in world.router.decided}
    assert decided.pop("4") == "DEAD_LETTER"
    assert set(decided.values()) == {"ASSESSED"}
    assert len(decided) == 8
    (letter,) = (await stub.ListDeadLetters(pb.ListDeadLettersRequest(parent="brands/-"))).dead_letters
    assert letter.attempts == MAX_ATTEMPTS
    assert await state(stub, "4") == "DEAD"


async def test_a_dead_letter_can_be_read_again(stub: Stub, world: World) -> None:
    await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1", channel="comments")))
    world.classifier.poison["1"] = InvalidArgument("no")
    for _ in range(MAX_ATTEMPTS):
        await world.pump.step(Lane.CALM)
        world.clock.advance(seconds=2)
    assert await state(stub, "1") == "DEAD"
    world.classifier.poison.clear()
    response = await stub.ReplayDeadLetters(pb.ReplayDeadLettersRequest(parent="brands/b"))
    assert response.replayed == 1
    await world.pump.step(Lane.LATE)
    assert world.router.decided[-1] == ("1", 1, "ASSESSED")
    assert await state(stub, "1") == "DECIDED"


async def test_route_away_loses_nothing(stub: Stub, world: World) -> None:
    await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1", channel="comments")))
    world.router.down = AWAY
    for _ in range(20):
        await world.pump.step(Lane.CALM)
        world.clock.advance(seconds=1)
    assert await state(stub, "1") == "PENDING"
    world.router.down = None
    await world.pump.step(Lane.CALM)
    assert await state(stub, "1") == "DECIDED"


async def test_a_worker_that_dies_leaves_its_rows_to_another(stub: Stub, world: World) -> None:
    await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1", channel="comments")))
    world.router.down = Exception("killed")  # type: ignore[assignment]
    with pytest.raises(Exception, match="killed"):
        await world.pump.step(Lane.CALM)
    world.router.down = None
    assert await world.pump.step(Lane.CALM) == 0
    world.clock.advance(seconds=LEASE.total_seconds())
    assert await world.pump.step(Lane.CALM) == 1
    assert await state(stub, "1") == "DECIDED"


async def test_a_deleted_message_is_routed_as_gone_even_when_it_was_in_flight(stub: Stub, world: World) -> None:
    name = (await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1")))).receipt.message
    await world.pump.step(Lane.LIVE)
    event = pb.ReportPlatformEventRequest(name=name, kind=pb.PLATFORM_EVENT_KIND_DELETED)
    event.event_time.FromDatetime(world.clock.now())
    await stub.ReportPlatformEvent(event)
    await world.pump.step(Lane.LIVE)
    assert world.router.decided == [("1", 1, "ASSESSED"), ("1", 1, "NO_TEXT")]
    assert await state(stub, "1") == "DECIDED"
