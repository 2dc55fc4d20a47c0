"""A recording: JSON lines, one message each. Reading it, giving it fresh ids, moving it to now. No network here.

A line looks like a message of the contract (proto field names), with the brand and the channel by their ids:

    {"brand": "demo-retail", "channel": "twitch-live", "external_id": "tw-1", "text": "bonsoir",
     "published_time": "2026-10-08T18:30:04Z", "author": {"platform_id": "u-1", "display_name": "Ana"}}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

_ATTACHMENT_KINDS: Final = ("IMAGE", "VIDEO", "AUDIO", "STICKER", "LINK", "FILE")


class BrokenLine(Exception):
    """A line that is no message. The text says why, without quoting it."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"line {number}: {problem}")
        self.number = number
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded message. Times are aware; those the platform did not tell are None."""

    number: int
    brand: str
    channel: str
    external_id: str
    text: str
    published: datetime | None
    author: Mapping[str, Any]
    account_created: datetime | None = None
    edited: datetime | None = None
    thread: str = ""
    parent: str = ""
    event: str = ""
    language_hint: str = ""
    permalink: str = ""
    rating: float | None = None
    may_train: bool | None = None
    attachments: tuple[Mapping[str, str], ...] = ()


def read(path: Path, brand: str | None = None) -> Iterator[Entry | BrokenLine]:
    """Every line of a recording, in order: a message, or why it is none. Empty lines are skipped.

    Args:
        path: the file, UTF-8.
        brand: replaces the brand of every line.

    Raises:
        OSError: when the file cannot be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _entry(number, line, brand)


def _entry(number: int, line: bytes, brand: str | None) -> Entry | BrokenLine:
    try:
        return _parsed(number, _object(json.loads(line.decode("utf-8"))), brand)
    except UnicodeDecodeError:
        return BrokenLine(number, "not UTF-8")
    except json.JSONDecodeError as error:
        return BrokenLine(number, f"not JSON ({error.msg}, column {error.colno})")
    except ValueError as error:
        return BrokenLine(number, str(error))


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _parsed(number: int, line: dict[str, Any], brand: str | None) -> Entry:
    author = _object(line.get("author") or {})
    return Entry(
        number=number,
        brand=brand or _last_part(_text(line, "brand")),
        channel=_last_part(_text(line, "channel")),
        external_id=_text(line, "external_id"),
        text=_text(line, "text", required=False),
        published=_time(line, "published_time"),
        author={
            "platform_id": _text(author, "platform_id", where="author."),
            "display_name": _text(author, "display_name", required=False, where="author."),
            "follows_page": _flag(author, "follows_page"),
            "roles": [str(role) for role in author.get("roles") or ()],
        },
        account_created=_time(author, "account_create_time") or _time(author, "account_created_time"),
        edited=_time(line, "edit_time"),
        thread=_text(line, "thread", required=False),
        parent=_text(line, "parent", required=False),
        event=_text(line, "event", required=False),
        language_hint=_text(line, "language_hint", required=False),
        permalink=_text(line, "permalink", required=False),
        rating=_number(line, "rating"),
        may_train=_flag(line, "may_train"),
        attachments=tuple(_attachment(_object(item)) for item in line.get("attachments") or ()),
    )


def _text(line: Mapping[str, Any], key: str, *, required: bool = True, where: str = "") -> str:
    value = line.get(key)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value):
        raise ValueError(f"{where}{key} is {'missing' if value in (None, '') else 'no text'}")
    return value


def _flag(line: Mapping[str, Any], key: str) -> bool | None:
    value = line.get(key)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{key} is neither true nor false")
    return value


def _number(line: Mapping[str, Any], key: str) -> float | None:
    value = line.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is no number")
    return float(value)


def _time(line: Mapping[str, Any], key: str) -> datetime | None:
    value = _text(line, key, required=False)
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{key} is no RFC 3339 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _attachment(item: Mapping[str, Any]) -> dict[str, str]:
    kind = _text(item, "kind", where="attachment.").removeprefix("ATTACHMENT_KIND_")
    if kind not in _ATTACHMENT_KINDS:
        raise ValueError(f"attachment.kind is none of {', '.join(_ATTACHMENT_KINDS)}")
    return {
        "kind": kind,
        "uri": _text(item, "uri", required=False),
        "alt_text": _text(item, "alt_text", required=False),
    }


def _last_part(name: str) -> str:
    """`brands/b/channels/c` and `c` mean the same."""
    return name.rsplit("/", 1)[-1]


def renamed(entries: Sequence[Entry], suffix: str) -> list[Entry]:
    """The same messages under fresh ids. Answers keep pointing at what they answer."""
    known = {entry.external_id for entry in entries}
    return [
        replace(
            entry,
            external_id=entry.external_id + suffix,
            parent=entry.parent + suffix if entry.parent in known else entry.parent,
        )
        for entry in entries
    ]


def moved(entries: Sequence[Entry], start: datetime, speed: float | None) -> list[Entry]:
    """The same messages as if they were being written now, with their spacing, and nothing in the future.

    At speed 1 the first message is published at `start`. Faster, the recording ends when its last message is sent; as
    fast as possible (`speed` None) it ends at `start`. Accounts keep their age.
    """
    times = [entry.published for entry in entries if entry.published]
    if not times:
        return list(entries)
    first, last = min(times), max(times)
    if speed is not None and speed <= 1:
        shift = start - first
    else:
        shift = start + (last - first) / speed - last if speed else start - last
    return [_shifted(entry, shift) for entry in entries]


def _shifted(entry: Entry, shift: timedelta) -> Entry:
    return replace(
        entry,
        published=entry.published and entry.published + shift,
        account_created=entry.account_created and entry.account_created + shift,
        edited=entry.edited and entry.edited + shift,
    )


def due(entries: Iterable[Entry], speed: float | None) -> list[float]:
    """When each message is to be sent, in seconds from the start: as it was published, `speed` times faster.

    A message without a time goes with the one before it. Without a speed, all at once.
    """
    moments: list[float] = []
    first: datetime | None = None
    for entry in entries:
        if speed is None or entry.published is None:
            moments.append(moments[-1] if moments else 0.0)
            continue
        first = first or entry.published
        moments.append(max(0.0, (entry.published - first).total_seconds() / speed))
    return moments
