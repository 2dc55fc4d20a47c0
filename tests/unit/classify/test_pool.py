"""The pool under any order of events: no slot is written while it may be read, a failed brand keeps what it had."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from apaise_classify.adapters.fake import FakeEngine
from apaise_classify.domain.adapters import Progress, Revision, Wish
from apaise_classify.domain.reading import HOUSE, Fallback
from apaise_classify.serving.pool import Phase, Pool, Snapshot
from apaise_kit.core.errors import Unavailable
from mlops.base.adapter import AdapterFiles, AdapterRefused, Manifest, Parity, Threshold

LABELS = ("toxic", "complaint", "remove")
BRANDS = st.sampled_from(["acme", "globex", "initech"])
REVISIONS = st.sampled_from(["r1", "r2", "r3", "r4"])
ANY: Any = None


def files(brand: str, revision: str) -> AdapterFiles:
    manifest = Manifest(
        revision=revision,
        brand=brand,
        encoder_digest="fake-encoder",
        labels=LABELS,
        thresholds={label: Threshold(decision=0.5, yes=0.6, no=0.4) for label in LABELS},
        thresholds_revision="t",
        parity=Parity(texts=("probe",), scores=((0.1, 0.2, 0.3),), tolerance=0.01),
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return AdapterFiles(manifest, 8, {}, {}, ANY, ANY)


class BrandedEngine(FakeEngine):
    """Remembers whose revision each slot holds."""

    def __init__(self) -> None:
        super().__init__(labels=LABELS)
        self.holds: dict[int, tuple[str, str]] = {}
        self.lies = False

    def install(self, slot: int, files: AdapterFiles) -> None:
        assert 0 < slot < self.capacity
        self.holds[slot] = (files.manifest.brand, files.manifest.revision)
        super().install(slot, files)

    def read(self, texts: Any, slots: Any) -> Any:
        scores, truncated = super().read(texts, slots)
        return (scores + 0.5 if self.lies else scores), truncated


def revision(brand: str, id: str) -> Revision:
    return Revision(brand, id, f"file:///{brand}/{id}", "d" * 64, "fake-encoder")


class Traffic(RuleBasedStateMachine):
    """Wishes change, loads fail, passes begin and end, in any order, also in the middle of converging."""

    room = 0

    def __init__(self) -> None:
        super().__init__()
        self.engine = BrandedEngine()
        self.runner = asyncio.Runner()
        self.now = 0.0
        self.pool = Pool(self.engine, self.on_engine, self.load, keep=0, room=self.room, now=lambda: self.now)
        self.wishes: dict[str, Wish] = {}
        self.broken: set[tuple[str, str]] = set()
        self.away = False
        self.served: dict[str, str] = {}
        self.passes: list[tuple[ExitStack, Snapshot]] = []
        self.begin_in_the_middle = False

    def teardown(self) -> None:
        for stack, _ in self.passes:
            stack.close()
        self.runner.close()

    async def load(self, wanted: Revision) -> AdapterFiles:
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("the store is away")
        if (wanted.brand, wanted.id) in self.broken:
            raise AdapterRefused("broken")
        return files(wanted.brand, wanted.id)

    async def on_engine(self, function: Callable[[], Any]) -> Any:
        if self.begin_in_the_middle:
            self.begin()
        return function()

    def begin(self) -> None:
        stack = ExitStack()
        self.passes.append((stack, stack.enter_context(self.pool.lease())))

    @initialize()
    def start(self) -> None:
        self.converge()

    @rule(brand=BRANDS, id=REVISIONS)
    def wish(self, brand: str, id: str) -> None:
        generation = self.wishes[brand].generation + 1 if brand in self.wishes else 1
        self.wishes[brand] = Wish(brand, revision(brand, id), generation)

    @rule(brand=BRANDS)
    def wish_for_the_house(self, brand: str) -> None:
        generation = self.wishes[brand].generation + 1 if brand in self.wishes else 1
        self.wishes[brand] = Wish(brand, None, generation)

    @rule(brand=BRANDS)
    def forget(self, brand: str) -> None:
        self.wishes.pop(brand, None)

    @rule(brand=BRANDS, id=REVISIONS)
    def break_or_mend(self, brand: str, id: str) -> None:
        self.broken ^= {(brand, id)}

    @rule()
    def store_comes_and_goes(self) -> None:
        self.away = not self.away

    @rule()
    def engine_lies_or_not(self) -> None:
        self.engine.lies = not self.engine.lies

    @rule()
    def passes_begin_while_loading(self) -> None:
        self.begin_in_the_middle = not self.begin_in_the_middle

    @precondition(lambda self: len(self.passes) < 6)
    @rule()
    def pass_begins(self) -> None:
        self.begin()

    @precondition(lambda self: self.passes)
    @rule(data=st.data())
    def pass_ends(self, data: st.DataObject) -> None:
        stack, _ = self.passes.pop(data.draw(st.integers(0, len(self.passes) - 1)))
        stack.close()

    @rule(seconds=st.sampled_from([0.5, 10.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def converge(self) -> None:
        before = dict(self.served)
        wishes = list(self.wishes.values())
        self.runner.run(self.pool.converge(wishes))
        with self.pool.lease() as snapshot:
            known = {report.brand: report.serving for report in self.pool.reports(wishes)}
            self.served = {brand: revision for brand, revision in known.items() if revision != HOUSE}
            assert set(self.served) == set(snapshot.seats) | snapshot.parked
            for brand, seat in snapshot.seats.items():
                assert seat.edition.revision == self.served[brand]
            for report in self.pool.reports(wishes):
                wish = self.wishes[report.brand]
                wanted = wish.revision.id if wish.revision else HOUSE
                serving = self.served.get(report.brand, HOUSE)
                assert report.serving == serving
                assert report.progress is (Progress.ACTIVE if serving == wanted else Progress.FAILED)
                if report.progress is Progress.FAILED:
                    assert serving == before.get(report.brand, HOUSE), "a failed brand keeps what it had"
                    assert report.failure in {"ADAPTER_CORRUPT", "DEPENDENCY_UNAVAILABLE"}
                _, fallback = snapshot.seat(report.brand)
                assert (fallback is Fallback.NONE) == (report.brand in snapshot.seats)
        assert set(self.served) <= set(self.wishes)

    @rule(brands=st.sets(BRANDS, min_size=1))
    def read(self, brands: set[str]) -> None:
        """A batch with rows of some brands: each is read by what serves it, wherever that was."""
        sound = not (self.away or self.engine.lies or self.broken)

        async def batch() -> None:
            async with self.pool.hold(brands):
                with self.pool.lease() as snapshot:
                    for brand in brands & set(self.served):
                        seat, fallback = snapshot.seat(brand)
                        if sound:
                            assert fallback is Fallback.NONE
                        if fallback is Fallback.NONE:
                            assert seat.edition.revision == self.served[brand]
                            assert self.engine.holds[seat.slot] == (brand, seat.edition.revision)
                        else:
                            del self.served[brand]  # could not be fetched: the house reads it, and says so

        self.runner.run(batch())

    @invariant()
    def memory_is_bounded_by_room_leases_and_the_batch(self) -> None:
        if self.room:
            led_to = {seat.slot for _, snapshot in self.passes for seat in snapshot.seats.values()}
            assert self.pool._resident_count() <= self.room + len(led_to) + 3

    @invariant()
    def no_pass_reads_a_slot_that_was_written_meanwhile(self) -> None:
        for _, snapshot in self.passes:
            for brand, seat in snapshot.seats.items():
                assert self.engine.holds[seat.slot] == (brand, seat.edition.revision)

    @invariant()
    def no_slot_is_lost_or_shared(self) -> None:
        seats = [one.seat.slot for brand in self.pool._brands.values() for one in brand.residents.values() if one.seat]
        leaving = [slot for _, slot in self.pool._leaving]
        assert sorted([*seats, *leaving, *self.pool._free, 0]) == list(range(self.engine.capacity))


class CrampedTraffic(Traffic):
    """The same with room for one adapter only: brands come and go between memory and disk."""

    room = 1


Traffic.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
CrampedTraffic.TestCase.settings = Traffic.TestCase.settings
TestTraffic = Traffic.TestCase
TestCrampedTraffic = CrampedTraffic.TestCase


async def _pool() -> tuple[Pool, BrandedEngine]:
    engine = BrandedEngine()

    async def on_engine(function: Callable[[], Any]) -> Any:
        return function()

    async def load(wanted: Revision) -> AdapterFiles:
        return files(wanted.brand, wanted.id)

    return Pool(engine, on_engine, load, keep=1), engine


async def test_the_life_of_a_revision() -> None:
    pool, _ = await _pool()
    await pool.converge([Wish("acme", revision("acme", "r1"), 1)])
    assert pool.phase("acme", "r1") is Phase.ACTIVE
    with pool.lease() as snapshot:
        await pool.converge([Wish("acme", revision("acme", "r2"), 2)])
        assert pool.phase("acme", "r1") is Phase.DRAINING
        assert snapshot.seat("acme")[0].edition.revision == "r1", "a pass keeps the revision it began with"
    await pool.converge([Wish("acme", revision("acme", "r2"), 2)])
    assert pool.phase("acme", "r1") is Phase.RETIRED
    await pool.converge([Wish("acme", revision("acme", "r3"), 3)])
    assert pool.phase("acme", "r1") is None, "beyond what is kept for rollback"
    assert pool.phase("acme", "r2") is Phase.RETIRED


async def test_rollback_to_a_kept_revision_loads_nothing() -> None:
    pool, engine = await _pool()
    for generation, id in enumerate(["r1", "r2"], start=1):
        await pool.converge([Wish("acme", revision("acme", id), generation)])
    engine.lies = True  # a load would now fail its parity check
    await pool.converge([Wish("acme", revision("acme", "r1"), 3)])
    assert pool.phase("acme", "r1") is Phase.ACTIVE


async def test_a_wrong_parity_vector_is_refused_before_any_row_is_read_with_it() -> None:
    pool, engine = await _pool()
    engine.lies = True
    await pool.converge([Wish("acme", revision("acme", "r1"), 1)])
    (report,) = pool.reports([Wish("acme", revision("acme", "r1"), 1)])
    assert (report.progress, report.failure, report.serving) == (Progress.FAILED, "ADAPTER_CORRUPT", HOUSE)
    with pool.lease() as snapshot:
        assert snapshot.seat("acme")[1] is Fallback.ADAPTER_FAILED
        assert snapshot.seat("globex")[1] is Fallback.NO_ADAPTER


async def test_beyond_its_room_the_brand_read_longest_ago_is_parked_and_fetched_back_when_read() -> None:
    engine = BrandedEngine()
    loaded: list[str] = []

    async def on_engine(function: Callable[[], Any]) -> Any:
        return function()

    async def load(wanted: Revision) -> AdapterFiles:
        loaded.append(wanted.brand)
        return files(wanted.brand, wanted.id)

    pool = Pool(engine, on_engine, load, room=2)
    wishes = [Wish(brand, revision(brand, "r1"), 1) for brand in ("a", "b", "c")]
    await pool.converge(wishes[:2])
    async with pool.hold(["a"]):
        pass
    await pool.converge(wishes)
    assert (pool.phase("a", "r1"), pool.phase("b", "r1"), pool.phase("c", "r1")) == (
        Phase.ACTIVE,
        Phase.PARKED,
        Phase.ACTIVE,
    )
    assert all(report.progress is Progress.ACTIVE for report in pool.reports(wishes))
    async with pool.hold(["b", "c"]):
        with pool.lease() as snapshot:
            assert snapshot.seat("b")[0].edition.revision == "r1"
        assert pool.phase("a", "r1") is Phase.PARKED
    assert loaded == ["a", "b", "c", "b"]


async def test_an_expected_brand_is_loaded_by_its_first_row() -> None:
    pool, _ = await _pool()
    wishes = [Wish(brand, revision(brand, "r1"), 1) for brand in ("a", "b")]
    pool.expect(wishes)
    async with pool.hold(["a"]):
        with pool.lease() as snapshot:
            assert snapshot.seat("a")[1] is Fallback.NONE
            assert snapshot.seat("b")[1] is not Fallback.NONE
    assert pool.phase("b", "r1") is Phase.REGISTERED
    await pool.converge(wishes)
    assert pool.phase("b", "r1") is Phase.ACTIVE


async def test_a_parked_brand_keeps_what_it_had_when_its_successor_is_refused() -> None:
    engine = BrandedEngine()

    async def on_engine(function: Callable[[], Any]) -> Any:
        return function()

    async def load(wanted: Revision) -> AdapterFiles:
        if wanted.id == "r2":
            raise AdapterRefused("broken")
        return files(wanted.brand, wanted.id)

    pool = Pool(engine, on_engine, load, keep=0, room=1)
    globex = Wish("globex", revision("globex", "r1"), 1)
    await pool.converge([Wish("acme", revision("acme", "r1"), 1), globex])
    wishes = [Wish("acme", revision("acme", "r2"), 2), globex]
    await pool.converge(wishes)
    report = pool.reports(wishes)[0]
    assert (report.progress, report.serving) == (Progress.FAILED, "r1")
    async with pool.hold({"acme"}):
        with pool.lease() as snapshot:
            seat, fallback = snapshot.seat("acme")
            assert (seat.edition.revision, fallback) == ("r1", Fallback.NONE)
