"""Adapters, wishes, replicas, reports, events.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

from apaise_kit.runtime.migrations import create_events

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    create_events(op)
    op.create_table(
        "adapters",
        sa.Column("brand", sa.Text, primary_key=True),
        sa.Column("revision", sa.Text, primary_key=True),
        sa.Column("artifact_uri", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("encoder", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("activate_time", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_adapters_brand_create_time_revision", "adapters", ["brand", "create_time", "revision"])
    op.create_table(
        "wishes",
        sa.Column("brand", sa.Text, primary_key=True),
        sa.Column("revision", sa.Text),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("previous", sa.Text),
    )
    op.create_table(
        "replicas",
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("encoder", sa.Text, nullable=False),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "reports",
        sa.Column("replica", sa.Text, sa.ForeignKey("replicas.replica", ondelete="CASCADE"), primary_key=True),
        sa.Column("brand", sa.Text, primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("serving", sa.Text, nullable=False),
    )
    op.create_index("ix_reports_brand", "reports", ["brand"])
