"""Golden items, who was given which, and what they answered."""

from alembic import op

revision = "0004_golden"
down_revision = "0004_expected_harm"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE golden_items (
  brand TEXT NOT NULL,
  id TEXT NOT NULL,
  message TEXT NOT NULL,
  edit_revision INTEGER NOT NULL,
  sequence BIGINT NOT NULL,
  visibility SMALLINT NOT NULL,
  clause TEXT NOT NULL,
  reason SMALLINT NOT NULL,
  sampling_probability DOUBLE PRECISION NOT NULL,
  queue SMALLINT NOT NULL,
  priority SMALLINT NOT NULL,
  harm DOUBLE PRECISION NOT NULL,
  decide_time TIMESTAMP WITH TIME ZONE NOT NULL,
  create_actor TEXT NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  withdraw_time TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_golden_items PRIMARY KEY (brand, id)
);
CREATE UNIQUE INDEX uq_golden_items_message ON golden_items (brand, message) WHERE withdraw_time is null;

CREATE TABLE golden_deals (
  brand TEXT NOT NULL,
  golden TEXT NOT NULL,
  actor TEXT NOT NULL,
  review_item TEXT NOT NULL,
  deal_time TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_golden_deals PRIMARY KEY (brand, golden, actor)
);
CREATE UNIQUE INDEX uq_golden_deals_review_item ON golden_deals (brand, review_item);
CREATE INDEX ix_golden_deals_actor ON golden_deals (brand, actor, deal_time);

CREATE TABLE golden_answers (
  number BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL,
  brand TEXT NOT NULL,
  id TEXT NOT NULL,
  review_item TEXT NOT NULL,
  message TEXT NOT NULL,
  edit_revision INTEGER NOT NULL,
  resolution SMALLINT NOT NULL,
  actor TEXT NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  request_id TEXT NOT NULL,
  request_digest TEXT NOT NULL,
  body JSONB NOT NULL,
  golden TEXT NOT NULL,
  rightly BOOLEAN,
  clause TEXT NOT NULL,
  undoes TEXT NOT NULL,
  decision JSONB,
  CONSTRAINT pk_golden_answers PRIMARY KEY (brand, id)
);
CREATE INDEX ix_golden_answers_review_item ON golden_answers (brand, review_item, number);
CREATE INDEX ix_golden_answers_golden ON golden_answers (brand, golden);
CREATE INDEX ix_golden_answers_newest ON golden_answers (brand, create_time);
CREATE UNIQUE INDEX uq_golden_answers_request ON golden_answers (brand, actor, request_id) WHERE request_id <> '';

ALTER TABLE review_items ADD COLUMN for_actor TEXT NOT NULL DEFAULT '';
DROP INDEX uq_review_items_one_waiting;
CREATE UNIQUE INDEX uq_review_items_one_waiting ON review_items (brand, message)
  WHERE state in (1, 2) and for_actor = '';
CREATE INDEX ix_review_items_for_actor ON review_items (brand, for_actor, state) WHERE for_actor <> '';
CREATE INDEX ix_reviews_actor ON reviews (brand, actor, create_time);
"""


def upgrade() -> None:
    """Make the tables; what people answered is kept as it is by PostgreSQL itself."""
    op.execute(_TABLES)
    for table in ("golden_deals", "golden_answers"):
        op.execute(
            f"create trigger {table}_append_only before update or delete or truncate on {table} "
            "for each statement execute function route_append_only()"
        )


def downgrade() -> None:
    """Drop everything the upgrade made, the copies people were given first."""
    op.execute("delete from review_items where for_actor <> ''")
    for index in ("ix_reviews_actor", "ix_review_items_for_actor", "uq_review_items_one_waiting"):
        op.execute(f"drop index {index}")
    op.execute("alter table review_items drop column for_actor")
    op.execute("create unique index uq_review_items_one_waiting on review_items (brand, message) where state in (1, 2)")
    for table in ("golden_answers", "golden_deals", "golden_items"):
        op.execute(f"drop table {table}")
