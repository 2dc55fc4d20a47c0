"""Canaries, and how a run's stands.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add to the schema."""
    op.add_column("runs", sa.Column("canary_standing", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "canaries",
        sa.Column("brand", sa.Text, primary_key=True),
        sa.Column("revision", sa.Text),
        sa.Column("run", sa.Text),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("entry", sa.BigInteger, nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owed", sa.Boolean, nullable=False),
    )
