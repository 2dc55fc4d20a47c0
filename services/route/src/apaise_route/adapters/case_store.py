"""Cases, their histories and what is owed to their desks. Every function runs inside the caller's transaction.

Lock order: a message's row in `heads` first, then its case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, insert, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_route.adapters.tables import case_deliveries, case_entries, cases, messages
from apaise_route.domain.cases import Case, CaseState, Entry, EntryKind, Tension
from apaise_route.domain.model import ActionState, Audience, ChannelKind, Queue
from apaise_route.domain.platforms import Quota

Key = tuple[str, str]
_DETAIL: Final = ("team", "assignee", "outcome", "detail", "external_id")


class DeliveryState(IntEnum):
    """What became of a webhook."""

    WAITING = 1
    DELIVERED = 2
    FAILED = 3
    DROPPED = 4


class Delivery(NamedTuple):
    """One webhook owed: entry `number` of a case tells its desk `kind`; `attempts` counts this one."""

    brand: str
    case_id: str
    number: int
    kind: str
    attempts: int
    create_time: datetime

    @property
    def key(self) -> str:
        """The same for every attempt: what makes the receiver's work idempotent."""
        return f"{self.case_id}-{self.number}"


# -- cases


def _case_row(case: Case) -> dict[str, Any]:
    return {name: getattr(case, name) for name in Case.__slots__}


def _case_of(row: Mapping[Any, Any]) -> Case:
    kinds: dict[str, type[IntEnum]] = {
        "kind": ChannelKind,
        "audience": Audience,
        "team": Queue,
        "state": CaseState,
        "tension": Tension,
    }
    values: dict[str, Any] = {n: kinds[n](row[n]) if n in kinds else row[n] for n in Case.__slots__}
    return Case(**values)


async def add_case(conn: AsyncConnection, case: Case) -> bool:
    """Write a new case; False when its message has an open one."""
    statement = upsert(cases).values(_case_row(case)).on_conflict_do_nothing().returning(cases.c.id)
    return (await conn.execute(statement)).first() is not None


async def read_case(conn: AsyncConnection, key: Key) -> Case | None:
    """One case, or None."""
    return await _one(conn, select(cases).where(cases.c.brand == key[0], cases.c.id == key[1]))


async def lock_case(conn: AsyncConnection, key: Key) -> Case | None:
    """One case, locked until the end of the transaction, or None."""
    return await _one(conn, select(cases).where(cases.c.brand == key[0], cases.c.id == key[1]).with_for_update())


async def open_case_of(conn: AsyncConnection, brand: str, message: str) -> Case | None:
    """A message's case that is not closed, or None."""
    c = cases.c
    return await _one(conn, select(cases).where(c.brand == brand, c.message == message, text("state < 5")))


async def read_cases(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, Case]:
    """Cases by brand and id."""
    if not keys:
        return {}
    query = select(cases).where(tuple_(cases.c.brand, cases.c.id).in_(keys))
    return {(row["brand"], row["id"]): _case_of(row) for row in (await conn.execute(query)).mappings()}


async def _one(conn: AsyncConnection, query: Select[Any]) -> Case | None:
    row = (await conn.execute(query)).mappings().first()
    return _case_of(row) if row else None


async def save_case(conn: AsyncConnection, case: Case, added: Iterable[Entry]) -> None:
    """Write a case and its new entries."""
    c = cases.c
    await conn.execute(update(cases).where(c.brand == case.brand, c.id == case.id).values(_case_row(case)))
    await add_entries(conn, case, added)


class CaseFilter(NamedTuple):
    """Which cases a list is about; None is any, and no state is all but closed."""

    brands: frozenset[str] | None
    team: Queue | None = None
    state: CaseState | None = None
    late: bool = False


def _matching(wanted: CaseFilter) -> ColumnElement[bool]:
    c = cases.c
    # Written out, so that PostgreSQL sees that the partial index holds what is asked for.
    clauses: list[ColumnElement[bool]] = [text("state < 5")] if wanted.state is None else [c.state == wanted.state]  # type: ignore[list-item]
    if wanted.brands is not None:
        clauses.append(c.brand.in_(wanted.brands))
    if wanted.team is not None:
        clauses.append(c.team == wanted.team)
    if wanted.late:
        clauses.append(c.late)
    return and_(*clauses)


async def page_of_cases(
    conn: AsyncConnection, wanted: CaseFilter, after: tuple[datetime, str] | None, limit: int
) -> list[Case]:
    """Cases, the first due first, after a position (due time, id)."""
    c = cases.c
    query = select(cases).where(_matching(wanted))
    if after is not None:
        query = query.where(tuple_(c.due_time, c.id) > tuple_(*after))
    found = (await conn.execute(query.order_by(c.due_time, c.id).limit(limit))).mappings()
    return [_case_of(row) for row in found]


async def overdue_cases(conn: AsyncConnection, now: datetime, limit: int) -> list[Case]:
    """Lock cases whose time has passed without a reply and that nobody was told of."""
    c = cases.c
    query = select(cases).where(text("state < 4 and not late"), c.due_time <= now)
    found = (await conn.execute(query.order_by(c.due_time).limit(limit).with_for_update(skip_locked=True))).mappings()
    return [_case_of(row) for row in found]


class TeamLoad(NamedTuple):
    """How many cases wait for a team's reply, and how many of them are late."""

    team: Queue
    waiting: int
    late: int


async def team_loads(conn: AsyncConnection) -> list[TeamLoad]:
    """Every team that owes a reply, over all brands."""
    c = cases.c
    counts = c.team, func.count(), func.count().filter(c.late)
    found = await conn.execute(select(*counts).where(text("state < 4")).group_by(c.team))
    return [TeamLoad(Queue(team), waiting, late) for team, waiting, late in found]


# -- histories


async def add_entries(conn: AsyncConnection, case: Case, added: Iterable[Entry]) -> None:
    """Append entries."""
    found = [_entry_row(case, entry) for entry in added]
    if found:
        await conn.execute(insert(case_entries), found)


def _entry_row(case: Case, entry: Entry) -> dict[str, Any]:
    row = {name: getattr(entry, name) for name in Entry.__slots__ if name not in _DETAIL}
    detail = {name: getattr(entry, name) for name in _DETAIL if getattr(entry, name)}
    owner = {"brand": case.brand, "case_id": case.id, "message": case.message, "author_key": case.author_key}
    return {**owner, **row, "detail": detail}


def _entry_of(row: Mapping[Any, Any]) -> Entry:
    plain = {name: row[name] for name in Entry.__slots__ if name not in _DETAIL}
    plain["kind"] = EntryKind(row["kind"])
    plain["audience"] = Audience(row["audience"]) if row["audience"] else None
    detail = dict(row["detail"])
    detail["team"] = Queue(detail.get("team", 0))
    detail["outcome"] = ActionState(detail["outcome"]) if "outcome" in detail else None
    return Entry(**plain, **detail)


async def read_entries(conn: AsyncConnection, key: Key) -> list[Entry]:
    """A case's whole history, oldest first."""
    c = case_entries.c
    query = select(case_entries).where(c.brand == key[0], c.case_id == key[1]).order_by(c.number)
    return [_entry_of(row) for row in (await conn.execute(query)).mappings()]


async def read_some_entries(
    conn: AsyncConnection, keys: Sequence[tuple[str, str, int]]
) -> dict[tuple[str, str, int], Entry]:
    """Entries by brand, case and number."""
    if not keys:
        return {}
    c = case_entries.c
    found = await conn.execute(select(case_entries).where(tuple_(c.brand, c.case_id, c.number).in_(keys)))
    return {(row["brand"], row["case_id"], row["number"]): _entry_of(row) for row in found.mappings()}


async def entry_of_request(conn: AsyncConnection, key: Key, request_id: str) -> Entry | None:
    """The entry a request made in this case, if it did."""
    if not request_id:
        return None
    c = case_entries.c
    query = select(case_entries).where(c.brand == key[0], c.case_id == key[1], c.request_id == request_id)
    row = (await conn.execute(query)).mappings().first()
    return _entry_of(row) if row else None


async def blank_texts(conn: AsyncConnection, brand: str, message: str) -> None:
    """Blank what was written about a message that is gone."""
    c = case_entries.c
    await conn.execute(update(case_entries).where(c.brand == brand, c.message == message).values(text=""))


async def private_reply_to(conn: AsyncConnection, brand: str, message: str) -> bool:
    """Whether a private reply to this message went out."""
    c = case_entries.c
    query = select(c.number).where(
        c.brand == brand, c.message == message, c.kind == EntryKind.REPLY, c.audience == Audience.PRIVATE
    )
    return (await conn.execute(query.limit(1))).first() is not None


async def any_case_of(conn: AsyncConnection, brand: str, message: str) -> bool:
    """Whether a message has, or had, a case."""
    query = select(cases.c.id).where(cases.c.brand == brand, cases.c.message == message)
    return (await conn.execute(query.limit(1))).first() is not None


async def replies_by(conn: AsyncConnection, brand: str, actor: str, since: datetime) -> int:
    """How many replies somebody sent for a brand since an instant."""
    c = case_entries.c
    query = select(func.count()).where(
        c.brand == brand, c.kind == EntryKind.REPLY, c.actor == actor, c.rule != "", c.create_time > since
    )
    return (await conn.scalar(query)) or 0


async def replies_sent(conn: AsyncConnection, brand: str, quotas: Mapping[str, Quota], now: datetime) -> dict[str, int]:
    """How many replies went out under each rule within its quota's time."""
    c, counts = case_entries.c, dict[str, int]()
    for rule, quota in quotas.items():
        query = select(func.count()).where(c.brand == brand, c.rule == rule, c.create_time > now - quota.per)
        counts[rule] = (await conn.scalar(query)) or 0
    return counts


# -- the outbox


async def add_deliveries(conn: AsyncConnection, owed: Sequence[tuple[Case, int, str]], now: datetime) -> None:
    """Owe webhooks: (case, number of the entry, kind)."""
    values = [
        {
            "brand": case.brand,
            "case_id": case.id,
            "number": number,
            "kind": kind,
            "state": DeliveryState.WAITING,
            "attempts": 0,
            "next_time": now,
            "status": 0,
            "create_time": now,
        }
        for case, number, kind in owed
    ]
    if values:
        await conn.execute(insert(case_deliveries), values)


async def claim_deliveries(conn: AsyncConnection, now: datetime, lease_until: datetime, limit: int) -> list[Delivery]:
    """Take webhooks whose time has come, those nobody else is sending; unreported, they come back after the lease."""
    c = case_deliveries.c
    due = select(c.brand, c.case_id, c.number).where(text("state = 1"), c.next_time <= now)
    taken = due.order_by(c.next_time, c.case_id, c.number).limit(limit).with_for_update(skip_locked=True)
    keys = [tuple(row) for row in await conn.execute(taken)]
    if not keys:
        return []
    statement = (
        update(case_deliveries)
        .where(tuple_(c.brand, c.case_id, c.number).in_(keys))
        .values(attempts=c.attempts + 1, next_time=lease_until)
        .returning(c.brand, c.case_id, c.number, c.kind, c.attempts, c.create_time)
    )
    return sorted((Delivery(*row) for row in await conn.execute(statement)), key=lambda d: (d.case_id, d.number))


async def settle_delivery(
    conn: AsyncConnection, delivery: Delivery, state: DeliveryState, status: int, next_time: datetime
) -> None:
    """Write down what became of an attempt; `next_time` is when to try again, or now when that was the last."""
    c = case_deliveries.c
    statement = update(case_deliveries).where(
        c.brand == delivery.brand, c.case_id == delivery.case_id, c.number == delivery.number
    )
    done = None if state is DeliveryState.WAITING else next_time
    await conn.execute(statement.values(state=state, status=status, next_time=next_time, done_time=done))


# -- what was said in private


async def private_texts_of(conn: AsyncConnection, brand: str, author_key: str, limit: int = 20) -> list[str]:
    """The last texts a person wrote to the brand in private."""
    c = messages.c
    private = c.detail["place"][1].as_integer() == int(Audience.PRIVATE)
    query = select(c.text).where(c.brand == brand, c.author_key == author_key, private, ~c.gone)
    return list((await conn.scalars(query.order_by(c.create_time.desc()).limit(limit))).all())
