"""Ingest's tables."""

from sqlalchemy import BigInteger as Big
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from apaise_kit.runtime.db import events_table, metadata_for

SCHEMA = "ingest"
metadata = metadata_for(SCHEMA)
events = events_table(metadata)
Time = DateTime(timezone=True)

brands = Table(
    "brands",
    metadata,
    Column("id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("default_language", Text, nullable=False),
    Column("create_time", Time, nullable=False),
)

channels = Table(
    "channels",
    metadata,
    Column("brand", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("moderation_mode", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("create_time", Time, nullable=False),
    PrimaryKeyConstraint("brand", "id"),
    ForeignKeyConstraint(["brand"], ["brands.id"]),
)

# The journal: one row per revision of a message. `lane` says which lane of the pump owes it its next step (null: none),
# `due_time` when a worker may take it, which is also how long the worker that has it may keep it.
messages = Table(
    "messages",
    metadata,
    Column("message", Text, nullable=False),
    Column("edit_revision", Integer, nullable=False),
    Column("sequence", Big, nullable=False),
    Column("brand", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("author_key", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("language", Text, nullable=False),
    Column("language_confidence", Float, nullable=False),
    Column("published_time", Time),
    Column("published_time_trusted", Boolean, nullable=False),
    Column("received_time", Time, nullable=False),
    Column("edit_time", Time),
    Column("gone", Boolean, nullable=False),
    Column("latest", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("lane", Text),
    Column("due_time", Time, nullable=False),
    Column("patience_time", Time, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text),
    Column("dead_time", Time),
    PrimaryKeyConstraint("message", "edit_revision"),
    ForeignKeyConstraint(["brand", "channel"], ["channels.brand", "channels.id"]),
    Index("messages_author", "brand", "author_key"),
    Index("messages_latest", "brand", "sequence", postgresql_where=text("latest")),
    Index("messages_owed", "lane", "brand", "sequence", postgresql_where=text("lane is not null")),
    Index("messages_dead", "brand", "sequence", postgresql_where=text("state = 'DEAD'")),
)
