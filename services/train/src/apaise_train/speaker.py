"""The loop that has resolved messages speak as precedents: what is owed goes to classify, in order, until it is there.

Classify keeps vectors of one encoder. When another one reads, what counts is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import ApaiseError, DeadlineExceeded, ResourceExhausted, Unavailable
from apaise_kit.runtime.db import Database
from apaise_kit.runtime.logs import get_logger
from apaise_train.adapters import store
from apaise_train.adapters.store import ENCODER, Move
from apaise_train.domain.ports import Precedents

PER_BRAND: Final = 1000
_BATCH: Final = 100
_POLL_SECONDS: Final = 1.0
_LONGEST_DELAY: Final = 15.0
_ENCODER_SECONDS: Final = 30.0
_TRANSIENT: Final = (Unavailable, ResourceExhausted, DeadlineExceeded)
_log = get_logger(__name__)


class Speaker:
    """Sends what is owed; a move is forgotten only once classify has it, so a crash sends it again, harmlessly."""

    def __init__(self, db: Database, precedents: Precedents) -> None:
        self._db = db
        self._precedents = precedents
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Something is owed."""
        self._nudged.set()

    async def run(self) -> None:
        """For ever: send; when classify does not answer wait a little longer each time."""
        clock = asyncio.get_running_loop()
        delay, looked = _POLL_SECONDS, float("-inf")
        with acting_as(system_caller("train")):
            while True:
                try:
                    if clock.time() - looked >= _ENCODER_SECONDS:
                        await self.compare_encoders()
                        looked = clock.time()
                    while await self.send_some():
                        pass
                    delay = _POLL_SECONDS
                except ApaiseError as error:
                    _log.info("precedents_wait", reason=error.reason.value, retry_in=delay)
                    delay = min(_LONGEST_DELAY, delay * 2)
                await self._pause(delay)

    async def compare_encoders(self) -> None:
        """Owe everything again when classify reads with another encoder than what it was sent for."""
        encoder = await self._precedents.encoder()
        async with self._db.write() as tx:
            if await store.read_cursor(tx.conn, ENCODER) != encoder:
                await store.owe_all_precedents(tx.conn, PER_BRAND)
                await store.save_cursor(tx.conn, encoder, ENCODER)

    async def send_some(self) -> bool:
        """Send the oldest moves; whether there were any.

        Raises:
            ApaiseError: classify or the database does not answer.
        """
        async with self._db.read() as conn:
            moves = await store.owed_precedents(conn, _BATCH)
        for brand, put, part in _parts(moves):
            await self._sent(brand, put, part)
            async with self._db.write() as tx:
                await store.moved_precedents(tx.conn, part)
        return bool(moves)

    async def _sent(self, brand: str, put: bool, moves: Sequence[Move]) -> None:
        """Send moves; one that is refused is passed over alone, or everything behind it would wait for ever."""
        try:
            await self._send(brand, put, moves)
        except _TRANSIENT:
            raise
        except ApaiseError as error:
            if len(moves) == 1:
                _log.warning("precedent_refused", brand=brand, review=moves[0].review, reason=error.reason.value)
                return
            for move in moves:
                await self._sent(brand, put, [move])

    async def _send(self, brand: str, put: bool, moves: Sequence[Move]) -> None:
        reviews = [move.review for move in moves]
        if not put:
            await self._precedents.take_back(brand, reviews)
            return
        async with self._db.read() as conn:
            found = await store.examples_by_review(conn, brand, reviews)
        # Blanked since: there is nothing to read any more, and its end is owed further on.
        if speaking := [example for example in found.values() if example.text]:
            await self._precedents.put(brand, speaking)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return
        self._nudged.clear()


def _parts(moves: Sequence[Move]) -> Iterator[tuple[str, bool, list[Move]]]:
    """Neighbouring moves of one brand and kind together, in order."""
    for (brand, put), part in groupby(moves, lambda move: (move.brand, move.put)):
        yield brand, put, list(part)
