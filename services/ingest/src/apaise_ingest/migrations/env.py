"""Alembic's way in."""

from apaise_ingest.adapters.tables import metadata
from apaise_kit.runtime.migrations import run_env

run_env(metadata)
