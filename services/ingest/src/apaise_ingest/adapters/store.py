"""The journal and the registries, in PostgreSQL. Every function takes the connection of its caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, RowMapping, Select, and_, bindparam, exists, func, literal, select, tuple_, update
from sqlalchemy import Sequence as Sequence_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_ingest.adapters.tables import brands, channels, messages
from apaise_ingest.domain import (
    PATIENCE,
    Attachment,
    Author,
    Brand,
    Channel,
    Dead,
    Draft,
    Key,
    Kind,
    Known,
    Lane,
    Message,
    Owed,
    State,
    Step,
)

_SEQUENCE: Final = Sequence_("messages_sequence")


async def add_brand(conn: AsyncConnection, brand: Brand, now: datetime) -> bool:
    """Keep a brand; False when its id exists."""
    values = {
        "id": brand.id,
        "display_name": brand.display_name,
        "default_language": brand.default_language,
        "create_time": now,
    }
    added = insert(brands).values(values).on_conflict_do_nothing().returning(brands.c.id)
    return await conn.scalar(added) is not None


async def find_brand(conn: AsyncConnection, brand: str) -> Brand | None:
    """One brand."""
    row = (await conn.execute(select(brands).where(brands.c.id == brand))).one_or_none()
    return Brand(**row._mapping) if row else None


async def list_brands(conn: AsyncConnection, among: frozenset[str] | None, after: str, limit: int) -> list[Brand]:
    """Brands by id, after one, among those given (None: all)."""
    query = select(brands).where(brands.c.id > after).order_by(brands.c.id).limit(limit)
    if among is not None:
        query = query.where(brands.c.id.in_(among))
    return [Brand(**row._mapping) for row in await conn.execute(query)]


async def add_channel(conn: AsyncConnection, channel: Channel, now: datetime) -> bool:
    """Keep a channel; False when its id exists."""
    values = {
        "brand": channel.brand,
        "id": channel.id,
        "platform": channel.platform,
        "kind": channel.kind,
        "audience": channel.audience,
        "moderation_mode": channel.moderation_mode,
        "display_name": channel.display_name,
        "create_time": now,
    }
    added = insert(channels).values(values).on_conflict_do_nothing().returning(channels.c.id)
    return await conn.scalar(added) is not None


async def find_channels(conn: AsyncConnection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Channel]:
    """Channels by (brand, id); those that do not exist are absent."""
    rows = await conn.execute(select(channels).where(tuple_(channels.c.brand, channels.c.id).in_(list(keys))))
    return {(row.brand, row.id): _channel(row._mapping) for row in rows}


async def list_channels(conn: AsyncConnection, brand: str, after: str, limit: int) -> list[Channel]:
    """A brand's channels by id, after one."""
    query = select(channels).where(channels.c.brand == brand, channels.c.id > after).order_by(channels.c.id)
    return [_channel(row._mapping) for row in await conn.execute(query.limit(limit))]


def _channel(row: RowMapping) -> Channel:
    return Channel(**{**row, "kind": Kind(row["kind"])})


async def known_revisions(conn: AsyncConnection, ids: Sequence[str]) -> dict[str, list[Known]]:
    """Every revision held of these messages, locked against a concurrent edit, in id order so that none deadlocks."""
    columns = (messages.c.message, messages.c.edit_revision, messages.c.content_hash, messages.c.edit_time)
    more = (messages.c.received_time, messages.c.published_time_trusted, messages.c.gone)
    query = select(*columns, *more).where(messages.c.message.in_(ids)).order_by(messages.c.message).with_for_update()
    found: dict[str, list[Known]] = {}
    for row in await conn.execute(query):
        known = Known(
            row.edit_revision,
            row.content_hash,
            row.edit_time,
            row.received_time,
            not row.published_time_trusted,
            row.gone,
        )
        found.setdefault(row.message, []).append(known)
    return found


async def add_messages(conn: AsyncConnection, accepted: Sequence[tuple[Message, Lane]]) -> set[Key]:
    """Write new revisions; gives back the keys written. One that is absent lost a race with the same delivery."""
    if not accepted:
        return set()
    count = func.generate_series(1, len(accepted))
    places = (await conn.execute(select(_SEQUENCE.next_value()).select_from(count))).scalars().all()
    rows = [{**_values(*each), "sequence": place} for each, place in zip(accepted, sorted(places), strict=True)]
    # Numbered in the order they came, written in the order of their ids: two batches that meet never deadlock.
    rows.sort(key=lambda row: str(row["message"]))
    later = [row["message"] for row in rows if row["edit_revision"] > 1]
    if later:
        # An edited text needs no more reading: only its newest revision does.
        old = update(messages).where(messages.c.message.in_(later), messages.c.latest)
        await conn.execute(old.values(latest=False))
    statement = insert(messages).on_conflict_do_nothing().returning(messages.c.message, messages.c.edit_revision)
    return {(row.message, row.edit_revision) for row in await conn.execute(statement, rows)}


def _values(message: Message, lane: Lane) -> dict[str, Any]:
    draft = message.draft
    return {
        "message": message.id,
        "edit_revision": message.edit_revision,
        "brand": draft.brand,
        "channel": draft.channel,
        "author_key": message.author_key,
        "event": draft.event,
        "external_id": draft.external_id,
        "text": draft.text,
        "content_hash": draft.content_hash,
        "details": _details(draft),
        "language": message.language,
        "language_confidence": message.language_confidence,
        "published_time": draft.published_time,
        "published_time_trusted": message.published_time_trusted,
        "received_time": message.received_time,
        "edit_time": draft.edit_time,
        "gone": False,
        "latest": True,
        "state": State.PENDING,
        "lane": lane,
        "due_time": message.received_time,
        "patience_time": message.received_time + PATIENCE[lane],
        "attempts": 0,
    }


def _details(draft: Draft) -> dict[str, Any]:
    author = draft.author
    created = author.account_create_time
    return {
        "thread": draft.thread,
        "parent": draft.parent,
        "permalink": draft.permalink,
        "language_hint": draft.language_hint,
        "rating": draft.rating,
        "may_train": draft.may_train,
        "author": {
            "platform_id": author.platform_id,
            "display_name": author.display_name,
            "account_create_time": created.isoformat() if created else None,
            "follows_page": author.follows_page,
            "roles": list(author.roles),
        },
        "attachments": [{"kind": a.kind, "uri": a.uri, "alt_text": a.alt_text} for a in draft.attachments],
    }


def _message(row: Row[Any]) -> Message:
    details, author = row.details, row.details["author"]
    created = author["account_create_time"]
    draft = Draft(
        brand=row.brand,
        channel=row.channel,
        external_id=row.external_id,
        text=row.text,
        author=Author(
            author["platform_id"],
            author["display_name"],
            datetime.fromisoformat(created) if created else None,
            author["follows_page"],
            tuple(author["roles"]),
        ),
        attachments=tuple(Attachment(**attachment) for attachment in details["attachments"]),
        event=row.event,
        thread=details["thread"],
        parent=details["parent"],
        permalink=details["permalink"],
        language_hint=details["language_hint"],
        rating=details["rating"],
        published_time=row.published_time,
        edit_time=row.edit_time,
        may_train=details["may_train"],
    )
    return Message(
        draft,
        row.author_key,
        row.language,
        row.language_confidence,
        row.received_time,
        row.edit_revision,
        row.published_time_trusted,
        row.gone,
    )


async def find_message(conn: AsyncConnection, brand: str, message: str) -> tuple[Message, State] | None:
    """A message at its latest revision."""
    query = select(messages).where(messages.c.message == message, messages.c.brand == brand, messages.c.latest)
    row = (await conn.execute(query)).one_or_none()
    return (_message(row), State(row.state)) if row else None


async def list_messages(
    conn: AsyncConnection, brand: str, channel: str | None, state: State | None, after: int, limit: int
) -> list[tuple[int, Message]]:
    """A brand's messages in order of acceptance, with their sequence numbers."""
    query = select(messages).where(messages.c.brand == brand, messages.c.latest, messages.c.sequence > after)
    if channel is not None:
        query = query.where(messages.c.channel == channel)
    if state is not None:
        query = query.where(messages.c.state == state)
    rows = await conn.execute(query.order_by(messages.c.sequence).limit(limit))
    return [(row.sequence, _message(row)) for row in rows]


async def blank(conn: AsyncConnection, message: str, now: datetime, lane: Lane) -> None:
    """Blank a message's text in place, in every revision, and have the latest routed again so that route does too."""
    kept = messages.c.details.op("||")(literal({"attachments": []}, type_=messages.c.details.type))
    rows = update(messages).where(messages.c.message == message)
    await conn.execute(rows.values(text="", details=kept, gone=True))
    await conn.execute(
        rows.where(messages.c.latest).values(lane=lane, due_time=now, patience_time=now + PATIENCE[lane])
    )


# ---- the pump's side


_MAX_BRANDS_A_CLAIM: Final = 512


async def claim(
    conn: AsyncConnection, lane: Lane, now: datetime, lease: timedelta, limit: int, after_brand: str
) -> list[Owed]:
    """Take what a lane owes, brands in turn, and keep it for the time of the lease.

    Args:
        conn: the transaction; commit it before working on what it gives.
        lane: the lane.
        now: rows due by then.
        lease: how long they are kept from other workers.
        limit: at most this many.
        after_brand: the brand to begin after, so that each claim starts with another one.
    """
    owed = (messages.c.lane == lane, messages.c.due_time <= now)
    waiting = select(brands.c.id).where(exists().where(messages.c.brand == brands.c.id, *owed))
    turn = waiting.order_by(brands.c.id <= after_brand, brands.c.id).limit(_MAX_BRANDS_A_CLAIM)
    names = list((await conn.execute(turn)).scalars())[:limit]
    if not names:
        return []
    share = max(1, limit // len(names))
    keys: list[Key] = []
    for name in names:
        # The last brand in turn takes what the others left of the batch.
        room = limit - len(keys) if name == names[-1] else share
        keys += [(row.message, row.edit_revision) for row in await conn.execute(_claimable(lane, now, name, room))]
    key = tuple_(messages.c.message, messages.c.edit_revision)
    taken = update(messages).where(key.in_(keys)).values(due_time=now + lease).returning(messages)
    rows = (await conn.execute(taken)).all() if keys else []
    known = await find_channels(conn, {(row.brand, row.channel) for row in rows})
    return [
        Owed(_message(row), known[row.brand, row.channel], lane, row.attempts, row.patience_time)
        for row in sorted(rows, key=lambda row: row.sequence)
    ]


def _claimable(lane: Lane, now: datetime, brand: str, limit: int) -> Select[tuple[str, int]]:
    mine = and_(messages.c.lane == lane, messages.c.brand == brand, messages.c.due_time <= now)
    query = select(messages.c.message, messages.c.edit_revision).where(mine).order_by(messages.c.sequence)
    return query.limit(limit).with_for_update(skip_locked=True)


async def settle(conn: AsyncConnection, steps: Sequence[Step]) -> None:
    """Write what the rows became. A row blanked meanwhile keeps its place in the queue: its tombstone is still owed."""
    if not steps:
        return
    statement = (
        update(messages)
        .where(messages.c.message == bindparam("key_message"), messages.c.edit_revision == bindparam("key_revision"))
        .where(messages.c.gone == bindparam("key_gone"))
        .values(
            {
                name: bindparam(f"new_{name}")
                for name in ("state", "lane", "due_time", "attempts", "reason", "dead_time")
            }
        )
    )
    rows = [
        {
            "key_message": step.key[0],
            "key_revision": step.key[1],
            "key_gone": step.gone,
            "new_state": step.state,
            "new_lane": step.lane,
            "new_due_time": step.due_time,
            "new_attempts": step.attempts,
            "new_reason": step.reason,
            "new_dead_time": step.dead_time,
        }
        for step in sorted(steps, key=lambda step: step.key)
    ]
    await conn.execute(statement, rows)


async def backlog(conn: AsyncConnection) -> dict[tuple[Lane, str], int]:
    """How many messages each lane owes each brand."""
    query = select(messages.c.lane, messages.c.brand, func.count()).where(messages.c.lane.is_not(None))
    rows = await conn.execute(query.group_by(messages.c.lane, messages.c.brand))
    return {(Lane(lane), brand): count for lane, brand, count in rows}


async def list_dead(conn: AsyncConnection, among: frozenset[str] | None, after: int, limit: int) -> list[Dead]:
    """Dead letters, oldest first."""
    columns = (messages.c.brand, messages.c.message, messages.c.edit_revision, messages.c.reason)
    more = (messages.c.attempts, messages.c.dead_time, messages.c.sequence)
    query = select(*columns, *more).where(messages.c.state == State.DEAD, messages.c.sequence > after)
    if among is not None:
        query = query.where(messages.c.brand.in_(among))
    return [Dead(**row._mapping) for row in await conn.execute(query.order_by(messages.c.sequence).limit(limit))]


async def revive(
    conn: AsyncConnection, among: frozenset[str] | None, only: Sequence[str], now: datetime
) -> list[tuple[str, str]]:
    """Put dead letters back to be read; gives back (brand, message) of each."""
    statement = update(messages).where(messages.c.state == State.DEAD)
    if among is not None:
        statement = statement.where(messages.c.brand.in_(among))
    if only:
        statement = statement.where(messages.c.message.in_(only))
    again = statement.values(
        state=State.PROVISIONAL, lane=Lane.LATE, due_time=now, attempts=0, reason=None, dead_time=None
    )
    rows = await conn.execute(again.returning(messages.c.brand, messages.c.message))
    return [(row.brand, row.message) for row in rows]
