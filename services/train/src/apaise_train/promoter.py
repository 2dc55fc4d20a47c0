"""Promotions and rollbacks: first the ledger and the wish in our own database, then MLflow's alias, then serving.

The wish is the outbox: each step still owed is done again until it is done, whoever died in between. A wish that
serving refuses is given up by a new ledger line, and the champion before goes on serving.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import ApaiseError, DeadlineExceeded, ResourceExhausted, Unavailable, not_found
from apaise_kit.core.names import ADAPTER, BRAND
from apaise_kit.runtime.db import Database, Transaction
from apaise_kit.runtime.logs import get_logger
from apaise_train.adapters import store
from apaise_train.domain.ports import Registry, Serving
from apaise_train.domain.runs import (
    GATE_ACTOR,
    MOVES,
    LedgerEntry,
    LedgerKind,
    Revision,
    RunState,
    Wish,
    champions,
)

TRANSIENT: Final = (Unavailable, ResourceExhausted, DeadlineExceeded)
_POLL_SECONDS: Final = 1.0
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 30.0
_log = get_logger(__name__)


class Promoter:
    """Makes wishes so."""

    def __init__(self, db: Database, registry: Registry, serving: Serving) -> None:
        self._db = db
        self._registry = registry
        self._serving = serving
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """There is a new wish."""
        self._nudged.set()

    async def run(self) -> None:
        """For ever: settle what is owed, each brand at its own pace."""
        retry: dict[str, tuple[float, float]] = {}
        clock = asyncio.get_running_loop()
        with acting_as(system_caller("train")):
            while True:
                due = [brand for brand in await self._owing() if clock.time() >= retry.get(brand, (0.0, 0.0))[0]]
                done = await asyncio.gather(*map(self._tried, due))
                for brand, settled in zip(due, done, strict=True):
                    _, delay = retry.pop(brand, (0.0, _FIRST_DELAY))
                    if not settled:
                        retry[brand] = (clock.time() + delay, min(_LONGEST_DELAY, delay * 2))
                await self._pause()

    async def settle(self, brand: str) -> None:
        """Do what is owed to a brand now.

        Raises:
            FailedPrecondition: serving refused the revision (ADAPTER_…); the ledger says so and the one before serves.
            Unavailable: MLflow or classify does not answer; it is done when it does.
        """
        async with self._locks[brand]:
            async with self._db.read() as conn:
                wish = await store.find_wish(conn, brand)
                kind = await _kind_of(conn, wish) if wish else None
            if wish is None or not (wish.alias_owed or wish.serving_owed):
                return
            if kind is LedgerKind.ROLLED_BACK:
                # Someone wants out: the registry must not stand in the way.
                await self._serve(wish)
                await self._alias(wish)
            else:
                await self._alias(wish)
                await self._serve(wish)

    async def _alias(self, wish: Wish) -> None:
        if not wish.alias_owed:
            return
        revision = await self._revision(wish)
        await self._registry.set_champion(wish.brand, revision.model_version if revision else None)
        async with self._db.write() as tx:
            await store.settle_step(tx.conn, wish, "alias_owed")

    async def _serve(self, wish: Wish) -> None:
        if not wish.serving_owed:
            return
        revision = await self._revision(wish)
        try:
            await self._serving.serve(wish.brand, revision, f"ledger-{wish.entry}")
        except TRANSIENT:
            raise
        except ApaiseError as refusal:
            if revision is None:
                raise Unavailable("Classify refused to go back to the house model. It is asked again.") from refusal
            await self._give_up(wish, refusal)
            raise
        async with self._db.write() as tx:
            if await store.settle_step(tx.conn, wish, "serving_owed"):
                await _end_run(tx, wish, RunState.PROMOTED, None)
                tx.record("champion.serving", _name(wish.brand, wish.revision), wish.brand, {"entry": wish.entry})

    async def _give_up(self, wish: Wish, refusal: ApaiseError) -> None:
        async with self._db.write() as tx:
            await store.lock_brand(tx.conn, wish.brand)
            current = await store.find_wish(tx.conn, wish.brand)
            if current is None or current.entry != wish.entry:
                return
            line = champions(await store.read_ledger(tx.conn, wish.brand))
            before = next((each for each in reversed(line) if each != wish.revision), None)
            await enter(
                tx,
                wish.brand,
                LedgerKind.ROLLED_BACK,
                before,
                f"Serving refused the revision: {refusal.reason.value}.",
                actor=GATE_ACTOR,
            )
            await _end_run(tx, wish, RunState.FAILED, refusal.reason.value)
        self.nudge()

    async def _revision(self, wish: Wish) -> Revision | None:
        if wish.revision is None:
            return None
        async with self._db.read() as conn:
            revision = await store.find_revision(conn, wish.brand, wish.revision)
        if revision is None:
            raise not_found(ADAPTER.format(wish.brand, wish.revision))
        return revision

    async def _owing(self) -> list[str]:
        try:
            async with self._db.read() as conn:
                return list(await store.owing_brands(conn))
        except ApaiseError as error:
            _log.warning("promotions_not_read", reason=error.reason.value)
            return []

    async def _tried(self, brand: str) -> bool:
        try:
            await self.settle(brand)
        except TRANSIENT as error:
            _log.info("promotion_waits", brand=brand, reason=error.reason.value)
            return False
        except ApaiseError as error:
            _log.warning("promotion_refused", brand=brand, reason=error.reason.value)
        return True

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._nudged.wait()
        except TimeoutError:
            return
        self._nudged.clear()


async def enter(
    tx: Transaction,
    brand: str,
    kind: LedgerKind,
    revision: str | None,
    reason: str,
    actor: str | None = None,
    run: str | None = None,
) -> LedgerEntry:
    """Write a ledger line and, if it changes the champion, the wish that follows. Under `store.lock_brand`."""
    lines = await store.read_ledger(tx.conn, brand)
    entry = LedgerEntry(
        brand=brand,
        sequence=len(lines) + 1,
        kind=kind,
        revision=revision,
        previous=champions(lines)[-1],
        actor=actor or tx.caller.actor,
        time=tx.now,
        reason=reason,
        run=run,
    )
    await store.append(tx.conn, entry)
    if kind in MOVES:
        await store.save_wish(tx.conn, Wish(brand, revision, entry.sequence, True, True))
    payload = {"entry": entry.sequence, "kind": kind.value, "previous": entry.previous}
    tx.record("ledger.entered", _name(brand, revision), brand, payload)
    return entry


async def _kind_of(conn: AsyncConnection, wish: Wish) -> LedgerKind:
    (entry,) = await store.list_ledger(conn, wish.brand, wish.entry + 1, 1)
    return entry.kind


async def _end_run(tx: Transaction, wish: Wish, state: RunState, failure: str | None) -> None:
    """End the run that was waiting for this promotion, if one was."""
    run = await store.active_run(tx.conn, wish.brand)
    if run is not None and run.state is RunState.PROMOTING and run.revision == wish.revision:
        values = {"state": state, "progress": 1.0, "end_time": tx.now, "failure": failure}
        await store.move_run(tx.conn, run.id, [RunState.PROMOTING], values)


def _name(brand: str, revision: str | None) -> str:
    return ADAPTER.format(brand, revision) if revision else BRAND.format(brand)
