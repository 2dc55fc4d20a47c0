"""Reviews that somebody else is asked to look at as well.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add to the schema."""
    op.add_column("corrections", sa.Column("second_look", sa.Boolean, nullable=False, server_default=sa.false()))
