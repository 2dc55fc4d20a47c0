"""Fakes, fixtures and an in-process server with the real interceptors. Needs the `testing` extra for PostgreSQL."""

from apaise_kit.testing.clock import FakeClock
from apaise_kit.testing.postgres import Postgres, postgres
from apaise_kit.testing.server import Running, running
from apaise_kit.testing.tokens import tokens
from apaise_kit.testing.waiting import eventually

__all__ = ["FakeClock", "Postgres", "Running", "eventually", "postgres", "running", "tokens"]
