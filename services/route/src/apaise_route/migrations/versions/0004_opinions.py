"""What somebody would have done who asked for a second opinion."""

from alembic import op

revision = "0004_opinions"
down_revision = "0004_golden"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE review_opinions (
  brand TEXT NOT NULL,
  id TEXT NOT NULL,
  review_item TEXT NOT NULL,
  message TEXT NOT NULL,
  actor TEXT NOT NULL,
  leaning SMALLINT NOT NULL,
  clause TEXT NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_review_opinions PRIMARY KEY (brand, id)
);
CREATE INDEX ix_review_opinions_review_item ON review_opinions (brand, review_item);
create trigger review_opinions_append_only before update or delete or truncate on review_opinions
  for each statement execute function route_append_only();
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(_TABLE)


def downgrade() -> None:
    """Drop it."""
    op.execute("drop table review_opinions")
