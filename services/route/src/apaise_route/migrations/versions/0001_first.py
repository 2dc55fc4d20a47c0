"""The first tables of route."""

from alembic import op

from apaise_kit.runtime.migrations import create_events

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE active_charters (
  brand TEXT NOT NULL,
  version INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  CONSTRAINT pk_active_charters PRIMARY KEY (brand)
);

CREATE TABLE charters (
  brand TEXT NOT NULL,
  version INTEGER NOT NULL,
  source TEXT NOT NULL,
  digest TEXT NOT NULL,
  create_actor TEXT NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_charters PRIMARY KEY (brand, version)
);
CREATE UNIQUE INDEX uq_charters_digest ON charters (brand, digest);

CREATE TABLE decisions (
  brand TEXT NOT NULL,
  message TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  edit_revision INTEGER NOT NULL,
  cause SMALLINT NOT NULL,
  actor TEXT NOT NULL,
  visibility SMALLINT NOT NULL,
  review_item TEXT NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  body JSONB NOT NULL,
  CONSTRAINT pk_decisions PRIMARY KEY (brand, message, sequence)
);
CREATE INDEX ix_decisions_newest ON decisions (brand, create_time, message, sequence);
CREATE UNIQUE INDEX uq_decisions_automatic ON decisions (brand, message, edit_revision) WHERE cause = 1;
CREATE UNIQUE INDEX uq_decisions_reassessment ON decisions (brand, message, edit_revision) WHERE cause = 7;

CREATE TABLE heads (
  brand TEXT NOT NULL,
  message TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  hold_expire_time TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_heads PRIMARY KEY (brand, message)
)
 WITH (fillfactor = 80);
CREATE INDEX ix_heads_hold_expire_time ON heads (hold_expire_time) WHERE hold_expire_time is not null;

CREATE TABLE messages (
  brand TEXT NOT NULL,
  message TEXT NOT NULL,
  edit_revision INTEGER NOT NULL,
  author_key TEXT NOT NULL,
  text TEXT NOT NULL,
  may_train BOOLEAN NOT NULL,
  gone BOOLEAN NOT NULL,
  detail JSONB NOT NULL,
  assessment JSONB,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  CONSTRAINT pk_messages PRIMARY KEY (brand, message, edit_revision)
);
CREATE INDEX ix_messages_author_key ON messages (author_key);
CREATE INDEX ix_messages_message ON messages (message);

CREATE TABLE outcomes (
  id BIGSERIAL NOT NULL,
  brand TEXT NOT NULL,
  message TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  state SMALLINT NOT NULL,
  time TIMESTAMP WITH TIME ZONE NOT NULL,
  detail TEXT NOT NULL,
  actor TEXT NOT NULL,
  CONSTRAINT pk_outcomes PRIMARY KEY (id)
);
CREATE UNIQUE INDEX uq_outcomes_state ON outcomes (brand, message, sequence, state);

CREATE TABLE review_items (
  brand TEXT NOT NULL,
  id TEXT NOT NULL,
  message TEXT NOT NULL,
  edit_revision INTEGER NOT NULL,
  sequence BIGINT NOT NULL,
  reason SMALLINT NOT NULL,
  sampling_probability DOUBLE PRECISION NOT NULL,
  queue SMALLINT NOT NULL,
  urgency SMALLINT NOT NULL,
  due_key BIGINT NOT NULL,
  due_time TIMESTAMP WITH TIME ZONE,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  state SMALLINT NOT NULL,
  claim_actor TEXT NOT NULL,
  lease_expire_time TIMESTAMP WITH TIME ZONE,
  version INTEGER NOT NULL,
  CONSTRAINT pk_review_items PRIMARY KEY (brand, id)
);
CREATE INDEX ix_review_items_brand_state ON review_items (brand, state, urgency, due_key, id);
CREATE INDEX ix_review_items_brand_waiting ON review_items (brand, urgency, due_key, id) WHERE state in (1, 2);
CREATE INDEX ix_review_items_waiting ON review_items (urgency, due_key, id) WHERE state in (1, 2);
CREATE UNIQUE INDEX uq_review_items_one_waiting ON review_items (brand, message) WHERE state in (1, 2);

CREATE TABLE reviews (
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
  CONSTRAINT pk_reviews PRIMARY KEY (brand, id)
);
CREATE INDEX ix_reviews_message ON reviews (brand, message);
CREATE INDEX ix_reviews_review_item ON reviews (brand, review_item, id);
CREATE UNIQUE INDEX uq_reviews_request ON reviews (brand, actor, request_id) WHERE request_id <> '';
"""

_APPEND_ONLY = """
create function route_append_only() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_name;
end $$;
"""

_DROPPED = ("active_charters", "charters", "reviews", "review_items", "outcomes", "decisions", "heads", "messages")


def upgrade() -> None:
    """Make the tables; PostgreSQL itself keeps the append-only ones append-only."""
    create_events(op)
    op.execute(_TABLES)
    op.execute(_APPEND_ONLY)
    for table in ("decisions", "outcomes", "reviews", "charters"):
        op.execute(
            f"create trigger {table}_append_only before update or delete or truncate on {table} "
            "for each statement execute function route_append_only()"
        )


def downgrade() -> None:
    """Drop everything the upgrade made."""
    for table in _DROPPED:
        op.execute(f"drop table {table}")
    op.execute("drop table events")
    op.execute("drop function route_append_only, events_append_only")
