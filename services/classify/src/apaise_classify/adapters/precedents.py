"""Precedents in PostgreSQL, as pgvector's vectors: `PrecedentStore` for the front, a view of them for the replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import LargeBinary, Row, and_, cast, delete, func, select
from sqlalchemy.dialects import postgresql

from apaise_classify.adapters.tables import precedent_sets, precedents
from apaise_classify.domain.ports import PrecedentSet
from apaise_classify.domain.precedents import Precedent
from apaise_kit.core.names import BRAND
from apaise_kit.runtime.db import Database, Transaction

# What `vector_send` puts before the numbers: their count and a reserved field, 16 bits each.
_HEADER: Final = 4
_COLUMNS: Final = ("message", "author_key", "labels", "private", "review_time", "encoder", "vector")


class PostgresPrecedents:
    """See `PrecedentStore`."""

    def __init__(self, db: Database, per_brand: int) -> None:
        """At most `per_brand` are kept of a brand."""
        self._db = db
        self._per_brand = per_brand

    async def put(self, brand: str, rows: Sequence[tuple[Precedent, Sequence[float]]], encoder: str) -> int:
        """See `PrecedentStore.put`."""
        # A statement cannot change a row twice: of the same id, the last counts.
        values = {precedent.id: _row(precedent, vector, encoder) for precedent, vector in rows}
        new = postgresql.insert(precedents)
        changed = {name: new.excluded[name] for name in _COLUMNS}
        async with self._db.write() as tx:
            # First the generation: its row is the lock that keeps two changes of a brand apart.
            generation = await _next_generation(tx, brand)
            upsert = new.on_conflict_do_update(index_elements=["brand", "id"], set_=changed)
            await tx.conn.execute(upsert, list(values.values()))
            newest = select(precedents.c.id).where(precedents.c.brand == brand)
            newest = newest.order_by(precedents.c.review_time.desc(), precedents.c.id.desc()).limit(self._per_brand)
            await tx.conn.execute(delete(precedents).where(precedents.c.brand == brand, precedents.c.id.not_in(newest)))
            tx.record("precedents.put", BRAND.format(brand), brand, {"generation": generation, "count": len(values)})
        return generation

    async def take_back(self, brand: str, ids: Sequence[str]) -> int:
        """See `PrecedentStore.take_back`."""
        async with self._db.write() as tx:
            generation = await _next_generation(tx, brand)
            await tx.conn.execute(delete(precedents).where(precedents.c.brand == brand, precedents.c.id.in_(ids)))
            tx.record("precedents.deleted", BRAND.format(brand), brand, {"generation": generation, "count": len(ids)})
        return generation


async def changed_sets(db: Database, encoder: str, known: Mapping[str, int]) -> list[PrecedentSet]:
    """See `ReplicaStore.changed_precedents`."""
    async with db.read() as conn:
        # One snapshot for generations and rows: what is called generation 7 is what it was at 7.
        await conn.execution_options(isolation_level="REPEATABLE READ")
        generations = {row.brand: row.generation for row in await conn.execute(select(precedent_sets))}
        stale = [brand for brand, generation in generations.items() if known.get(brand, 0) != generation]
        if not stale:
            return []
        sent = cast(func.vector_send(precedents.c.vector), LargeBinary).label("sent")
        wanted = and_(precedents.c.brand.in_(stale), precedents.c.encoder == encoder)
        query = select(precedents, sent).where(wanted).order_by(precedents.c.brand, precedents.c.id)
        rows = (await conn.execute(query)).all()
    return [_set(brand, generations[brand], [row for row in rows if row.brand == brand]) for brand in stale]


async def _next_generation(tx: Transaction, brand: str) -> int:
    first = postgresql.insert(precedent_sets).values(brand=brand, generation=1)
    more = first.on_conflict_do_update(
        index_elements=["brand"], set_={"generation": precedent_sets.c.generation + 1}
    ).returning(precedent_sets.c.generation)
    return int((await tx.conn.execute(more)).scalar_one())


def _row(precedent: Precedent, vector: Sequence[float], encoder: str) -> dict[str, Any]:
    return {
        "brand": precedent.brand,
        "id": precedent.id,
        "message": precedent.message,
        "author_key": precedent.author_key,
        "labels": dict(precedent.labels),
        "private": precedent.private,
        "review_time": precedent.review_time,
        "encoder": encoder,
        "vector": f"[{','.join(map(repr, vector))}]",
    }


def _set(brand: str, generation: int, rows: Sequence[Row[Any]]) -> PrecedentSet:
    kept = tuple(
        Precedent(row.brand, row.id, row.message, row.author_key, row.labels, row.private, row.review_time)
        for row in rows
    )
    return PrecedentSet(brand, generation, kept, b"".join(_little_endian(row.sent) for row in rows))


def _little_endian(sent: bytes) -> bytes:
    return np.frombuffer(sent, ">f4", offset=_HEADER).astype("<f4").tobytes()
