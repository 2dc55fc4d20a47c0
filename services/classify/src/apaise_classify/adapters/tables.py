"""Classify's tables. Nothing here holds a text or a vector."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, DateTime, ForeignKey, Index, Table, Text, false

from apaise_kit.runtime.db import events_table, metadata_for

SCHEMA: Final = "classify"
metadata: Final = metadata_for(SCHEMA)
events: Final = events_table(metadata)

adapters: Final = Table(
    "adapters",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("revision", Text, primary_key=True),
    Column("artifact_uri", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("failure", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("activate_time", DateTime(timezone=True)),
    Index(None, "brand", "create_time", "revision"),
)

# What should serve each brand (revision null: the house), and what did when it was last settled.
wishes: Final = Table(
    "wishes",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("revision", Text),
    Column("generation", BigInteger, nullable=False),
    Column("settled", Boolean, nullable=False, server_default=false()),
    Column("previous", Text),
)

replicas: Final = Table(
    "replicas",
    metadata,
    Column("replica", Text, primary_key=True),
    Column("encoder", Text, nullable=False),
    Column("seen", DateTime(timezone=True), nullable=False),
)

reports: Final = Table(
    "reports",
    metadata,
    Column("replica", Text, ForeignKey("replicas.replica", ondelete="CASCADE"), primary_key=True),
    Column("brand", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("progress", Text, nullable=False),
    Column("failure", Text, nullable=False),
    Column("serving", Text, nullable=False),
    Index(None, "brand"),
)
