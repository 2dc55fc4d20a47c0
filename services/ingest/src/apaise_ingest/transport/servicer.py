"""IngestService over gRPC: decode, use case, encode."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from apaise.ingest.v1 import ingest_service_pb2 as pb
from apaise.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from apaise_ingest import app, codec
from apaise_ingest.app import Ingest
from apaise_ingest.domain import MAX_BATCH_BYTES, MAX_BATCH_ITEMS, Draft, Receipt
from apaise_kit.core import cursor
from apaise_kit.core.errors import ApaiseError, Reason, invalid_field
from apaise_kit.core.names import CHANNEL, MESSAGE, parse_brand
from apaise_kit.runtime.status import status_of, status_ok

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 500
T = TypeVar("T")


class IngestServicer(pb_grpc.IngestServiceServicer):
    """The RPCs of `apaise.ingest.v1.IngestService`; the .proto says what each does."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    async def CreateBrand(self, request: pb.CreateBrandRequest, context: Any) -> pb.CreateBrandResponse:
        brand = await app.create_brand(self._ingest, codec.brand_from(request.brand_id, request.brand))
        return pb.CreateBrandResponse(brand=codec.brand_to(brand))

    async def GetBrand(self, request: pb.GetBrandRequest, context: Any) -> pb.GetBrandResponse:
        brand = await app.get_brand(self._ingest, parse_brand(request.name))
        return pb.GetBrandResponse(brand=codec.brand_to(brand))

    async def ListBrands(self, request: pb.ListBrandsRequest, context: Any) -> pb.ListBrandsResponse:
        size, scope = _page_size(request.page_size), "brands"
        after = str(cursor.decode(request.page_token, scope).get("id", ""))
        brands = await app.list_brands(self._ingest, after, size + 1)
        page, token = _page(brands, size, scope, lambda brand: brand.id)
        return pb.ListBrandsResponse(brands=[codec.brand_to(brand) for brand in page], next_page_token=token)

    async def CreateChannel(self, request: pb.CreateChannelRequest, context: Any) -> pb.CreateChannelResponse:
        channel = codec.channel_from(parse_brand(request.parent, "parent"), request.channel_id, request.channel)
        return pb.CreateChannelResponse(channel=codec.channel_to(await app.create_channel(self._ingest, channel)))

    async def GetChannel(self, request: pb.GetChannelRequest, context: Any) -> pb.GetChannelResponse:
        channel = await app.get_channel(self._ingest, *CHANNEL.parse(request.name))
        return pb.GetChannelResponse(channel=codec.channel_to(channel))

    async def ListChannels(self, request: pb.ListChannelsRequest, context: Any) -> pb.ListChannelsResponse:
        size, scope = _page_size(request.page_size), f"channels/{request.parent}"
        after = str(cursor.decode(request.page_token, scope).get("id", ""))
        channels = await app.list_channels(self._ingest, parse_brand(request.parent, "parent"), after, size + 1)
        page, token = _page(channels, size, scope, lambda channel: channel.id)
        return pb.ListChannelsResponse(channels=[codec.channel_to(each) for each in page], next_page_token=token)

    async def SubmitMessage(self, request: pb.SubmitMessageRequest, context: Any) -> pb.SubmitMessageResponse:
        (result,) = await app.submit(self._ingest, [codec.draft_from(request.message)])
        if isinstance(result, ApaiseError):
            raise result
        return pb.SubmitMessageResponse(receipt=codec.receipt_to(result))

    async def BatchSubmitMessages(
        self, request: pb.BatchSubmitMessagesRequest, context: Any
    ) -> pb.BatchSubmitMessagesResponse:
        _check_batch(request)
        results = await app.submit(self._ingest, [_draft(each) for each in request.requests])
        return pb.BatchSubmitMessagesResponse(results=[_result(result) for result in results])

    async def ReportPlatformEvent(
        self, request: pb.ReportPlatformEventRequest, context: Any
    ) -> pb.ReportPlatformEventResponse:
        brand, message = MESSAGE.parse(request.name)
        time = codec.time_of(request, "event_time", "event_time")
        if time is None:
            raise invalid_field("event_time", "is required")
        kind = codec.event_from(request.kind)
        kept = await app.report_platform_event(self._ingest, brand, message, kind, time, request.text)
        return pb.ReportPlatformEventResponse(message=codec.message_to(kept))

    async def GetMessage(self, request: pb.GetMessageRequest, context: Any) -> pb.GetMessageResponse:
        message, state = await app.get_message(self._ingest, *MESSAGE.parse(request.name))
        return pb.GetMessageResponse(message=codec.message_to(message), state=codec.state_to(state))

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Any) -> pb.ListMessagesResponse:
        size, scope = _page_size(request.page_size), f"messages/{request.parent}/{request.channel}/{request.state}"
        brand, state = parse_brand(request.parent, "parent"), codec.state_from(request.state)
        channel = CHANNEL.parse(request.channel, "channel").id if request.channel else None
        after = int(cursor.decode(request.page_token, scope).get("id", 0))
        messages = await app.list_messages(self._ingest, brand, channel, state, after, size + 1)
        page, token = _page(messages, size, scope, lambda each: each[0])
        return pb.ListMessagesResponse(messages=[codec.message_to(each) for _, each in page], next_page_token=token)

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Any) -> pb.ListDeadLettersResponse:
        size, scope = _page_size(request.page_size), f"dead/{request.parent}"
        brand = parse_brand(request.parent, "parent", wildcard=True)
        after = int(cursor.decode(request.page_token, scope).get("id", 0))
        page, token = _page(
            await app.list_dead_letters(self._ingest, brand, after, size + 1), size, scope, lambda dead: dead.sequence
        )
        return pb.ListDeadLettersResponse(dead_letters=[codec.dead_to(dead) for dead in page], next_page_token=token)

    async def ReplayDeadLetters(
        self, request: pb.ReplayDeadLettersRequest, context: Any
    ) -> pb.ReplayDeadLettersResponse:
        only = [MESSAGE.parse(name, "messages").id for name in request.messages]
        brand = parse_brand(request.parent, "parent", wildcard=True)
        return pb.ReplayDeadLettersResponse(replayed=await app.replay_dead_letters(self._ingest, brand, only))


def _page_size(asked: int) -> int:
    if not 0 <= asked <= MAX_PAGE:
        raise invalid_field("page_size", f"from 1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}")
    return asked or DEFAULT_PAGE


def _page(rows: list[T], size: int, scope: str, key: Any) -> tuple[list[T], str]:
    """The page, and the token of the next one; one row more than the page was read to know whether there is one."""
    if len(rows) <= size:
        return rows, ""
    return rows[:size], cursor.encode({"id": key(rows[size - 1])}, scope)


def _check_batch(request: pb.BatchSubmitMessagesRequest) -> None:
    if not 1 <= len(request.requests) <= MAX_BATCH_ITEMS:
        raise invalid_field("requests", f"from 1 to {MAX_BATCH_ITEMS} messages", Reason.BATCH_TOO_LARGE)
    if request.ByteSize() > MAX_BATCH_BYTES:
        raise invalid_field("requests", f"at most {MAX_BATCH_BYTES} bytes; split the batch", Reason.BATCH_TOO_LARGE)


def _draft(request: pb.SubmitMessageRequest) -> Draft | ApaiseError:
    try:
        return codec.draft_from(request.message)
    except ApaiseError as error:
        return error


def _result(result: Receipt | ApaiseError) -> pb.BatchSubmitMessagesResponse.Result:
    if isinstance(result, ApaiseError):
        return pb.BatchSubmitMessagesResponse.Result(status=status_of(result))
    return pb.BatchSubmitMessagesResponse.Result(status=status_ok(), receipt=codec.receipt_to(result))
