"""Charters: what was in force before, shadows and their counts, words added while an event runs."""

from alembic import op

revision = "0002_charters"
down_revision = "0001"
branch_labels = None
depends_on = None

_UP = """
ALTER TABLE active_charters ADD COLUMN previous INTEGER NOT NULL DEFAULT 0;
ALTER TABLE active_charters ALTER COLUMN previous DROP DEFAULT;

CREATE TABLE shadow_charters (
  brand TEXT NOT NULL,
  version INTEGER NOT NULL,
  start_time TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_shadow_charters PRIMARY KEY (brand)
);

CREATE TABLE shadow_tallies (
  brand TEXT NOT NULL,
  visibility_before SMALLINT NOT NULL,
  visibility_after SMALLINT NOT NULL,
  queue_before SMALLINT NOT NULL,
  queue_after SMALLINT NOT NULL,
  messages BIGINT NOT NULL,
  CONSTRAINT pk_shadow_tallies PRIMARY KEY (brand, visibility_before, visibility_after, queue_before, queue_after)
);

CREATE TABLE live_words (
  brand TEXT NOT NULL,
  id TEXT NOT NULL,
  list TEXT NOT NULL,
  kind SMALLINT NOT NULL,
  word TEXT NOT NULL,
  create_actor TEXT NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  expire_time TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_live_words PRIMARY KEY (brand, id)
);
CREATE INDEX ix_live_words_expire ON live_words (brand, expire_time, id);
"""


def upgrade() -> None:
    """Make the tables; whoever had a charter had the default one before it."""
    op.execute(_UP)


def downgrade() -> None:
    """Drop what the upgrade made."""
    for table in ("live_words", "shadow_tallies", "shadow_charters"):
        op.execute(f"drop table {table}")
    op.execute("alter table active_charters drop column previous")
