"""Rows of the archive: added, listed, read. There is no function that changes one, and PostgreSQL refuses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_route.adapters.bulk import BulkInsert
from apaise_route.adapters.tables import decisions, exhibits, heads
from apaise_route.domain.archive import Exhibit, Standing
from apaise_route.domain.model import Ground, Visibility

_insert = BulkInsert(exhibits)


async def add_exhibits(conn: AsyncConnection, found: Sequence[Exhibit]) -> None:
    """Append exhibits."""
    await _insert(conn, [asdict(each) | {"create_time": each.create_time.isoformat()} for each in found])


def _standing() -> Select[Any]:
    """Exhibits beside the decision that holds now."""
    e, d = exhibits.c, decisions.c
    head = and_(heads.c.brand == e.brand, heads.c.message == e.message)
    current = and_(d.brand == e.brand, d.message == e.message, d.sequence == heads.c.sequence)
    now = d.visibility.label("now"), d.body["ruling"]["ground"].as_integer().label("ground")
    return select(exhibits, *now).select_from(exhibits.join(heads, head).join(decisions, current))


async def page_of_exhibits(
    conn: AsyncConnection, brands: frozenset[str] | None, before: tuple[datetime, str] | None, limit: int
) -> list[Standing]:
    """Exhibits of some brands (None: all), newest first, below a position (create time, id)."""
    e = exhibits.c
    query = _standing()
    if brands is not None:
        query = query.where(e.brand.in_(brands))
    if before is not None:
        query = query.where(tuple_(e.create_time, e.id) < tuple_(*before))
    found = await conn.execute(query.order_by(e.create_time.desc(), e.id.desc()).limit(limit))
    return [_of(row) for row in found.mappings()]


async def read_exhibit(conn: AsyncConnection, brand: str, exhibit_id: str) -> Standing | None:
    """One exhibit, or None."""
    query = _standing().where(exhibits.c.brand == brand, exhibits.c.id == exhibit_id)
    row = (await conn.execute(query)).mappings().first()
    return _of(row) if row else None


def _of(row: Any) -> Standing:
    exhibit = Exhibit(**{column.name: row[column.name] for column in exhibits.columns})
    return Standing(exhibit, Visibility(row["now"]), Ground(row["ground"]))
