"""A recorded message as the contract's message."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from apaise.type.v1 import message_pb2 as types
from apaise_cli.replay.recording import Entry


def to_message(entry: Entry) -> types.Message:
    """The message to submit. What the platform did not tell stays absent."""
    return types.Message(
        channel=f"brands/{entry.brand}/channels/{entry.channel}",
        event=entry.event,
        external_id=entry.external_id,
        thread=entry.thread,
        parent=entry.parent,
        permalink=entry.permalink,
        text=entry.text,
        language_hint=entry.language_hint,
        author=_author(entry),
        attachments=[
            types.Attachment(
                kind=types.AttachmentKind.Value(f"ATTACHMENT_KIND_{item['kind']}"),
                uri=item["uri"],
                alt_text=item["alt_text"],
            )
            for item in entry.attachments
        ],
        rating=entry.rating,
        published_time=_timestamp(entry.published),
        edit_time=_timestamp(entry.edited),
        may_train=entry.may_train,
    )


def _author(entry: Entry) -> types.Author:
    return types.Author(
        platform_id=entry.author["platform_id"],
        display_name=entry.author["display_name"],
        account_create_time=_timestamp(entry.account_created),
        follows_page=entry.author["follows_page"],
        roles=entry.author["roles"],
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
