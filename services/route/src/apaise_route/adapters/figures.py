"""Counting decisions, reviews and cases. Every function runs inside the caller's transaction.

Numbers in the statements are the contract's: visibilities 1 KEEP, 3 HIDE, 4 DELETE; causes 1 AUTOMATIC, 2 HUMAN,
3 UNDO; resolutions 1 CONFIRM, 2 CORRECT, 3 SKIP, 4 UNDO; case states from 5 on CLOSED.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_route.domain.figures import ClauseFigures, Counts, Delay, QueueFigures, Rate, Rates, ReviewerFigures
from apaise_route.domain.model import Queue


class Span(NamedTuple):
    """A brand, from when, until when."""

    brand: str
    start: datetime
    end: datetime


_IN_TIME: Final = "brand = :brand and create_time >= :start and create_time < :end"
_COUNTS: Final = text(f"""
with first as (select message from decisions where {_IN_TIME} and cause = 1),
human as (select distinct message from decisions d where brand = :brand and cause = 2
          and not exists (select 1 from decisions u where u.brand = d.brand and u.message = d.message and u.cause = 3
                          and u.sequence > d.sequence)),
hidden as (select 1 from decisions where {_IN_TIME} and visibility in (3, 4) and cause in (1, 4, 5, 7)),
restored as (select 1 from decisions d join decisions b
             on b.brand = d.brand and b.message = d.message and b.sequence = d.sequence - 1
             where d.brand = :brand and d.create_time >= :start and d.create_time < :end
             and d.cause in (2, 3) and d.visibility = 1 and b.visibility in (3, 4))
select (select count(distinct message) from first),
       (select count(distinct f.message) from first f left join human h using (message) where h.message is null),
       (select count(*) from hidden), (select count(*) from restored)
""")
_REVIEWS: Final = f"""
with undone as (select body ->> 'undoes' as id from reviews where brand = :brand and resolution = 4),
made as (
  select r.*, r.id in (select id from undone) as taken_back,
         (r.body ->> 'visibility_before') <> (r.body ->> 'visibility_after') as changed
  from reviews r where {_IN_TIME} and resolution <> 4)
"""
_DELAY: Final = """
select count(*), percentile_cont(0.5) within group (order by took), percentile_cont(0.9) within group (order by took),
       count(*) filter (where due is not null), count(*) filter (where due is not null and done <= due) from delays
"""
_REVIEW_DELAY: Final = text(f"""
{_REVIEWS}, delays as (
  select m.create_time - i.create_time as took, i.due_time as due, m.create_time as done
  from made m join review_items i on i.brand = m.brand and i.id = m.review_item
  where m.resolution in (1, 2) and not m.taken_back)
{_DELAY}
""")
_REPLY_DELAY: Final = text(f"""
with delays as (
  select return_time - open_time as took, due_time as due, return_time as done from cases
  where brand = :brand and return_time >= :start and return_time < :end
  union all
  select null, due_time, 'infinity' from cases
  where brand = :brand and late and return_time is null and state < 5 and due_time >= :start and due_time < :end)
{_DELAY.replace("count(*),", "count(took),", 1)}
""")
_QUEUES: Final = text("""
select queue, count(*), min(create_time) from review_items where brand = :brand and state in (1, 2) and for_actor = ''
group by queue order by queue
""")
_CLAUSES: Final = text(f"""
{_REVIEWS}
select b.body -> 'ruling' ->> 'clause', count(*), count(*) filter (where m.changed)
from made m join decisions b on b.brand = m.brand and b.message = m.message
     and b.sequence = (m.body ->> 'decision_sequence')::bigint - 1
where m.resolution in (1, 2) and not m.taken_back
group by 1 order by 3 desc, 2 desc, 1 limit 200
""")
_REVIEWERS: Final = text(f"""
{_REVIEWS}
select actor, count(*) filter (where resolution in (1, 2) and not taken_back),
       count(*) filter (where resolution in (1, 2) and not taken_back and changed),
       count(*) filter (where resolution = 3 and not taken_back), count(*) filter (where taken_back)
from made group by actor order by 2 desc, actor limit 500
""")

# By person and by clause. Second opinions are compared with what their asker leant to, blind second looks with what the
# first person said. A pair counts for both people, and once for the clause.
_OPINIONS: Final = text(f"""
{_REVIEWS}, said as (
  select *, (body ->> 'visibility_after')::int as after from made where resolution in (1, 2) and not taken_back),
pairs as (
  select o.actor as one, s.actor as other, o.clause, (o.leaning > 2) = (s.after > 2) as same
  from said s join review_opinions o on o.brand = s.brand and o.review_item = s.review_item
       and o.actor <> s.actor and o.create_time <= s.create_time
  where s.after <> 2
  union all
  select f.actor, s.actor, d.body -> 'ruling' ->> 'clause', ((f.body ->> 'visibility_after')::int > 2) = (s.after > 2)
  from said s join reviews f on f.brand = s.brand and f.message = s.message and f.edit_revision = s.edit_revision
       and f.resolution in (1, 2) and (f.body ->> 'second_look')::boolean and f.id not in (select id from undone)
  join decisions d on d.brand = f.brand and d.message = f.message
       and d.sequence = (f.body ->> 'decision_sequence')::bigint - 1
  where (s.body ->> 'reason')::int = 9 and s.after <> 2 and (f.body ->> 'visibility_after')::int <> 2),
spoken as (select one as actor, clause, same, 1 as pair from pairs
           union all select other, clause, same, 0 from pairs)
select actor, clause, case when actor is null then sum(pair) else count(*) end,
       case when actor is null then sum(pair) filter (where same) else count(*) filter (where same) end
from spoken group by grouping sets ((actor), (clause))
""")
_GOLDEN: Final = text("""
with undone as (select undoes from golden_answers where brand = :brand and undoes <> ''),
answered as (
  select a.actor, a.clause, a.rightly from golden_answers a
  join golden_items g on g.brand = a.brand and g.id = a.golden and g.withdraw_time is null
  where a.brand = :brand and a.create_time >= :start and a.create_time < :end and a.rightly is not null
  and a.id not in (select undoes from undone))
select actor, clause, count(*), count(*) filter (where rightly) from answered group by grouping sets ((actor), (clause))
""")


async def _rows(conn: AsyncConnection, statement: TextClause, span: Span) -> list[Any]:
    return list((await conn.execute(statement, span._asdict())).all())


async def read_counts(conn: AsyncConnection, span: Span) -> Counts:
    """Decisions."""
    (row,) = await _rows(conn, _COUNTS, span)
    return Counts(*row)


async def review_delay(conn: AsyncConnection, span: Span) -> Delay:
    """From a review item's opening to its resolution."""
    (row,) = await _rows(conn, _REVIEW_DELAY, span)
    return Delay(*row)


async def reply_delay(conn: AsyncConnection, span: Span) -> Delay:
    """From a case's opening to the reply its author reads."""
    (row,) = await _rows(conn, _REPLY_DELAY, span)
    return Delay(*row)


async def queues(conn: AsyncConnection, brand: str) -> list[QueueFigures]:
    """What waits now."""
    found = await conn.execute(_QUEUES, {"brand": brand})
    return [QueueFigures(Queue(queue), waiting, oldest) for queue, waiting, oldest in found]


async def clauses(conn: AsyncConnection, span: Span) -> list[ClauseFigures]:
    """By deciding clause, most overridden first."""
    return [ClauseFigures(*row) for row in await _rows(conn, _CLAUSES, span)]


async def reviewers(conn: AsyncConnection, span: Span) -> list[ReviewerFigures]:
    """By reviewer, busiest first."""
    return [ReviewerFigures(*row) for row in await _rows(conn, _REVIEWERS, span)]


async def opinions(conn: AsyncConnection, span: Span) -> Rates:
    """How often the second opinion was the first."""
    return _rates(await _rows(conn, _OPINIONS, span))


async def golden(conn: AsyncConnection, span: Span) -> Rates:
    """How often golden items were answered rightly; withdrawn ones do not count."""
    return _rates(await _rows(conn, _GOLDEN, span))


def _rates(found: list[Any]) -> Rates:
    reviewers = {actor: Rate(int(count), int(hits or 0)) for actor, _, count, hits in found if actor is not None}
    return Rates(reviewers, {c: Rate(int(count), int(hits or 0)) for actor, c, count, hits in found if actor is None})
