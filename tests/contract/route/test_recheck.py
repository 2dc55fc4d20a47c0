"""Recorded decisions made again over PostgreSQL: by the service itself, and by routing what was recorded once more."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from apaise.route.v1 import charter_service_pb2 as charters
from apaise.route.v1 import decision_pb2 as decisions
from apaise.route.v1 import route_service_pb2 as pb
from apaise.type.v1 import message_pb2
from apaise_cli.main import run
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.labels import LABELS
from apaise_route.adapters import charter_store, rows, store, tables
from apaise_route.app.decisions import batch_route
from apaise_route.domain.model import Decision
from apaise_route.domain.replay import timeless
from apaise_route.testing import START, input_pb, reading

FOLDER = Path(__file__).parents[3] / "services/route/charters"
KINDS = [message_pb2.CHANNEL_KIND_LIVE_CHAT, message_pb2.CHANNEL_KIND_COMMENT, message_pb2.CHANNEL_KIND_PRIVATE_MESSAGE]
MODES = [message_pb2.MODERATION_MODE_PRE, message_pb2.MODERATION_MODE_POST]
ABSENT = [decisions.ASSESSMENT_ABSENCE_UNAVAILABLE, decisions.ASSESSMENT_ABSENCE_TOO_LATE]


def recorded(brand: str, number: int) -> list[pb.RouteInput]:
    """Messages drawn at random with a fixed seed; some nobody could read."""
    draw, inputs = random.Random(7), []
    for each in range(number):
        labels = {label: round(draw.random(), 3) for label in draw.sample(sorted(LABELS), 4)}
        private = draw.random() < 0.2
        inputs.append(
            input_pb(
                brand,
                f"x{each}",
                None if each % 7 == 0 else reading(at=labels),
                draw.choice(ABSENT) if each % 7 == 0 else decisions.ASSESSMENT_ABSENCE_UNSPECIFIED,
                text=draw.choice(["bonjour", "remboursez moi", "nique ta mère", "un rappel du lot 12 ?"]),
                kind=draw.choice(KINDS),
                moderation=draw.choice(MODES),
                audience=message_pb2.AUDIENCE_PRIVATE if private else message_pb2.AUDIENCE_PUBLIC,
            )
        )
    return inputs


async def live_by(door: Any, brand: str, source: str) -> None:
    stub = door.charter()
    request = charters.CreateCharterRequest(parent=f"brands/{brand}", charter=charters.Charter(source=source))
    name = (await stub.CreateCharter(request)).charter.name
    await stub.ActivateCharter(charters.ActivateCharterRequest(name=name))


async def recheck(door: Any, brand: str, wanted: int = 0) -> pb.RecheckDecisionsResponse:
    request = pb.RecheckDecisionsRequest(parent=f"brands/{brand}", decisions=wanted)
    found: pb.RecheckDecisionsResponse = await door.route(roles=["lead"]).RecheckDecisions(request)
    return found


def without_audit(source: str) -> str:
    """The draw of an audit is by message id, and another brand has other ids."""
    lines = [line for line in source.splitlines() if not line.strip().startswith("audit_share")]
    return "\n".join(["audit_share: 0", *lines])


@pytest.mark.parametrize("name", ["alimentation-enfants", "commerce", "esport"])
async def test_what_was_recorded_routes_to_the_same_decisions(clocked: Any, brand: str, name: str) -> None:
    source, other = without_audit((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")), f"{brand}-b"
    await live_by(clocked, brand, source)
    await live_by(clocked, other, source)
    clocked.clock.set(START)
    await clocked.decide(*recorded(brand, 80))
    async with clocked.deps.db.read() as conn:
        first = await store.latest_of_machine(conn, brand, 500)
        entries = await charter_store.latest(conn, brand, 500)
    assert len(entries) == len(first) == 80
    clocked.clock.advance(days=3)
    moved = [
        replace(e, message=replace(e.message, brand=other), channel=replace(e.channel, brand=other))
        for e in reversed(entries)
    ]
    with acting_as(system_caller("test")):
        again = await batch_route(clocked.deps, moved)
    assert all(isinstance(each, Decision) for each in again)
    assert {said(each) for each in again} == {said(each) for each in first}


def said(decision: Any) -> str:
    """A decision without its ids and times, by the message's id on its platform."""
    shown = replace(
        decision,
        brand="",
        create_time=START,
        charter="",
        review_item=str(bool(decision.review_item)),
        ruling=timeless(decision.ruling, decision.create_time),
    )
    return json.dumps(rows.decision_row(shown), sort_keys=True)


@pytest.mark.parametrize("name", ["alimentation-enfants", "commerce", "esport", "default"])
async def test_the_service_makes_its_own_decisions_again(clocked: Any, brand: str, name: str) -> None:
    clocked.clock.set(START)
    if name != "default":
        await live_by(clocked, brand, (FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    await clocked.decide(*recorded(brand, 60))
    # An assessment that comes later makes a second decision; the first one was made without it.
    late = [each for each in recorded(brand, 60) if each.absence]
    for each in late:
        each.absence = decisions.ASSESSMENT_ABSENCE_UNSPECIFIED
        each.assessment.CopyFrom(input_pb(brand, "x", reading(["insult", "remove"])).assessment)
    clocked.clock.advance(minutes=5)
    await clocked.decide(*late)
    found = await recheck(clocked, brand)
    assert (found.checked, found.left_out, found.different) == (60 + len(late), 0, 0)
    assert (await recheck(clocked, brand, 10)).checked == 10


async def test_words_count_as_they_were_and_what_is_gone_is_left_out(clocked: Any, brand: str) -> None:
    clocked.clock.set(START)
    await clocked.decide(input_pb(brand, "before", reading(), text="flûte"))
    word = charters.LiveWord(list="tonight", word="flute", kind=charters.WORD_KIND_WORD)
    clocked.clock.advance(minutes=1)
    added = await clocked.charter().AddLiveWord(charters.AddLiveWordRequest(parent=f"brands/{brand}", live_word=word))
    (held,) = await clocked.decide(input_pb(brand, "during", reading(), text="flûte"))
    assert held.visibility == decisions.VISIBILITY_HOLD
    clocked.clock.advance(days=1)
    await clocked.decide(input_pb(brand, "after", reading(), text="flûte"))
    await clocked.decide(input_pb(brand, "gone", reading(), text="flûte"))
    await clocked.decide(input_pb(brand, "gone", reading(), text="", revision=2, gone=True))
    found = await recheck(clocked, brand)
    assert (found.checked, found.left_out, found.different) == (3, 2, 0)

    await clocked.charter().RemoveLiveWord(charters.RemoveLiveWordRequest(name=added.live_word.name))
    found = await recheck(clocked, brand)
    assert (found.different, found.examples[0].decision) == (1, held.name)
    assert "visibility" in found.examples[0].fields


async def test_a_decision_that_was_not_made_so_is_found(
    clocked: Any, brand: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (made,) = await clocked.decide(input_pb(brand, "x", reading(["insult", "remove"])))
    async with clocked.deps.db.read() as conn:
        (decision,) = await store.latest_of_machine(conn, brand, 1)
    row = rows.decision_row(decision) | {"message": "forged", "create_time": decision.create_time}
    row["body"]["ruling"]["visibility"] = 1
    async with clocked.deps.db.engine.begin() as conn:
        copied = "insert into messages select brand, 'forged', " + ", ".join(
            column.name for column in list(tables.messages.columns)[2:]
        )
        await conn.exec_driver_sql(f"{copied} from messages where brand = %(brand)s", {"brand": brand})
        await conn.execute(insert(tables.decisions).values(row))
    monkeypatch.setenv("APAISE_ROUTE_ADDRESS", clocked.address)
    monkeypatch.setenv("APAISE_TOKEN", clocked.mint("lea", ("lead",), (brand,)))
    assert await asyncio.to_thread(run, ["charter", "recheck", "--brand", brand, "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert (found["checked"], found["different"]) == (2, 1)
    assert found["examples"] == [
        {"decision": made.name.replace(made.message.rpartition("/")[2], "forged"), "fields": ["visibility"]}
    ]
