"""Alembic's way in."""

from apaise_kit.runtime.migrations import run_env
from apaise_train.adapters.tables import metadata

run_env(metadata)
