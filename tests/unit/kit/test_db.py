"""The unit of work, the events and their chain, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from apaise_kit.core.caller import Caller, acting_as, system_caller
from apaise_kit.core.errors import OutOfRange, Reason, Unauthenticated, Unavailable
from apaise_kit.runtime.db import (
    ChainBroken,
    Database,
    Event,
    create_engine,
    events_table,
    metadata_for,
    wait_for_database,
)
from apaise_kit.testing import FakeClock, Postgres, eventually

METADATA = metadata_for("toy")
EVENTS = events_table(METADATA)
THINGS = sa.Table("things", METADATA, sa.Column("id", sa.Text, primary_key=True))
LEA = Caller("lea", frozenset({"moderator"}), frozenset({"acme"}), "req-1")


@pytest.fixture
async def engine(dsn: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(dsn, "toy", pool_size=12)
    async with engine.begin() as conn:
        await conn.execute(sa.schema.CreateSchema("toy"))
        await conn.run_sync(METADATA.create_all)
    yield engine
    await engine.dispose()


@pytest.fixture
def db(engine: AsyncEngine) -> Database:
    return Database(engine, "toy", EVENTS, FakeClock())


async def record(db: Database, id: str, brand: str = "acme", kind: str = "thing.made", **payload: Any) -> None:
    with acting_as(LEA):
        async with db.write() as tx:
            await tx.conn.execute(sa.insert(THINGS).values(id=id))
            tx.record(kind, f"brands/{brand}/things/{id}", brand, payload)


async def take(db: Database, count: int, after: int = 0, **filters: Any) -> list[Event]:
    taken: list[Event] = []
    async with asyncio.timeout(20):
        async for batch in db.follow(after, poll=0.01, **filters):
            assert batch
            taken.extend(batch)
            if len(taken) >= count:
                return taken
    raise AssertionError("follow ended")


async def things(db: Database) -> set[str]:
    async with db.read() as conn:
        return set((await conn.execute(sa.select(THINGS.c.id))).scalars())


async def test_a_change_and_its_event_leave_together(db: Database) -> None:
    await record(db, "x", n=3, ids=["a", "b"], none=None)
    (event,) = await take(db, 1)
    assert (event.sequence, event.time, event.actor, event.request_id) == (1, db.clock.now(), "lea", "req-1")
    assert (event.resource, event.kind, event.brand) == ("brands/acme/things/x", "thing.made", "acme")
    assert event.payload == {"n": 3, "ids": ["a", "b"], "none": None}
    assert await things(db) == {"x"}


async def test_a_failed_block_leaves_neither(db: Database) -> None:
    async def fail() -> None:
        async with db.write() as tx:
            await tx.conn.execute(sa.insert(THINGS).values(id="x"))
            tx.record("thing.made", "brands/acme/things/x", "acme")
            raise ZeroDivisionError

    with acting_as(LEA), pytest.raises(ZeroDivisionError):
        await fail()
    assert await things(db) == set()
    assert await db.last_sequence() == 0


async def test_nobody_writes_anonymously(db: Database) -> None:
    with pytest.raises(Unauthenticated):
        async with db.write():
            pass


async def test_reading_cannot_write(db: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with db.read() as conn:
            await conn.execute(sa.insert(THINGS).values(id="x"))
    assert caught.value.orig is not None
    assert getattr(caught.value.orig, "sqlstate", None) == "25006"
    await record(db, "y")  # the connection given back is writable again
    assert await things(db) == {"y"}


@pytest.mark.parametrize("value", ["deux mots", "é", "x" * 201, 1.5, {"a": 1}, ["ok", "not ok"], b"x", "a\nb"])
async def test_an_event_cannot_carry_text(db: Database, value: Any) -> None:
    with acting_as(LEA), pytest.raises(ValueError, match="ids only"):
        async with db.write() as tx:
            tx.record("thing.made", "brands/acme/things/x", "acme", {"value": value})


async def test_sequence_follows_commits_not_beginnings(db: Database) -> None:
    """A begins first and commits last: B's event is numbered, and shown, first."""
    with acting_as(LEA):
        async with db.write() as a:
            a.record("thing.made", "brands/acme/things/a", "acme")
            await a.conn.execute(sa.insert(THINGS).values(id="a"))
            await record(db, "b")
            (first,) = await take(db, 1)
            assert first.resource.endswith("/b")
        (second,) = await take(db, 1, after=first.sequence)
    assert second.resource.endswith("/a")
    assert (first.sequence, second.sequence) == (1, 2)


async def test_a_slow_commit_is_never_overtaken(db: Database, engine: AsyncEngine) -> None:
    """A is numbered and its commit drags on; B, committing meanwhile, must wait, or a follower would skip A."""
    async with engine.begin() as conn:
        await conn.execute(
            sa.text(
                "create function drag() returns trigger language plpgsql as "
                "$$ begin perform pg_sleep(0.4); return null; end $$"
            )
        )
        await conn.execute(
            sa.text(
                "create constraint trigger drag after insert on events deferrable initially deferred "
                "for each row when (new.brand = 'slow') execute function drag()"
            )
        )
    seen: list[Event] = []

    async def reader() -> None:
        async for batch in db.follow(0, poll=0.005):
            seen.extend(batch)

    reading = asyncio.create_task(reader())
    slow = asyncio.create_task(record(db, "a", brand="slow"))
    await _until_dragging(engine)
    await asyncio.gather(*[record(db, f"b{i}") for i in range(5)])
    await slow
    await eventually(lambda: len(seen) >= 6)
    reading.cancel()
    assert [event.sequence for event in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[0].resource == "brands/slow/things/a"


async def _until_dragging(engine: AsyncEngine) -> None:
    query = sa.text("select count(*) from pg_stat_activity where wait_event = 'PgSleep'")

    async def dragging() -> bool:
        async with engine.connect() as conn:
            return bool(await conn.scalar(query))

    await eventually(dragging)


async def test_overlapping_writers_leave_no_gap_for_a_follower(db: Database) -> None:
    """Many writers of uneven length, some failing, followed live: every event once, in order, no hole, chain whole."""
    chance = random.Random(7)
    plan = [(f"t{i}", chance.random() * 0.01, chance.random() < 0.2, chance.randint(1, 3)) for i in range(120)]

    async def writer(id: str, pause: float, fails: bool, events: int) -> None:
        with acting_as(system_caller("toy", id)):
            try:
                async with db.write() as tx:
                    await tx.conn.execute(sa.insert(THINGS).values(id=id))
                    for n in range(events):
                        tx.record("thing.made", f"brands/acme/things/{id}", "acme", {"n": n})
                    await asyncio.sleep(pause)
                    if fails:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                assert fails

    expected = sum(events for _, _, fails, events in plan if not fails)
    following = asyncio.create_task(take(db, expected))
    slots = asyncio.Semaphore(8)

    async def limited(*arguments: Any) -> None:
        async with slots:
            await writer(*arguments)

    await asyncio.gather(*[limited(*one) for one in plan])
    seen = await following
    assert [event.sequence for event in seen] == list(range(1, expected + 1))
    assert {event.resource.rpartition("/")[2] for event in seen} == {id for id, _, fails, _ in plan if not fails}
    assert await db.verify_chain() == expected


async def test_a_follower_gets_its_kinds_and_brands_and_resumes(db: Database) -> None:
    for i in range(6):
        await record(db, f"x{i}", brand=["acme", "other"][i % 2], kind=["thing.made", "thing.gone"][i % 3 == 0])
    assert [e.sequence for e in await take(db, 3, brands={"acme"})] == [1, 3, 5]
    assert [e.sequence for e in await take(db, 2, kinds=["thing.gone"])] == [1, 4]
    assert [e.sequence for e in await take(db, 1, kinds=["thing.made"], brands=["acme"], after=3)] == [5]
    assert [e.sequence for e in await take(db, 2, after=4)] == [5, 6]


async def test_a_long_backlog_arrives_whole(db: Database) -> None:
    with acting_as(LEA):
        async with db.write() as tx:
            for i in range(1203):
                tx.record(["thing.made", "thing.gone"][i % 2], f"brands/acme/things/{i}", "acme")
    assert [e.sequence for e in await take(db, 1203)] == list(range(1, 1204))
    assert [e.sequence for e in await take(db, 601, kinds=["thing.gone"])] == list(range(2, 1204, 2))


async def test_a_follower_of_nothing_waits_and_can_be_cancelled(db: Database) -> None:
    await record(db, "x")
    task = asyncio.create_task(take(db, 1, brands=[]))
    await asyncio.sleep(0.1)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_trimmed_cursors_are_refused(db: Database) -> None:
    clock = db.clock
    assert isinstance(clock, FakeClock)
    for i in range(4):
        await record(db, f"x{i}")
        clock.advance(days=1)
    assert await db.trim_events(clock.now() - timedelta(days=2)) == 2
    assert [e.sequence for e in await take(db, 2, after=2)] == [3, 4]
    assert [e.sequence for e in await take(db, 2, after=0)] == [3, 4]  # 0 asks for the oldest kept
    for cursor in (1, 5):
        with pytest.raises(OutOfRange) as caught:
            await take(db, 1, after=cursor)
        assert caught.value.reason is Reason.CURSOR_EXPIRED
        assert caught.value.metadata == {"oldest": "2", "newest": "4"}


async def test_trimming_everything_keeps_the_last_so_that_numbers_go_on(db: Database) -> None:
    clock = db.clock
    assert isinstance(clock, FakeClock)
    await record(db, "a")
    await record(db, "b")
    clock.advance(days=400)
    assert await db.trim_events(clock.now()) == 1
    await record(db, "c")
    assert await db.last_sequence() == 3
    assert await db.verify_chain() == 2


@pytest.mark.parametrize(
    ("tampering", "breaks_at"),
    [
        ("update events set actor = 'someone-else' where sequence = 2", 2),
        ("update events set payload = '{\"n\": 9}' where sequence = 2", 2),
        ("update events set time = time + interval '1 microsecond' where sequence = 3", 3),
        ("delete from events where sequence = 2", 3),
        ("update events set hash = sha256('x') where sequence = 1", 1),
        ("update events set previous_hash = sha256('x') where sequence = 4", 4),
    ],
)
async def test_tampering_breaks_the_chain(db: Database, engine: AsyncEngine, tampering: str, breaks_at: int) -> None:
    for i in range(4):
        await record(db, f"x{i}", n=i)
    assert await db.verify_chain() == 4
    async with engine.begin() as conn:
        await conn.execute(sa.text(tampering.replace(":", r"\:")))
    with pytest.raises(ChainBroken) as caught:
        await db.verify_chain()
    assert caught.value.sequence == breaks_at


async def test_a_lost_connection_is_unavailable_then_heals(db: Database, engine: AsyncEngine) -> None:
    async def cut() -> None:
        async with db.write() as tx:
            pid = await tx.conn.scalar(sa.text("select pg_backend_pid()"))
            async with engine.connect() as other:
                await other.execute(sa.text("select pg_terminate_backend(:pid)"), {"pid": pid})
            await tx.conn.execute(sa.insert(THINGS).values(id="x"))

    with acting_as(LEA), pytest.raises(Unavailable):
        await cut()
    await record(db, "y")
    assert await things(db) == {"y"}


async def test_a_deadlock_is_unavailable_for_one_of_the_two(db: Database) -> None:
    await record(db, "a")
    await record(db, "b")
    barrier = asyncio.Barrier(2)

    async def update(*ids: str) -> None:
        with acting_as(LEA):
            async with db.write() as tx:
                for n, id in enumerate(ids):
                    await tx.conn.execute(sa.update(THINGS).where(THINGS.c.id == id).values(id=id))
                    if n == 0:
                        await barrier.wait()

    outcomes = await asyncio.gather(update("a", "b"), update("b", "a"), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "Unavailable"]


async def test_a_broken_rule_of_the_schema_is_not_hidden_as_unavailable(db: Database) -> None:
    await record(db, "x")
    with pytest.raises(IntegrityError):
        await record(db, "x")
    assert await db.last_sequence() == 1


async def test_an_exhausted_pool_is_unavailable(db: Database, dsn: str) -> None:
    engine = create_engine(dsn, "toy", pool_size=1)
    engine.pool._timeout = 0.1  # type: ignore[attr-defined]
    small = Database(engine, "toy", EVENTS)
    async with small.read(), small.read():
        with pytest.raises(Unavailable):
            async with small.read():
                pass
    assert await small.ping()
    await engine.dispose()


async def test_a_database_that_is_not_there_is_unavailable_and_waited_for(postgres_server: Postgres) -> None:
    url = sa.make_url(postgres_server.admin_dsn).set(database="late")
    engine = create_engine(url.render_as_string(hide_password=False), "toy")
    assert not await Database(engine, "toy").ping()
    waiting = asyncio.create_task(wait_for_database(engine, first_delay=0.01, longest_delay=0.05))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    admin = create_engine(postgres_server.admin_dsn, "public").execution_options(isolation_level="AUTOCOMMIT")
    async with admin.connect() as conn:
        await conn.execute(sa.text("create database late"))
    async with asyncio.timeout(10):
        await waiting
    await engine.dispose()
    await admin.dispose()


async def test_each_service_lives_in_its_schema(db: Database, engine: AsyncEngine) -> None:
    async with db.read() as conn:
        assert await conn.scalar(sa.text("show timezone")) == "UTC"
        assert await conn.scalar(sa.text("select current_schema()")) == "toy"
