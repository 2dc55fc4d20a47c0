"""Alembic per service schema."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.runtime.db import Database, create_engine, events_table, metadata_for
from apaise_kit.runtime.migrations import migrate

ENV = """
from apaise_kit.runtime.migrations import run_env
from apaise_kit.runtime.db import metadata_for
run_env(metadata_for("toy"))
"""
FIRST = """
from alembic import op
from apaise_kit.runtime.migrations import create_events
revision, down_revision = "0001", None
def upgrade() -> None:
    create_events(op)
"""
SECOND = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade() -> None:
    op.execute("create extension if not exists vector with schema public")
    op.create_table("things", sa.Column("id", sa.Text, primary_key=True))
    op.execute("alter table things add column embedding vector(3)")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"toy_{abs(hash(request.node.nodeid))}"
    versions = tmp_path / name / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    (versions.parent / "env.py").write_text(ENV)
    (versions / "0001_events.py").write_text(FIRST)
    (versions / "0002_things.py").write_text(SECOND)
    monkeypatch.syspath_prepend(tmp_path)
    return name


async def scalar(dsn: str, query: str, schema: str = "toy") -> object:
    engine = create_engine(dsn, schema)
    async with engine.connect() as conn:
        value: object = await conn.scalar(sa.text(query))
    await engine.dispose()
    return value


async def test_a_schema_is_brought_up_to_date_and_again(dsn: str, package: str) -> None:
    await migrate(dsn, "toy", package)
    await migrate(dsn, "toy", package)
    assert await scalar(dsn, "select version_num from toy.alembic_version") == "0002"
    assert await scalar(dsn, "select count(*) from toy.things") == 0
    assert await scalar(dsn, "select count(*) from pg_tables where schemaname = 'public'") == 0


async def test_two_services_share_a_database(dsn: str, package: str) -> None:
    await asyncio.gather(migrate(dsn, "toy", package), migrate(dsn, "other", package))
    assert await scalar(dsn, "select version_num from toy.alembic_version") == "0002"
    assert await scalar(dsn, "select version_num from other.alembic_version") == "0002"


async def test_several_processes_may_start_at_once(dsn: str, package: str, tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from apaise_kit.runtime.migrations import migrate\n"
        "asyncio.run(migrate(sys.argv[2], sys.argv[3], sys.argv[4]))\n"
    )
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tmp_path), dsn, schema, package)
        for schema in ("toy", "toy", "other")
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    assert await scalar(dsn, "select version_num from toy.alembic_version") == "0002"


async def test_a_revision_that_fails_leaves_nothing_behind(dsn: str, package: str, tmp_path: Path) -> None:
    broken = tmp_path / package / "migrations" / "versions" / "0003_broken.py"
    broken.write_text(
        "from alembic import op\n"
        'revision, down_revision = "0003", "0002"\n'
        "def upgrade():\n"
        '    op.execute("create table half (id int)")\n'
        '    op.execute("select 1/0")\n'
    )
    with pytest.raises(DBAPIError):
        await migrate(dsn, "toy", package)
    assert await scalar(dsn, "select count(*) from information_schema.schemata where schema_name = 'toy'") == 0
    broken.unlink()
    await migrate(dsn, "toy", package)
    assert await scalar(dsn, "select version_num from toy.alembic_version") == "0002"


async def test_the_revisions_events_are_the_codes_events(dsn: str, package: str) -> None:
    await migrate(dsn, "toy", package)
    metadata = metadata_for("toy")
    events_table(metadata)
    engine = create_engine(dsn, "toy")

    def differences(connection: sa.Connection) -> list[object]:
        def events_only(object: object, name: str | None, kind: str, *_: object) -> bool:
            return kind != "table" or name == "events"

        context = MigrationContext.configure(
            connection, opts={"include_object": events_only, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    async with engine.connect() as conn:
        assert await conn.run_sync(differences) == []
    await engine.dispose()


@pytest.mark.parametrize("tampering", ["update events set actor = 'x'", "delete from events", "truncate events"])
async def test_postgresql_itself_keeps_events_append_only(dsn: str, package: str, tampering: str) -> None:
    await migrate(dsn, "toy", package)
    engine = create_engine(dsn, "toy")
    db = Database(engine, "toy")
    with acting_as(system_caller("toy")):
        for i in range(2):
            async with db.write() as tx:
                tx.record("thing.made", f"brands/acme/things/{i}", "acme")
    with pytest.raises(DBAPIError, match="append-only"):
        async with engine.begin() as conn:
            await conn.execute(sa.text(tampering))
    assert await db.trim_events(db.clock.now()) == 1  # the one way out, and it keeps the newest
    assert await db.verify_chain() == 1
    await engine.dispose()
