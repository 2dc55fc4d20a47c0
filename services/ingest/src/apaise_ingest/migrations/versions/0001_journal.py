"""The journal, the registries and the audit log.

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
        "brands",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("default_language", sa.Text, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
    )
    op.create_table(
        "channels",
        sa.Column("brand", sa.Text, sa.ForeignKey("brands.id"), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("moderation_mode", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("brand", "id"),
    )
    _create_messages()


def _create_messages() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("messages_sequence")))
    op.create_table(
        "messages",
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("edit_revision", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("brand", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("author_key", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("external_id", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("details", JSONB, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("language_confidence", sa.Float, nullable=False),
        sa.Column("published_time", _TIME),
        sa.Column("published_time_trusted", sa.Boolean, nullable=False),
        sa.Column("received_time", _TIME, nullable=False),
        sa.Column("edit_time", _TIME),
        sa.Column("gone", sa.Boolean, nullable=False),
        sa.Column("latest", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("lane", sa.Text),
        sa.Column("due_time", _TIME, nullable=False),
        sa.Column("patience_time", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("dead_time", _TIME),
        sa.PrimaryKeyConstraint("message", "edit_revision"),
        sa.ForeignKeyConstraint(["brand", "channel"], ["channels.brand", "channels.id"]),
    )
    op.create_index("messages_author", "messages", ["brand", "author_key"])
    op.create_index("messages_latest", "messages", ["brand", "sequence"], postgresql_where=sa.text("latest"))
    op.create_index(
        "messages_owed", "messages", ["lane", "brand", "sequence"], postgresql_where=sa.text("lane is not null")
    )
    op.create_index("messages_dead", "messages", ["brand", "sequence"], postgresql_where=sa.text("state = 'DEAD'"))
