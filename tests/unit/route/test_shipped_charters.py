"""The three charters that ship: each lints clean and decides its table of telling messages as written beside it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from apaise_route.adapters.charter_yaml import compile_charter, read_charter
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.decide import Verdicted, decide
from apaise_route.domain.model import Absence, Audience, Author, ChannelKind, Moderation, Queue, RouteInput
from apaise_route.testing import START, entry, reading

ROOT = Path(__file__).parents[3]
CHARTERS = sorted((ROOT / "services/route/charters").iterdir())
TABLES = ROOT / "tests/charters"
NEVER_AUDITED = 0.999


@cache
def compiled(name: str) -> CompiledCharter:
    source = (ROOT / "services/route/charters" / f"{name}.yaml").read_text(encoding="utf-8")
    return compile_charter(source, "brands/b/charters/1")


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TABLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def given(row: dict[str, Any]) -> RouteInput:
    at = datetime.fromisoformat(row["at"]) if "at" in row else START
    age = row.get("account_age_days")
    author = Author(account_create_time=None if age is None else at - timedelta(days=age))
    absence = Absence[row.get("absence", "NONE")]
    return entry(
        None if absence else reading(unsure=row.get("unsure", ()), at=row["labels"]),
        absence,
        text=row["text"],
        kind=ChannelKind[row.get("kind", "COMMENT")],
        audience=Audience[row.get("audience", "PUBLIC")],
        moderation=Moderation[row.get("moderation", "POST")],
        author=author,
        received_time=at,
        event=row.get("event", ""),
        rating=row.get("rating"),
    )


def said(verdict: Verdicted, expected: dict[str, Any]) -> dict[str, Any]:
    """What was decided, as far as the table speaks of it."""
    ruling = verdict.ruling
    everything = {
        "visibility": ruling.visibility.name,
        "queue": ruling.queue.name,
        "clause": ruling.clause,
        "review": verdict.review is not None,
        "posture": ruling.reply_posture,
        "due": ruling.due_time,
        "silence": ruling.silence.clause if ruling.silence else "",
        "notify": {queue.name for queue in ruling.notify},
        "then": ruling.hold_then.name,
    }
    return {key: everything[key] for key in expected}


def expected(row: dict[str, Any]) -> dict[str, Any]:
    expect = dict(row["expect"])
    if "due" in expect:
        expect["due"] = datetime.fromisoformat(expect["due"])
    if "notify" in expect:
        expect["notify"] = set(expect["notify"])
    return expect


def test_nothing_else_is_in_the_folder() -> None:
    assert [path.name for path in CHARTERS] == ["alimentation-enfants.yaml", "commerce.yaml", "esport.yaml"]


@pytest.mark.parametrize("path", CHARTERS, ids=lambda path: path.stem)
def test_it_lints_clean_and_explains_every_clause(path: Path) -> None:
    read = read_charter(path.read_text(encoding="utf-8"))
    assert read.problems == []
    assert read.charter is not None
    assert all(clause.explain.get("fr") for clause in read.charter.clauses)


@pytest.mark.parametrize("name", [path.stem for path in CHARTERS])
def test_the_table_tells_enough(name: str) -> None:
    table = rows(name)
    assert len(table) >= 25
    assert len({row["name"] for row in table}) == len(table)
    assert {row["expect"]["visibility"] for row in table} >= {"KEEP", "HOLD", "HIDE"}


@pytest.mark.parametrize(
    ("name", "row"),
    [(path.stem, row) for path in CHARTERS for row in rows(path.stem)],
    ids=lambda value: value if isinstance(value, str) else value["name"],
)
def test_telling_messages(name: str, row: dict[str, Any]) -> None:
    want = expected(row)
    assert said(decide(given(row), compiled(name), START, NEVER_AUDITED), want) == want


def test_every_queue_and_rule_of_interest_is_met() -> None:
    queues = {row["expect"]["queue"] for path in CHARTERS for row in rows(path.stem)}
    assert queues == {queue.name for queue in Queue}
