"""Which revision serves which brand: the life of an adapter, owned by one task.

    registered -> loading -> warming -> active -> draining -> retired -> (evicted)
                      \\          \\-> failed   | ^    ^__________/ rollback
                       \\-> failed             v |
                                            parked

A new revision never touches the one that serves: it is loaded into a free slot, warmed and checked there against its
own parity vector, and only then does the brand's pointer flip. A pass over a batch holds a *lease* on one immutable
snapshot of all pointers, so no answer mixes two revisions, and a slot is written again only when no lease that could
lead to it is open. A brand that fails fails alone, and keeps what it had.

Memory holds `room` adapters. Beyond that, the brand that was read longest ago is *parked*: its files stay on disk, and
the next batch with a row of its *holds* it, which fetches it back first. Nothing is given up before what it makes room
for has been loaded.

Source of the shape: LoRAX drives an adapter's life with a state machine owned by one task; the leases are ours.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from apaise_classify.domain.adapters import Progress, Report, Revision, Wish, same_content
from apaise_classify.domain.reading import HOUSE, Edition, Fallback
from apaise_classify.serving.edition import HOUSE_SLOT, Columns, ReadingEngine, adapter_edition, columns
from apaise_kit.core.errors import ApaiseError, Reason
from apaise_kit.runtime.logs import get_logger
from mlops.base.adapter import AdapterFiles, AdapterRefused
from mlops.base.normalize import normalize

_FIRST_RETRY: Final = 5.0
_LONGEST_RETRY: Final = 300.0
_FEW: Final = 8
_log = get_logger(__name__)

OnEngine = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function on one of the engine's threads."""
Load = Callable[[Revision], Awaitable[AdapterFiles]]
"""Fetches and checks a revision's files."""


class Phase(StrEnum):
    """Where a revision stands in this replica."""

    REGISTERED = "registered"
    LOADING = "loading"
    WARMING = "warming"
    ACTIVE = "active"
    DRAINING = "draining"
    RETIRED = "retired"
    PARKED = "parked"
    FAILED = "failed"


class Seat(NamedTuple):
    """How one row is read: its slot, its edition, and where the edition's labels are among the engine's scores."""

    slot: int
    edition: Edition
    columns: Columns


@dataclass(frozen=True)
class Snapshot:
    """Every brand's pointer at one moment; a parked brand has none until it is held."""

    version: int
    house: Seat
    seats: Mapping[str, Seat]
    failed: frozenset[str]
    parked: frozenset[str] = frozenset()

    def seat(self, brand: str) -> tuple[Seat, Fallback]:
        """How this brand's rows are read now."""
        found = self.seats.get(brand)
        if found is not None:
            return found, Fallback.NONE
        return self.house, Fallback.ADAPTER_FAILED if brand in self.failed else Fallback.NO_ADAPTER


@dataclass
class Resident:
    """One revision this replica knows."""

    revision: Revision
    phase: Phase = Phase.REGISTERED
    seat: Seat | None = None
    failure: str = ""
    retry_at: float = 0.0
    delay: float = _FIRST_RETRY
    left_at: int = 0

    def fail(self, reason: str, now: float) -> None:
        """Note a failure and when to try again: files get repaired, stores come back."""
        self.phase, self.seat, self.failure = Phase.FAILED, None, reason
        self.retry_at, self.delay = now + self.delay, min(_LONGEST_RETRY, self.delay * 2)


@dataclass
class _Brand:
    """All this replica knows of one brand."""

    residents: dict[str, Resident] = field(default_factory=dict)
    active: str | None = None
    awaited: Resident | None = None
    generation: int = 0


class Pool:
    """The adapters of one replica. `converge` belongs to one task, `hold` to the reads; `lease` to any thread."""

    def __init__(
        self,
        engine: ReadingEngine,
        on_engine: OnEngine,
        load: Load,
        *,
        keep: int = 1,
        room: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """An empty pool: every brand is read by the house.

        Args:
            engine: where adapters become resident.
            on_engine: runs a function on one of the engine's threads.
            load: fetches and checks a revision's files.
            keep: retired revisions kept resident per brand, for rollback without loading.
            room: most adapters in memory; 0 is as many as there are. A batch of more brands than that makes room.
            now: seconds, monotonic.
        """
        self._engine = engine
        self._on_engine = on_engine
        self._load = load
        self._keep = keep
        self._room = room
        self._now = now
        self._moving = asyncio.Lock()
        self._held: Counter[str] = Counter()
        self._turns = count()
        self._read_at: dict[str, int] = {}
        self._leaving: list[tuple[int, int]] = []
        self._brands: dict[str, _Brand] = {}
        self._free = list(range(HOUSE_SLOT + 1, engine.capacity))
        house = Seat(HOUSE_SLOT, engine.house, columns(engine.house))
        self._current = Snapshot(0, house, MappingProxyType({}), frozenset())
        self._open: Counter[int] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def lease(self) -> Iterator[Snapshot]:
        """One snapshot for one pass; until the block ends, no slot it leads to is written."""
        with self._lock:
            snapshot = self._current
            self._open[snapshot.version] += 1
        try:
            yield snapshot
        finally:
            with self._lock:
                self._open[snapshot.version] -= 1
                if not self._open[snapshot.version]:
                    del self._open[snapshot.version]

    @asynccontextmanager
    async def hold(self, brands: Iterable[str]) -> AsyncIterator[None]:
        """Keep these brands' adapters in memory for the time of the block; fetch those that are parked."""
        wanted = frozenset(brands)
        self._held.update(wanted)
        self._read_at |= dict.fromkeys(wanted, next(self._turns))
        try:
            for brand in sorted(wanted & self._current.parked):
                async with self._moving:
                    await self._fetch(brand)
            yield
        finally:
            self._held -= Counter(wanted)

    def expect(self, wishes: Sequence[Wish]) -> None:
        """Before the first `converge`: brands are loaded when they are first held, or when their turn comes."""
        for wish in wishes:
            if wish.revision is not None:
                brand = self._brands.setdefault(wish.brand, _Brand(generation=wish.generation))
                brand.awaited = self._resident(brand, wish.revision)
        awaited = frozenset(name for name, brand in self._brands.items() if brand.awaited)
        self._publish(self._current.seats, self._current.failed, awaited)

    async def converge(self, wishes: Sequence[Wish]) -> None:
        """Bring every brand to its wish; a brand that cannot be brought there fails alone."""
        wished = {wish.brand: wish for wish in wishes}
        for brand in [brand for brand in self._brands if brand not in wished]:
            self._to_house(brand)
        for wish in wishes:
            async with self._moving:
                await self._bring(wish)
        self._publish_failures(wished)
        self._settle_leavers(wished)

    def reports(self, wishes: Sequence[Wish]) -> list[Report]:
        """How far each wish is."""
        return [self._report(wish) for wish in wishes]

    def phase(self, brand: str, revision: str) -> Phase | None:
        """Where a revision stands, None when this replica does not know it."""
        known = self._brands.get(brand, _Brand()).residents.get(revision)
        return known.phase if known else None

    async def _fetch(self, name: str) -> None:
        """Bring a parked brand's adapter back, or an awaited one in."""
        brand = self._brands[name]
        resident = brand.awaited or brand.residents.get(brand.active or "")
        if name in self._current.parked and resident is not None:
            await self._load_into_slot(brand, resident)

    async def _bring(self, wish: Wish) -> None:
        brand = self._brands.setdefault(wish.brand, _Brand())
        is_new = wish.generation != brand.generation
        brand.generation, brand.awaited = wish.generation, None
        if wish.revision is None:
            self._to_house(wish.brand)
            return
        resident = self._resident(brand, wish.revision)
        match resident.phase:
            case Phase.ACTIVE | Phase.PARKED:
                return
            case Phase.DRAINING | Phase.RETIRED:
                self._flip(brand, resident)
            case Phase.FAILED if not is_new and self._now() < resident.retry_at:
                return
            case _:
                await self._load_into_slot(brand, resident)

    def _resident(self, brand: _Brand, revision: Revision) -> Resident:
        """The known revision; a new one when its id came back with other content (allowed while it never served)."""
        known = brand.residents.get(revision.id)
        if known is None or (not same_content(known.revision, revision) and known.seat is None):
            known = brand.residents[revision.id] = Resident(revision)
        if same_content(known.revision, revision):
            known.revision = revision
        return known

    async def _load_into_slot(self, brand: _Brand, resident: Resident) -> None:
        resident.phase, slot, name = Phase.LOADING, None, resident.revision.brand
        try:
            files = await self._load(resident.revision)
            slot = await self._free_slot(name)
            resident.phase = Phase.WARMING
            await self._on_engine(lambda: self._warm(slot, files))
        except Exception as error:
            if slot is not None:
                self._free.append(slot)
            resident.fail(_reason(error), self._now())
            # A successor that fails takes nothing from the parked one it was to follow.
            if name in self._current.parked and brand.active in (None, resident.revision.id):
                self._lost(brand, name)
            _log.warning(
                "adapter_failed",
                brand=name,
                revision=resident.revision.id,
                reason=resident.failure,
                exc_info=None if isinstance(error, ApaiseError) else error,
            )
            return
        except asyncio.CancelledError:
            # A lane may still be writing this slot: it is given up rather than given to another.
            resident.phase = Phase.REGISTERED
            raise
        edition = adapter_edition(files)
        resident.seat = Seat(slot, edition, columns(edition))
        self._flip(brand, resident)

    def _warm(self, slot: int, files: AdapterFiles) -> None:
        """On an engine's thread: write the slot, read the probe texts, compare with what training wrote down."""
        self._engine.install(slot, files)
        parity = files.manifest.parity
        texts = [normalize(text) for text in parity.texts]
        scores, _ = self._engine.read(texts, [slot] * len(texts))
        seen = scores[:, columns(adapter_edition(files))]
        if not np.all(np.abs(seen - np.array(parity.scores)) <= parity.tolerance):
            raise AdapterRefused("The adapter does not answer its probe texts as it did when it was trained.")

    def _lost(self, brand: _Brand, name: str) -> None:
        """A parked adapter cannot be brought back: the house reads the brand, and its assessments say why."""
        brand.active = brand.awaited = None
        current = self._current
        self._publish(current.seats, current.failed | {name}, current.parked - {name})

    async def _free_slot(self, loading: str) -> int:
        """A slot no lease leads to; what is parked for it, if anything, is not the brand being loaded."""
        while self._room and self._resident_count() >= self._room and self._park_one(loading):
            pass
        self._reclaim()
        if not self._free:
            before = self._engine.capacity
            more = min(before * 2, max(before + _FEW, self._room + 1)) if self._room else before * 2
            await self._on_engine(lambda: self._engine.grow(more))
            self._free.extend(range(before, self._engine.capacity))
        return self._free.pop(0)

    def _resident_count(self) -> int:
        return sum(one.seat is not None for brand in self._brands.values() for one in brand.residents.values())

    def _park_one(self, loading: str) -> bool:
        """Give up the slot of the brand read longest ago that no read holds; False when there is none."""
        idle = [name for name in self._current.seats if not self._held[name] and name != loading]
        if not idle:
            return False
        name = min(idle, key=lambda one: self._read_at.get(one, -1))
        brand = self._brands[name]
        resident = brand.residents[brand.active or ""]
        assert resident.seat is not None
        self._leaving.append((self._current.version + 1, resident.seat.slot))
        resident.phase, resident.seat = Phase.PARKED, None
        seats = {key: seat for key, seat in self._current.seats.items() if key != name}
        self._publish(seats, self._current.failed, self._current.parked | {name})
        return True

    def _reclaim(self) -> None:
        """Slots of parked adapters that no lease leads to any more are free."""
        oldest = self._oldest_lease()
        self._free += [slot for version, slot in self._leaving if version <= oldest]
        self._leaving = [(version, slot) for version, slot in self._leaving if version > oldest]

    def _oldest_lease(self) -> int:
        with self._lock:
            return min(self._open, default=self._current.version)

    def _flip(self, brand: _Brand, resident: Resident) -> None:
        name = resident.revision.brand
        assert resident.seat is not None
        self._leave(brand)
        current = self._current
        self._publish({**current.seats, name: resident.seat}, current.failed - {name}, current.parked - {name})
        brand.active, brand.awaited = resident.revision.id, None
        resident.phase, resident.delay = Phase.ACTIVE, _FIRST_RETRY
        _log.info("adapter_active", brand=name, revision=resident.revision.id)

    def _to_house(self, name: str) -> None:
        brand, current = self._brands[name], self._current
        if brand.active is None and name not in current.parked:
            return
        self._leave(brand)
        brand.active = brand.awaited = None
        seats = {key: seat for key, seat in current.seats.items() if key != name}
        self._publish(seats, current.failed, current.parked - {name})

    def _leave(self, brand: _Brand) -> None:
        """Mark what served as leaving with the snapshot about to be published; a parked one is simply let go."""
        if brand.active is not None:
            leaver = brand.residents[brand.active]
            if leaver.seat is None:
                del brand.residents[brand.active]
            else:
                leaver.phase, leaver.left_at = Phase.DRAINING, self._current.version + 1

    def _publish(self, seats: Mapping[str, Seat], failed: frozenset[str], parked: frozenset[str]) -> None:
        with self._lock:
            version = self._current.version + 1
            self._current = Snapshot(version, self._current.house, MappingProxyType(dict(seats)), failed, parked)

    def _publish_failures(self, wished: Mapping[str, Wish]) -> None:
        failed = frozenset(name for name, wish in wished.items() if self._report(wish).progress is Progress.FAILED)
        if failed != self._current.failed:
            self._publish(self._current.seats, failed, self._current.parked)

    def _settle_leavers(self, wished: Mapping[str, Wish]) -> None:
        """Draining ones nobody reads any more are retired; the oldest retired beyond `keep` give their slot back."""
        self._reclaim()
        oldest = self._oldest_lease()
        for name, brand in list(self._brands.items()):
            for resident in brand.residents.values():
                if resident.phase is Phase.DRAINING and resident.left_at <= oldest:
                    resident.phase = Phase.RETIRED
            retired = [one for one in brand.residents.values() if one.phase is Phase.RETIRED]
            retired.sort(key=lambda one: one.left_at, reverse=True)
            for resident in retired[self._keep if name in wished else 0 :]:
                self._evict(brand, resident)
            self._forget(name, brand, wished.get(name))

    def _evict(self, brand: _Brand, resident: Resident) -> None:
        assert resident.seat is not None
        self._free.append(resident.seat.slot)
        del brand.residents[resident.revision.id]

    def _forget(self, name: str, brand: _Brand, wish: Wish | None) -> None:
        wanted = wish.revision.id if wish and wish.revision else None
        for id in [id for id, one in brand.residents.items() if one.phase is Phase.FAILED and id != wanted]:
            del brand.residents[id]
        if wish is None and not brand.residents:
            del self._brands[name]

    def _report(self, wish: Wish) -> Report:
        brand = self._brands.get(wish.brand, _Brand())
        serving = brand.active or HOUSE
        if brand.generation != wish.generation:
            return Report(wish.brand, wish.generation, Progress.LOADING, serving=serving)
        wanted = wish.revision.id if wish.revision else HOUSE
        if serving == wanted:
            return Report(wish.brand, wish.generation, Progress.ACTIVE, serving=serving)
        resident = brand.residents.get(wanted)
        if resident is not None and resident.phase is Phase.FAILED:
            return Report(wish.brand, wish.generation, Progress.FAILED, resident.failure, serving)
        return Report(wish.brand, wish.generation, Progress.LOADING, serving=serving)


def _reason(error: Exception) -> str:
    return error.reason.value if isinstance(error, ApaiseError) else Reason.INTERNAL.value
