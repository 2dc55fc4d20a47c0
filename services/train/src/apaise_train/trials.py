"""The loop that tries revisions on a share of the traffic, and ends a trial when reviews have told.

Whether it decides well is judged on audit items only, messages drawn at random from what needed nobody, and on the
blind second looks drawn from those. What people went to look at because the machine was unsure, or because someone
complained, tells nothing of how often it is wrong.
Whether it fails or is slow is seen in what serving counts, and no review is waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import ApaiseError
from apaise_kit.core.names import ADAPTER
from apaise_kit.runtime.db import Database, Transaction
from apaise_kit.runtime.logs import get_logger
from apaise_train.adapters import store
from apaise_train.domain.health import illness
from apaise_train.domain.ports import Trying
from apaise_train.domain.runs import GATE_ACTOR, Canary, LedgerKind, RunState, champions
from apaise_train.domain.sequential import CanaryReport, Tally, Verdict, judge_canary
from apaise_train.promoter import TRANSIENT, Promoter, enter

_HOUSE: Final = "house"
_POLL_SECONDS: Final = 2.0
_log = get_logger(__name__)


class Trials:
    """Tells serving of canaries and judges them. Everything is in the database: a crash loses nothing."""

    def __init__(self, db: Database, serving: Trying, promoter: Promoter, poll: float = _POLL_SECONDS) -> None:
        """`poll`: seconds between two looks."""
        self._poll = poll
        self._db = db
        self._serving = serving
        self._promoter = promoter

    async def run(self) -> None:
        """For ever: look at every canary."""
        with acting_as(system_caller("train")):
            while True:
                try:
                    async with self._db.read() as conn:
                        busy = await store.busy_canaries(conn)
                    for canary in busy:
                        await self._look(canary)
                except ApaiseError as error:
                    _log.info("canaries_wait", reason=error.reason.value)
                await asyncio.sleep(self._poll)

    async def _look(self, canary: Canary) -> None:
        try:
            if canary.owed:
                await self._tell(canary)
            if canary.revision is not None and not await self._ended_ill(canary, canary.revision):
                await self._judge(canary, canary.revision)
        except TRANSIENT as error:
            _log.info("canary_waits", brand=canary.brand, reason=error.reason.value)
        except ApaiseError as error:
            await self._end(canary, f"Serving refused the revision: {error.reason.value}.")

    async def _tell(self, canary: Canary) -> None:
        revision = None
        if canary.revision is not None:
            async with self._db.read() as conn:
                revision = await store.find_revision(conn, canary.brand, canary.revision)
        await self._serving.trial(canary.brand, revision, canary.share, f"ledger-{canary.entry}")
        async with self._db.write() as tx:
            await store.told_canary(tx.conn, canary)

    async def _ended_ill(self, canary: Canary, revision: str) -> bool:
        """Whether it failed or was slow, and is no canary any more."""
        health = await self._serving.health(canary.brand)
        why = illness(health) if health is not None and health.revision == revision else None
        if why is not None:
            await self._end(canary, why)
        return why is not None

    async def _judge(self, canary: Canary, revision: str) -> None:
        async with self._db.read() as conn:
            champion = champions(await store.read_ledger(conn, canary.brand))[-1] or _HOUSE
            tallies = [
                Tally(await store.audited(conn, canary.brand, adapter, canary.start_time))
                for adapter in (revision, champion)
            ]
        report = judge_canary(*tallies)
        if report.verdict is Verdict.WAIT:
            await self._say(canary, report)
        elif report.verdict is Verdict.WORSE:
            await self._end(canary, report.reason)
        else:
            await self._promote(canary, revision, report.reason)

    async def _say(self, canary: Canary, report: CanaryReport) -> None:
        async with self._db.write() as tx:
            run = await store.find_run(tx.conn, canary.brand, canary.run or "")
            if run is not None and run.canary_standing != report.reason:
                await store.move_run(tx.conn, run.id, [RunState.CANARY], {"canary_standing": report.reason})

    async def _end(self, canary: Canary, reason: str) -> None:
        async with self._db.write() as tx:
            await store.lock_brand(tx.conn, canary.brand)
            current = await store.find_canary(tx.conn, canary.brand)
            if current is None or current.entry != canary.entry:
                return
            await end_canary(tx, canary.brand, reason)
            over = await store.find_canary(tx.conn, canary.brand)
        if over is not None:
            await self._tell(over)

    async def _promote(self, canary: Canary, revision: str, reason: str) -> None:
        async with self._db.write() as tx:
            await store.lock_brand(tx.conn, canary.brand)
            current = await store.find_canary(tx.conn, canary.brand)
            if current is None or current.entry != canary.entry:
                return
            entry = await enter(
                tx, canary.brand, LedgerKind.PROMOTED, revision, reason, actor=GATE_ACTOR, run=canary.run
            )
            await _over(tx, canary, RunState.PROMOTED, entry.sequence, reason)
        self._promoter.nudge()


async def begin_canary(tx: Transaction, brand: str, revision: str, run: str, share: float, reason: str) -> None:
    """Have a revision tried on a share of the messages. Under `store.lock_brand`."""
    await end_canary(tx, brand, "Another revision takes its place.")
    entry = await enter(tx, brand, LedgerKind.CANARY, revision, reason, actor=GATE_ACTOR, run=run)
    await store.save_canary(tx.conn, Canary(brand, revision, run, share, entry.sequence, tx.now, True))


async def end_canary(tx: Transaction, brand: str, reason: str) -> None:
    """End a brand's canary without a promotion, if it has one. Under `store.lock_brand`."""
    canary = await store.find_canary(tx.conn, brand)
    if canary is None or canary.revision is None:
        return
    entry = await enter(tx, brand, LedgerKind.CANARY_ENDED, canary.revision, reason, actor=GATE_ACTOR, run=canary.run)
    await _over(tx, canary, RunState.REFUSED, entry.sequence, reason)


async def _over(tx: Transaction, canary: Canary, state: RunState, entry: int, standing: str) -> None:
    if canary.run is not None:
        values = {"state": state, "canary_standing": standing}
        await store.move_run(tx.conn, canary.run, [RunState.CANARY], values)
    await store.save_canary(tx.conn, replace(canary, revision=None, run=None, share=0.0, entry=entry, owed=True))
    name = ADAPTER.format(canary.brand, canary.revision)
    tx.record("canary.over", name, canary.brand, {"state": state.value, "entry": entry})
