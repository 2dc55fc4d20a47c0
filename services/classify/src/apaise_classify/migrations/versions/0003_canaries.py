"""Canaries.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "canaries",
        sa.Column("brand", sa.Text, primary_key=True),
        sa.Column("revision", sa.Text),
        sa.Column("artifact_uri", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("encoder", sa.Text, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
    )
