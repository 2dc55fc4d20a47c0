"""Alembic's environment."""

from apaise_classify.adapters.tables import metadata
from apaise_kit.runtime.migrations import run_env

run_env(metadata)
