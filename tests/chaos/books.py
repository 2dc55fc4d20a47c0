"""What PostgreSQL itself says became of every message, read past the services, which might all err in the same way."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from apaise_cli.home import Home
from apaise_cli.mesh import postgres
from apaise_kit.runtime.db import Database, create_engine

SCHEMAS: Final = ("ingest", "classify", "route", "train")
# Numbers of `Cause` and of `AssessmentAbsence` in the contract, as route stores them.
_AUTOMATIC, _REASSESSMENT = 1, 7
_ASSESSED: Final = 0
_PROVISIONAL: Final = [1, 2, 3]

_WRONG_COUNT: Final = """
select m.message, m.edit_revision, count(d.sequence) as decisions
from ingest.messages m
left join route.decisions d
  on d.brand = m.brand and d.message = m.message and d.edit_revision = m.edit_revision and d.cause = %(automatic)s
group by m.message, m.edit_revision
having count(d.sequence) <> 1
"""
_UNKNOWN_TO_INGEST: Final = """
select d.message, d.edit_revision
from route.decisions d
left join ingest.messages m on m.message = d.message and m.edit_revision = d.edit_revision
where d.cause = %(automatic)s and m.message is null
"""
_NEVER_REASSESSED: Final = """
select d.message, d.edit_revision
from route.decisions d
where d.cause = %(automatic)s and (d.body->>'absence')::int = any(%(provisional)s)
  and not exists (
    select 1 from route.decisions r
    where r.brand = d.brand and r.message = d.message and r.edit_revision = d.edit_revision
      and r.cause = %(reassessment)s and (r.body->>'absence')::int = %(assessed)s
  )
"""
_BETWEEN: Final = """
select count(*) from route.decisions
where cause = %(automatic)s and (body->>'absence')::int = any(%(absences)s)
  and create_time >= %(since)s and create_time < coalesce(%(until)s, 'infinity'::timestamptz)
"""


class Books:
    """Read-only questions to the database of one mesh."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def states(self) -> dict[str, int]:
        """How many message revisions ingest keeps in each state."""
        rows = self._ask("select state, count(*) as n from ingest.messages group by state")
        return {row["state"]: row["n"] for row in rows}

    def not_decided_exactly_once(self) -> list[dict[str, Any]]:
        """Message revisions ingest has acknowledged that have no automatic decision, or several."""
        return self._ask(_WRONG_COUNT)

    def decided_but_not_kept(self) -> list[dict[str, Any]]:
        """Automatic decisions on messages that ingest has forgotten."""
        return self._ask(_UNKNOWN_TO_INGEST)

    def never_reassessed(self) -> list[dict[str, Any]]:
        """Decisions made without classify that nobody looked at again when it was back."""
        return self._ask(_NEVER_REASSESSED)

    def assessed(self, since: datetime, until: datetime | None = None) -> int:
        """Automatic decisions made on an assessment in this time."""
        return self._between([_ASSESSED], since, until)

    def provisional(self, since: datetime, until: datetime | None = None) -> int:
        """Automatic decisions made under the failure policy in this time."""
        return self._between(_PROVISIONAL, since, until)

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Any other question; names of parameters as in `%(name)s`."""
        return self._ask(query, **parameters)

    def events_verified(self) -> dict[str, int]:
        """Recompute every service's chain of events; how many rows fit.

        Raises:
            ChainBroken: at the first row that does not.
        """
        return asyncio.run(self._verify())

    async def _verify(self) -> dict[str, int]:
        verified = {}
        for schema in SCHEMAS:
            engine = create_engine(postgres.dsn(self._home), schema, pool_size=1)
            try:
                verified[schema] = await Database(engine, schema).verify_chain()
            finally:
                await engine.dispose()
        return verified

    def _between(self, absences: list[int], since: datetime, until: datetime | None) -> int:
        (row,) = self._ask(_BETWEEN, absences=absences, since=since, until=until)
        return int(row["count"])

    def _ask(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        known = {
            "automatic": _AUTOMATIC,
            "reassessment": _REASSESSMENT,
            "assessed": _ASSESSED,
            "provisional": _PROVISIONAL,
        }
        url = postgres.dsn(self._home).replace("+psycopg", "")
        with psycopg.connect(url, row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(query.encode(), {**known, **parameters}).fetchall()
