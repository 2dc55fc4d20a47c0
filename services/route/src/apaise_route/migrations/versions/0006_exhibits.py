"""The archive of what was found illegal."""

from alembic import op

revision = "0006_exhibits"
down_revision = "0005_answers"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE exhibits (
  brand TEXT NOT NULL,
  id TEXT NOT NULL,
  message TEXT NOT NULL,
  edit_revision INTEGER NOT NULL,
  sequence BIGINT NOT NULL,
  author_key TEXT NOT NULL,
  clause TEXT NOT NULL,
  reason TEXT NOT NULL,
  charter TEXT NOT NULL,
  charter_digest TEXT NOT NULL,
  actor TEXT NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  digest TEXT NOT NULL,
  content TEXT NOT NULL,
  CONSTRAINT pk_exhibits PRIMARY KEY (brand, id)
);
CREATE INDEX ix_exhibits_author_key ON exhibits (author_key);
CREATE INDEX ix_exhibits_newest ON exhibits (brand, create_time, id);
CREATE UNIQUE INDEX uq_exhibits_decision ON exhibits (brand, message, sequence);
"""


def upgrade() -> None:
    """Make the table, append-only by PostgreSQL's own hand."""
    op.execute(_TABLE)
    op.execute(
        "create trigger exhibits_append_only before update or delete or truncate on exhibits "
        "for each statement execute function route_append_only()"
    )


def downgrade() -> None:
    """Drop the table."""
    op.execute("drop table exhibits")
