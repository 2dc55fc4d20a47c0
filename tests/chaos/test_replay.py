"""Every part of the mesh is killed once while a replay goes through it: nothing is lost, nothing is decided twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from apaise_cli.home import Home

from ..e2e.conftest import SAMPLES, Mesh
from .background import Command, started
from .books import Books
from .faults import REPLICA, is_back, kill, wait_for

VICTIMS: Final = ("ingest", "classify", "route", "train", "postgres", REPLICA, "ray")
# At full speed everything would be sent before the third kill on a fast machine. Paced like this it takes four minutes
# and a half on any, and what an outage holds up is sent at full speed after it.
PASSES: Final = 6
SPEED: Final = 60
AT_LEAST: Final = 5_000

_RECOVERY: Final = 240.0
_FLOWING: Final = 10


@dataclass(frozen=True)
class Blow:
    """One kill: when, when every process was ready again, when messages were assessed and decided again."""

    victim: str
    at: datetime
    back: datetime
    flowing: datetime


@pytest.mark.timeout(1800)
def test_every_acknowledged_message_gets_exactly_one_automatic_decision(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(mesh.home)
    books = Books(home)
    event = ("replay", str(SAMPLES / "event.jsonl"), "--repeat", str(PASSES), "--speed", str(SPEED))
    with started(mesh, *event, "--patience", "180") as replay:
        blows = [_strike(home, books, replay, victim) for victim in VICTIMS]
        code, report, said = replay.result(timeout=900)
    wait_for(lambda: set(books.states()) == {"DECIDED"}, "what was decided without classify is decided again", 400)
    with capsys.disabled():
        _show(blows, books, report)

    assert code == 0, (report, said)
    assert report["sent"] == report["decided"] >= AT_LEAST
    assert (report["lost"], report["duplicated"], report["refused"]) == (0, 0, 0)

    assert mesh.json("status")["ready"]
    assert books.states() == {"DECIDED": report["sent"]}
    assert books.not_decided_exactly_once() == []
    assert books.decided_but_not_kept() == []
    assert books.never_reassessed() == []
    verified = books.events_verified()
    assert verified["route"] >= report["sent"]
    assert verified["ingest"] > 0


def _strike(home: Home, books: Books, replay: Command, victim: str) -> Blow:
    """Kill one part while messages flow, and wait until they do again."""
    _wait_for_flow(books, replay, datetime.now(UTC))
    at = datetime.now(UTC)
    killed = kill(home, victim)
    wait_for(lambda: is_back(home, victim, killed), f"the mesh is whole after the end of {victim}", _RECOVERY)
    back = datetime.now(UTC)
    _wait_for_flow(books, replay, back)
    return Blow(victim, at, back, datetime.now(UTC))


def _wait_for_flow(books: Books, replay: Command, since: datetime) -> None:
    """Until messages are being assessed and decided. A replay that has ended would make the next kill prove nothing."""

    def flowing() -> bool:
        assert replay.running, "the replay ended before everything was killed"
        return books.assessed(since) >= _FLOWING

    wait_for(flowing, "messages are assessed and decided", _RECOVERY)


def _show(blows: list[Blow], books: Books, report: dict[str, Any]) -> None:
    print(f"\n\n{'killed':<10}{'at':>10}{'whole after':>14}{'flowing after':>16}{'provisional meanwhile':>24}")
    for blow in blows:
        whole, flowing = (blow.back - blow.at).total_seconds(), (blow.flowing - blow.at).total_seconds()
        provisional = books.provisional(blow.at, blow.flowing)
        print(f"{blow.victim:<10}{blow.at:%H:%M:%S}  {whole:>12.1f} s{flowing:>14.1f} s{provisional:>24}")
    figures = ("sent", "decided", "lost", "duplicated", "redelivered", "provisional", "msgs_per_s", "p50_ms", "p99_ms")
    print(", ".join(f"{name} {report.get(name)}" for name in figures))
