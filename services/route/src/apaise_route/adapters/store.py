"""Rows to domain values and back. Every function runs inside the caller's transaction.

Locks are taken in one order everywhere, which is what keeps concurrent batches from deadlock: rows of `heads` sorted by
(brand, message), then review items.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    and_,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_route.adapters import golden_store, rows
from apaise_route.adapters.bulk import BulkInsert
from apaise_route.adapters.tables import (
    active_charters,
    charters,
    decisions,
    heads,
    messages,
    outcomes,
    review_items,
    review_opinions,
    reviews,
)
from apaise_route.domain.golden import Mask
from apaise_route.domain.model import (
    ActionState,
    Assessment,
    Audience,
    Cause,
    Channel,
    Decision,
    Message,
    Opinion,
    Outcome,
    Queue,
    Resolution,
    Review,
    ReviewItem,
    ReviewReason,
    ReviewState,
    Visibility,
)
from apaise_route.domain.thread import Thread

Key = tuple[str, str]
DecisionKey = tuple[str, str, int]
_WAITING: Final = (int(ReviewState.OPEN), int(ReviewState.CLAIMED))

_insert_messages = BulkInsert(
    messages, "on conflict (brand, message, edit_revision) do update set assessment = excluded.assessment"
)
_insert_decisions = BulkInsert(decisions)
_insert_reviews = BulkInsert(reviews)
_put_items = BulkInsert(
    review_items,
    "on conflict (brand, id) do update set "
    + ", ".join(f"{c.name} = excluded.{c.name}" for c in review_items.columns if c.name not in ("brand", "id")),
)
_lock_heads = text(
    "insert into heads (brand, message, sequence) "
    "select b, m, 0 from unnest(cast(:brands as text[]), cast(:messages as text[])) as t(b, m) order by b, m "
    "on conflict (brand, message) do update set brand = excluded.brand returning brand, message, sequence"
)
_move_heads = text(
    "update heads h set sequence = u.s, hold_expire_time = u.e from unnest(cast(:brands as text[]), "
    "cast(:messages as text[]), cast(:sequences as bigint[]), cast(:expiries as timestamptz[])) as u(b, m, s, e) "
    "where h.brand = u.b and h.message = u.m"
)
_blank = text(
    "update messages set text = '', gone = true, detail = jsonb_set(detail, '{attachments}', coalesce("
    "(select jsonb_agg(a - 'alt_text') from jsonb_array_elements(detail -> 'attachments') a), '[]')) "
    "where brand = :brand and message = :message"
)


# -- threads


async def lock_threads(conn: AsyncConnection, keys: Collection[Key]) -> dict[Key, Thread]:
    """Lock messages, known or new, and load their threads."""
    ordered = sorted(set(keys))
    found = await conn.execute(_lock_heads, {"brands": [b for b, _ in ordered], "messages": [m for _, m in ordered]})
    known = [(row.brand, row.message) for row in found if row.sequence]
    threads = {key: Thread(*key) for key in ordered}
    if known:
        await _fill(conn, threads, known)
    return threads


async def lock_thread(conn: AsyncConnection, key: Key) -> Thread:
    """Lock one message that has been decided, and load its thread."""
    locked = select(heads.c.sequence).where(heads.c.brand == key[0], heads.c.message == key[1]).with_for_update()
    await conn.execute(locked)
    threads = {key: Thread(*key)}
    await _fill(conn, threads, [key])
    return threads[key]


async def _fill(conn: AsyncConnection, threads: dict[Key, Thread], known: Sequence[Key]) -> None:
    query = select(decisions).where(_in(decisions, known)).order_by(decisions.c.sequence)
    for decision in await _decisions(conn, query):
        threads[decision.brand, decision.message].decisions.append(decision)
    c = review_items.c
    waiting = select(review_items).where(_in(review_items, known), c.state.in_(_WAITING), c.for_actor == "")
    for row in (await conn.execute(waiting)).mappings():
        threads[row["brand"], row["message"]].item = rows.item_of(row)


def _in(table: Any, keys: Sequence[Key]) -> ColumnElement[bool]:
    return tuple_(table.c.brand, table.c.message).in_(keys)


async def save_threads(conn: AsyncConnection, threads: Iterable[Thread], now: datetime) -> None:
    """Write what threads have grown by."""
    grown = [thread for thread in threads if thread.added or thread.touched or thread.blanked]
    await _insert_messages(conn, [rows.message_row(e, now) for thread in grown for e in thread.texts.values()])
    await _insert_decisions(conn, [rows.decision_row(d) for thread in grown for d in thread.added])
    await _put_items(conn, [rows.item_row(item) for thread in grown for item in thread.touched.values()])
    await _move(conn, [thread.decisions[-1] for thread in grown if thread.added])
    for thread in grown:
        if thread.blanked:
            await conn.execute(_blank, {"brand": thread.brand, "message": thread.message})
            await golden_store.end_copies_of(conn, thread.brand, thread.message)


async def _move(conn: AsyncConnection, holding: Sequence[Decision]) -> None:
    if not holding:
        return
    held = [d.ruling.hold_expire_time if d.ruling.visibility is Visibility.HOLD else None for d in holding]
    values = {
        "brands": [d.brand for d in holding],
        "messages": [d.message for d in holding],
        "sequences": [d.sequence for d in holding],
        "expiries": held,
    }
    await conn.execute(_move_heads, values)


async def expired_holds(conn: AsyncConnection, now: datetime, limit: int) -> dict[Key, Thread]:
    """Lock messages whose hold has ended, those nobody else is working on, and load their threads."""
    query = (
        select(heads.c.brand, heads.c.message)
        .where(heads.c.hold_expire_time <= now)
        .order_by(heads.c.brand, heads.c.message)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    keys = [(row.brand, row.message) for row in await conn.execute(query)]
    threads = {key: Thread(*key) for key in keys}
    if keys:
        await _fill(conn, threads, keys)
    return threads


# -- decisions


async def _decisions(conn: AsyncConnection, query: Select[Any]) -> list[Decision]:
    found = (await conn.execute(query)).mappings().all()
    reported = await _outcomes(conn, [(r["brand"], r["message"], r["sequence"]) for r in found])
    return [rows.decision_of(r, reported.get((r["brand"], r["message"], r["sequence"]))) for r in found]


async def _outcomes(conn: AsyncConnection, keys: Sequence[DecisionKey]) -> dict[DecisionKey, Outcome]:
    if not keys:
        return {}
    c = outcomes.c
    query = select(outcomes).where(tuple_(c.brand, c.message, c.sequence).in_(keys)).order_by(c.id)
    return {
        (r.brand, r.message, r.sequence): Outcome(ActionState(r.state), r.time, r.detail)
        for r in await conn.execute(query)
    }


async def read_decisions(conn: AsyncConnection, keys: Sequence[DecisionKey]) -> dict[DecisionKey, Decision]:
    """Decisions by brand, message and sequence; those that do not exist are absent."""
    if not keys:
        return {}
    c = decisions.c
    found = await _decisions(conn, select(decisions).where(tuple_(c.brand, c.message, c.sequence).in_(keys)))
    return {(d.brand, d.message, d.sequence): d for d in found}


async def page_of_message(conn: AsyncConnection, key: Key, before: int | None, limit: int) -> list[Decision]:
    """A message's decisions, newest first, below a sequence."""
    c = decisions.c
    query = select(decisions).where(c.brand == key[0], c.message == key[1])
    if before is not None:
        query = query.where(c.sequence < before)
    return await _decisions(conn, query.order_by(c.sequence.desc()).limit(limit))


async def page_of_brand(
    conn: AsyncConnection, brand: str, before: tuple[datetime, str, int] | None, limit: int
) -> list[Decision]:
    """A brand's decisions, newest first, below a position (create time, message, sequence)."""
    c = decisions.c
    query = select(decisions).where(c.brand == brand)
    if before is not None:
        query = query.where(tuple_(c.create_time, c.message, c.sequence) < tuple_(*before))
    order = (c.create_time.desc(), c.message.desc(), c.sequence.desc())
    return await _decisions(conn, query.order_by(*order).limit(limit))


async def latest_of_machine(conn: AsyncConnection, brand: str, limit: int) -> list[Decision]:
    """The decisions the machine made last on reading a message, or on reading it again; newest first."""
    c = decisions.c
    read = c.cause.in_((int(Cause.AUTOMATIC), int(Cause.REASSESSMENT)))
    order = (c.create_time.desc(), c.message.desc(), c.sequence.desc())
    return await _decisions(conn, select(decisions).where(c.brand == brand, read).order_by(*order).limit(limit))


async def add_outcome(conn: AsyncConnection, key: DecisionKey, outcome: Outcome, actor: str) -> bool:
    """Record what the platform did; False when this state was already reported for this decision."""
    values = dict(zip(("brand", "message", "sequence"), key, strict=True))
    statement = upsert(outcomes).values(
        **values, state=int(outcome.state), time=outcome.time, detail=outcome.detail, actor=actor
    )
    return (await conn.execute(statement.on_conflict_do_nothing())).rowcount == 1


# -- review items


class ItemFilter(NamedTuple):
    """Which items a list or a claim of somebody is about; None is any."""

    brands: frozenset[str] | None
    actor: str
    queue: Queue | None = None
    states: tuple[ReviewState, ...] = (ReviewState.OPEN, ReviewState.CLAIMED)
    reason: ReviewReason | None = None


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item with what a person needs to decide."""

    item: ReviewItem
    message: Message
    decision: Decision
    assessment: Assessment | None


def _matching(wanted: ItemFilter, now: datetime) -> ColumnElement[bool]:
    c = review_items.c
    expired = c.lease_expire_time <= now
    states = []
    for state in wanted.states:
        match state:
            case ReviewState.OPEN:
                states.append(or_(c.state == 1, and_(c.state == 2, expired)))
            case ReviewState.CLAIMED:
                states.append(and_(c.state == 2, c.lease_expire_time > now))
            case _:
                states.append(c.state == int(state))
    clauses: list[ColumnElement[bool]] = [or_(*states), c.for_actor.in_(("", wanted.actor))]
    if set(wanted.states) <= {ReviewState.OPEN, ReviewState.CLAIMED}:
        clauses.append(literal_column("state in (1, 2)", Boolean))  # lets PostgreSQL use the partial index
    if wanted.brands is not None:
        clauses.append(c.brand.in_(wanted.brands))
    if wanted.queue is not None:
        clauses.append(c.queue == int(wanted.queue))
    if wanted.reason is not None:
        clauses.append(c.reason == int(wanted.reason))
    return and_(*clauses)


def _by_urgency(query: Select[Any]) -> Select[Any]:
    return query.order_by(review_items.c.urgency, review_items.c.due_key, review_items.c.id)


async def page_of_items(
    conn: AsyncConnection, wanted: ItemFilter, after: tuple[int, int, str] | None, now: datetime, limit: int
) -> list[tuple[ItemView, tuple[int, int, str]]]:
    """Items most urgent first, each with its position (urgency, due key, id), after a position."""
    c = review_items.c
    query = select(review_items).where(_matching(wanted, now))
    if after is not None:
        query = query.where(tuple_(c.urgency, c.due_key, c.id) > tuple_(*after))
    found = (await conn.execute(_by_urgency(query).limit(limit))).mappings().all()
    views = await _views(conn, [rows.item_of(row) for row in found])
    return [(view, (r["urgency"], r["due_key"], r["id"])) for view, r in zip(views, found, strict=True)]


async def view_item(conn: AsyncConnection, item: ReviewItem) -> ItemView:
    """One item with its message, decision and assessment."""
    return (await _views(conn, [item]))[0]


async def _views(conn: AsyncConnection, items: Sequence[ReviewItem]) -> list[ItemView]:
    if not items:
        return []
    texts = await read_texts(conn, [(i.brand, i.message, i.edit_revision) for i in items])
    about = await read_decisions(conn, [(i.brand, i.message, i.sequence) for i in items])
    masks = await golden_store.masks(conn, [item for item in items if item.for_actor])
    return [
        _view(i, texts[i.brand, i.message, i.edit_revision], about.get((i.brand, i.message, i.sequence)), masks)
        for i in items
    ]


def _view(item: ReviewItem, stored: StoredText, about: Decision | None, masks: Mapping[Key, Mask]) -> ItemView:
    """An item as it is shown; a golden item's copy hides what it is."""
    mask = masks.get((item.brand, item.id))
    decision = mask.decision if mask and mask.decision else about
    if decision is None:
        raise ValueError("a review item without its decision")
    if mask is None:
        return ItemView(item, stored.message, decision, stored.assessment)
    shown = mask.decision or mask.machine(decision, item.id)
    return ItemView(item, mask.message(stored.message), shown, stored.assessment)


class StoredText(NamedTuple):
    """A message revision as kept, its assessment, whether a model may learn from it, and its channel at the time."""

    message: Message
    assessment: Assessment | None
    may_train: bool
    channel: Channel | None = None

    @property
    def audience(self) -> Audience:
        """Who could read it; what is not known counts as private."""
        return self.channel.audience if self.channel else Audience.PRIVATE


async def read_texts(conn: AsyncConnection, keys: Sequence[DecisionKey]) -> dict[DecisionKey, StoredText]:
    """Message revisions by brand, message and edit revision."""
    if not keys:
        return {}
    c = messages.c
    query = select(messages).where(tuple_(c.brand, c.message, c.edit_revision).in_(keys))
    found = (await conn.execute(query)).mappings().all()
    return {(r["brand"], r["message"], r["edit_revision"]): _stored(r) for r in found}


async def showing_since(conn: AsyncConnection, brand: str, start: datetime, limit: int) -> list[StoredText]:
    """The message revisions that show by a decision made since an instant, the last decided first."""
    d, m = decisions.c, messages.c
    current = and_(heads.c.brand == d.brand, heads.c.message == d.message, heads.c.sequence == d.sequence)
    shown = and_(m.brand == d.brand, m.message == d.message, m.edit_revision == d.edit_revision)
    query = (
        select(messages)
        .select_from(decisions.join(heads, current).join(messages, shown))
        .where(d.brand == brand, d.create_time >= start, d.visibility == int(Visibility.KEEP), ~m.gone)
        .order_by(d.create_time.desc(), d.message.desc())
        .limit(limit)
    )
    return [_stored(row) for row in (await conn.execute(query)).mappings()]


def _stored(row: Any) -> StoredText:
    return StoredText(rows.message_of(row), rows.assessment_of(row["assessment"]), row["may_train"], rows.place_of(row))


async def read_item(conn: AsyncConnection, brand: str, item_id: str) -> ReviewItem | None:
    """One item, or None."""
    query = select(review_items).where(review_items.c.brand == brand, review_items.c.id == item_id)
    row = (await conn.execute(query)).mappings().first()
    return rows.item_of(row) if row else None


async def claim_item(
    conn: AsyncConnection, brand: str, item_id: str, actor: str, until: datetime, now: datetime
) -> ReviewItem | None:
    """Take an item that is open, expired or one's own, in one statement: of two at once, one gets it."""
    c = review_items.c
    free = or_(c.state == 1, and_(c.state == 2, or_(c.lease_expire_time <= now, c.claim_actor == actor)))
    mine = and_(c.asked_by != actor, c.for_actor.in_(("", actor)))
    return await _claim(conn, and_(c.brand == brand, c.id == item_id, free, mine), actor, until)


async def claim_most_urgent(
    conn: AsyncConnection, wanted: ItemFilter, actor: str, until: datetime, now: datetime
) -> ReviewItem | None:
    """Take the most urgent open item nobody else is taking; None when there is none."""
    c = review_items.c
    query = select(c.brand, c.id).where(_matching(wanted, now), c.asked_by != actor)
    found = (await conn.execute(_by_urgency(query).limit(1).with_for_update(skip_locked=True))).first()
    if found is None:
        return None
    return await _claim(conn, and_(c.brand == found.brand, c.id == found.id), actor, until)


async def _claim(conn: AsyncConnection, which: ColumnElement[bool], actor: str, until: datetime) -> ReviewItem | None:
    c = review_items.c
    statement = (
        update(review_items)
        .where(which)
        .values(state=int(ReviewState.CLAIMED), claim_actor=actor, lease_expire_time=until, version=c.version + 1)
        .returning(review_items)
    )
    row = (await conn.execute(statement)).mappings().first()
    return rows.item_of(row) if row else None


async def put_item(conn: AsyncConnection, item: ReviewItem) -> None:
    """Write an item."""
    await _put_items(conn, [rows.item_row(item)])


async def lock_item(conn: AsyncConnection, brand: str, item_id: str) -> ReviewItem | None:
    """One item, locked until the end of the transaction, or None."""
    query = select(review_items).where(review_items.c.brand == brand, review_items.c.id == item_id).with_for_update()
    row = (await conn.execute(query)).mappings().first()
    return rows.item_of(row) if row else None


_same_text = text("""
with said as (
  select i.brand, i.id, lower(regexp_replace(m.text, '\\s+', ' ', 'g')) as words,
         m.detail -> 'place' ->> 1 as to_whom
  from review_items i
  join messages m on m.brand = i.brand and m.message = i.message and m.edit_revision = i.edit_revision
  where i.brand = :brand and i.id = :id)
select i.id from said s join review_items i on i.brand = s.brand and i.id <> s.id
  and i.state in (1, 2) and i.reason <> 9 and i.for_actor = ''
join messages m on m.brand = i.brand and m.message = i.message and m.edit_revision = i.edit_revision
where s.words <> '' and lower(regexp_replace(m.text, '\\s+', ' ', 'g')) = s.words
and m.detail -> 'place' ->> 1 is not distinct from s.to_whom
order by i.urgency, i.due_key, i.id limit :limit
""")


async def waiting_duplicates(conn: AsyncConnection, brand: str, item_id: str, limit: int) -> list[str]:
    """Ids of the waiting items whose message says the same to the same audience, most urgent first.

    A second look (reason 9) is nobody's duplicate: somebody is to look.
    """
    found = await conn.scalars(_same_text, {"brand": brand, "id": item_id, "limit": limit})
    return list(found.all())


class QueueDepth(NamedTuple):
    """How many items wait in a queue, and since when the oldest does."""

    queue: Queue
    waiting: int
    oldest: datetime


async def queue_depths(conn: AsyncConnection) -> list[QueueDepth]:
    """Every queue in which something waits, over all brands."""
    c = review_items.c
    query = (
        select(c.queue, func.count(), func.min(c.create_time))
        .where(text("state in (1, 2) and for_actor = ''"))
        .group_by(c.queue)
    )
    return [QueueDepth(Queue(queue), count, oldest) for queue, count, oldest in await conn.execute(query)]


# -- reviews


async def add_review(conn: AsyncConnection, review: Review) -> None:
    """Append a review."""
    await _insert_reviews(conn, [rows.review_row(review)])


async def add_opinion(conn: AsyncConnection, opinion: Opinion) -> None:
    """Append what somebody leant to."""
    await conn.execute(insert(review_opinions).values({n: getattr(opinion, n) for n in Opinion.__slots__}))


async def read_reviews(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, Review]:
    """Reviews by brand and id."""
    if not keys:
        return {}
    query = select(reviews).where(tuple_(reviews.c.brand, reviews.c.id).in_(keys))
    return {(r["brand"], r["id"]): rows.review_of(r) for r in (await conn.execute(query)).mappings()}


async def last_review(conn: AsyncConnection, item: ReviewItem) -> Review | None:
    """The last resolution of an item."""
    c = reviews.c
    query = (
        select(reviews)
        .where(c.brand == item.brand, c.review_item == item.id, c.resolution != int(Resolution.UNDO))
        .order_by(c.create_time.desc(), c.id.desc())
        .limit(1)
    )
    row = (await conn.execute(query)).mappings().first()
    return rows.review_of(row) if row else None


async def review_of_request(conn: AsyncConnection, brand: str, actor: str, request_id: str) -> Review | None:
    """The review this person made under this request id, if any."""
    if not request_id:
        return None
    c = reviews.c
    query = select(reviews).where(c.brand == brand, c.actor == actor, c.request_id == request_id)
    row = (await conn.execute(query)).mappings().first()
    return rows.review_of(row) if row else None


# -- charters


class StoredCharter(NamedTuple):
    """One version of a brand's charter; version 0 is the default charter."""

    brand: str
    version: int
    source: str
    digest: str
    create_actor: str
    create_time: datetime | None


class InForce(NamedTuple):
    """The version a brand lives by (0 is the default charter), how often that changed, and the one before."""

    version: int
    generation: int
    previous: int = 0


async def in_force(conn: AsyncConnection, brands: Collection[str]) -> dict[str, InForce]:
    """The versions in force; a brand without its own is absent."""
    query = select(active_charters).where(active_charters.c.brand.in_(list(brands)))
    return {row.brand: InForce(row.version, row.generation, row.previous) for row in await conn.execute(query)}


async def lock_brand_charters(conn: AsyncConnection, brand: str) -> None:
    """One change to a brand's charters at a time."""
    await conn.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"route/charters/{brand}", 0))))


async def set_in_force(conn: AsyncConnection, brand: str, value: InForce) -> None:
    """Put a version in force."""
    statement = upsert(active_charters).values(brand=brand, **value._asdict())
    await conn.execute(statement.on_conflict_do_update(index_elements=["brand"], set_=value._asdict()))


async def read_charter(conn: AsyncConnection, brand: str, version: int) -> StoredCharter | None:
    """One version, or None."""
    return await _one_charter(conn, charters.c.brand == brand, charters.c.version == version)


async def charter_with_digest(conn: AsyncConnection, brand: str, digest: str) -> StoredCharter | None:
    """The version that has this text already, or None."""
    return await _one_charter(conn, charters.c.brand == brand, charters.c.digest == digest)


async def _one_charter(conn: AsyncConnection, *which: ColumnElement[bool]) -> StoredCharter | None:
    row = (await conn.execute(select(charters).where(*which))).first()
    return StoredCharter(*row) if row else None


async def add_charter(conn: AsyncConnection, charter: StoredCharter) -> None:
    """Append a version."""
    await conn.execute(insert(charters).values(charter._asdict()))


async def newest_version(conn: AsyncConnection, brand: str) -> int:
    """The highest version of a brand, 0 when it has none."""
    return (await conn.scalar(select(func.max(charters.c.version)).where(charters.c.brand == brand))) or 0


async def page_of_charters(conn: AsyncConnection, brand: str, before: int | None, limit: int) -> list[StoredCharter]:
    """A brand's versions, newest first, below a version."""
    query = select(charters).where(charters.c.brand == brand)
    if before is not None:
        query = query.where(charters.c.version < before)
    found = await conn.execute(query.order_by(charters.c.version.desc()).limit(limit))
    return [StoredCharter(*row) for row in found]
