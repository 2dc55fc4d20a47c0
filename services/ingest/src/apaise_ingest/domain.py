"""What a message is, which ones are accepted, and what a second delivery of one means. Pure."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from apaise_kit.core.errors import AlreadyExists, InvalidArgument, Reason, Violation, invalid_field
from apaise_kit.core.ids import message_id
from apaise_kit.core.names import check_slug

MAX_TEXT_BYTES: Final = 32 * 1024
MAX_BATCH_ITEMS: Final = 500
MAX_BATCH_BYTES: Final = 3_500_000
MAX_AHEAD: Final = timedelta(hours=24)
_MAX_ID: Final = 256
_MAX_URI: Final = 2048
_MAX_ALT_TEXT: Final = 1000
_MAX_ATTACHMENTS: Final = 10
_MAX_ROLES: Final = 16
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Zs", "Zl", "Zp"})


class Kind(StrEnum):
    """What kind of conversation a channel is."""

    LIVE_CHAT = "LIVE_CHAT"
    COMMENT = "COMMENT"
    PRIVATE_MESSAGE = "PRIVATE_MESSAGE"
    REVIEW = "REVIEW"
    EMAIL = "EMAIL"
    FORUM = "FORUM"


class Lane(StrEnum):
    """Which of the pump's lanes owes a message its next step."""

    LIVE = "live"
    """Decided within 3 seconds."""
    CALM = "calm"
    """Decided within 60 seconds."""
    LATE = "late"
    """Decided without an assessment: to be read when classify has time again."""


PATIENCE: Final = {Lane.LIVE: timedelta(seconds=3), Lane.CALM: timedelta(seconds=60)}


class State(StrEnum):
    """Where a message stands."""

    PENDING = "PENDING"
    PROVISIONAL = "PROVISIONAL"
    DECIDED = "DECIDED"
    DEAD = "DEAD"


class PlatformEvent(StrEnum):
    """What happened to a message or its author on the platform."""

    EDITED = "EDITED"
    DELETED = "DELETED"
    RESTORED = "RESTORED"
    AUTHOR_BANNED = "AUTHOR_BANNED"


@dataclass(frozen=True, slots=True)
class Brand:
    """The unit of tenancy."""

    id: str
    display_name: str
    default_language: str
    create_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A place where a brand's audience writes."""

    brand: str
    id: str
    platform: str
    kind: Kind
    audience: str
    moderation_mode: str
    display_name: str = ""
    create_time: datetime | None = None

    @property
    def lane(self) -> Lane:
        """The lane its messages travel in."""
        return Lane.LIVE if self.kind is Kind.LIVE_CHAT else Lane.CALM


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote, as the platform tells it."""

    platform_id: str
    display_name: str = ""
    account_create_time: datetime | None = None
    follows_page: bool | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A reference to something that came with the text."""

    kind: str
    uri: str = ""
    alt_text: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as a caller hands it in."""

    brand: str
    channel: str
    external_id: str
    text: str
    author: Author
    attachments: tuple[Attachment, ...] = ()
    event: str = ""
    thread: str = ""
    parent: str = ""
    permalink: str = ""
    language_hint: str = ""
    rating: float | None = None
    published_time: datetime | None = None
    edit_time: datetime | None = None
    may_train: bool | None = None

    @property
    def id(self) -> str:
        """The message's id: the same for every delivery of it."""
        return message_id(self.brand, self.channel, self.external_id)

    @property
    def content_hash(self) -> str:
        """SHA-256 of what makes a delivery the same: text and attachments."""
        digest = hashlib.sha256(self.text.encode())
        for attachment in self.attachments:
            digest.update(f"\x00{attachment.kind}\x00{attachment.uri}".encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    """An accepted revision of a message."""

    draft: Draft
    author_key: str
    language: str
    language_confidence: float
    received_time: datetime
    edit_revision: int
    published_time_trusted: bool
    gone: bool = False

    @property
    def id(self) -> str:
        """The message's id."""
        return self.draft.id

    @property
    def readable(self) -> bool:
        """Whether there is text for classify to read."""
        return not self.gone and has_text(self.draft.text)


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal already holds of one revision."""

    edit_revision: int
    content_hash: str
    edit_time: datetime | None
    received_time: datetime
    time_corrected: bool
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the caller gets back."""

    brand: str
    message: str
    edit_revision: int
    received_time: datetime
    duplicate: bool
    time_corrected: bool


Key = tuple[str, int]
"""A message id and an edit revision."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A journal row the pump has taken."""

    message: Message
    channel: Channel
    lane: Lane
    attempts: int
    patience_time: datetime

    @property
    def key(self) -> Key:
        """The row's key."""
        return self.message.id, self.message.edit_revision


@dataclass(frozen=True, slots=True)
class Dead:
    """A message the pump gave up reading."""

    brand: str
    message: str
    edit_revision: int
    reason: str
    attempts: int
    dead_time: datetime
    sequence: int


@dataclass(frozen=True, slots=True)
class Step:
    """What a row becomes after the pump had it."""

    key: Key
    state: State
    lane: Lane | None
    due_time: datetime
    attempts: int
    reason: str | None = None
    dead_time: datetime | None = None
    gone: bool = False


def has_text(text: str) -> bool:
    """Whether anything in it can be seen: emoji can, spaces, control and zero-width characters cannot."""
    return any(unicodedata.category(character) not in _INVISIBLE for character in text)


def author_key(secret: bytes, brand: str, platform: str, platform_id: str) -> str:
    """Keyed hash of a person inside one brand: 32 hexadecimal characters, never comparable across brands."""
    parts = "\x00".join((brand, platform, platform_id)).encode()
    return hmac.new(secret, parts, hashlib.sha256).hexdigest()[:32]


def check_channel(channel: Channel) -> Channel:
    """Give back a valid channel.

    Raises:
        InvalidArgument: naming the field at fault.
    """
    check_slug(channel.id, "channel_id")
    _plain(channel.platform, "channel.platform", 63, required=True)
    _plain(channel.display_name, "channel.display_name", _MAX_ID)
    return channel


def check_brand(brand: Brand) -> Brand:
    """Give back a valid brand.

    Raises:
        InvalidArgument: naming the field at fault.
    """
    check_slug(brand.id, "brand_id")
    _plain(brand.display_name, "brand.display_name", _MAX_ID, required=True)
    _plain(brand.default_language, "brand.default_language", 16)
    return brand


def check_draft(draft: Draft, now: datetime) -> Draft:
    """Give back an acceptable draft. NUL characters are dropped from its text: no database of text can hold them.

    Raises:
        InvalidArgument: naming the field at fault and what is accepted.
    """
    if len(draft.text.encode()) > MAX_TEXT_BYTES:
        description = f"at most {MAX_TEXT_BYTES} bytes of UTF-8; send a long text in parts"
        raise invalid_field("message.text", description, Reason.TEXT_TOO_LONG)
    if not has_text(draft.text) and not draft.attachments:
        raise InvalidArgument(
            "The message has neither text nor attachment; send one of the two.",
            reason=Reason.EMPTY_MESSAGE,
            violations=(Violation("message.text", "some text, or an attachment"),),
        )
    _check_fields(draft)
    _check_times(draft, now)
    return replace(draft, text=draft.text.replace("\x00", ""))


def _check_fields(draft: Draft) -> None:
    _plain(draft.external_id, "message.external_id", _MAX_ID, required=True)
    _plain(draft.author.platform_id, "message.author.platform_id", _MAX_ID, required=True)
    _plain(draft.author.display_name, "message.author.display_name", _MAX_ID)
    _plain(draft.thread, "message.thread", _MAX_ID)
    _plain(draft.parent, "message.parent", _MAX_ID)
    _plain(draft.permalink, "message.permalink", _MAX_URI)
    _plain(draft.language_hint, "message.language_hint", 16)
    if draft.event:
        check_slug(draft.event, "message.event")
    if draft.rating is not None and not 0 <= draft.rating <= 5:
        raise invalid_field("message.rating", "from 0 to 5")
    if len(draft.author.roles) > _MAX_ROLES:
        raise invalid_field("message.author.roles", f"at most {_MAX_ROLES}")
    for role in draft.author.roles:
        _plain(role, "message.author.roles", 63)
    if len(draft.attachments) > _MAX_ATTACHMENTS:
        raise invalid_field("message.attachments", f"at most {_MAX_ATTACHMENTS}")
    for attachment in draft.attachments:
        _plain(attachment.uri, "message.attachments.uri", _MAX_URI)
        _plain(attachment.alt_text, "message.attachments.alt_text", _MAX_ALT_TEXT)


def _check_times(draft: Draft, now: datetime) -> None:
    for field, time in (("message.published_time", draft.published_time), ("message.edit_time", draft.edit_time)):
        if time is not None and time > now + MAX_AHEAD:
            raise invalid_field(field, "at most 24 hours ahead; check the sender's clock", Reason.TIME_AHEAD)


def _plain(value: str, field: str, limit: int, required: bool = False) -> None:
    if required and not value:
        raise invalid_field(field, "is required")
    if len(value) > limit:
        raise invalid_field(field, f"at most {limit} characters")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise invalid_field(field, "no control characters")


def time_trusted(draft: Draft, now: datetime) -> bool:
    """Whether clocks may run from the platform's time: it is there and not ahead of ours."""
    return draft.published_time is not None and draft.published_time <= now


def admit(draft: Draft, known: Sequence[Known]) -> Known | int:
    """Decide what this delivery is, given every revision the journal holds of its message.

    Returns:
        The revision it repeats, or the number of the new revision it becomes.

    Raises:
        AlreadyExists: same id, other content, and no later edit time.
    """
    latest = max(known, key=lambda revision: revision.edit_revision, default=None)
    if latest is None:
        return 1
    content = draft.content_hash
    edited = draft.edit_time is not None and (latest.edit_time is None or draft.edit_time > latest.edit_time)
    if content == latest.content_hash and not (edited and latest.gone):
        return latest
    if edited:
        return latest.edit_revision + 1
    for revision in known:
        if revision.content_hash == content:
            return revision
    raise AlreadyExists(
        "This id exists with other content. If the author edited the message, send it again with a later edit_time.",
        metadata={"edit_revision": str(latest.edit_revision)},
    )
