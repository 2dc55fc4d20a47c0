"""Golden items, the copies reviewers were given and what they answered. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, func, insert, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_route.adapters import rows
from apaise_route.adapters.bulk import BulkInsert
from apaise_route.adapters.tables import golden_answers, golden_deals, golden_items, review_items
from apaise_route.domain.golden import GoldenAnswer, GoldenItem, Mask, Tally
from apaise_route.domain.model import (
    Decision,
    Queue,
    Resolution,
    Review,
    ReviewItem,
    ReviewReason,
    ReviewState,
    Visibility,
)

Key = tuple[str, str]
_KINDS: Final[Mapping[str, Any]] = {"visibility": Visibility, "reason": ReviewReason, "queue": Queue}
_insert_answers = BulkInsert(golden_answers, skip=("number",))

# -- what leads put in


def _row(golden: GoldenItem) -> dict[str, Any]:
    return {name: getattr(golden, name) for name in GoldenItem.__slots__}


def _golden_of(row: Mapping[Any, Any]) -> GoldenItem:
    return GoldenItem(**{name: _KINDS.get(name, _as_is)(row[name]) for name in GoldenItem.__slots__})


def _as_is(value: Any) -> Any:
    return value


async def add(conn: AsyncConnection, golden: GoldenItem) -> bool:
    """Keep a new one; False when its message is one already."""
    statement = upsert(golden_items).values(_row(golden)).on_conflict_do_nothing().returning(golden_items.c.id)
    return (await conn.execute(statement)).first() is not None


async def of_message(conn: AsyncConnection, brand: str, message: str) -> GoldenItem | None:
    """The one about a message that is not withdrawn, or None."""
    c = golden_items.c
    query = select(golden_items).where(c.brand == brand, c.message == message, c.withdraw_time.is_(None))
    row = (await conn.execute(query)).mappings().first()
    return _golden_of(row) if row else None


async def read(conn: AsyncConnection, key: Key) -> GoldenItem | None:
    """One, or None."""
    query = select(golden_items).where(golden_items.c.brand == key[0], golden_items.c.id == key[1])
    row = (await conn.execute(query)).mappings().first()
    return _golden_of(row) if row else None


async def page(conn: AsyncConnection, brand: str, before: str | None, limit: int) -> list[GoldenItem]:
    """A brand's, newest first, below an id."""
    query = select(golden_items).where(golden_items.c.brand == brand)
    if before is not None:
        query = query.where(golden_items.c.id < before)
    found = await conn.execute(query.order_by(golden_items.c.id.desc()).limit(limit))
    return [_golden_of(row) for row in found.mappings()]


async def tallies(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, Tally]:
    """How those were answered, undone answers apart; what nobody answered is absent."""
    a = golden_answers.c
    undone = select(a.undoes).where(a.brand.in_({brand for brand, _ in keys}), a.undoes != "")
    query = (
        select(a.brand, a.golden, func.count(), func.count().filter(a.rightly))
        .where(tuple_(a.brand, a.golden).in_(keys), a.rightly.is_not(None), a.id.not_in(undone))
        .group_by(a.brand, a.golden)
    )
    return {(r[0], r[1]): Tally(r[2], r[3]) for r in await conn.execute(query)} if keys else {}


async def withdraw(conn: AsyncConnection, key: Key, now: datetime) -> bool:
    """End one and the copies that wait; False when it is withdrawn already."""
    c = golden_items.c
    ended = update(golden_items).where(c.brand == key[0], c.id == key[1], c.withdraw_time.is_(None))
    if (await conn.execute(ended.values(withdraw_time=now))).rowcount == 0:
        return False
    d = golden_deals.c
    copies = select(d.review_item).where(d.brand == key[0], d.golden == key[1])
    await _end_copies(conn, review_items.c.brand == key[0], review_items.c.id.in_(copies))
    return True


async def end_copies_of(conn: AsyncConnection, brand: str, message: str) -> None:
    """End the waiting copies of a message that is gone."""
    await _end_copies(conn, review_items.c.brand == brand, review_items.c.message == message)


async def end_asked(conn: AsyncConnection, brand: str, actor: str) -> None:
    """End the copies somebody passed on for a second opinion: nobody else ever sees them."""
    c = review_items.c
    await _end_copies(conn, c.brand == brand, c.for_actor == actor, c.asked_by != "")


async def _end_copies(conn: AsyncConnection, *which: Any) -> None:
    c = review_items.c
    waiting = c.state.in_((int(ReviewState.OPEN), int(ReviewState.CLAIMED)))
    ended = {"state": int(ReviewState.WITHDRAWN), "claim_actor": "", "lease_expire_time": None}
    statement = update(review_items).where(and_(*which), c.for_actor != "", waiting)
    await conn.execute(statement.values(**ended, version=c.version + 1))


# -- giving them out


async def alone(conn: AsyncConnection, brand: str, actor: str) -> bool:
    """Whether nobody else is giving this person a golden item, until the end of the transaction."""
    key = func.hashtextextended(f"route/golden/{brand}/{actor}", 0)
    return bool(await conn.scalar(select(func.pg_try_advisory_xact_lock(key))))


_since_last = text("""
select count(*) from (
  select 1 from reviews where brand = :brand and actor = :actor and resolution <> 4 and create_time > coalesce(
    (select max(deal_time) from golden_deals where brand = :brand and actor = :actor), '-infinity')
  limit :limit) r
""")
# Nearest in the queue to where the person works. Not what they decided themselves, put in, had, or can see waiting.
_candidate = text("""
select g.* from golden_items g
join messages m on m.brand = g.brand and m.message = g.message and m.edit_revision = g.edit_revision and not m.gone
where g.brand = :brand and g.withdraw_time is null and g.create_actor <> :actor
and not exists (select 1 from golden_deals d where d.brand = g.brand and d.golden = g.id and d.actor = :actor)
and not exists (select 1 from reviews r where r.brand = g.brand and r.message = g.message and r.actor = :actor)
and not exists (select 1 from review_items i where i.brand = g.brand and i.message = g.message and i.state in (1, 2)
                and i.for_actor = '')
and not exists (select 1 from review_items i where i.brand = g.brand and i.for_actor = :actor and i.state in (1, 2))
order by abs(g.priority - :priority), md5(g.id || :salt) limit 1
""")


async def resolved_since_last(conn: AsyncConnection, brand: str, actor: str, limit: int) -> int:
    """How many items somebody resolved since they were last given a golden one, counted up to a limit."""
    values = {"brand": brand, "actor": actor, "limit": limit}
    return (await conn.scalar(_since_last, values)) or 0


async def candidate(conn: AsyncConnection, beside: ReviewItem, actor: str, salt: str) -> GoldenItem | None:
    """The one to give this person next, None when there is none or one still waits for them."""
    values = {"brand": beside.brand, "actor": actor, "priority": beside.priority, "salt": salt}
    row = (await conn.execute(_candidate, values)).mappings().first()
    return _golden_of(row) if row else None


async def add_deal(conn: AsyncConnection, golden: GoldenItem, copy: ReviewItem, now: datetime) -> None:
    """Record who was given what; one golden item is given to one person once."""
    values = {"brand": golden.brand, "golden": golden.id, "actor": copy.for_actor, "review_item": copy.id}
    await conn.execute(insert(golden_deals).values(**values, deal_time=now))


# -- what was answered


async def of_copy(conn: AsyncConnection, item: ReviewItem) -> GoldenItem:
    """What a copy was made of."""
    d, g = golden_deals.c, golden_items.c
    made = golden_items.join(golden_deals, and_(d.brand == g.brand, d.golden == g.id))
    query = select(golden_items).select_from(made).where(d.brand == item.brand, d.review_item == item.id)
    return _golden_of((await conn.execute(query)).mappings().one())


async def add_answer(conn: AsyncConnection, answer: GoldenAnswer) -> None:
    """Append an answer or its undo."""
    row = rows.review_row(answer.review)
    decided = rows.decision_row(answer.decision) if answer.decision else None
    clause, undoes = answer.review.clause, answer.review.undoes
    more = {"golden": answer.golden, "rightly": answer.right, "clause": clause, "undoes": undoes, "decision": decided}
    await _insert_answers(conn, [row | more])


async def answers(conn: AsyncConnection, brand: str, item_id: str) -> list[GoldenAnswer]:
    """A copy's answers and their undos, in order."""
    c = golden_answers.c
    query = select(golden_answers).where(c.brand == brand, c.review_item == item_id).order_by(c.number)
    return [_answer_of(row) for row in (await conn.execute(query)).mappings()]


def _answer_of(row: Mapping[Any, Any]) -> GoldenAnswer:
    return GoldenAnswer(rows.review_of(row), row["golden"], row["rightly"], _decision_of(row["decision"]))


def _decision_of(value: Any) -> Decision | None:
    if value is None:
        return None
    return rows.decision_of(value | {"create_time": datetime.fromisoformat(value["create_time"])})


async def answer_of_request(conn: AsyncConnection, brand: str, actor: str, request_id: str) -> Review | None:
    """The answer this person gave under this request id, if any."""
    if not request_id:
        return None
    c = golden_answers.c
    query = select(golden_answers).where(c.brand == brand, c.actor == actor, c.request_id == request_id)
    row = (await conn.execute(query)).mappings().first()
    return rows.review_of(row) if row else None


def last_resolution(found: Sequence[GoldenAnswer]) -> GoldenAnswer | None:
    """The last of a copy's answers that is not an undo."""
    return next((a for a in reversed(found) if a.review.resolution is not Resolution.UNDO), None)


async def masks(conn: AsyncConnection, copies: Sequence[ReviewItem]) -> dict[Key, Mask]:
    """What copies show, by brand and id."""
    if not copies:
        return {}
    d, g, a = golden_deals.c, golden_items.c, golden_answers.c
    mine = {(item.brand, item.id): item for item in copies}
    made = golden_deals.join(golden_items, and_(d.brand == g.brand, d.golden == g.id)).outerjoin(
        golden_answers,
        and_(a.brand == d.brand, a.review_item == d.review_item, a.decision.is_not(None)),
    )
    query = select(d.brand, d.review_item, g.decide_time, a.decision).select_from(made)
    found: dict[Key, Mask] = {}
    for brand, item_id, decided, value in await conn.execute(
        query.where(tuple_(d.brand, d.review_item).in_(list(mine))).order_by(a.number)
    ):
        found[brand, item_id] = Mask(mine[brand, item_id].create_time - decided, _decision_of(value))
    return found
