"""The loop that turns route's reviews into examples."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import ApaiseError, Reason
from apaise_kit.core.names import BRAND
from apaise_kit.runtime.db import Database, Transaction
from apaise_kit.runtime.logs import get_logger
from apaise_train.adapters import store
from apaise_train.domain.ports import Followed, ReviewKind, Reviews

_FIRST_DELAY: Final = 0.2
_LONGEST_DELAY: Final = 5.0
_log = get_logger(__name__)


class Follower:
    """Reads reviews from where it left off; what a review teaches and the cursor after it commit together."""

    def __init__(self, db: Database, reviews: Reviews, speak: Callable[[], None] = lambda: None) -> None:
        """`speak` is told that precedents are owed."""
        self._db = db
        self._reviews = reviews
        self._speak = speak

    async def run(self) -> None:
        """For ever: follow, and when the stream breaks wait a little longer each time."""
        delay = _FIRST_DELAY
        with acting_as(system_caller("train")):
            while True:
                try:
                    async with self._db.read() as conn:
                        cursor = await store.read_cursor(conn)
                    async with aclosing(self._reviews.follow(cursor)) as stream:
                        async for followed in stream:
                            await self._keep(followed)
                            delay = _FIRST_DELAY
                except ApaiseError as error:
                    _log.info("reviews_interrupted", reason=error.reason.value, retry_in=delay)
                    await self._restart_if_expired(error)
                await asyncio.sleep(delay)
                delay = min(_LONGEST_DELAY, delay * 2)

    async def _keep(self, followed: Followed) -> None:
        async with self._db.write() as tx:
            about = await _about(tx.conn, followed)
            before = [await store.speaking(tx.conn, *message) for message in about]
            await self._learn(tx, followed)
            for (brand, message), spoke in zip(about, before, strict=True):
                await store.owe_precedent(tx.conn, brand, spoke, await store.speaking(tx.conn, brand, message))
            await store.save_cursor(tx.conn, followed.cursor)
        self._speak()

    async def _learn(self, tx: Transaction, followed: Followed) -> None:
        if followed.correction is not None:
            await store.add_correction(tx.conn, followed.correction)
        if followed.gone is not None:
            await store.blank(tx.conn, *followed.gone)
        if followed.kind is ReviewKind.UNDO and followed.undoes is not None:
            if await store.withdraw(tx.conn, *followed.undoes):
                brand, review = followed.undoes
                tx.record("example.withdrawn", f"{BRAND.format(brand)}/reviews/{review}", brand)
        elif (
            followed.kind is ReviewKind.EXAMPLE
            and followed.example is not None
            and await store.add_example(tx.conn, followed.example)
        ):
            brand, review = followed.example.brand, followed.example.review
            tx.record("example.kept", f"{BRAND.format(brand)}/reviews/{review}", brand)

    async def _restart_if_expired(self, error: ApaiseError) -> None:
        """What route no longer keeps is lost to us; what it keeps is read again, which changes nothing twice."""
        if error.reason not in (Reason.CURSOR_EXPIRED, Reason.BAD_CURSOR):
            return
        _log.error("reviews_lost", reason=error.reason.value)
        try:
            async with self._db.write() as tx:
                await store.save_cursor(tx.conn, "")
        except ApaiseError as unavailable:
            _log.warning("cursor_not_reset", reason=unavailable.reason.value)


async def _about(conn: AsyncConnection, followed: Followed) -> list[tuple[str, str]]:
    """The messages (brand, id), each once, whose counting review a step may change."""
    about = [followed.gone]
    if followed.example is not None:
        about.append((followed.example.brand, followed.example.message))
    if followed.undoes is not None:
        message = await store.message_of(conn, *followed.undoes)
        about.append((followed.undoes[0], message) if message else None)
    return list(dict.fromkeys(each for each in about if each is not None))
