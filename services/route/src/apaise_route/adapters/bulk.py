"""Many rows in one statement: the rows travel as one JSON parameter, which is faster than a statement a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


class BulkInsert:
    """`insert into … select … from jsonb_to_recordset(…)` for one table, with what to do on conflict."""

    def __init__(self, table: Table, on_conflict: str = "", skip: Sequence[str] = ()) -> None:
        """`skip` are columns the database fills in; `on_conflict` is the SQL after the rows."""
        columns = [column for column in table.columns if column.name not in skip]
        names = ", ".join(column.name for column in columns)
        typed = ", ".join(f"{column.name} {column.type.compile(_DIALECT)}" for column in columns)
        self._statement = text(
            f"insert into {table.name} ({names}) "
            f"select {names} from jsonb_to_recordset(cast(:rows as jsonb)) as r({typed}) {on_conflict}"
        )

    async def __call__(self, conn: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows of JSON-able values; none is fine."""
        if rows:
            await conn.execute(self._statement, {"rows": json.dumps(rows, separators=(",", ":"))})
