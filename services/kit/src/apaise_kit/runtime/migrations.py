"""Alembic per service: one folder of revisions, one schema, one version table in it."""

from __future__ import annotations

import asyncio
import threading
from importlib.resources import as_file, files
from typing import Any, Final

import sqlalchemy as sa
from alembic import command, context
from alembic.config import Config
from sqlalchemy.dialects.postgresql import JSONB

from apaise_kit.runtime.db import lock_key
from apaise_kit.runtime.logs import get_logger

# One key for all services: revisions also create extensions, which are shared by the whole database.
_LOCK_KEY: Final = lock_key("migrate")
# Alembic keeps its environment in a module-level proxy: two migrations cannot run in one process at once.
_one_at_a_time: Final = threading.Lock()
_log = get_logger(__name__)


async def migrate(dsn: str, schema: str, package: str) -> None:
    """Bring a service's schema to its newest revision; safe when several processes start at once.

    Everything runs in one transaction: a revision that fails leaves nothing behind.

    Args:
        dsn: SQLAlchemy URL of the database.
        schema: the service's schema, created when absent.
        package: the service's package; revisions are in its `migrations` folder.

    Raises:
        sqlalchemy.exc.DBAPIError: when a revision fails.
    """
    await asyncio.to_thread(_migrate, dsn, schema, package)


def _migrate(dsn: str, schema: str, package: str) -> None:
    url = sa.make_url(dsn).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(
        url,
        poolclass=sa.NullPool,
        hide_parameters=True,
        connect_args={"application_name": f"apaise-{schema}-migrate", "options": f"-csearch_path={schema},public"},
    )
    with _one_at_a_time, as_file(files(package).joinpath("migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
            connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
            config.attributes["connection"] = connection
            config.attributes["schema"] = schema
            command.upgrade(config, "head")
    engine.dispose()
    _log.info("migrated", schema=schema)


def run_env(metadata: sa.MetaData) -> None:
    """The whole of a service's `migrations/env.py`.

    Raises:
        RuntimeError: when Alembic was not started by `migrate`.
    """
    connection: sa.Connection | None = context.config.attributes.get("connection")
    if connection is None:
        raise RuntimeError("start migrations through apaise_kit.runtime.migrations.migrate")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table="alembic_version",
        version_table_schema=context.config.attributes["schema"],
    )
    with context.begin_transaction():
        context.run_migrations()


def create_events(op: Any) -> None:
    """Make the kit's `events` table in a revision (`op` is `alembic.op`), and let PostgreSQL keep it append-only."""
    op.create_table(
        "events",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("brand", sa.Text, nullable=False),
        sa.Column("payload", JSONB, nullable=False),
        sa.Column("previous_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_events_brand_sequence", "events", ["brand", "sequence"])
    op.create_index("ix_events_resource", "events", ["resource"])
    op.execute(_APPEND_ONLY)


_APPEND_ONLY: Final = """
create function events_append_only() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and current_setting('apaise.trimming', true) = 'on' then
    return null;
  end if;
  raise exception 'events is append-only';
end $$;
create trigger events_append_only before update or delete or truncate on events
  for each statement execute function events_append_only();
"""
