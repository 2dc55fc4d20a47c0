"""`apaise charter …` against the service itself: what a lead does from a text to a word for the evening."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from apaise.route.v1 import decision_pb2 as pb
from apaise_cli.main import run
from apaise_route.testing import input_pb, reading

MILD = """\
name: mild
language: en
audit_share: 0
lists: {tonight: {live: true}}
clauses:
  - {id: praise, when: yes.praise, queue: animation, explain: {en: Praise}}
  - {id: tonight, when: lists.tonight, visibility: HIDE, explain: {en: A word of tonight}}
"""
STRICT = MILD.replace("queue: animation", "visibility: HIDE")
Command = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@pytest.fixture
def command(door: Any, brand: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs `apaise charter …` for the brand: its exit code and its one document."""
    monkeypatch.setenv("APAISE_ROUTE_ADDRESS", door.address)
    monkeypatch.setenv("APAISE_TOKEN", door.mint("lea", ("lead",), (brand,)))

    async def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = await asyncio.to_thread(run, ["charter", *arguments, "--brand", brand, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return call


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """The mild and the strict charter."""
    for name, source in (("mild", MILD), ("strict", STRICT)):
        (tmp_path / f"{name}.yaml").write_text(source)
    return str(tmp_path / "mild.yaml"), str(tmp_path / "strict.yaml")


async def test_apply_diff_shadow_and_rollback(door: Any, brand: str, command: Command, files: tuple[str, str]) -> None:
    mild, strict = files
    await command("apply", mild)
    await door.decide(input_pb(brand, "x1", reading(["praise"])), input_pb(brand, "x2", reading()))
    code, diff = await command("diff", strict)
    assert (code, diff["compared"], diff["changed"]) == (0, 2, 1)
    assert diff["changes"][0]["visibility_after"] == "HIDE"
    _, started = await command("shadow", strict)
    assert (started["shadow"]["charter"], started["shadow"]["compared"]) == (f"brands/{brand}/charters/2", 0)
    await door.decide(input_pb(brand, "x3", reading(["praise"])))
    _, counted = await command("shadow")
    assert (counted["shadow"]["compared"], counted["shadow"]["changed"]) == (1, 1)
    assert await command("shadow", "--stop") == (0, {"shadow": None})
    await command("apply", strict)
    code, back = await command("rollback")
    assert (code, back["charter"]["name"], back["charter"]["active"]) == (0, f"brands/{brand}/charters/1", True)


async def test_words_for_the_evening(door: Any, brand: str, command: Command, files: tuple[str, str]) -> None:
    await command("apply", files[0])
    await door.decide(input_pb(brand, "x1", reading(), text="Flûte alors"))
    code, added = await command("words", "add", "flute", "--list", "tonight", "--for", "30m")
    assert (code, added["added"], added["hits"], added["seen"]) == (0, True, 1, 1)
    (decision,) = await door.decide(input_pb(brand, "x2", reading(), text="flute"))
    assert decision.visibility == pb.VISIBILITY_HIDE
    _, listed = await command("words", "list")
    assert [word["word"] for word in listed["live_words"]] == ["flute"]
    await command("words", "remove", added["live_word"]["name"])
    assert (await command("words", "list"))[1] == {"live_words": []}


async def test_a_word_for_a_list_that_is_not_there(command: Command, files: tuple[str, str]) -> None:
    await command("apply", files[0])
    code, refused = await command("words", "add", "flute", "--list", "tonite")
    assert code == 1
    assert "Did you mean tonight?" in refused["error"]["message"]
