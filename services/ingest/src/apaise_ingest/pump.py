"""The pump: drives what the journal owes through classify and route, and loses nothing when either is away.

A row is settled only once route has answered. Until then it belongs to whoever's lease is on it, and to anyone after
the lease: classify is pure and route is idempotent by message and revision, so doing a row twice does nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from opentelemetry.metrics import Meter

from apaise_ingest.adapters import store
from apaise_ingest.backlog import Backlog
from apaise_ingest.domain import Lane, Owed, State, Step
from apaise_ingest.ports import (
    DEAD_LETTER,
    NO_TEXT,
    TOO_LATE,
    UNAVAILABLE,
    Absence,
    Assessment,
    Classifier,
    Router,
)
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import (
    ApaiseError,
    DeadlineExceeded,
    Reason,
    ResourceExhausted,
    Unavailable,
)
from apaise_kit.runtime.db import Database
from apaise_kit.runtime.logs import get_logger

MAX_ATTEMPTS: Final = 5
LEASE: Final = timedelta(seconds=15)
_NO_TIME_LEFT: Final = timedelta(milliseconds=300)
"""A message with less patience than this is not offered to classify: it would only be read too late."""
_LATE_TIMEOUT: Final = timedelta(seconds=10)
_HURRY: Final = timedelta(seconds=1)
"""Messages with less patience than this are asked for apart. A call ends when its most impatient message gives up: one
such message would have its whole batch read in vain, and under load that batch would then be late itself."""
_LATE_SHARE: Final = 4
"""Late messages go in batches this much smaller while others wait, and wait themselves while more than such a batch
does: else they would keep classify busy until the others are late too, and a mesh once behind would stay behind."""
_LONGEST_YIELD: Final = 3.0
"""Seconds after which late messages get a small batch all the same: nobody waits for ever behind a crowd."""
_MAX_BATCH_BYTES: Final = 1_000_000
_IDLE: Final = 0.25
_TRANSIENT: Final = (Unavailable, ResourceExhausted, DeadlineExceeded)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Again:
    """Classify could not read it yet; there is time to ask again."""

    after: timedelta
    counts: bool
    """Whether it counts as an attempt: the message's own fault, perhaps."""


Reading = Assessment | Absence | Again


class Pump:
    """One per process. `drain(lane)` runs for ever; several may run for a lane, here or in other processes."""

    def __init__(
        self, db: Database, classifier: Classifier, router: Router, backlog: Backlog, meter: Meter, batch: int = 64
    ) -> None:
        self._db = db
        self._classifier = classifier
        self._router = router
        self._backlog = backlog
        self._batch = batch
        self._work = {lane: asyncio.Event() for lane in Lane}
        self._last_brand: dict[Lane, str] = dict.fromkeys(Lane, "")
        self._read_since = 0
        self._settled = meter.create_counter("apaise_ingest_settled", description="Messages settled, by state")
        self._absent = meter.create_counter(
            "apaise_ingest_without_assessment", description="Messages routed without an assessment, by why"
        )
        self._delay = meter.create_histogram(
            "apaise_ingest_decision_seconds", unit="s", description="From acceptance to the automatic decision"
        )

    def nudge(self) -> None:
        """There is, or may be, work: do not wait for the next look."""
        for event in self._work.values():
            event.set()

    async def drain(self, lane: Lane) -> None:
        """Empty a lane for ever. Late messages wait while more than a few can still be decided in time."""
        yielded = 0.0
        while True:
            self._work[lane].clear()
            try:
                crowded = lane is Lane.LATE and self._waiting() > self._batch // _LATE_SHARE
                if crowded and yielded < _LONGEST_YIELD:
                    await asyncio.sleep(_IDLE / 5)
                    yielded += _IDLE / 5
                    continue
                yielded = 0.0
                if not await self.step(lane):
                    await self._wait(lane)
            except ApaiseError as error:
                # Only our own database gets here: the rows taken come back when their lease ends.
                log.warning("pump_interrupted", lane=lane.value, reason=error.reason.value)
                await asyncio.sleep(_IDLE)

    async def count(self) -> None:
        """Keep the backlog's figures true, for ever, and learn the pump's speed while it never idles."""
        while True:
            busy, started, self._read_since = self._busy(), self._db.clock.now(), 0
            await asyncio.sleep(_IDLE)
            try:
                async with self._db.read() as conn:
                    self._backlog.refresh(await store.backlog(conn))
            except ApaiseError as error:
                log.warning("backlog_unknown", reason=error.reason.value)
            if busy and self._busy() and self._read_since:
                self._backlog.learn(self._read_since, self._db.clock.now() - started)

    def _busy(self) -> bool:
        return self._waiting() > self._batch

    def _waiting(self) -> int:
        return self._backlog.waiting(Lane.LIVE) + self._backlog.waiting(Lane.CALM)

    async def _wait(self, lane: Lane) -> None:
        try:
            await asyncio.wait_for(self._work[lane].wait(), _IDLE)
        except TimeoutError:
            return

    async def step(self, lane: Lane) -> int:
        """Take one batch of a lane through; gives back its size."""
        with acting_as(system_caller("ingest")):
            async with self._db.write() as tx:
                rows = await store.claim(tx.conn, lane, tx.now, LEASE, self._size(lane), self._last_brand[lane])
            for part in _parts(rows):
                await self._drive(part)
        if rows:
            self._last_brand[lane] = rows[-1].channel.brand
        return len(rows)

    def _size(self, lane: Lane) -> int:
        small = lane is Lane.LATE and self._waiting()
        return max(1, self._batch // _LATE_SHARE) if small else self._batch

    async def _drive(self, rows: Sequence[Owed]) -> None:
        readings = await self._read(rows)
        ready = [(row, reading) for row, reading in readings if not isinstance(reading, Again)]
        steps = [self._again(row, reading) for row, reading in readings if isinstance(reading, Again)]
        steps += await self._decide(ready)
        async with self._db.write() as tx:
            await store.settle(tx.conn, steps)

    # ---- classify

    async def _read(self, rows: Sequence[Owed]) -> list[tuple[Owed, Reading]]:
        now = self._db.clock.now()
        known: list[tuple[Owed, Reading]] = []
        offered = []
        for row in rows:
            if not row.message.readable:
                known.append((row, NO_TEXT))
            elif row.lane is not Lane.LATE and row.patience_time - now < _NO_TIME_LEFT:
                known.append((row, TOO_LATE))
            else:
                offered.append(row)
        parts = await asyncio.gather(*(self._ask(part) for part in _by_hurry(offered, now)))
        return known + [answer for part in parts for answer in part]

    async def _ask(self, rows: Sequence[Owed]) -> list[tuple[Owed, Reading]]:
        """Ask classify. A refusal of the whole batch is narrowed down to the rows that cause it."""
        try:
            answers = await self._classifier.read(rows, self._time_for(rows))
        except _TRANSIENT as error:
            return [(row, self._later(row, error)) for row in rows]
        except ApaiseError as error:
            if len(rows) == 1:
                return [(rows[0], self._at_fault(rows[0], error))]
            middle = len(rows) // 2
            return await self._ask(rows[:middle]) + await self._ask(rows[middle:])
        self._read_since += len(answers)
        return [(row, self._reading(row, answer)) for row, answer in zip(rows, answers, strict=True)]

    def _time_for(self, rows: Sequence[Owed]) -> timedelta:
        now = self._db.clock.now()
        limits = [_LATE_TIMEOUT if row.lane is Lane.LATE else row.patience_time - now for row in rows]
        return max(min(limits), _NO_TIME_LEFT)

    def _reading(self, row: Owed, answer: Assessment | ApaiseError) -> Reading:
        if not isinstance(answer, ApaiseError):
            return answer
        return self._later(row, answer) if isinstance(answer, _TRANSIENT) else self._at_fault(row, answer)

    def _later(self, row: Owed, error: ApaiseError) -> Reading:
        if row.lane is Lane.LATE:
            return Again(error.retry_after or timedelta(seconds=1), counts=False)
        wait = min(error.retry_after or timedelta(milliseconds=200), timedelta(milliseconds=500))
        if row.patience_time - self._db.clock.now() - wait < _NO_TIME_LEFT:
            return TOO_LATE if isinstance(error, DeadlineExceeded | ResourceExhausted) else UNAVAILABLE
        return Again(wait, counts=False)

    def _at_fault(self, row: Owed, error: ApaiseError) -> Reading:
        log.warning("message_not_read", message=row.message.id, reason=error.reason.value, attempts=row.attempts + 1)
        if row.attempts + 1 >= MAX_ATTEMPTS:
            return DEAD_LETTER
        return Again(timedelta(milliseconds=100 * 2**row.attempts), counts=True)

    def _again(self, row: Owed, again: Again) -> Step:
        state = State.PROVISIONAL if row.lane is Lane.LATE else State.PENDING
        attempts = row.attempts + again.counts
        return Step(row.key, state, row.lane, self._db.clock.now() + again.after, attempts, gone=row.message.gone)

    # ---- route

    async def _decide(self, rows: Sequence[tuple[Owed, Assessment | Absence]]) -> list[Step]:
        if not rows:
            return []
        try:
            answers = await self._router.decide(rows)
        except _TRANSIENT as error:
            log.warning("route_away", rows=len(rows), reason=error.reason.value)
            wait = error.retry_after or timedelta(milliseconds=500)
            return [self._again(row, Again(wait, counts=False)) for row, _ in rows]
        except ApaiseError as error:
            if len(rows) == 1:
                return [self._undecidable(rows[0][0], error)]
            middle = len(rows) // 2
            return await self._decide(rows[:middle]) + await self._decide(rows[middle:])
        return [self._settle(row, reading, answer) for (row, reading), answer in zip(rows, answers, strict=True)]

    def _undecidable(self, row: Owed, error: ApaiseError) -> Step:
        log.warning("message_not_decided", message=row.message.id, reason=error.reason.value, attempts=row.attempts + 1)
        if row.attempts + 1 < MAX_ATTEMPTS:
            return self._again(row, Again(timedelta(milliseconds=100 * 2**row.attempts), counts=True))
        return self._dead(row, error.reason.value, row.attempts + 1)

    def _dead(self, row: Owed, reason: str, attempts: int) -> Step:
        now = self._db.clock.now()
        self._settled.add(1, {"state": State.DEAD.value})
        return Step(row.key, State.DEAD, None, now, attempts, reason, now, gone=row.message.gone)

    def _settle(self, row: Owed, reading: Assessment | Absence, refusal: ApaiseError | None) -> Step:
        if refusal is not None:
            if isinstance(refusal, _TRANSIENT):
                return self._again(row, Again(refusal.retry_after or timedelta(seconds=1), counts=False))
            return self._undecidable(row, refusal)
        now = self._db.clock.now()
        if row.lane is not Lane.LATE:
            self._delay.record((now - row.message.received_time).total_seconds(), {"lane": row.lane.value})
        if isinstance(reading, str):
            return self._without_assessment(row, Absence(reading), now)
        self._settled.add(1, {"state": State.DECIDED.value})
        return Step(row.key, State.DECIDED, None, now, row.attempts, gone=row.message.gone)

    def _without_assessment(self, row: Owed, absence: Absence, now: datetime) -> Step:
        if absence == NO_TEXT:
            self._settled.add(1, {"state": State.DECIDED.value})
            return Step(row.key, State.DECIDED, None, now, row.attempts, gone=row.message.gone)
        self._absent.add(1, {"absence": absence})
        if absence == DEAD_LETTER:
            return self._dead(row, Reason.INTERNAL.value, row.attempts + 1)
        self._settled.add(1, {"state": State.PROVISIONAL.value})
        return Step(row.key, State.PROVISIONAL, Lane.LATE, now, 0, gone=row.message.gone)


def _by_hurry(rows: Sequence[Owed], now: datetime) -> list[list[Owed]]:
    """Those who can wait no more than a moment, and those who can."""
    hurried = [row for row in rows if row.patience_time - now < _HURRY]
    others = [row for row in rows if row.patience_time - now >= _HURRY]
    return [part for part in (hurried, others) if part]


def _parts(rows: Sequence[Owed]) -> list[list[Owed]]:
    """Cut a batch so that no call carries more than about a megabyte of text."""
    parts: list[list[Owed]] = [[]] if rows else []
    size = 0
    for row in rows:
        length = len(row.message.draft.text.encode())
        if parts[-1] and size + length > _MAX_BATCH_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += length
    return parts
