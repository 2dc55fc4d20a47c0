"""A brand's figures."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from apaise_kit.core.errors import invalid_field
from apaise_route.adapters import figures as store
from apaise_route.adapters.figures import Span
from apaise_route.app.deps import Deps
from apaise_route.domain.figures import Figures, clauses_with, reviewers_with

_USUAL: Final = timedelta(days=1)
_LONGEST: Final = timedelta(days=92)


async def get_figures(deps: Deps, brand: str, start: datetime | None, end: datetime | None) -> Figures:
    """What was done from `start` (a day before the end, if not given) until `end` (now).

    Raises:
        InvalidArgument: the time is empty or longer than 92 days.
    """
    until = end or deps.clock.now()
    since = start or until - _USUAL
    if not timedelta(0) < until - since <= _LONGEST:
        raise invalid_field("start_time", f"must lie before end_time, at most {_LONGEST.days} days")
    span = Span(brand, since, until)
    async with deps.db.read() as conn:
        rates = await store.opinions(conn, span), await store.golden(conn, span)
        return Figures(
            start=since,
            end=until,
            counts=await store.read_counts(conn, span),
            review=await store.review_delay(conn, span),
            reply=await store.reply_delay(conn, span),
            queues=await store.queues(conn, brand),
            clauses=clauses_with(await store.clauses(conn, span), *rates),
            reviewers=reviewers_with(await store.reviewers(conn, span), *rates),
        )
