"""Deciding recorded messages again gives the same decisions, ids and times apart: random messages, every charter."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.labels import LABELS
from apaise_route.adapters import rows
from apaise_route.adapters.charter_yaml import compile_charter, default_charter
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.model import (
    Absence,
    Assessment,
    Audience,
    Author,
    ChannelKind,
    Decision,
    Moderation,
    RouteInput,
    Score,
    Verdict,
)
from apaise_route.domain.replay import decide_again, differing, timeless
from apaise_route.domain.thread import Thread
from apaise_route.testing import START, entry, reading

CHARTERS = sorted((Path(__file__).parents[3] / "services/route/charters").glob("*.yaml"))
WORDS = [
    "bonjour",
    "remboursez",
    "nique ta mère",
    "kys",
    "c0n",
    "rappel",
    "lot",
    "http://x.y",
    "?",
    "!",
    "promo",
    "suicide toi",
]


@cache
def charter(name: str) -> CompiledCharter:
    if name == "default":
        return default_charter()
    path = next(path for path in CHARTERS if path.stem == name)
    return compile_charter(path.read_text(encoding="utf-8"), "brands/b/charters/1")


scores = st.dictionaries(
    st.sampled_from(LABELS),
    st.builds(Score, st.floats(0, 1).map(lambda p: round(p, 3)), st.sampled_from(Verdict), st.booleans()),
)
times = st.timedeltas(timedelta(), timedelta(days=400)).map(lambda passed: START + passed)


@st.composite
def messages(draw: st.DrawFn) -> RouteInput:
    absence = draw(st.sampled_from(Absence))
    written = draw(times)
    return entry(
        None if absence else Assessment({**reading().scores, **draw(scores)}, "fr", provenance=reading().provenance),
        absence,
        id=draw(st.text("abcdef0123456789", min_size=1, max_size=8)),
        text=" ".join(draw(st.lists(st.sampled_from(WORDS), max_size=6))),
        kind=draw(st.sampled_from(ChannelKind)),
        audience=draw(st.sampled_from(Audience)),
        moderation=draw(st.sampled_from(Moderation)),
        author=Author("p1", account_create_time=draw(st.none() | times), follows_page=draw(st.none() | st.booleans())),
        received_time=written,
        published_time=written,
        published_time_trusted=draw(st.booleans()),
        rating=draw(st.none() | st.integers(1, 5).map(float)),
        event=draw(st.sampled_from(["", "final-2026"])),
    )


def decided(found: RouteInput, compiled: CompiledCharter, at: Any, ids: str, spent: int) -> Decision:
    message = found.message
    return Thread(message.brand, message.id).route(found, compiled, at, lambda: ids, spent)


def stored(found: RouteInput, at: Any) -> RouteInput:
    """What comes back from the store: the row, through JSON as PostgreSQL keeps it."""
    row = json.loads(json.dumps(rows.message_row(found, at)))
    channel = rows.place_of(row)
    assert channel is not None
    return RouteInput(rows.message_of(row), channel, rows.assessment_of(row["assessment"]), found.absence)


@pytest.mark.parametrize("name", ["default", *(path.stem for path in CHARTERS)])
@given(found=messages(), later=st.timedeltas(timedelta(), timedelta(days=30)), spent=st.integers(0, 100))
def test_routing_again_decides_the_same(name: str, found: RouteInput, later: timedelta, spent: int) -> None:
    first = decided(found, charter(name), START, "i1", spent)
    again = decided(stored(found, START), charter(name), START + later, "i2", spent)
    assert timeless(again.ruling, again.create_time) == timeless(first.ruling, first.create_time)
    assert bool(again.review_item) == bool(first.review_item)
    alike = replace(again, create_time=first.create_time, review_item=first.review_item, ruling=first.ruling)
    assert alike == first


@pytest.mark.parametrize("name", ["default", *(path.stem for path in CHARTERS)])
@given(found=messages(), spent=st.integers(0, 100))
def test_a_recorded_decision_repeats_to_the_instant(name: str, found: RouteInput, spent: int) -> None:
    recorded = decided(found, charter(name), START, "i", spent)
    kept = rows.decision_of(json.loads(json.dumps(rows.decision_row(recorded))) | {"create_time": START})
    assert differing(kept.ruling, decide_again(stored(found, START), kept, charter(name))) == ()


def test_what_is_otherwise_is_named() -> None:
    insult = entry(reading(["insult", "remove"]))
    recorded = decided(insult, charter("default"), START, "i", 0)
    milder = compile_charter("name: t\nlanguage: fr\nclauses: []\n", "brands/b/charters/2")
    names = differing(recorded.ruling, decide_again(insult, recorded, milder))
    assert {"visibility", "clause", "reasons", "ground", "explanation"} <= set(names)
    assert "hold_then" not in names


def test_only_the_end_of_a_hold_is_a_time_of_its_own() -> None:
    held = decided(
        entry(None, Absence.UNAVAILABLE, moderation=Moderation.PRE), charter("commerce"), START, "i", 0
    ).ruling
    assert held.hold_expire_time is not None
    later = replace(held, hold_expire_time=held.hold_expire_time + timedelta(hours=1))
    assert timeless(later, START + timedelta(hours=1)) == timeless(held, START)
    assert timeless(later, START) != timeless(held, START)
