"""A replica: an engine read on a few threads, its lanes, and a pool that converges on the wishes meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from apaise_classify.domain.adapters import Report, Revision, Wish, brand_of_lane, reads_by_canary
from apaise_classify.domain.arms import Counted
from apaise_classify.domain.ports import ReplicaStore
from apaise_classify.domain.reading import Fallback, Reading, Row, Span, Vectors, holding
from apaise_classify.serving.cache import Known, ScoreCache, key_of
from apaise_classify.serving.edition import HOUSE_SLOT, ReadingEngine
from apaise_classify.serving.lanes import Lanes
from apaise_classify.serving.load import load_adapter
from apaise_classify.serving.pool import Pool, Seat, Snapshot
from apaise_classify.serving.precedents import NEARNESS, Precedents
from apaise_classify.serving.watch import Watch
from apaise_kit.core.errors import Unavailable
from apaise_kit.core.ids import new_id
from apaise_kit.runtime.logs import get_logger
from mlops.base.adapter import AdapterFiles
from mlops.base.normalize import normalize

_LONGEST_BACKOFF: Final = 15.0
_log = get_logger(__name__)


class Chosen(NamedTuple):
    """How one row is to be read, and whether by its brand's canary."""

    seat: Seat
    fallback: Fallback
    canary: bool = False


class Pass(NamedTuple):
    """Rows read: by what, raw scores, whether they were known already, and which ones their canary could not read."""

    chosen: Sequence[Chosen]
    known: Sequence[Known]
    recalled: Sequence[bool]
    ill: AbstractSet[int]


class Replica:
    """One encoder in one process. What computes runs on its lanes; slots are written by the pool's task alone."""

    def __init__(
        self,
        engine: ReadingEngine,
        lanes: Lanes,
        store: ReplicaStore,
        cache: Path,
        *,
        keep: int = 1,
        room: int = 0,
        remembered: int = 0,
        nearness: float = NEARNESS,
        interval: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire a replica; `start` sets it going.

        Args:
            engine: what reads.
            lanes: where it computes; they end with it.
            store: wishes and reports.
            cache: folder for fetched adapters.
            keep: retired revisions kept resident per brand.
            room: most adapters in memory, 0 for no limit.
            remembered: texts whose scores are kept.
            nearness: least cosine at which a precedent speaks for a message.
            interval: seconds between two looks at the wishes and precedents.
            now: seconds, monotonic: what the arms of a canary are timed with.
        """
        self.id = new_id()
        self._engine = engine
        self._lanes = lanes
        self._store = store
        self._cache = cache
        self._interval = interval
        # What the pool installs does not queue behind messages: a swap takes as long under load as without.
        self._aside = Lanes()
        self._pool = Pool(engine, self._aside.run, self._load, keep=keep, room=room)
        self._remembered = ScoreCache(remembered)
        self._precedents = Precedents(nearness)
        self._canaries: Mapping[str, Wish] = {}
        self._now = now
        self._watch = Watch()
        self._said: dict[str, Report] = {}
        self._counted: list[Counted] = []
        self._nudged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, patience: float = 15.0) -> None:
        """Learn what should serve, then keep converging in a task of its own.

        An adapter is loaded when its turn comes or when the first row of its brand does, whichever is sooner.

        Args:
            patience: seconds to wait for the first wishes. Without them every brand would be read by the house, which
                is honest (the assessments say so) but worse than starting a little later.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while (wishes := await self._wishes()) is None:
                    await self._pause(min(0.5, self._interval))
                self._pool.expect(wishes)
        self._nudged.set()
        self._task = asyncio.create_task(self._run(), name="adapter-pool")

    async def stop(self) -> None:
        """Stop converging, let the pass under way end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await asyncio.gather(self._lanes.close(), self._aside.close())

    async def read(self, rows: Sequence[Row]) -> list[Reading]:
        """Read rows of mixed brands, each by one revision entirely."""
        begun = self._now()
        async with self._pool.hold(lane for row in rows for lane in self._lanes_of(row)):
            return await self._lanes.run(lambda: self._read(rows, begun))

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """House vectors."""
        values = await self._lanes.run(lambda: self._engine.embed([normalize(text) for text in texts]))
        return Vectors(tuple(tuple(row) for row in values.tolist()), self.encoder)

    async def trace(self, texts: Sequence[str]) -> Vectors:
        """Vectors of the last layer all brands share."""
        read = [normalize(text) for text in texts]
        _, _, values = await self._lanes.run(lambda: self._engine.traced(read, [HOUSE_SLOT] * len(read)))
        return Vectors(tuple(tuple(row) for row in values.tolist()), self.encoder)

    def nudge(self) -> None:
        """Look at the wishes and precedents now."""
        self._nudged.set()

    @property
    def encoder(self) -> str:
        """Digest of the encoder it reads with."""
        return self._engine.house.encoder

    @property
    def running(self) -> bool:
        """Whether the pool's task is alive: without it nothing would ever change again."""
        return self._task is not None and not self._task.done()

    def _read(self, rows: Sequence[Row], begun: float) -> list[Reading]:
        # The lease is taken here, on the lane: a call that is cancelled meanwhile cannot end it early.
        with self._pool.lease() as snapshot:
            read = self._sound(snapshot, rows)
            readings = []
            for row, (seat, fallback, _), one, again in zip(rows, read.chosen, read.known, read.recalled, strict=True):
                scores = tuple(one.scores[seat.columns].tolist())
                spans = self._explain(row, seat, scores)
                cited, held = self._precedents.cite(row.brand, one.trace, row.private)
                readings.append(Reading(scores, seat.edition, one.truncated, fallback, spans, again, cited, held))
        self._count(rows, read, self._now() - begun)
        return readings

    def _sound(self, snapshot: Snapshot, rows: Sequence[Row]) -> Pass:
        """Read rows; what a canary cannot read is read again as the rest of its brand is: only its watch notices."""
        chosen = [self._seat(snapshot, row) for row in rows]
        try:
            known, recalled = self._scores(rows, chosen)
            ill = {at for at, one in enumerate(chosen) if one.canary and not _finite(known[at], one)}
        except Exception as error:
            ill = self._breaking(rows, chosen)
            if not ill:
                self._failed(rows, chosen)
                raise
            _log.warning("canary_broke", brands=sorted({rows[at].brand for at in ill}), error=error)
        if ill:
            chosen = [Chosen(*snapshot.seat(row.brand)) if at in ill else chosen[at] for at, row in enumerate(rows)]
            known, recalled = self._scores(rows, chosen)
        return Pass(chosen, known, recalled, ill)

    def _breaking(self, rows: Sequence[Row], chosen: Sequence[Chosen]) -> set[int]:
        """After a pass broke: the rows of each canary that breaks one by itself."""
        ill: set[int] = set()
        for brand in dict.fromkeys(row.brand for row, one in zip(rows, chosen, strict=True) if one.canary):
            own = [at for at, one in enumerate(chosen) if one.canary and rows[at].brand == brand]
            try:
                self._scores([rows[at] for at in own], [chosen[at] for at in own])
            except Exception:
                ill.update(own)
        return ill

    def _failed(self, rows: Sequence[Row], chosen: Sequence[Chosen]) -> None:
        for row, one in zip(rows, chosen, strict=True):
            if wish := self._canaries.get(row.brand):
                self._watch.failed(wish, one.canary)

    def _count(self, rows: Sequence[Row], read: Pass, seconds: float) -> None:
        """For who watches the canaries. What the cache answered tells nothing of how long a revision takes."""
        for at, (row, one, again) in enumerate(zip(rows, read.chosen, read.recalled, strict=True)):
            if wish := self._canaries.get(row.brand):
                if at in read.ill or not _finite(read.known[at], one):
                    self._watch.failed(wish, one.canary or at in read.ill)
                else:
                    self._watch.read(wish, one.canary, None if again else seconds)

    def _lanes_of(self, row: Row) -> Sequence[str]:
        """The brand's own lane, and its canary's when that is to read the row."""
        canary = self._canaries.get(row.brand)
        if canary is None or not reads_by_canary(canary, row.text):
            return (row.brand,)
        return (row.brand, canary.brand)

    def _seat(self, snapshot: Snapshot, row: Row) -> Chosen:
        """The canary's where it is to read and can, else the brand's."""
        for lane in reversed(self._lanes_of(row)[1:]):
            seat, fallback = snapshot.seat(lane)
            if fallback is Fallback.NONE:
                return Chosen(seat, fallback, canary=True)
        return Chosen(*snapshot.seat(row.brand))

    def _scores(self, rows: Sequence[Row], chosen: Sequence[Chosen]) -> tuple[list[Known], list[bool]]:
        """Raw scores of rows, each different one read once, and which of them were known already."""
        seats = [one.seat for one in chosen]
        texts = [normalize(row.text) for row in rows]
        keys = [
            key_of(seat.edition, row.brand, row.private, text)
            for row, seat, text in zip(rows, seats, texts, strict=True)
        ]
        known = {key: one for key, one in zip(keys, self._remembered.find(keys), strict=True) if one is not None}
        recalled = [key in known for key in keys]
        fresh = {key: n for n, key in enumerate(keys) if key not in known}
        if fresh:
            scores, truncated, traces = self._engine.traced(
                [texts[n] for n in fresh.values()], [seats[n].slot for n in fresh.values()]
            )
            read = [Known(*each) for each in zip(scores, truncated, traces, strict=True)]
            self._remembered.keep(list(fresh), read)
            known |= dict(zip(fresh, read, strict=True))
        return [known[key] for key in keys], recalled

    def _explain(self, row: Row, seat: Seat, scores: Sequence[float]) -> tuple[Span, ...]:
        """Under the same lease as the reading: what is explained is the revision that read."""
        return tuple(self._engine.explain(row.text, seat.slot, holding(seat.edition, scores))) if row.explain else ()

    async def _run(self) -> None:
        delay = self._interval
        while True:
            await self._pause(delay)
            delay = self._interval if await self._look() else min(_LONGEST_BACKOFF, delay * 2)

    async def _pause(self, seconds: float) -> None:
        """Until nudged, or that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        self._nudged.clear()

    async def _look(self) -> bool:
        """One look at precedents and wishes: take over, converge, report.

        False when the store is away; what serves keeps serving.
        """
        with suppress(Unavailable):
            await self._precedents.refresh(self._store, self.encoder)
        wishes = await self._wishes()
        if wishes is None:
            return False
        await self._pool.converge(wishes)
        self._canaries = {brand_of_lane(wish.brand): wish for wish in wishes if wish.share}
        with suppress(Unavailable):
            await self._say(wishes)
            await self._tell()
            return True
        return False

    async def _wishes(self) -> list[Wish] | None:
        """What should serve; None while the store is away."""
        try:
            return await self._store.wishes()
        except Unavailable:
            return None

    async def _say(self, wishes: Sequence[Wish]) -> None:
        reports = self._pool.reports(wishes)
        changed = [report for report in reports if self._said.get(report.brand) != report]
        await self._store.report(self.id, self.encoder, changed)
        self._said = {report.brand: report for report in reports}

    async def _tell(self) -> None:
        counted = self._watch.counted(self._canaries.values())
        if counted != self._counted:
            await self._store.count(self.id, counted)
            self._counted = counted

    async def _load(self, revision: Revision) -> AdapterFiles:
        # A canary's files name the brand, not its lane.
        revision = replace(revision, brand=brand_of_lane(revision.brand))
        return await asyncio.to_thread(load_adapter, revision, self.encoder, self._cache, self._engine.load)


def _finite(known: Known, chosen: Chosen) -> bool:
    """Whether every score of the revision that read is a number."""
    return bool(np.isfinite(known.scores[chosen.seat.columns]).all())
