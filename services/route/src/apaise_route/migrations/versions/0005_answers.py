"""A brand's approved answers and what they answer."""

from alembic import op

revision = "0005_answers"
down_revision = "0004_opinions"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE answers (
  brand TEXT NOT NULL,
  id TEXT NOT NULL,
  language TEXT NOT NULL,
  wording TEXT NOT NULL,
  intent TEXT NOT NULL,
  posture TEXT NOT NULL,
  own_contacts BOOLEAN NOT NULL,
  origin SMALLINT NOT NULL,
  create_actor TEXT NOT NULL,
  create_time TIMESTAMP WITH TIME ZONE NOT NULL,
  approve_actor TEXT NOT NULL,
  approve_time TIMESTAMP WITH TIME ZONE,
  retired BOOLEAN NOT NULL,
  version INTEGER NOT NULL,
  CONSTRAINT pk_answers PRIMARY KEY (brand, id)
);
CREATE INDEX ix_answers_newest ON answers (brand, create_time, id);

CREATE TABLE answer_examples (
  brand TEXT NOT NULL,
  answer TEXT NOT NULL,
  question TEXT NOT NULL,
  message TEXT NOT NULL,
  author_key TEXT NOT NULL,
  approved BOOLEAN NOT NULL,
  encoder TEXT NOT NULL,
  vector VECTOR NOT NULL,
  CONSTRAINT pk_answer_examples PRIMARY KEY (brand, answer, question, message)
);
CREATE INDEX ix_answer_examples_message ON answer_examples (brand, message);
CREATE INDEX ix_answer_examples_author_key ON answer_examples (author_key);
"""


def upgrade() -> None:
    """Make the tables; `vector` is pgvector's, one extension for the whole database."""
    op.execute("create extension if not exists vector with schema public")
    op.execute(_TABLES)


def downgrade() -> None:
    """Drop what the upgrade made, less the extension: others use it."""
    for table in ("answer_examples", "answers"):
        op.execute(f"drop table {table}")
