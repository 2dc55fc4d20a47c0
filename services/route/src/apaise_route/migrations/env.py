"""Alembic's entry for the schema `route`."""

from apaise_kit.runtime.migrations import run_env
from apaise_route.adapters.tables import metadata

run_env(metadata)
