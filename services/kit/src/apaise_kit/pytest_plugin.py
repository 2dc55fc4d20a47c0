"""The pytest plugin of the kit: the PostgreSQL fixtures every test folder has.

It lives outside `testing`, whose imports are heavy: every pytest run loads this module, most use no fixture of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from apaise_kit.testing.postgres import Postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL for the whole test session."""
    from apaise_kit.testing.postgres import postgres

    with postgres() as server:
        yield server


@pytest.fixture
def dsn(postgres_server: Postgres) -> str:
    """DSN of a fresh, empty database for this test."""
    return postgres_server.fresh_database()


@pytest.fixture(scope="module")
def module_dsn(postgres_server: Postgres) -> str:
    """DSN of a fresh, empty database shared by the tests of a module."""
    return postgres_server.fresh_database()
