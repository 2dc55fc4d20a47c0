"""Rows about charters at work: shadows and their counts, live words, the latest messages to decide again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, delete, func, insert, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_route.adapters import rows
from apaise_route.adapters.tables import decisions, live_words, messages, shadow_charters, shadow_tallies
from apaise_route.domain.lists import WordList
from apaise_route.domain.model import Absence, Cause, Queue, RouteInput, Visibility
from apaise_route.domain.replay import Change

_taken_down = text(
    "select brand, body ->> 'channel' as channel, count(*) as number from decisions "
    "where brand = any(cast(:brands as text[])) and create_time > :since and cause in (1, 7) and visibility > 2 "
    "and body -> 'ruling' ->> 'ground' <> '2' group by 1, 2"
)


# -- shadows


class StoredShadow(NamedTuple):
    """The version that decides beside the one in force, and since when."""

    brand: str
    version: int
    start_time: datetime


async def shadows(conn: AsyncConnection, brands: Collection[str]) -> dict[str, StoredShadow]:
    """The shadows of brands that have one."""
    found = await conn.execute(select(shadow_charters).where(shadow_charters.c.brand.in_(list(brands))))
    return {row.brand: StoredShadow(row.brand, row.version, row.start_time) for row in found}


async def set_shadow(conn: AsyncConnection, shadow: StoredShadow) -> None:
    """Start a shadow; what another one had counted is forgotten."""
    await drop_shadow(conn, shadow.brand)
    await conn.execute(insert(shadow_charters).values(shadow._asdict()))


async def drop_shadow(conn: AsyncConnection, brand: str) -> bool:
    """End a shadow and forget its counts; False when there was none."""
    await conn.execute(delete(shadow_tallies).where(shadow_tallies.c.brand == brand))
    return (await conn.execute(delete(shadow_charters).where(shadow_charters.c.brand == brand))).rowcount > 0


async def add_tallies(conn: AsyncConnection, brand: str, counted: Mapping[Change, int]) -> None:
    """Add to a brand's counts. Rows are locked in one order, so that concurrent batches do not deadlock."""
    values = [
        {"brand": brand, "messages": number, **{name: int(value) for name, value in change._asdict().items()}}
        for change, number in sorted(counted.items())
    ]
    statement = upsert(shadow_tallies).values(values)
    total = shadow_tallies.c.messages + statement.excluded.messages
    keys = ["brand", *Change._fields]
    await conn.execute(statement.on_conflict_do_update(index_elements=keys, set_={"messages": total}))


async def tallies(conn: AsyncConnection, brand: str) -> dict[Change, int]:
    """What a brand's shadow has counted."""
    c = shadow_tallies.c
    found = await conn.execute(select(shadow_tallies).where(c.brand == brand))
    return {
        Change(
            Visibility(row.visibility_before),
            Visibility(row.visibility_after),
            Queue(row.queue_before),
            Queue(row.queue_after),
        ): row.messages
        for row in found
    }


# -- live words


class LiveWord(NamedTuple):
    """A word in one of a charter's lists for a while; `kind` is the contract's number."""

    brand: str
    id: str
    list: str
    kind: int
    word: str
    create_actor: str
    create_time: datetime
    expire_time: datetime


WORD, NAME, HASHTAG = 1, 2, 3


def as_list(kind: int, words: Sequence[str]) -> WordList:
    """Words of one kind."""
    given = tuple(words)
    return {WORD: WordList(given), NAME: WordList(names=given), HASHTAG: WordList(hashtags=given)}[kind]


async def live_lists(conn: AsyncConnection, brands: Collection[str], now: datetime) -> dict[str, dict[str, WordList]]:
    """The live words in force, as lists, by brand and list id."""
    c = live_words.c
    query = select(live_words).where(c.brand.in_(list(brands)), c.expire_time > now).order_by(c.brand, c.list, c.id)
    lists: dict[str, dict[str, WordList]] = {}
    for row in await conn.execute(query):
        of_brand = lists.setdefault(row.brand, {})
        of_brand[row.list] = _plus(of_brand.get(row.list, WordList()), as_list(row.kind, [row.word]))
    return lists


def lists_at(words: Sequence[LiveWord], instant: datetime) -> dict[str, WordList]:
    """Those of some words that were in force at an instant, as lists by id."""
    lists: dict[str, WordList] = {}
    for word in words:
        if word.create_time <= instant < word.expire_time:
            lists[word.list] = _plus(lists.get(word.list, WordList()), as_list(word.kind, [word.word]))
    return lists


def _plus(had: WordList, more: WordList) -> WordList:
    return WordList(had.words + more.words, had.names + more.names, had.hashtags + more.hashtags)


async def live_words_ever(conn: AsyncConnection, brand: str) -> list[LiveWord]:
    """Every live word of a brand that nobody took out, those that have expired too."""
    c = live_words.c
    return [LiveWord(*row) for row in await conn.execute(select(live_words).where(c.brand == brand).order_by(c.id))]


async def add_live_word(conn: AsyncConnection, word: LiveWord) -> None:
    """Keep a word."""
    await conn.execute(insert(live_words).values(word._asdict()))


async def count_live_words(conn: AsyncConnection, brand: str, now: datetime) -> int:
    """How many words of a brand are in force."""
    c = live_words.c
    return await conn.scalar(select(func.count()).where(c.brand == brand, c.expire_time > now)) or 0


async def page_of_live_words(
    conn: AsyncConnection, brand: str, now: datetime, after: tuple[datetime, str] | None, limit: int
) -> list[LiveWord]:
    """Words in force, the first to expire first, after a position (expire time, id)."""
    c = live_words.c
    query = select(live_words).where(c.brand == brand, c.expire_time > now)
    if after is not None:
        query = query.where(tuple_(c.expire_time, c.id) > tuple_(*after))
    return [LiveWord(*row) for row in await conn.execute(query.order_by(c.expire_time, c.id).limit(limit))]


async def remove_live_word(conn: AsyncConnection, brand: str, word_id: str) -> bool:
    """Take a word out; False when it is not there."""
    done = await conn.execute(delete(live_words).where(live_words.c.brand == brand, live_words.c.id == word_id))
    return done.rowcount == 1


# -- what was decided lately


async def latest(conn: AsyncConnection, brand: str, limit: int, since: datetime | None = None) -> list[RouteInput]:
    """The messages the machine decided last and that are still there, the latest first, as they were decided.

    Those kept by the first release, which did not tell their channel's kind, are left out.
    """
    d, m = decisions.c, messages.c
    same = and_(d.brand == m.brand, d.message == m.message, d.edit_revision == m.edit_revision)
    query = (
        select(messages, d.body["absence"].as_integer().label("absence"))
        .join_from(decisions, messages, same)
        .where(d.brand == brand, d.cause == int(Cause.AUTOMATIC), m.gone.is_(False))
        .order_by(d.create_time.desc(), d.message.desc(), d.sequence.desc())
        .limit(limit)
    )
    if since is not None:
        query = query.where(d.create_time > since)
    found = (await conn.execute(query)).mappings()
    return [entry for entry in map(_entry_of, found) if entry is not None]


def _entry_of(row: rows.Record) -> RouteInput | None:
    channel, assessment = rows.place_of(row), rows.assessment_of(row["assessment"])
    if channel is None:
        return None
    # An assessment that came later has taken the place of its absence.
    absence = Absence.NONE if assessment else Absence(row["absence"])
    return RouteInput(rows.message_of(row), channel, assessment, absence)


async def taken_down(conn: AsyncConnection, brands: Collection[str], since: datetime) -> dict[tuple[str, str], int]:
    """How many messages the machine took down since then on the charter's ground, by brand and channel."""
    found = await conn.execute(_taken_down, {"brands": list(brands), "since": since})
    return {(row.brand, row.channel): row.number for row in found}
