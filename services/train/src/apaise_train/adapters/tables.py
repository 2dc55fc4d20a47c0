"""Train's tables."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from apaise_kit.runtime.db import events_table, metadata_for

SCHEMA = "train"
metadata = metadata_for(SCHEMA)
events = events_table(metadata)
Time = DateTime(timezone=True)

# One row: how far route's stream of reviews was read.
cursors = Table("cursors", metadata, Column("stream", Text, primary_key=True), Column("cursor", Text, nullable=False))

# One row per review that teaches. The newest of a message that is not withdrawn is the one that counts.
examples = Table(
    "examples",
    metadata,
    Column("brand", Text, nullable=False),
    Column("review", Text, nullable=False),
    Column("sequence", BigInteger, Identity(always=True), nullable=False),
    Column("message", Text, nullable=False),
    Column("author_key", Text, nullable=False),
    Column("edit_revision", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("remove", Boolean, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("weight", Float, nullable=False),
    Column("review_time", Time, nullable=False),
    Column("published_time", Time),
    Column("withdrawn", Boolean, nullable=False),
    Column("actor", Text, nullable=False, server_default=""),
    Column("model_remove", Float),
    Column("danger", Float, nullable=False, server_default="0"),
    Column("audit", Boolean, nullable=False, server_default=false()),
    Column("private", Boolean, nullable=False, server_default=true()),
    Column("doubt", Text),
    PrimaryKeyConstraint("brand", "review"),
    Index("examples_message", "brand", "message", "sequence"),
    Index("examples_author", "brand", "author_key"),
)

# Every resolved review, for ever: append-only, kept so by a trigger, and without text.
corrections = Table(
    "corrections",
    metadata,
    Column("brand", Text, nullable=False),
    Column("review", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("edit_revision", Integer, nullable=False),
    Column("resolution", Text, nullable=False),
    Column("undoes", Text),
    Column("actor", Text, nullable=False),
    Column("review_time", Time, nullable=False),
    Column("clause", Text, nullable=False),
    Column("visibility_before", Text, nullable=False),
    Column("visibility_after", Text, nullable=False),
    Column("labels_before", JSONB, nullable=False),
    Column("labels_after", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("sampling_probability", Float, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("adapter", Text, nullable=False),
    Column("second_look", Boolean, nullable=False, server_default=false()),
    PrimaryKeyConstraint("brand", "review"),
    Index("corrections_message", "brand", "message"),
    Index("corrections_time", "brand", "review_time"),
)

# The outbox of precedents: reviews that begin (`put`) or cease to speak, in order, gone once classify has them.
precedent_moves = Table(
    "precedent_moves",
    metadata,
    Column("sequence", BigInteger, Identity(always=True), primary_key=True),
    Column("brand", Text, nullable=False),
    Column("review", Text, nullable=False),
    Column("put", Boolean, nullable=False),
)

# Manifests hold ids and hashes, never text.
runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("brand", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("request_id", Text),
    Column("state", Text, nullable=False),
    Column("progress", Float, nullable=False),
    Column("n_corrections", Integer, nullable=False),
    Column("n_holdout", Integer, nullable=False),
    Column("manifest", JSONB, nullable=False),
    Column("manifest_digest", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_time", Time, nullable=False),
    Column("create_actor", Text, nullable=False),
    Column("create_time", Time, nullable=False),
    Column("end_time", Time),
    Column("revision", Text),
    Column("mlflow_experiment", Text),
    Column("mlflow_run", Text),
    Column("model_version", Text),
    Column("gate", JSONB),
    Column("failure", Text),
    Column("canary_standing", Text, nullable=False, server_default=""),
    UniqueConstraint("brand", "number"),
    UniqueConstraint("brand", "request_id"),
    Index(
        "runs_active",
        "brand",
        unique=True,
        postgresql_where=text("state in ('QUEUED', 'TRAINING', 'EVALUATING', 'PROMOTING')"),
    ),
)

revisions = Table(
    "revisions",
    metadata,
    Column("brand", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("artifact_uri", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("create_time", Time, nullable=False),
    PrimaryKeyConstraint("brand", "id"),
)

# Append-only, kept so by a trigger.
ledger = Table(
    "ledger",
    metadata,
    Column("brand", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("revision", Text),
    Column("previous", Text),
    Column("actor", Text, nullable=False),
    Column("time", Time, nullable=False),
    Column("reason", Text, nullable=False),
    Column("run", Text),
    PrimaryKeyConstraint("brand", "sequence"),
)

# The outbox of promotions: what should serve each brand since `entry` of its ledger, and what is still owed for that.
wishes = Table(
    "wishes",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("revision", Text),
    Column("entry", BigInteger, nullable=False),
    Column("alias_owed", Boolean, nullable=False),
    Column("serving_owed", Boolean, nullable=False),
)

# What reads a share of each brand's messages since `entry` of its ledger (revision null: nothing any more).
canaries = Table(
    "canaries",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("revision", Text),
    Column("run", Text),
    Column("share", Float, nullable=False),
    Column("entry", BigInteger, nullable=False),
    Column("start_time", Time, nullable=False),
    Column("owed", Boolean, nullable=False),
)
