"""Revisions, wishes and reports in PostgreSQL: `AdapterStore` for the front, `ReplicaStore` for the replicas.

Precedents have a module of their own; the replicas see them through this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, and_, delete, func, select, tuple_, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_classify.adapters.precedents import PostgresPrecedents, changed_sets
from apaise_classify.adapters.tables import (
    SCHEMA,
    adapters,
    canaries,
    canary_counts,
    events,
    replicas,
    reports,
    wishes,
)
from apaise_classify.domain.adapters import (
    Adapter,
    AdapterState,
    Progress,
    Report,
    Revision,
    Settlement,
    Wish,
    canary_lane,
    same_content,
    settlement,
)
from apaise_classify.domain.arms import Arm, Arms, Counted, added
from apaise_classify.domain.ports import Place, PrecedentSet
from apaise_classify.domain.reading import HOUSE
from apaise_kit.core.clock import Clock
from apaise_kit.core.errors import Aborted, AlreadyExists, FailedPrecondition, Reason, not_found
from apaise_kit.core.names import ADAPTER, BRAND
from apaise_kit.runtime.db import Database, Transaction, create_engine, store_errors, wait_for_database
from apaise_kit.runtime.migrations import migrate

# A replica that has not been heard of for this long is not waited for; it forgets nothing: it reports again.
LIVE: Final = timedelta(seconds=10)
FORGOTTEN: Final = timedelta(minutes=1)


class PostgresStore:
    """Both stores: they are two views of the same four tables."""

    def __init__(self, db: Database, dsn: str) -> None:
        """`dsn` is only for `prepare`; everything else goes through `db`."""
        self._db = db
        self._dsn = dsn

    @classmethod
    def open(cls, dsn: str, pool_size: int, clock: Clock | None = None) -> PostgresStore:
        """Connect lazily to a database."""
        return cls(Database(create_engine(dsn, SCHEMA, pool_size), SCHEMA, events, clock), dsn)

    async def prepare(self) -> None:
        """Wait for the database, bring the schema to its newest revision."""
        await wait_for_database(self._db.engine)
        await migrate(self._dsn, SCHEMA, "apaise_classify")

    async def ping(self) -> bool:
        """Whether the database answers."""
        return await self._db.ping()

    def precedents(self, per_brand: int) -> PostgresPrecedents:
        """The precedents' own store, over the same connections."""
        return PostgresPrecedents(self._db, per_brand)

    async def close(self) -> None:
        """Close the connections."""
        await self._db.engine.dispose()

    # What callers see.

    async def wish(self, revision: Revision, request_id: str) -> Wish:
        """See `AdapterStore.wish`."""
        async with self._db.write() as tx:
            current = await _locked_wish(tx.conn, revision.brand)
            known = await _adapter(tx.conn, revision.brand, revision.id)
            if known is not None and not same_content(known.revision, revision):
                _check_replaceable(known)
            if known is not None and current.revision == revision.id and same_content(known.revision, revision):
                return Wish(revision.brand, revision, current.generation)
            wish = Wish(revision.brand, revision, current.generation + 1)
            await _register(tx, revision, wish.generation)
            await _move(tx, current, wish, request_id)
        return wish

    async def wish_back(self, brand: str, revision: str | None, request_id: str) -> Wish:
        """See `AdapterStore.wish_back`."""
        async with self._db.write() as tx:
            current = await _locked_wish(tx.conn, brand)
            target = await _servable(tx.conn, brand, revision) if revision is not None else None
            if current.revision == revision:
                return Wish(brand, target, current.generation)
            wish = Wish(brand, target, current.generation + 1)
            if target is not None:
                await _set_state(tx, brand, target.id, AdapterState.LOADING, generation=wish.generation, failure="")
            await _move(tx, current, wish, request_id)
        return wish

    async def settle(self, brand: str, generation: int) -> Settlement:
        """See `AdapterStore.settle`."""
        async with self._db.read() as conn:
            wish = (await conn.execute(select(wishes).where(wishes.c.brand == brand))).one()
            if wish.generation != generation:
                return await _past(conn, brand, generation)
            if wish.settled:
                return Settlement(Progress.ACTIVE)
            reached = settlement(generation, await _live_reports(conn, brand))
        if reached.progress is Progress.LOADING:
            return reached
        async with self._db.write() as tx:
            current = await _locked_wish(tx.conn, brand)
            if current.generation != generation:
                return await _past(tx.conn, brand, generation)
            if not current.settled:
                await _conclude(tx, current, reached)
        return reached

    async def set_canary(self, brand: str, revision: Revision | None, share: float, request_id: str) -> int:
        """See `AdapterStore.set_canary`."""
        wanted: dict[str, Any] = {"revision": revision.id if revision else None, "share": share if revision else 0.0}
        wanted |= {name: getattr(revision, name, "") for name in ("artifact_uri", "digest", "encoder")}
        async with self._db.write() as tx:
            first = postgresql.insert(canaries).values(
                brand=brand, revision=None, share=0.0, artifact_uri="", digest="", encoder="", generation=0
            )
            await tx.conn.execute(first.on_conflict_do_nothing())
            mine = canaries.c.brand == brand
            current = (await tx.conn.execute(select(canaries).where(mine).with_for_update())).one()
            if all(getattr(current, name) == value for name, value in wanted.items()):
                return int(current.generation)
            generation = int(current.generation) + 1
            await tx.conn.execute(update(canaries).where(mine).values(**wanted, generation=generation))
            await tx.conn.execute(delete(canary_counts).where(canary_counts.c.brand == brand))
            payload = {"generation": generation, "per_mille": round(1000 * wanted["share"])}
            payload |= {"request": _token(request_id)}
            tx.record("canary.wished", _resource(brand, wanted["revision"]), brand, payload)
        return generation

    async def canary_settlement(self, brand: str, generation: int) -> Settlement:
        """See `AdapterStore.canary_settlement`."""
        async with self._db.read() as conn:
            current = await conn.scalar(select(canaries.c.generation).where(canaries.c.brand == brand))
            if current != generation:
                raise Aborted("Another canary of this brand took its place, or it was ended.")
            return settlement(generation, await _live_reports(conn, canary_lane(brand)))

    async def canary(self, brand: str) -> tuple[Wish, Arms] | None:
        """See `AdapterStore.canary`."""
        async with self._db.read() as conn:
            row = (await conn.execute(_CANARIES.where(canaries.c.brand == brand))).first()
            if row is None:
                return None
            mine = and_(canary_counts.c.brand == brand, canary_counts.c.generation == row.generation)
            counts = (await conn.execute(select(canary_counts).where(mine))).all()
        return _canary(row), Arms(*(added(_arm(count) for count in counts if count.arm == arm) for arm in Arms._fields))

    async def unsettled(self) -> list[Wish]:
        """See `AdapterStore.unsettled`."""
        async with self._db.read() as conn:
            rows = (await conn.execute(_WISHES.where(~wishes.c.settled))).all()
        return [_wish(row) for row in rows]

    async def get(self, brand: str, revision: str) -> Adapter:
        """See `AdapterStore.get`."""
        async with self._db.read() as conn:
            found = await _adapter(conn, brand, revision)
            if found is None:
                raise not_found(ADAPTER.format(brand, revision))
            return (await _as_served(conn, brand, [found]))[0]

    async def page(self, brand: str, limit: int, after: Place | None) -> list[Adapter]:
        """See `AdapterStore.page`."""
        query = select(adapters).where(adapters.c.brand == brand)
        if after is not None:
            created = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=after.created)
            query = query.where(tuple_(adapters.c.create_time, adapters.c.revision) < (created, after.revision))
        query = query.order_by(adapters.c.create_time.desc(), adapters.c.revision.desc()).limit(limit)
        async with self._db.read() as conn:
            found = [_to_adapter(row) for row in (await conn.execute(query)).all()]
            return await _as_served(conn, brand, found)

    # What replicas see.

    async def wishes(self) -> list[Wish]:
        """See `ReplicaStore.wishes`."""
        async with self._db.read() as conn:
            wished = [_wish(row) for row in (await conn.execute(_WISHES)).all()]
            return wished + [_canary(row) for row in (await conn.execute(_CANARIES)).all()]

    async def changed_precedents(self, encoder: str, known: Mapping[str, int]) -> list[PrecedentSet]:
        """See `ReplicaStore.changed_precedents`."""
        return await changed_sets(self._db, encoder, known)

    async def count(self, replica: str, counted: Sequence[Counted]) -> None:
        """See `ReplicaStore.count`."""
        said = postgresql.insert(canary_counts)
        columns = ("generation", "reads", "failures", "times")
        upsert = said.on_conflict_do_update(
            index_elements=["brand", "replica", "arm"], set_={name: said.excluded[name] for name in columns}
        )
        with store_errors():
            async with self._db.engine.begin() as conn:
                # A canary that ends waits for this, and sweeps it away: nothing stays behind of one that is no more.
                wanted = canaries.c.brand.in_([each.brand for each in counted])
                rows = await conn.execute(_CANARIES.where(wanted).with_for_update(read=True))
                now = {row.brand: row.generation for row in rows}
                current = [each for each in counted if now.get(each.brand) == each.generation]
                if current:
                    await conn.execute(upsert, [row for each in current for row in _count_rows(replica, each)])

    async def report(self, replica: str, encoder: str, changed: Sequence[Report]) -> None:
        """See `ReplicaStore.report`."""
        with store_errors():
            async with self._db.engine.begin() as conn:
                await conn.execute(delete(replicas).where(replicas.c.seen < func.now() - FORGOTTEN))
                alive = postgresql.insert(replicas).values(replica=replica, encoder=encoder, seen=func.now())
                await conn.execute(alive.on_conflict_do_update(index_elements=["replica"], set_={"seen": func.now()}))
                if changed:
                    said = postgresql.insert(reports)
                    columns = ("generation", "progress", "failure", "serving")
                    upsert = said.on_conflict_do_update(
                        index_elements=["replica", "brand"], set_={name: said.excluded[name] for name in columns}
                    )
                    await conn.execute(upsert, [_report_row(replica, report) for report in changed])


_WISHES: Final = select(wishes, adapters.c.artifact_uri, adapters.c.digest, adapters.c.encoder).outerjoin(
    adapters, and_(adapters.c.brand == wishes.c.brand, adapters.c.revision == wishes.c.revision)
)


_CANARIES: Final = select(canaries).where(canaries.c.revision.is_not(None))


async def _locked_wish(conn: AsyncConnection, brand: str) -> Row[Any]:
    """The brand's wish, locked; a brand seen for the first time wishes for the house, settled, at generation 0."""
    first = postgresql.insert(wishes).values(brand=brand, revision=None, generation=0, settled=True)
    await conn.execute(first.on_conflict_do_nothing())
    return (await conn.execute(select(wishes).where(wishes.c.brand == brand).with_for_update())).one()


async def _adapter(conn: AsyncConnection, brand: str, revision: str) -> Adapter | None:
    where = and_(adapters.c.brand == brand, adapters.c.revision == revision)
    row = (await conn.execute(select(adapters).where(where))).first()
    return _to_adapter(row) if row is not None else None


async def _servable(conn: AsyncConnection, brand: str, revision: str) -> Revision:
    known = await _adapter(conn, brand, revision)
    if known is None:
        raise not_found(ADAPTER.format(brand, revision))
    if known.activate_time is None:
        raise FailedPrecondition("This revision never served: activate it instead of going back to it.")
    return known.revision


def _check_replaceable(known: Adapter) -> None:
    """An id names one content for ever; one that was refused before it ever served may be published again."""
    if known.state is not AdapterState.FAILED or known.activate_time is not None:
        raise AlreadyExists(
            "This revision exists with another digest or encoder. Give the new adapter a new revision id.",
            reason=Reason.ALREADY_EXISTS,
            metadata={"digest": known.revision.digest, "encoder": known.revision.encoder},
        )


async def _register(tx: Transaction, revision: Revision, generation: int) -> None:
    content: dict[str, Any] = {
        "artifact_uri": revision.artifact_uri,
        "digest": revision.digest,
        "encoder": revision.encoder,
        "state": AdapterState.LOADING.value,
        "failure": "",
        "generation": generation,
    }
    new = postgresql.insert(adapters).values(
        brand=revision.brand, revision=revision.id, create_time=tx.now, activate_time=None, **content
    )
    await tx.conn.execute(new.on_conflict_do_update(index_elements=["brand", "revision"], set_=content))


async def _move(tx: Transaction, current: Row[Any], wish: Wish, request_id: str) -> None:
    """Write a new wish over the current one, which it may find unsettled."""
    brand, revision = wish.brand, wish.revision.id if wish.revision else None
    previous = current.revision if current.settled else current.previous
    if not current.settled and current.revision is not None and current.revision != revision:
        await _stand_down(tx, brand, current.revision)
    values = {"revision": revision, "generation": wish.generation, "settled": False, "previous": previous}
    await tx.conn.execute(update(wishes).where(wishes.c.brand == brand).values(values))
    payload = {"generation": wish.generation, "from": previous or HOUSE, "request": _token(request_id)}
    tx.record("adapter.wished", _resource(brand, revision), brand, payload)


def _token(request_id: str) -> str:
    """A caller's id as an event may hold it."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in request_id[:64])


async def _conclude(tx: Transaction, current: Row[Any], reached: Settlement) -> None:
    brand, revision, generation = current.brand, current.revision, current.generation
    mine = update(wishes).where(wishes.c.brand == brand)
    if reached.progress is Progress.ACTIVE:
        await tx.conn.execute(mine.values(settled=True))
        if current.previous is not None and current.previous != revision:
            await _set_state(tx, brand, current.previous, AdapterState.RETIRED)
        if revision is not None:
            await _set_state(tx, brand, revision, AdapterState.ACTIVE, activate_time=tx.now)
        tx.record("adapter.activated", _resource(brand, revision), brand, {"generation": generation})
        return
    back = {"revision": current.previous, "generation": generation + 1, "settled": True, "previous": None}
    await tx.conn.execute(mine.values(back))
    if revision is not None:
        await _set_state(tx, brand, revision, AdapterState.FAILED, failure=reached.failure)
    if current.previous is not None:
        await _set_state(tx, brand, current.previous, AdapterState.ACTIVE, generation=generation + 1)
    payload = {"generation": generation, "failure": reached.failure, "back_to": current.previous or HOUSE}
    tx.record("adapter.failed", _resource(brand, revision), brand, payload)


async def _stand_down(tx: Transaction, brand: str, revision: str) -> None:
    """A revision whose wish was displaced before it was settled."""
    known = await _adapter(tx.conn, brand, revision)
    served = known is not None and known.activate_time is not None
    await _set_state(tx, brand, revision, AdapterState.RETIRED if served else AdapterState.REGISTERED)


async def _set_state(tx: Transaction, brand: str, revision: str, state: AdapterState, **more: object) -> None:
    where = and_(adapters.c.brand == brand, adapters.c.revision == revision)
    await tx.conn.execute(update(adapters).where(where).values(state=state.value, **more))


async def _past(conn: AsyncConnection, brand: str, generation: int) -> Settlement:
    """What became of a generation that is no longer the current one: it failed, or another wish took its place."""
    where = and_(adapters.c.brand == brand, adapters.c.generation == generation)
    row = (await conn.execute(select(adapters.c.state, adapters.c.failure).where(where))).first()
    if row is not None and row.state == AdapterState.FAILED:
        return Settlement(Progress.FAILED, row.failure)
    raise Aborted("Another activation or rollback of this brand took its place. Read the adapters, then decide again.")


async def _live_reports(conn: AsyncConnection, brand: str) -> dict[str, Report | None]:
    about = and_(reports.c.replica == replicas.c.replica, reports.c.brand == brand)
    query = select(replicas.c.replica.label("who"), reports).outerjoin(reports, about)
    rows = (await conn.execute(query.where(replicas.c.seen > func.now() - LIVE))).all()
    return {
        row.who: Report(brand, row.generation, Progress(row.progress), row.failure, row.serving)
        if row.replica is not None
        else None
        for row in rows
    }


async def _as_served(conn: AsyncConnection, brand: str, found: list[Adapter]) -> list[Adapter]:
    """An active revision that no replica can load any more reads as failed: its brand is on the house model."""
    wish = (await conn.execute(select(wishes).where(wishes.c.brand == brand))).first()
    if wish is None or not wish.settled or wish.revision not in {adapter.revision.id for adapter in found}:
        return found
    reached = settlement(wish.generation, await _live_reports(conn, brand))
    if reached.progress is not Progress.FAILED:
        return found
    return [
        Adapter(one.revision, AdapterState.FAILED, reached.failure, one.generation, one.create_time, one.activate_time)
        if one.revision.id == wish.revision
        else one
        for one in found
    ]


def _to_adapter(row: Row[Any]) -> Adapter:
    return Adapter(
        revision=Revision(row.brand, row.revision, row.artifact_uri, row.digest, row.encoder),
        state=AdapterState(row.state),
        failure=row.failure,
        generation=row.generation,
        create_time=row.create_time,
        activate_time=row.activate_time,
    )


def _wish(row: Row[Any]) -> Wish:
    if row.revision is None:
        return Wish(row.brand, None, row.generation)
    revision = Revision(row.brand, row.revision, row.artifact_uri, row.digest, row.encoder)
    return Wish(row.brand, revision, row.generation)


def _canary(row: Row[Any]) -> Wish:
    lane = canary_lane(row.brand)
    revision = Revision(lane, row.revision, row.artifact_uri, row.digest, row.encoder)
    return Wish(lane, revision, row.generation, row.share)


def _arm(row: Row[Any]) -> Arm:
    return Arm(row.reads, row.failures, tuple(row.times))


def _count_rows(replica: str, counted: Counted) -> list[dict[str, Any]]:
    return [
        {
            "brand": counted.brand,
            "replica": replica,
            "arm": name,
            "generation": counted.generation,
            "reads": arm.reads,
            "failures": arm.failures,
            "times": list(arm.times),
        }
        for name, arm in counted.arms._asdict().items()
    ]


def _report_row(replica: str, report: Report) -> dict[str, Any]:
    return {
        "replica": replica,
        "brand": report.brand,
        "generation": report.generation,
        "progress": report.progress.value,
        "failure": report.failure,
        "serving": report.serving,
    }


def _resource(brand: str, revision: str | None) -> str:
    return ADAPTER.format(brand, revision) if revision is not None else BRAND.format(brand)
