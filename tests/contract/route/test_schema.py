"""What PostgreSQL itself guarantees."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from apaise_kit.core.caller import acting_as, system_caller
from apaise_route.adapters.tables import APPEND_ONLY, metadata
from apaise_route.testing import input_pb, reading


async def test_the_migrations_make_the_tables_the_code_expects(clocked: Any) -> None:
    def differences(connection: sa.Connection) -> list[Any]:
        context = MigrationContext.configure(
            connection, opts={"version_table_schema": "route", "compare_type": True, "compare_server_default": False}
        )
        return [d for d in compare_metadata(context, metadata) if "alembic_version" not in str(d)]

    async with clocked.deps.db.engine.connect() as conn:
        assert await conn.run_sync(differences) == []


@pytest.mark.parametrize("table", [table.name for table in APPEND_ONLY])
@pytest.mark.parametrize("change", ["delete from {0}", "truncate {0}", "update {0} set brand = 'x'"])
async def test_append_only_means_so(clocked: Any, table: str, change: str) -> None:
    async with clocked.deps.db.engine.connect() as conn:
        with pytest.raises(DBAPIError, match="append-only"):
            await conn.execute(sa.text(change.format(table)))


async def test_a_tombstone_leaves_no_text_anywhere(clocked: Any, brand: str) -> None:
    await clocked.decide(
        input_pb(brand, "x", reading(["threat", "remove"]), text="canari un"),
        input_pb(brand, "x", reading(["threat", "remove"]), text="canari deux", revision=2),
    )
    gone = input_pb(brand, "x", reading(), text="", revision=2, gone=True)
    await clocked.decide(gone)
    async with clocked.deps.db.read() as conn:
        for table in metadata.tables.values():
            dump = (
                await conn.execute(sa.text(f"select coalesce(string_agg(t::text, ''), '') from {table.name} t"))
            ).scalar()
            assert "canari" not in str(dump)


async def test_one_transaction_decides_and_announces(clocked: Any, brand: str) -> None:
    before = await clocked.deps.db.last_sequence()
    with acting_as(system_caller("test")):
        await clocked.decide(*[input_pb(brand, f"x{n}", reading()) for n in range(3)])
    assert await clocked.deps.db.last_sequence() == before + 3
    assert await clocked.deps.db.verify_chain() >= 3
