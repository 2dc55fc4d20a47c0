"""Examples, runs, revisions, the ledger and the wishes.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from apaise_kit.runtime.migrations import create_events

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the schema."""
    create_events(op)
    op.create_table(
        "cursors", sa.Column("stream", sa.Text, primary_key=True), sa.Column("cursor", sa.Text, nullable=False)
    )
    _create_examples()
    _create_runs()
    _create_ledger()


def _create_examples() -> None:
    op.create_table(
        "examples",
        sa.Column("brand", sa.Text, nullable=False),
        sa.Column("review", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("author_key", sa.Text, nullable=False),
        sa.Column("edit_revision", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("remove", sa.Boolean, nullable=False),
        sa.Column("labels", JSONB, nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("review_time", _TIME, nullable=False),
        sa.Column("published_time", _TIME),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("brand", "review"),
    )
    op.create_index("examples_message", "examples", ["brand", "message", "sequence"])
    op.create_index("examples_author", "examples", ["brand", "author_key"])


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("brand", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("n_corrections", sa.Integer, nullable=False),
        sa.Column("n_holdout", sa.Integer, nullable=False),
        sa.Column("manifest", JSONB, nullable=False),
        sa.Column("manifest_digest", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_time", _TIME, nullable=False),
        sa.Column("create_actor", sa.Text, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME),
        sa.Column("revision", sa.Text),
        sa.Column("mlflow_experiment", sa.Text),
        sa.Column("mlflow_run", sa.Text),
        sa.Column("model_version", sa.Text),
        sa.Column("gate", JSONB),
        sa.Column("failure", sa.Text),
        sa.UniqueConstraint("brand", "number"),
        sa.UniqueConstraint("brand", "request_id"),
    )
    op.create_index(
        "runs_active",
        "runs",
        ["brand"],
        unique=True,
        postgresql_where=sa.text("state in ('QUEUED', 'TRAINING', 'EVALUATING', 'PROMOTING')"),
    )
    op.create_table(
        "revisions",
        sa.Column("brand", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("artifact_uri", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("encoder", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("brand", "id"),
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("brand", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("revision", sa.Text),
        sa.Column("previous", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("run", sa.Text),
        sa.PrimaryKeyConstraint("brand", "sequence"),
    )
    op.execute(
        """
create function ledger_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'the ledger is append-only';
end $$;
create trigger ledger_append_only before update or delete or truncate on ledger
  for each statement execute function ledger_append_only();
"""
    )
    op.create_table(
        "wishes",
        sa.Column("brand", sa.Text, primary_key=True),
        sa.Column("revision", sa.Text),
        sa.Column("entry", sa.BigInteger, nullable=False),
        sa.Column("alias_owed", sa.Boolean, nullable=False),
        sa.Column("serving_owed", sa.Boolean, nullable=False),
    )
