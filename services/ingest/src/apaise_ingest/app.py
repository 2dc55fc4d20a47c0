"""Ingest's use cases, one function each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_ingest.adapters import store
from apaise_ingest.adapters.language import LanguageReader, Reading
from apaise_ingest.backlog import Backlog
from apaise_ingest.domain import (
    Brand,
    Channel,
    Dead,
    Draft,
    Known,
    Lane,
    Message,
    PlatformEvent,
    Receipt,
    State,
    admit,
    author_key,
    check_brand,
    check_channel,
    check_draft,
    time_trusted,
)
from apaise_kit.core.caller import current_caller
from apaise_kit.core.errors import AlreadyExists, ApaiseError, FailedPrecondition, Reason, invalid_field, not_found
from apaise_kit.core.names import BRAND, CHANNEL, MESSAGE
from apaise_kit.runtime.db import Database

_RACES = 3


@dataclass(frozen=True, slots=True)
class Ingest:
    """What the use cases work with. `nudge` wakes the pump."""

    db: Database
    languages: LanguageReader
    backlog: Backlog
    author_secret: bytes
    nudge: Callable[[], None]


async def create_brand(ingest: Ingest, brand: Brand) -> Brand:
    """Register a brand; the same again is answered with the first.

    Raises:
        InvalidArgument: naming the field at fault.
        NotFound: when the caller's token does not see this brand.
        AlreadyExists: when the id exists with other content.
    """
    current_caller().require(check_brand(brand).id)
    async with ingest.db.write() as tx:
        if await store.add_brand(tx.conn, brand, tx.now):
            tx.record("brand.created", BRAND.format(brand.id), brand.id)
        kept = await store.find_brand(tx.conn, brand.id)
    assert kept is not None
    if replace(kept, create_time=None) != replace(brand, create_time=None):
        raise AlreadyExists("This brand id exists with other content. Read it, or choose another id.")
    return kept


async def get_brand(ingest: Ingest, brand: str) -> Brand:
    """Read a brand.

    Raises:
        NotFound: when there is none.
    """
    async with ingest.db.read() as conn:
        found = await store.find_brand(conn, brand)
    if found is None:
        raise not_found(BRAND.format(brand))
    return found


async def list_brands(ingest: Ingest, after: str, limit: int) -> list[Brand]:
    """The brands the caller sees, by id, after one."""
    async with ingest.db.read() as conn:
        return await store.list_brands(conn, current_caller().visible(), after, limit)


async def create_channel(ingest: Ingest, channel: Channel) -> Channel:
    """Register a channel; the same again is answered with the first.

    Raises:
        InvalidArgument: naming the field at fault.
        NotFound: when the brand does not exist.
        AlreadyExists: when the id exists with other content.
    """
    check_channel(channel)
    async with ingest.db.write() as tx:
        if await store.find_brand(tx.conn, channel.brand) is None:
            raise not_found(BRAND.format(channel.brand))
        if await store.add_channel(tx.conn, channel, tx.now):
            tx.record("channel.created", CHANNEL.format(channel.brand, channel.id), channel.brand)
        kept = (await store.find_channels(tx.conn, [(channel.brand, channel.id)]))[channel.brand, channel.id]
    if replace(kept, create_time=None) != replace(channel, create_time=None):
        raise AlreadyExists("This channel id exists with other content. Read it, or choose another id.")
    return kept


async def get_channel(ingest: Ingest, brand: str, channel: str) -> Channel:
    """Read a channel.

    Raises:
        NotFound: when there is none.
    """
    async with ingest.db.read() as conn:
        found = await store.find_channels(conn, [(brand, channel)])
    if (brand, channel) not in found:
        raise not_found(CHANNEL.format(brand, channel))
    return found[brand, channel]


async def list_channels(ingest: Ingest, brand: str, after: str, limit: int) -> list[Channel]:
    """A brand's channels by id, after one.

    Raises:
        NotFound: when the brand does not exist.
    """
    await get_brand(ingest, brand)
    async with ingest.db.read() as conn:
        return await store.list_channels(conn, brand, after, limit)


async def submit(ingest: Ingest, drafts: Sequence[Draft | ApaiseError]) -> list[Receipt | ApaiseError]:
    """Accept messages durably, each on its own: one that is refused does not touch the others.

    Args:
        ingest: the collaborators.
        drafts: what came in, in order; one that could not even be decoded is already its refusal.

    Returns:
        A receipt or the refusal of each, in order. Receipts are on disk.
    """
    async with ingest.db.read() as conn:
        known = {(draft.brand, draft.channel) for draft in drafts if isinstance(draft, Draft)}
        channels = await store.find_channels(conn, known)
        defaults = {brand.id: brand.default_language for brand in await _brands_of(conn, known)}
    now = ingest.db.clock.now()
    results: list[Receipt | ApaiseError] = []
    checked = [_check(draft, channels, now) for draft in drafts]
    readings = await _read_languages(ingest, [each for each in checked if isinstance(each, Draft)], defaults)
    results = [each if isinstance(each, ApaiseError) else _UNSEEN for each in checked]
    open_items = [index for index, each in enumerate(checked) if isinstance(each, Draft)]
    for _ in range(_RACES + len(open_items)):
        # A batch may carry one message twice, and another call may carry it at the same time: each round settles the
        # first delivery of each message and leaves the rest to the next.
        round_, open_items = _first_of_each(checked, open_items)
        if not round_:
            break
        lost = await _accept(ingest, checked, round_, channels, readings, results)
        open_items = sorted([*open_items, *lost])
    ingest.nudge()
    return results


_UNSEEN = ApaiseError("This message was not settled. Send it again.")


async def _brands_of(conn: AsyncConnection, known: set[tuple[str, str]]) -> list[Brand]:
    return await store.list_brands(conn, frozenset(brand for brand, _ in known), "", len(known) or 1)


def _check(draft: Draft | ApaiseError, channels: dict[tuple[str, str], Channel], now: datetime) -> Draft | ApaiseError:
    if isinstance(draft, ApaiseError):
        return draft
    try:
        name = CHANNEL.format(draft.brand, draft.channel)
        current_caller().require(draft.brand, name)
        if (draft.brand, draft.channel) not in channels:
            raise not_found(name)
        return check_draft(draft, now)
    except ApaiseError as error:
        return error


async def _read_languages(ingest: Ingest, drafts: Sequence[Draft], defaults: dict[str, str]) -> dict[str, Reading]:
    rows = {draft.content_hash: (draft.text, draft.language_hint, defaults.get(draft.brand, "")) for draft in drafts}
    if not rows:
        return {}
    readings = await asyncio.to_thread(ingest.languages.read, list(rows.values()))
    return dict(zip(rows, readings, strict=True))


def _first_of_each(checked: Sequence[Draft | ApaiseError], items: Sequence[int]) -> tuple[list[int], list[int]]:
    first: dict[str, int] = {}
    for index in items:
        draft = checked[index]
        assert isinstance(draft, Draft)
        first.setdefault(draft.id, index)
    chosen = set(first.values())
    return sorted(chosen), [index for index in items if index not in chosen]


async def _accept(
    ingest: Ingest,
    checked: Sequence[Draft | ApaiseError],
    items: Sequence[int],
    channels: dict[tuple[str, str], Channel],
    readings: dict[str, Reading],
    results: list[Receipt | ApaiseError],
) -> list[int]:
    """Settle these items in one transaction; gives back those that lost a race and are to be looked at again."""
    drafts = {index: draft for index in items if isinstance(draft := checked[index], Draft)}
    async with ingest.db.write() as tx:
        known = await store.known_revisions(tx.conn, [draft.id for draft in drafts.values()])
        fresh: dict[int, tuple[Message, Lane]] = {}
        for index, draft in drafts.items():
            channel = channels[draft.brand, draft.channel]
            try:
                outcome = admit(draft, known.get(draft.id, []))
                if isinstance(outcome, Known):
                    results[index] = _repeat(draft, outcome)
                    continue
                ingest.backlog.admit(channel.lane, draft.brand)
            except ApaiseError as error:
                results[index] = error
                continue
            message = _message(ingest, draft, channel, readings[draft.content_hash], tx.now, outcome)
            fresh[index] = message, channel.lane
        written = await store.add_messages(tx.conn, list(fresh.values()))
        for message, _ in fresh.values():
            if (message.id, message.edit_revision) in written:
                name, brand = MESSAGE.format(message.draft.brand, message.id), message.draft.brand
                tx.record("message.accepted", name, brand, {"edit_revision": message.edit_revision})
    lost = []
    for index, (message, _) in fresh.items():
        if (message.id, message.edit_revision) in written:
            results[index] = _receipt(message)
        else:
            lost.append(index)
    return lost


def _message(
    ingest: Ingest, draft: Draft, channel: Channel, reading: Reading, now: datetime, edit_revision: int
) -> Message:
    key = author_key(ingest.author_secret, draft.brand, channel.platform, draft.author.platform_id)
    return Message(draft, key, *reading, now, edit_revision, time_trusted(draft, now))


def _receipt(message: Message) -> Receipt:
    corrected = not message.published_time_trusted
    return Receipt(message.draft.brand, message.id, message.edit_revision, message.received_time, False, corrected)


def _repeat(draft: Draft, known: Known) -> Receipt:
    return Receipt(draft.brand, draft.id, known.edit_revision, known.received_time, True, known.time_corrected)


async def report_platform_event(
    ingest: Ingest, brand: str, message: str, kind: PlatformEvent, time: datetime, text: str
) -> Message:
    """Take in what happened to a message, or to its author, on the platform.

    Raises:
        NotFound: when there is no such message.
        FailedPrecondition: when it was blanked and is not being restored.
        InvalidArgument: when an edited or restored message comes without text.
        AlreadyExists: when a later edit is already known.
    """
    kept, _ = await get_message(ingest, brand, message)
    match kind:
        case PlatformEvent.DELETED:
            await _blank(ingest, kept)
        case PlatformEvent.AUTHOR_BANNED:
            async with ingest.db.write() as tx:
                tx.record("author.banned", MESSAGE.format(brand, message), brand, {"author_key": kept.author_key})
        case PlatformEvent.EDITED | PlatformEvent.RESTORED:
            await _revise(ingest, kept, kind, time, text)
    return (await get_message(ingest, brand, message))[0]


async def _blank(ingest: Ingest, message: Message) -> None:
    channel = await get_channel(ingest, message.draft.brand, message.draft.channel)
    async with ingest.db.write() as tx:
        if not message.gone:
            await store.blank(tx.conn, message.id, tx.now, channel.lane)
            tx.record("message.blanked", MESSAGE.format(message.draft.brand, message.id), message.draft.brand)
    ingest.nudge()


async def _revise(ingest: Ingest, message: Message, kind: PlatformEvent, time: datetime, text: str) -> None:
    if message.gone and kind is PlatformEvent.EDITED:
        raise FailedPrecondition(
            "The message was deleted on the platform; report it restored, with its text, first.",
            reason=Reason.MESSAGE_GONE,
        )
    if not text:
        raise invalid_field("text", "the text of the message as it is now")
    (result,) = await submit(ingest, [replace(message.draft, text=text, edit_time=time)])
    if isinstance(result, ApaiseError):
        raise result


async def get_message(ingest: Ingest, brand: str, message: str) -> tuple[Message, State]:
    """Read a message at its latest revision, and where it stands.

    Raises:
        NotFound: when there is none.
    """
    async with ingest.db.read() as conn:
        found = await store.find_message(conn, brand, message)
    if found is None:
        raise not_found(MESSAGE.format(brand, message))
    return found


async def list_messages(
    ingest: Ingest, brand: str, channel: str | None, state: State | None, after: int, limit: int
) -> list[tuple[int, Message]]:
    """A brand's messages in order of acceptance, after a sequence number.

    Raises:
        NotFound: when the brand does not exist.
    """
    await get_brand(ingest, brand)
    async with ingest.db.read() as conn:
        return await store.list_messages(conn, brand, channel, state, after, limit)


async def list_dead_letters(ingest: Ingest, brand: str, after: int, limit: int) -> list[Dead]:
    """Messages the pump gave up reading, oldest first. `brand` may be the wildcard."""
    async with ingest.db.read() as conn:
        return await store.list_dead(conn, current_caller().visible(brand), after, limit)


async def replay_dead_letters(ingest: Ingest, brand: str, only: Sequence[str]) -> int:
    """Put dead letters back to be read; gives back how many."""
    among = current_caller().visible(brand)
    async with ingest.db.write() as tx:
        revived = await store.revive(tx.conn, among, only, tx.now)
        for owner, message in revived:
            tx.record("message.replayed", MESSAGE.format(owner, message), owner)
    ingest.nudge()
    return len(revived)
