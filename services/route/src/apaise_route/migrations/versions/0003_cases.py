"""Cases: hand-offs, their histories, and what is owed to desks; reviews by time; second opinions."""

from alembic import op

revision = "0003_cases"
down_revision = "0002_charters"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE cases (
  brand TEXT NOT NULL,
  id TEXT NOT NULL,
  message TEXT NOT NULL,
  edit_revision INTEGER NOT NULL,
  author_key TEXT NOT NULL,
  channel TEXT NOT NULL,
  platform TEXT NOT NULL,
  kind SMALLINT NOT NULL,
  audience SMALLINT NOT NULL,
  team SMALLINT NOT NULL,
  assignee TEXT NOT NULL,
  state SMALLINT NOT NULL,
  tension SMALLINT NOT NULL,
  due_time TIMESTAMP WITH TIME ZONE NOT NULL,
  late BOOLEAN NOT NULL,
  open_actor TEXT NOT NULL,
  open_time TIMESTAMP WITH TIME ZONE NOT NULL,
  answer_time TIMESTAMP WITH TIME ZONE,
  return_time TIMESTAMP WITH TIME ZONE,
  close_time TIMESTAMP WITH TIME ZONE,
  pending INTEGER NOT NULL,
  entries INTEGER NOT NULL,
  version INTEGER NOT NULL,
  CONSTRAINT pk_cases PRIMARY KEY (brand, id)
);
CREATE INDEX ix_cases_author_key ON cases (author_key);
CREATE INDEX ix_cases_brand_due ON cases (brand, due_time, id) WHERE state < 5;
CREATE INDEX ix_cases_brand_opened ON cases (brand, open_time);
CREATE INDEX ix_cases_brand_state ON cases (brand, state, due_time, id);
CREATE INDEX ix_cases_due ON cases (due_time, id) WHERE state < 5;
CREATE INDEX ix_cases_message ON cases (brand, message);
CREATE INDEX ix_cases_owed ON cases (due_time) WHERE state < 4 and not late;
CREATE UNIQUE INDEX uq_cases_one_open ON cases (brand, message) WHERE state < 5;

CREATE TABLE case_entries (
  brand TEXT NOT NULL,
  case_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  message TEXT NOT NULL,
  author_key TEXT NOT NULL,
  kind SMALLINT NOT NULL,
  actor TEXT NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  text TEXT NOT NULL,
  audience SMALLINT,
  rule TEXT NOT NULL,
  detail JSONB NOT NULL,
  request_id TEXT NOT NULL,
  request_digest TEXT NOT NULL,
  CONSTRAINT pk_case_entries PRIMARY KEY (brand, case_id, number)
);
CREATE INDEX ix_case_entries_author_key ON case_entries (author_key);
CREATE INDEX ix_case_entries_message ON case_entries (brand, message);
CREATE INDEX ix_case_entries_rule ON case_entries (brand, rule, create_time) WHERE rule <> '';
CREATE UNIQUE INDEX uq_case_entries_request ON case_entries (brand, case_id, request_id) WHERE request_id <> '';

CREATE TABLE case_deliveries (
  brand TEXT NOT NULL,
  case_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  kind TEXT NOT NULL,
  state SMALLINT NOT NULL,
  attempts INTEGER NOT NULL,
  next_time TIMESTAMP WITH TIME ZONE NOT NULL,
  status INTEGER NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  done_time TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_case_deliveries PRIMARY KEY (brand, case_id, number)
);
CREATE INDEX ix_case_deliveries_waiting ON case_deliveries (next_time) WHERE state = 1;
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(_TABLES)
    op.execute("alter table review_items add column asked_by text not null default ''")
    op.execute("create index ix_reviews_newest on reviews (brand, create_time)")


def downgrade() -> None:
    """Drop everything the upgrade made."""
    op.execute("drop index ix_reviews_newest")
    op.execute("alter table review_items drop column asked_by")
    for table in ("case_deliveries", "case_entries", "cases"):
        op.execute(f"drop table {table}")
