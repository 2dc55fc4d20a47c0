"""Classify's tables. Nothing here holds a text; precedents are vectors, and name whose message they were made of."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, ForeignKey, Index, Table, Text, false
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from apaise_kit.runtime.db import Vector, events_table, metadata_for

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

# What reads a share of a brand's messages beside its wish (revision null: nothing any more).
canaries: Final = Table(
    "canaries",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("revision", Text),
    Column("artifact_uri", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("share", Double, nullable=False),
    Column("generation", BigInteger, nullable=False),
)

# What each replica counted of a canary since it began. A replica that has gone leaves what it saw.
canary_counts: Final = Table(
    "canary_counts",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("replica", Text, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("reads", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("times", ARRAY(BigInteger), nullable=False),
)

# Resolved messages that decide their near-duplicates; `id` is the review's.
precedents: Final = Table(
    "precedents",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("author_key", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("private", Boolean, nullable=False),
    Column("review_time", DateTime(timezone=True), nullable=False),
    Column("encoder", Text, nullable=False),
    Column("vector", Vector, nullable=False),
    Index(None, "brand", "message"),
    Index(None, "brand", "author_key"),
    Index(None, "brand", "review_time", "id"),
)

# One row a brand: it grows with each change of its precedents, and replicas look at nothing else to know.
precedent_sets: Final = Table(
    "precedent_sets",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
)
