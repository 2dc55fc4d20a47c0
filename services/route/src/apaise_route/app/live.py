"""Words added to a charter's lists while an event runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Final

from apaise_kit.core import cursor
from apaise_kit.core.errors import FailedPrecondition, invalid_field
from apaise_kit.core.names import LIVE_WORD
from apaise_route.adapters import charter_store, store
from apaise_route.adapters.charter_store import LiveWord, as_list
from apaise_route.app.deps import Deps
from apaise_route.app.paging import page_limit
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.lists import WordLists
from apaise_route.domain.model import RouteInput

TTL: Final = timedelta(hours=4)
_SHORTEST, _LONGEST = timedelta(minutes=1), timedelta(days=30)
WINDOW: Final = timedelta(minutes=10)
_LOOKED_AT: Final = 5000
_MOST: Final = 500
_LONGEST_WORD: Final = 100


@dataclass(frozen=True, slots=True)
class LiveView:
    """A word, kept or not, and how many of the latest messages hold it."""

    word: LiveWord
    kept: bool
    hits: int
    seen: int


async def add_live_word(
    deps: Deps, brand: str, list_id: str, kind: int, word: str, ttl: timedelta, *, validate_only: bool
) -> LiveView:
    """Add a word to a list for `ttl`, from the next message decided on; or only tell what it would have hit.

    Raises:
        InvalidArgument: the word holds nothing to look for, is too long, or the time is out of bounds.
        FailedPrecondition: the charter in force has no such list, or does not mark it `live`; or there are too many.
    """
    _check(word, ttl)
    async with deps.db.read() as conn:
        charter = await deps.shelf.one_in_force(conn, brand)
        _check_list(charter, list_id)
        entries = await charter_store.latest(conn, brand, _LOOKED_AT, deps.clock.now() - WINDOW)
    hits = await asyncio.to_thread(_hits, entries, kind, word)
    now = deps.clock.now()
    added = LiveWord(brand, "", list_id, kind, word, "", now, now + ttl)
    if validate_only:
        return LiveView(added, False, hits, len(entries))
    async with deps.db.write() as tx:
        await store.lock_brand_charters(tx.conn, brand)
        if await charter_store.count_live_words(tx.conn, brand, tx.now) >= _MOST:
            raise FailedPrecondition(f"There are {_MOST} live words already. Take some out first.")
        added = LiveWord(brand, deps.new_id(), list_id, kind, word, tx.caller.actor, tx.now, tx.now + ttl)
        await charter_store.add_live_word(tx.conn, added)
        tx.record("live_word.added", LIVE_WORD.format(brand, added.id), brand, {"list": list_id})
    return LiveView(added, True, hits, len(entries))


def _check(word: str, ttl: timedelta) -> None:
    if not any(char.isalnum() for char in word) or len(word) > _LONGEST_WORD:
        raise invalid_field("live_word.word", f"must hold a letter or a digit, {_LONGEST_WORD} characters at most")
    if not _SHORTEST <= ttl <= _LONGEST:
        raise invalid_field("ttl", "must be one minute to 30 days")


def _check_list(charter: CompiledCharter, list_id: str) -> None:
    live = [name for name, words in charter.charter.lists.items() if words.live]
    if list_id in live:
        return
    close = get_close_matches(list_id, live, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(live)}." if live else "It has none."
    raise FailedPrecondition(f"The charter in force marks no list of this id `live: true`. {hint}")


def _hits(entries: Sequence[RouteInput], kind: int, word: str) -> int:
    lists = WordLists({"it": as_list(kind, [word])})
    return sum(lists.matches(entry.message.text)["it"] for entry in entries)


async def list_live_words(deps: Deps, brand: str, page_size: int, page_token: str) -> tuple[list[LiveWord], str]:
    """A page of the words in force, the first to expire first.

    Raises:
        InvalidArgument: the page size or token is wrong.
    """
    limit, scope = page_limit(page_size), f"live words {brand}"
    position = cursor.decode(page_token, scope)
    after = (datetime.fromisoformat(str(position["time"])), str(position["id"])) if position else None
    async with deps.db.read() as conn:
        found = await charter_store.page_of_live_words(conn, brand, deps.clock.now(), after, limit + 1)
    page = found[:limit]
    last = {"time": page[-1].expire_time.isoformat(), "id": page[-1].id} if len(found) > limit else None
    return page, cursor.encode(last, scope) if last else ""


async def remove_live_word(deps: Deps, brand: str, word_id: str) -> None:
    """Take a word out before its time; one that is out already stays so."""
    async with deps.db.write() as tx:
        if await charter_store.remove_live_word(tx.conn, brand, word_id):
            tx.record("live_word.removed", LIVE_WORD.format(brand, word_id), brand)
