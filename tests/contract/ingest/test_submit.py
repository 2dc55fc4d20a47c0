"""What comes in, what is refused, and that nothing happens twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from apaise.ingest.v1 import ingest_service_pb2 as pb
from apaise.type.v1 import message_pb2
from apaise_ingest.domain import Lane
from apaise_kit.runtime.status import failure_of_status

from .conftest import World, batch, message, refusal

if TYPE_CHECKING:
    from apaise.ingest.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub as Stub


async def test_a_message_is_kept_and_a_redelivery_gets_the_first_answer(stub: Stub, world: World) -> None:
    first = (await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1")))).receipt
    world.clock.advance(seconds=60)
    again = (await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1")))).receipt
    assert not first.duplicate
    assert again.duplicate
    assert (again.message, again.edit_revision, again.received_time) == (
        first.message,
        first.edit_revision,
        first.received_time,
    )
    kept = await stub.GetMessage(pb.GetMessageRequest(name=first.message))
    assert kept.message.text == "bonjour à tous"
    assert kept.message.language == "fr"
    assert len(kept.message.author.author_key) == 32
    assert kept.state == pb.MESSAGE_STATE_PENDING


async def test_one_bad_item_does_not_stop_the_others(stub: Stub) -> None:
    response = await stub.BatchSubmitMessages(
        batch(
            message("1"),
            message("2", text=""),
            message("3", channel="nowhere"),
            message("4", brand="unknown"),
            message("5", text="x" * 40_000),
            message("6", text="😂"),
        )
    )
    reasons = [failure.reason if (failure := failure_of_status(r.status)) else "OK" for r in response.results]
    assert reasons == ["OK", "EMPTY_MESSAGE", "NOT_FOUND", "NOT_FOUND", "TEXT_TOO_LONG", "OK"]
    assert response.results[5].receipt.message


async def test_the_same_message_twice_in_one_batch_is_one_message(stub: Stub) -> None:
    response = await stub.BatchSubmitMessages(batch(message("1"), message("1"), message("1", text="autre")))
    first, second, third = response.results
    assert not first.receipt.duplicate
    assert second.receipt.duplicate
    failure = failure_of_status(third.status)
    assert failure is not None
    assert failure.reason == "ALREADY_EXISTS"


async def test_racing_deliveries_make_one_message(stub: Stub) -> None:
    responses = await asyncio.gather(*(stub.BatchSubmitMessages(batch(message("1"), message("2"))) for _ in range(8)))
    receipts = [result.receipt for response in responses for result in response.results]
    assert sum(not receipt.duplicate for receipt in receipts) == 2
    assert len({receipt.message for receipt in receipts}) == 2


async def test_an_edit_is_a_new_revision_and_without_its_time_a_conflict(stub: Stub, world: World) -> None:
    await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1")))
    changed = message("1", text="bonsoir")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.SubmitMessage(pb.SubmitMessageRequest(message=changed))
    assert refusal(error.value) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    changed.edit_time.FromDatetime(world.clock.now())
    receipt = (await stub.SubmitMessage(pb.SubmitMessageRequest(message=changed))).receipt
    assert receipt.edit_revision == 2
    kept = (await stub.GetMessage(pb.GetMessageRequest(name=receipt.message))).message
    assert (kept.text, kept.edit_revision) == ("bonsoir", 2)


async def test_times_ahead(stub: Stub, world: World) -> None:
    soon, far = message("1"), message("2")
    soon.published_time.FromDatetime(world.clock.now() + timedelta(hours=2))
    far.published_time.FromDatetime(world.clock.now() + timedelta(days=3))
    response = await stub.BatchSubmitMessages(batch(soon, far))
    assert response.results[0].receipt.time_corrected
    failure = failure_of_status(response.results[1].status)
    assert failure is not None
    assert failure.reason == "TIME_AHEAD"


async def test_a_batch_over_a_limit_is_refused_whole(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as many:
        await stub.BatchSubmitMessages(batch(*(message(str(i)) for i in range(501))))
    assert refusal(many.value) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
    with pytest.raises(grpc.aio.AioRpcError) as heavy:
        await stub.BatchSubmitMessages(batch(*(message(str(i), text="x" * 32_000) for i in range(115))))
    assert refusal(heavy.value) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
    assert not (await stub.ListMessages(pb.ListMessagesRequest(parent="brands/b"))).messages


async def test_an_attachment_alone_is_a_message(stub: Stub, world: World) -> None:
    picture = message("1", text="")
    picture.attachments.add(kind=message_pb2.ATTACHMENT_KIND_IMAGE, uri="https://example.invalid/i.png")
    await stub.SubmitMessage(pb.SubmitMessageRequest(message=picture))
    await world.pump.step(Lane.LIVE)
    assert world.router.decided == [("1", 1, "NO_TEXT")]


async def test_invalid_utf8_is_refused_before_any_use_case(world: World, stub: Stub) -> None:
    channel = world.running.channel()
    raw: Any = channel.unary_unary("/apaise.ingest.v1.IngestService/SubmitMessage")
    good = pb.SubmitMessageRequest(message=message("1", text="AAAA")).SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await raw(good.replace(b"AAAA", b"\xff\xfe\xfd\xfc"))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "UTF-8" in (error.value.details() or "")
    assert not (await stub.ListMessages(pb.ListMessagesRequest(parent="brands/b"))).messages


async def test_a_full_journal_tells_when_to_come_back_and_still_knows_its_own(stub: Stub, world: World) -> None:
    full = world.backlog.limit(Lane.LIVE)
    await stub.BatchSubmitMessages(batch(*(message(str(i)) for i in range(full))))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("more")))
    assert refusal(error.value) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert (await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("0")))).receipt.duplicate


async def test_lists_page_through_everything_once(stub: Stub) -> None:
    await stub.BatchSubmitMessages(batch(*(message(str(i)) for i in range(7))))
    seen: list[str] = []
    token = ""
    while True:
        page = await stub.ListMessages(pb.ListMessagesRequest(parent="brands/b", page_size=3, page_token=token))
        seen += [each.external_id for each in page.messages]
        if not (token := page.next_page_token):
            break
    assert seen == [str(i) for i in range(7)]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.ListMessages(pb.ListMessagesRequest(parent="brands/b", page_token="nonsense"))
    assert refusal(error.value)[1] == "BAD_CURSOR"


async def test_platform_events(stub: Stub, world: World) -> None:
    name = (await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1")))).receipt.message

    async def report(kind: pb.PlatformEventKind.ValueType, text: str = "") -> message_pb2.Message:
        world.clock.advance(seconds=1)
        request = pb.ReportPlatformEventRequest(name=name, kind=kind, text=text)
        request.event_time.FromDatetime(world.clock.now())
        return (await stub.ReportPlatformEvent(request)).message

    edited = await report(pb.PLATFORM_EVENT_KIND_EDITED, "bonsoir")
    assert (edited.text, edited.edit_revision) == ("bonsoir", 2)
    deleted = await report(pb.PLATFORM_EVENT_KIND_DELETED)
    assert deleted.gone
    assert deleted.text == ""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await report(pb.PLATFORM_EVENT_KIND_EDITED, "encore")
    assert refusal(error.value)[1] == "MESSAGE_GONE"
    restored = await report(pb.PLATFORM_EVENT_KIND_RESTORED, "bonsoir")
    assert (restored.text, restored.edit_revision, restored.gone) == ("bonsoir", 3, False)
    assert (await report(pb.PLATFORM_EVENT_KIND_AUTHOR_BANNED)).name == name


async def test_registering_twice_is_once_and_other_content_conflicts(stub: Stub) -> None:
    again = pb.CreateBrandRequest(brand_id="b", brand=pb.Brand(display_name="b"))
    assert (await stub.CreateBrand(again)).brand.name == "brands/b"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.CreateBrand(pb.CreateBrandRequest(brand_id="b", brand=pb.Brand(display_name="c")))
    assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert len((await stub.ListChannels(pb.ListChannelsRequest(parent="brands/b"))).channels) == 2


async def test_every_rpc_hides_another_brand(world: World, stub: Stub) -> None:
    name = (await stub.SubmitMessage(pb.SubmitMessageRequest(message=message("1")))).receipt.message
    stranger = world.stub(brands=("other",))
    event = pb.ReportPlatformEventRequest(name=name, kind=pb.PLATFORM_EVENT_KIND_DELETED)
    event.event_time.FromDatetime(world.clock.now())
    calls = {
        "CreateBrand": pb.CreateBrandRequest(brand_id="b", brand=pb.Brand(display_name="b")),
        "GetBrand": pb.GetBrandRequest(name="brands/b"),
        "CreateChannel": pb.CreateChannelRequest(
            parent="brands/b",
            channel_id="new",
            channel=message_pb2.Channel(
                platform="x",
                kind=message_pb2.CHANNEL_KIND_LIVE_CHAT,
                audience=message_pb2.AUDIENCE_PUBLIC,
                moderation_mode=message_pb2.MODERATION_MODE_PRE,
            ),
        ),
        "GetChannel": pb.GetChannelRequest(name="brands/b/channels/live"),
        "ListChannels": pb.ListChannelsRequest(parent="brands/b"),
        "SubmitMessage": pb.SubmitMessageRequest(message=message("2")),
        "ReportPlatformEvent": event,
        "GetMessage": pb.GetMessageRequest(name=name),
        "ListMessages": pb.ListMessagesRequest(parent="brands/b"),
        "ListDeadLetters": pb.ListDeadLettersRequest(parent="brands/b"),
        "ReplayDeadLetters": pb.ReplayDeadLettersRequest(parent="brands/b"),
    }
    for method, request in calls.items():
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await getattr(stranger, method)(request)
        assert refusal(error.value) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"), method
    (result,) = (await stranger.BatchSubmitMessages(batch(message("2")))).results
    failure = failure_of_status(result.status)
    assert failure is not None
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert [brand.name for brand in (await stranger.ListBrands(pb.ListBrandsRequest())).brands] == ["brands/other"]
    covered = {*calls, "BatchSubmitMessages", "ListBrands"}
    assert covered == set(pb.DESCRIPTOR.services_by_name["IngestService"].methods_by_name)


async def test_every_acceptance_is_in_the_audit_chain(stub: Stub, world: World) -> None:
    await stub.BatchSubmitMessages(batch(message("1"), message("2"), message("1")))
    assert await world.db.verify_chain() == 2 + 3 + 2
