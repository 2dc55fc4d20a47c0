"""Between ingest's domain and the wire: the only place that sees both."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from apaise.ingest.v1 import ingest_service_pb2 as pb
from apaise.type.v1 import message_pb2
from apaise_ingest.domain import (
    Attachment,
    Author,
    Brand,
    Channel,
    Dead,
    Draft,
    Kind,
    Message,
    PlatformEvent,
    Receipt,
    State,
)
from apaise_kit.core.errors import invalid_field
from apaise_kit.core.names import BRAND, CHANNEL, MESSAGE


def timestamp(time: datetime | None) -> Timestamp | None:
    """A time as protobuf has it."""
    if time is None:
        return None
    value = Timestamp()
    value.FromDatetime(time)
    return value


def time_of(owner: Any, field: str, path: str) -> datetime | None:
    """The time of a field, or None when it is absent.

    Raises:
        InvalidArgument: when it is not a time protobuf can hold.
    """
    if not owner.HasField(field):
        return None
    try:
        value: datetime = getattr(owner, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise invalid_field(path, "a time between the years 1 and 9999") from None
    return value


def enum_name(enum: Any, prefix: str, value: int, field: str) -> str:
    """The name of an enum's value without its prefix.

    Raises:
        InvalidArgument: when it is unspecified or unknown.
    """
    if value == 0 or value not in enum.values():
        choices = ", ".join(name.removeprefix(prefix) for name in enum.keys()[1:])
        raise invalid_field(field, f"one of {choices}")
    return str(enum.Name(value)).removeprefix(prefix)


def brand_from(brand_id: str, brand: pb.Brand) -> Brand:
    """The brand of a CreateBrandRequest."""
    return Brand(brand_id, brand.display_name, brand.default_language)


def brand_to(brand: Brand) -> pb.Brand:
    """A brand."""
    return pb.Brand(
        name=BRAND.format(brand.id),
        display_name=brand.display_name,
        default_language=brand.default_language,
        create_time=timestamp(brand.create_time),
    )


def channel_from(brand: str, channel_id: str, channel: message_pb2.Channel) -> Channel:
    """The channel of a CreateChannelRequest."""
    kind = enum_name(message_pb2.ChannelKind, "CHANNEL_KIND_", channel.kind, "channel.kind")
    return Channel(
        brand,
        channel_id,
        channel.platform,
        Kind(kind),
        enum_name(message_pb2.Audience, "AUDIENCE_", channel.audience, "channel.audience"),
        enum_name(message_pb2.ModerationMode, "MODERATION_MODE_", channel.moderation_mode, "channel.moderation_mode"),
        channel.display_name,
    )


def channel_to(channel: Channel) -> message_pb2.Channel:
    """A channel."""
    return message_pb2.Channel(
        name=CHANNEL.format(channel.brand, channel.id),
        platform=channel.platform,
        kind=message_pb2.ChannelKind.Value(f"CHANNEL_KIND_{channel.kind}"),
        audience=message_pb2.Audience.Value(f"AUDIENCE_{channel.audience}"),
        moderation_mode=message_pb2.ModerationMode.Value(f"MODERATION_MODE_{channel.moderation_mode}"),
        display_name=channel.display_name,
        create_time=timestamp(channel.create_time),
    )


def draft_from(message: message_pb2.Message) -> Draft:
    """The message a caller hands in; output fields are ignored."""
    name = CHANNEL.parse(message.channel, "message.channel")
    return Draft(
        brand=name.brand,
        channel=name.id,
        external_id=message.external_id,
        text=message.text,
        author=_author_from(message.author),
        attachments=tuple(
            Attachment(
                enum_name(message_pb2.AttachmentKind, "ATTACHMENT_KIND_", item.kind, "message.attachments.kind"),
                item.uri,
                item.alt_text,
            )
            for item in message.attachments
        ),
        event=message.event,
        thread=message.thread,
        parent=message.parent,
        permalink=message.permalink,
        language_hint=message.language_hint,
        rating=message.rating if message.HasField("rating") else None,
        published_time=time_of(message, "published_time", "message.published_time"),
        edit_time=time_of(message, "edit_time", "message.edit_time"),
        may_train=message.may_train if message.HasField("may_train") else None,
    )


def _author_from(author: message_pb2.Author) -> Author:
    return Author(
        author.platform_id,
        author.display_name,
        time_of(author, "account_create_time", "message.author.account_create_time"),
        author.follows_page if author.HasField("follows_page") else None,
        tuple(author.roles),
    )


def message_to(message: Message) -> message_pb2.Message:
    """An accepted message, whole."""
    draft = message.draft
    return message_pb2.Message(
        name=MESSAGE.format(draft.brand, message.id),
        channel=CHANNEL.format(draft.brand, draft.channel),
        event=draft.event,
        external_id=draft.external_id,
        thread=draft.thread,
        parent=draft.parent,
        permalink=draft.permalink,
        text=draft.text,
        language_hint=draft.language_hint,
        language=message.language,
        language_confidence=message.language_confidence,
        author=message_pb2.Author(
            platform_id=draft.author.platform_id,
            display_name=draft.author.display_name,
            author_key=message.author_key,
            account_create_time=timestamp(draft.author.account_create_time),
            follows_page=draft.author.follows_page,
            roles=draft.author.roles,
        ),
        attachments=[
            message_pb2.Attachment(
                kind=message_pb2.AttachmentKind.Value(f"ATTACHMENT_KIND_{item.kind}"),
                uri=item.uri,
                alt_text=item.alt_text,
            )
            for item in draft.attachments
        ],
        rating=draft.rating,
        published_time=timestamp(draft.published_time),
        received_time=timestamp(message.received_time),
        edit_time=timestamp(draft.edit_time),
        edit_revision=message.edit_revision,
        may_train=draft.may_train,
        published_time_trusted=message.published_time_trusted,
        gone=message.gone,
    )


def receipt_to(receipt: Receipt) -> pb.Receipt:
    """A receipt."""
    return pb.Receipt(
        message=MESSAGE.format(receipt.brand, receipt.message),
        edit_revision=receipt.edit_revision,
        received_time=timestamp(receipt.received_time),
        duplicate=receipt.duplicate,
        time_corrected=receipt.time_corrected,
    )


def state_to(state: State) -> pb.MessageState.ValueType:
    """Where a message stands."""
    return pb.MessageState.Value(f"MESSAGE_STATE_{state}")


def state_from(value: int) -> State | None:
    """A state to filter by; None when unspecified."""
    return State(enum_name(pb.MessageState, "MESSAGE_STATE_", value, "state")) if value else None


def event_from(value: int) -> PlatformEvent:
    """What happened on the platform."""
    return PlatformEvent(enum_name(pb.PlatformEventKind, "PLATFORM_EVENT_KIND_", value, "kind"))


def dead_to(dead: Dead) -> pb.DeadLetter:
    """A dead letter."""
    return pb.DeadLetter(
        message=MESSAGE.format(dead.brand, dead.message),
        edit_revision=dead.edit_revision,
        reason=dead.reason,
        attempts=dead.attempts,
        dead_time=timestamp(dead.dead_time),
    )
