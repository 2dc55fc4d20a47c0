"""PostgreSQL: an engine per service schema, a unit of work, and the table of events that is outbox and audit at once.

Commit order. `Database.write` inserts its events last, under a transaction-scoped advisory lock of the schema.
PostgreSQL releases such a lock after the transaction's changes have become visible, so whoever gets the lock next sees
every event numbered before its own, and numbers after them. Hence a reader that has seen sequence n has seen, or can
see now, everything up to n: no older transaction can later show up with a lower number. A stream's cursor is therefore
just the last sequence it has seen. (Only transactions that record events pay for this, and only for their last
statements.)

Hash chain. Each event carries the SHA-256 of its own content and of the hash before it: an edited, removed or inserted
row is found by `verify_chain`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    delete,
    func,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.types import UserDefinedType

from apaise_kit.core.caller import Caller, current_caller
from apaise_kit.core.clock import Clock, SystemClock
from apaise_kit.core.errors import OutOfRange, Reason, Unavailable
from apaise_kit.runtime.logs import get_logger

Atom = str | int | bool | None
Payload = Mapping[str, "Atom | Sequence[Atom]"]

_FOLLOW_BATCH: Final = 500
_GENESIS: Final = bytes(32)
_ATOM: Final = re.compile(r"[A-Za-z0-9._:/@+=*,#~-]{0,200}")
# Deadlock, serialization failure, lock not available, too many connections, server shutting down or starting.
_TRANSIENT_STATES: Final = frozenset({"40001", "40P01", "55P03", "53300", "57P01", "57P02", "57P03"})
_NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
_log = get_logger(__name__)


def create_engine(dsn: str, schema: str, pool_size: int = 8) -> AsyncEngine:
    """An engine whose connections live in `schema` (then `public`, where extensions are).

    Args:
        dsn: SQLAlchemy URL, `postgresql+psycopg://…` (or plain `postgresql://…`).
        schema: the service's own schema; SQL then needs no prefix.
        pool_size: connections kept; half as many more are opened when all are busy.
    """
    url = make_url(dsn).set(drivername="postgresql+psycopg")
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=max(1, pool_size // 2),
        pool_timeout=10,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,  # parameters hold messages' text; exceptions travel far
        connect_args={
            "connect_timeout": 5,
            "application_name": f"apaise-{schema}",
            "options": f"-csearch_path={schema},public -ctimezone=UTC -cidle_in_transaction_session_timeout=60s",
        },
    )


def metadata_for(schema: str) -> MetaData:
    """Metadata for a service's tables, with stable constraint names. No schema in it: the search_path decides."""
    return MetaData(naming_convention=_NAMING, info={"schema": schema})


class Vector(UserDefinedType[str]):
    """pgvector's type, of any size; written as text, read with `vector_send`."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Its name in PostgreSQL."""
        return "vector"


def events_table(metadata: MetaData) -> Table:
    """The service's `events`: append-only, written only through `Transaction.record`. Ids only, never text."""
    return Table(
        "events",
        metadata,
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("time", DateTime(timezone=True), nullable=False),
        Column("actor", Text, nullable=False),
        Column("resource", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("brand", Text, nullable=False),
        Column("payload", JSONB, nullable=False),
        Column("previous_hash", LargeBinary, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        Index(None, "brand", "sequence"),
        Index(None, "resource"),
    )


def lock_key(purpose: str) -> int:
    """The 64-bit key of a PostgreSQL advisory lock for a purpose."""
    return int.from_bytes(hashlib.sha256(f"apaise/{purpose}".encode()).digest()[:8], "big", signed=True)


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what a moment's trouble of the database raises into Unavailable; anything else passes.

    Raises:
        Unavailable: lost connection, refused connection, deadlock, serialization failure, no free connection.
    """
    try:
        yield
    except PoolTimeoutError:
        raise _unavailable() from None
    except DBAPIError as error:
        if not _is_transient(error):
            raise
        _log.warning("database_unavailable", error=error.orig, sqlstate=getattr(error.orig, "sqlstate", None))
        raise _unavailable() from None


def _is_transient(error: DBAPIError) -> bool:
    state: str | None = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or (state or "").startswith("08") or state in _TRANSIENT_STATES:
        return True
    # A connection refused or cut has no SQLSTATE at all.
    return state is None and isinstance(error, OperationalError | InterfaceError)


def _unavailable() -> Unavailable:
    return Unavailable("The database does not answer. Try again in a moment.")


@dataclass(frozen=True, slots=True)
class Event:
    """One row of `events`."""

    sequence: int
    time: datetime
    actor: str
    resource: str
    kind: str
    request_id: str
    brand: str
    payload: dict[str, Any]
    hash: bytes


class ChainBroken(Exception):
    """The events were tampered with, or a row is missing; `sequence` is the first row that does not fit."""

    def __init__(self, sequence: int) -> None:
        """`sequence` is where the chain breaks."""
        super().__init__(f"the chain of events breaks at sequence {sequence}")
        self.sequence = sequence


@dataclass
class Transaction:
    """An open unit of work: its connection, its caller, one time for all it writes, and the events it will leave."""

    conn: AsyncConnection
    caller: Caller
    now: datetime
    _events: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)

    def record(self, kind: str, resource: str, brand: str, payload: Payload | None = None) -> None:
        """Announce a change; it is written and numbered when the transaction commits.

        Args:
            kind: what happened, like "decision.made".
            resource: name of the thing it happened to.
            brand: slug of its brand.
            payload: ids, counts and enum names that followers need. Text is refused by construction: a string is at
                most 200 characters of letters, digits and `._:/@+=*,#~-`, no spaces.

        Raises:
            ValueError: when a payload value could be text.
        """
        checked = dict(payload or {})
        for key, value in checked.items():
            atoms = value if isinstance(value, list | tuple) else [value]
            if not all(_is_atom(atom) for atom in atoms):
                raise ValueError(f"event payload {key!r} must hold ids only")
        self._events.append((kind, resource, brand, checked))


def _is_atom(value: object) -> bool:
    return value is None or isinstance(value, int) or (isinstance(value, str) and _ATOM.fullmatch(value) is not None)


class Database:
    """A service's door to PostgreSQL: units of work, reads, and its events."""

    def __init__(
        self, engine: AsyncEngine, schema: str, events: Table | None = None, clock: Clock | None = None
    ) -> None:
        """`events` is the table in the service's own metadata; by default an equal one is made."""
        self.engine = engine
        self.schema = schema
        self.clock = clock or SystemClock()
        self._events = events if events is not None else events_table(metadata_for(schema))
        self._lock_key = lock_key(f"events/{schema}")

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """A unit of work: everything in the block, and the events it recorded, commits at its end or not at all.

        Actor and request id are those of `current_caller()`. The numbering relies on isolation READ COMMITTED.

        Raises:
            Unauthenticated: outside a request and outside `acting_as`.
            Unavailable: when the database does not answer; after a lost commit the change may or may not be there.
        """
        with store_errors():
            async with self.engine.connect() as conn, conn.begin():
                transaction = Transaction(conn, current_caller(), self.clock.now())
                yield transaction
                if transaction._events:
                    await self._append(transaction)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; writing through it is refused by PostgreSQL.

        Raises:
            Unavailable: when the database does not answer.
        """
        with store_errors():
            async with self.engine.connect() as conn:
                await conn.execution_options(postgresql_readonly=True)
                yield conn

    async def ping(self) -> bool:
        """Whether the database answers."""
        try:
            async with self.read() as conn:
                await conn.execute(text("select 1"))
        except Unavailable:
            return False
        return True

    async def _append(self, transaction: Transaction) -> None:
        conn, events = transaction.conn, self._events
        # Two statements, not one: the second must take its snapshot after the lock is held.
        await conn.execute(select(func.pg_advisory_xact_lock(self._lock_key)))
        last = (
            await conn.execute(select(events.c.sequence, events.c.hash).order_by(events.c.sequence.desc()).limit(1))
        ).first()
        sequence, previous = (last.sequence, bytes(last.hash)) if last else (0, _GENESIS)
        rows: list[dict[str, Any]] = []
        for kind, resource, brand, payload in transaction._events:
            sequence += 1
            row: dict[str, Any] = {
                "sequence": sequence,
                "time": transaction.now.astimezone(UTC),
                "actor": transaction.caller.actor,
                "resource": resource,
                "kind": kind,
                "request_id": transaction.caller.request_id,
                "brand": brand,
                "payload": payload,
            }
            digest = _hash(row, previous)
            rows.append({**row, "previous_hash": previous, "hash": digest})
            previous = digest
        await conn.execute(insert(events), rows)

    async def last_sequence(self) -> int:
        """Number of the last event, 0 before the first."""
        async with self.read() as conn:
            return (await conn.scalar(select(func.max(self._events.c.sequence)))) or 0

    async def follow(
        self,
        after: int,
        kinds: Collection[str] | None = None,
        brands: Collection[str] | None = None,
        poll: float = 0.1,
    ) -> AsyncIterator[list[Event]]:
        """Events numbered above `after`, in commit order, in batches that are never empty; never ends by itself.

        Args:
            after: last sequence already seen, 0 for the beginning of what is kept.
            kinds: kinds wanted, None for all.
            brands: slugs wanted, None for all.
            poll: seconds between two looks when there is nothing new.

        Raises:
            OutOfRange: (CURSOR_EXPIRED) when events after `after` have been trimmed, or `after` never existed.
            Unavailable: when the database does not answer; the caller resumes with its cursor.
        """
        await self._check_kept(after)
        position = after
        while True:
            async with self.read() as conn:
                last = (await conn.scalar(select(func.max(self._events.c.sequence)))) or 0
                rows = await self._range(conn, position, last, kinds, brands) if last > position else []
            # After a short batch everything up to `last` was looked at, wanted or not: the next look starts there.
            position = max(position, last) if len(rows) < _FOLLOW_BATCH else rows[-1].sequence
            if rows:
                yield [_event(row) for row in rows]
            if position >= last:
                await asyncio.sleep(poll)

    async def _range(
        self,
        conn: AsyncConnection,
        after: int,
        last: int,
        kinds: Collection[str] | None,
        brands: Collection[str] | None,
    ) -> Sequence[Row[Any]]:
        c = self._events.c
        query = select(self._events).where(c.sequence > after, c.sequence <= last)
        if kinds is not None:
            query = query.where(c.kind.in_(kinds))
        if brands is not None:
            query = query.where(c.brand.in_(brands))
        return (await conn.execute(query.order_by(c.sequence).limit(_FOLLOW_BATCH))).all()

    async def _check_kept(self, after: int) -> None:
        c = self._events.c
        async with self.read() as conn:
            first, last = (await conn.execute(select(func.min(c.sequence), func.max(c.sequence)))).one()
        oldest_usable = (first or 1) - 1
        if after != 0 and not oldest_usable <= after <= (last or 0):
            raise OutOfRange(
                "This cursor is no longer kept. Start again from the beginning of the stream.",
                reason=Reason.CURSOR_EXPIRED,
                metadata={"oldest": str(oldest_usable), "newest": str(last or 0)},
            )

    async def verify_chain(self) -> int:
        """Recompute every hash; the number of rows that fit.

        After a trim, the oldest row kept is taken at its word.

        Raises:
            ChainBroken: at the first row that does not fit.
        """
        count, expected, previous = 0, None, _GENESIS
        query = select(self._events).order_by(self._events.c.sequence)
        async with self.read() as conn:
            async for row in await conn.stream(query):
                if expected is None:
                    expected = row.sequence
                    previous = bytes(row.previous_hash) if row.sequence > 1 else _GENESIS
                fits = row.sequence == expected and bytes(row.previous_hash) == previous
                if not fits or _hash(row._mapping, previous) != bytes(row.hash):
                    raise ChainBroken(row.sequence)
                count, expected, previous = count + 1, expected + 1, bytes(row.hash)
        return count

    async def trim_events(self, before: datetime) -> int:
        """Forget events older than `before` (aware); the number forgotten. The newest stays: the chain hangs on it."""
        c = self._events.c
        with store_errors():
            async with self.engine.begin() as conn:
                await conn.execute(select(func.pg_advisory_xact_lock(self._lock_key)))
                await conn.execute(text("set local apaise.trimming = 'on'"))
                # A prefix only: a clock that once stood wrong must not make a hole in the middle.
                young = select(func.min(c.sequence)).where(c.time >= before).scalar_subquery()
                newest = select(func.max(c.sequence)).scalar_subquery()
                result = await conn.execute(delete(self._events).where(c.sequence < func.coalesce(young, newest)))
                return result.rowcount


def _event(row: Row[Any]) -> Event:
    m = row._mapping
    return Event(
        sequence=m["sequence"],
        time=m["time"],
        actor=m["actor"],
        resource=m["resource"],
        kind=m["kind"],
        request_id=m["request_id"],
        brand=m["brand"],
        payload=m["payload"],
        hash=bytes(m["hash"]),
    )


_HASHED: Final = ("sequence", "actor", "resource", "kind", "request_id", "brand", "payload")


def _hash(row: Mapping[Any, Any], previous: bytes) -> bytes:
    content = {key: row[key] for key in _HASHED}
    content["time"] = row["time"].astimezone(UTC).isoformat(timespec="microseconds")
    content["previous"] = previous.hex()
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).digest()


async def wait_for_database(engine: AsyncEngine, first_delay: float = 0.1, longest_delay: float = 5.0) -> None:
    """Wait until the database accepts connections, for ever, looking less and less often (delays in seconds)."""
    delay = first_delay
    while True:
        try:
            async with engine.connect() as conn:
                await conn.execute(text("select 1"))
            return
        except DBAPIError as error:
            if not _is_transient(error):
                raise
            # Nothing but the connection itself was tried, so the driver's text can quote nothing but the address.
            _log.warning("waiting_for_database", retry_in=delay, cause=str(error.orig)[:300])
        await asyncio.sleep(delay)
        delay = min(longest_delay, delay * 2)
