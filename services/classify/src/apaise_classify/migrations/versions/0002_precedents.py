"""Precedents and their sets.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from apaise_kit.runtime.db import Vector

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables; `vector` is pgvector's, one extension for the whole database."""
    op.execute("create extension if not exists vector with schema public")
    op.create_table(
        "precedents",
        sa.Column("brand", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("author_key", sa.Text, nullable=False),
        sa.Column("labels", JSONB, nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("review_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("encoder", sa.Text, nullable=False),
        sa.Column("vector", Vector, nullable=False),
    )
    op.create_index("ix_precedents_brand_message", "precedents", ["brand", "message"])
    op.create_index("ix_precedents_brand_author_key", "precedents", ["brand", "author_key"])
    op.create_index("ix_precedents_brand_review_time_id", "precedents", ["brand", "review_time", "id"])
    op.create_table(
        "precedent_sets",
        sa.Column("brand", sa.Text, primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
    )
