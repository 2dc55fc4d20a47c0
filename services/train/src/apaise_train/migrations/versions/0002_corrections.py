"""Corrections for ever, what an example's reviewer and model said, and the outbox of precedents.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add to the schema; examples from before know no reviewer and read as private."""
    op.add_column("examples", sa.Column("actor", sa.Text, nullable=False, server_default=""))
    op.add_column("examples", sa.Column("model_remove", sa.Float))
    op.add_column("examples", sa.Column("danger", sa.Float, nullable=False, server_default="0"))
    op.add_column("examples", sa.Column("audit", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("examples", sa.Column("private", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("examples", sa.Column("doubt", sa.Text))
    op.create_table(
        "precedent_moves",
        sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("brand", sa.Text, nullable=False),
        sa.Column("review", sa.Text, nullable=False),
        sa.Column("put", sa.Boolean, nullable=False),
    )
    _create_corrections()


def _create_corrections() -> None:
    op.create_table(
        "corrections",
        sa.Column("brand", sa.Text, nullable=False),
        sa.Column("review", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("edit_revision", sa.Integer, nullable=False),
        sa.Column("resolution", sa.Text, nullable=False),
        sa.Column("undoes", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("review_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("clause", sa.Text, nullable=False),
        sa.Column("visibility_before", sa.Text, nullable=False),
        sa.Column("visibility_after", sa.Text, nullable=False),
        sa.Column("labels_before", JSONB, nullable=False),
        sa.Column("labels_after", JSONB, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("sampling_probability", sa.Float, nullable=False),
        sa.Column("encoder", sa.Text, nullable=False),
        sa.Column("adapter", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("brand", "review"),
    )
    op.create_index("corrections_message", "corrections", ["brand", "message"])
    op.create_index("corrections_time", "corrections", ["brand", "review_time"])
    op.execute(
        """
create function corrections_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'corrections are append-only';
end $$;
create trigger corrections_append_only before update or delete or truncate on corrections
  for each statement execute function corrections_append_only();
"""
    )
