"""The schema `route`. Text and a person's key live in `messages` alone; everything append-only refers to it by id."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from apaise_kit.runtime.db import Vector, events_table, metadata_for

SCHEMA: Final = "route"
metadata = metadata_for(SCHEMA)
events = events_table(metadata)

_TIME: Final = DateTime(timezone=True)

messages = Table(
    "messages",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("message", Text, primary_key=True),
    Column("edit_revision", Integer, primary_key=True),
    Column("author_key", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("may_train", Boolean, nullable=False),
    Column("gone", Boolean, nullable=False),
    Column("detail", JSONB, nullable=False),
    Column("assessment", JSONB(none_as_null=True)),
    Column("create_time", _TIME, nullable=False),
    Index(None, "message"),
    Index(None, "author_key"),
)

# One row per message: what is locked while its thread of decisions grows, and where holds are found by their end.
heads = Table(
    "heads",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("message", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("hold_expire_time", _TIME),
    Index("ix_heads_hold_expire_time", "hold_expire_time", postgresql_where=text("hold_expire_time is not null")),
    postgresql_with={"fillfactor": 80},
)

decisions = Table(
    "decisions",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("message", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("edit_revision", Integer, nullable=False),
    Column("cause", SmallInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("visibility", SmallInteger, nullable=False),
    Column("review_item", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("body", JSONB, nullable=False),
    Index(
        "uq_decisions_automatic", "brand", "message", "edit_revision", unique=True, postgresql_where=text("cause = 1")
    ),
    Index(
        "uq_decisions_reassessment",
        "brand",
        "message",
        "edit_revision",
        unique=True,
        postgresql_where=text("cause = 7"),
    ),
    Index("ix_decisions_newest", "brand", "create_time", "message", "sequence"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("brand", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("time", _TIME, nullable=False),
    Column("detail", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Index("uq_outcomes_state", "brand", "message", "sequence", "state", unique=True),
)

review_items = Table(
    "review_items",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("edit_revision", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("reason", SmallInteger, nullable=False),
    Column("sampling_probability", Double, nullable=False),
    Column("queue", SmallInteger, nullable=False),
    # The order of the queue: -`harm.urgency`, then due (microseconds since 1970, the largest number for never).
    Column("urgency", SmallInteger, nullable=False),
    Column("due_key", BigInteger, nullable=False),
    Column("due_time", _TIME),
    Column("create_time", _TIME, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("claim_actor", Text, nullable=False),
    Column("lease_expire_time", _TIME),
    Column("version", Integer, nullable=False),
    Column("asked_by", Text, nullable=False, server_default=""),
    Column("expected_harm", Double, nullable=False, server_default="0"),
    # Who alone sees it: the copy of a golden item. Empty for what everybody sees.
    Column("for_actor", Text, nullable=False, server_default=""),
    Index("ix_review_items_waiting", "urgency", "due_key", "id", postgresql_where=text("state in (1, 2)")),
    Index(
        "ix_review_items_brand_waiting", "brand", "urgency", "due_key", "id", postgresql_where=text("state in (1, 2)")
    ),
    Index("ix_review_items_brand_state", "brand", "state", "urgency", "due_key", "id"),
    Index(
        "uq_review_items_one_waiting",
        "brand",
        "message",
        unique=True,
        postgresql_where=text("state in (1, 2) and for_actor = ''"),
    ),
    Index("ix_review_items_for_actor", "brand", "for_actor", "state", postgresql_where=text("for_actor <> ''")),
)

reviews = Table(
    "reviews",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("review_item", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("edit_revision", Integer, nullable=False),
    Column("resolution", SmallInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request_digest", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    Index("ix_reviews_review_item", "brand", "review_item", "id"),
    Index("ix_reviews_message", "brand", "message"),
    Index("ix_reviews_newest", "brand", "create_time"),
    Index("ix_reviews_actor", "brand", "actor", "create_time"),
    Index("uq_reviews_request", "brand", "actor", "request_id", unique=True, postgresql_where=text("request_id <> ''")),
)

charters = Table(
    "charters",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("create_actor", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Index("uq_charters_digest", "brand", "digest", unique=True),
)

# One row per brand that had its own charter; `generation` counts activations, `previous` was in force before. Version 0
# is the default charter.
active_charters = Table(
    "active_charters",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("previous", Integer, nullable=False),
)

# The charter that decides beside the one in force, at most one a brand, and how often it decides what.
shadow_charters = Table(
    "shadow_charters",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("start_time", _TIME, nullable=False),
)
shadow_tallies = Table(
    "shadow_tallies",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("visibility_before", SmallInteger, primary_key=True),
    Column("visibility_after", SmallInteger, primary_key=True),
    Column("queue_before", SmallInteger, primary_key=True),
    Column("queue_after", SmallInteger, primary_key=True),
    Column("messages", BigInteger, nullable=False),
)

live_words = Table(
    "live_words",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("list", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("word", Text, nullable=False),
    Column("create_actor", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("expire_time", _TIME, nullable=False),
    Index("ix_live_words_expire", "brand", "expire_time", "id"),
)

# Evidence: the one append-only table with words in it, which a tombstone does not blank. `content` is what `digest` is
# the SHA-256 of.
exhibits = Table(
    "exhibits",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("edit_revision", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("author_key", Text, nullable=False),
    Column("clause", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("charter", Text, nullable=False),
    Column("charter_digest", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("digest", Text, nullable=False),
    Column("content", Text, nullable=False),
    Index("ix_exhibits_newest", "brand", "create_time", "id"),
    Index("uq_exhibits_decision", "brand", "message", "sequence", unique=True),
    Index(None, "author_key"),
)

# A hand-off. Times of due, state and lateness are what lists and clocks look for.
cases = Table(
    "cases",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("edit_revision", Integer, nullable=False),
    Column("author_key", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("audience", SmallInteger, nullable=False),
    Column("team", SmallInteger, nullable=False),
    Column("assignee", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("tension", SmallInteger, nullable=False),
    Column("due_time", _TIME, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("open_actor", Text, nullable=False),
    Column("open_time", _TIME, nullable=False),
    Column("answer_time", _TIME),
    Column("return_time", _TIME),
    Column("close_time", _TIME),
    Column("pending", Integer, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Index("ix_cases_due", "due_time", "id", postgresql_where=text("state < 5")),
    Index("ix_cases_brand_due", "brand", "due_time", "id", postgresql_where=text("state < 5")),
    Index("ix_cases_brand_state", "brand", "state", "due_time", "id"),
    Index("ix_cases_owed", "due_time", postgresql_where=text("state < 4 and not late")),
    Index("ix_cases_brand_opened", "brand", "open_time"),
    Index("ix_cases_message", "brand", "message"),
    Index(None, "author_key"),
    Index("uq_cases_one_open", "brand", "message", unique=True, postgresql_where=text("state < 5")),
)

# A case's history. Nothing is changed in it but texts, which a tombstone blanks.
case_entries = Table(
    "case_entries",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("message", Text, nullable=False),
    Column("author_key", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("text", Text, nullable=False),
    Column("audience", SmallInteger),
    Column("rule", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request_digest", Text, nullable=False),
    Index("ix_case_entries_message", "brand", "message"),
    Index(None, "author_key"),
    Index("ix_case_entries_rule", "brand", "rule", "create_time", postgresql_where=text("rule <> ''")),
    Index(
        "uq_case_entries_request",
        "brand",
        "case_id",
        "request_id",
        unique=True,
        postgresql_where=text("request_id <> ''"),
    ),
)

# What is owed to a desk's webhook: written with the change it tells of. Bodies are made when they leave: no text waits
# here, and a message that is gone does not leave any more.
case_deliveries = Table(
    "case_deliveries",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_time", _TIME, nullable=False),
    Column("status", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("done_time", _TIME),
    Index("ix_case_deliveries_waiting", "next_time", postgresql_where=text("state = 1")),
)

# Messages with a known right answer. They refer to their text, and to the machine's decision their copies show.
golden_items = Table(
    "golden_items",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("edit_revision", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("visibility", SmallInteger, nullable=False),
    Column("clause", Text, nullable=False),
    Column("reason", SmallInteger, nullable=False),
    Column("sampling_probability", Double, nullable=False),
    Column("queue", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("harm", Double, nullable=False),
    Column("decide_time", _TIME, nullable=False),
    Column("create_actor", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("withdraw_time", _TIME),
    Index("uq_golden_items_message", "brand", "message", unique=True, postgresql_where=text("withdraw_time is null")),
)

# Who was given which golden item, as which review item: each once.
golden_deals = Table(
    "golden_deals",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("golden", Text, primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("review_item", Text, nullable=False),
    Column("deal_time", _TIME, nullable=False),
    Index("uq_golden_deals_review_item", "brand", "review_item", unique=True),
    Index("ix_golden_deals_actor", "brand", "actor", "deal_time"),
)

# What they answered: reviews nobody follows, with the decisions that were never made.
golden_answers = Table(
    "golden_answers",
    metadata,
    Column("number", BigInteger, Identity(always=True), nullable=False),
    *(Column(c.name, c.type, primary_key=c.primary_key, nullable=False) for c in reviews.columns),
    Column("golden", Text, nullable=False),
    Column("rightly", Boolean),
    Column("clause", Text, nullable=False),
    Column("undoes", Text, nullable=False),
    Column("decision", JSONB(none_as_null=True)),
    Index("ix_golden_answers_review_item", "brand", "review_item", "number"),
    Index("ix_golden_answers_golden", "brand", "golden"),
    Index("ix_golden_answers_newest", "brand", "create_time"),
    Index(
        "uq_golden_answers_request",
        "brand",
        "actor",
        "request_id",
        unique=True,
        postgresql_where=text("request_id <> ''"),
    ),
)

# What somebody would have done who asked for another's opinion: compared with it later, shown to nobody.
review_opinions = Table(
    "review_opinions",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("review_item", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("leaning", SmallInteger, nullable=False),
    Column("clause", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Index("ix_review_opinions_review_item", "brand", "review_item"),
)

APPEND_ONLY: Final = (
    decisions,
    outcomes,
    reviews,
    charters,
    exhibits,
    golden_deals,
    golden_answers,
    review_opinions,
)

# What a brand says, word for word. `id` follows from language and text; an empty `approve_actor` is a proposal.
answers = Table(
    "answers",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("language", Text, nullable=False),
    Column("wording", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("posture", Text, nullable=False),
    Column("own_contacts", Boolean, nullable=False),
    Column("origin", SmallInteger, nullable=False),
    Column("create_actor", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("approve_actor", Text, nullable=False),
    Column("approve_time", _TIME),
    Column("retired", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Index("ix_answers_newest", "brand", "create_time", "id"),
)

# What is asked: a question in the brand's words, or a message, whose text stays in `messages` and whose row here goes
# with it. The vector is of its text, by `encoder`; another encoder's are made again when they are first needed.
answer_examples = Table(
    "answer_examples",
    metadata,
    Column("brand", Text, primary_key=True),
    Column("answer", Text, primary_key=True),
    Column("question", Text, primary_key=True),
    Column("message", Text, primary_key=True),
    Column("author_key", Text, nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("vector", Vector, nullable=False),
    Index("ix_answer_examples_message", "brand", "message"),
    Index(None, "author_key"),
)
