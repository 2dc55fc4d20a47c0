"""A moderator's whole evening on the sample event, typed: nothing here but `apaise …`."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import SAMPLES, Mesh

BRAND = "demo-retail"
AUDIENCE = {"instagram-dm": "PRIVATE", "care-email": "PRIVATE"}


@pytest.fixture(scope="module")
def evening(mesh: Mesh) -> Mesh:
    """The mesh, after the event."""
    report = mesh.json("replay", str(SAMPLES / "event.jsonl"), "--speed", "max")
    assert report["lost"] == 0
    seen: list[dict[str, Any]] = []
    for _ in range(30):  # what was decided without a reading is decided again once there is one
        before, seen = seen, waiting(mesh)
        if seen and seen == before:
            return mesh
        time.sleep(2)
    raise AssertionError("the queue never came to rest")


def short(name: str) -> str:
    return name.rpartition("/")[2]


def waiting(mesh: Mesh) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = mesh.json("review", "list", "--brand", BRAND, "--limit", "5000")["review_items"]
    return found


def item_of(mesh: Mesh, name: str) -> dict[str, Any]:
    found: dict[str, Any] = mesh.json("review", "show", name)["review_item"]
    return found


@contextmanager
def as_lead(mesh: Mesh) -> Iterator[None]:
    """A colleague at the next desk: the lead's token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APAISE_TOKEN", mesh.token("lead"))
        yield


def test_the_queue_is_read_and_its_most_urgent_item_taken(evening: Mesh) -> None:
    before = waiting(evening)
    assert len(before) > 10
    seen = evening.run("review", "list", "--brand", BRAND, "--limit", "5")
    assert seen.returncode == 0
    heading, *lines = seen.stdout.splitlines()
    assert heading.split()[:5] == ["item", "queue", "prio", "harm", "due"]
    assert len(lines) == 5

    taken = evening.json("review", "claim", "--brand", BRAND)["review_item"]
    assert taken["name"] == before[0]["name"]
    assert (taken["state"], taken["claim_actor"]) == ("CLAIMED", "moderator")
    with as_lead(evening):
        assert "Someone else holds" in evening.run("review", "claim", taken["name"]).stderr
        other = evening.json("review", "claim", "--brand", BRAND)["review_item"]
        assert other["name"] != taken["name"]
        evening.json("review", "release", other["name"])

    shown = " ".join(evening.run("review", "show", taken["name"]).stdout.split())
    for said in (
        taken["message"]["name"],
        "claimed by moderator until",
        "understood",
        *taken["decision"]["explanation"].split(),
    ):
        assert said in shown
    done = evening.json("review", "confirm", taken["name"])
    assert done["decision"]["visibility"] == taken["decision"]["visibility"]
    assert done["decision"]["actor"] == "moderator"


def test_a_correction_is_taken_back(evening: Mesh) -> None:
    item = waiting(evening)[0]
    other = "hide" if item["decision"]["visibility"] != "HIDE" else "keep"
    corrected = evening.json("review", "correct", item["name"], "-v", other, "--label", "banter=no")
    assert corrected["decision"]["visibility"] == other.upper()
    assert item_of(evening, item["name"])["state"] == "RESOLVED"
    undone = evening.json("review", "undo", item["name"])
    assert undone["decision"]["visibility"] == item["decision"]["visibility"]
    assert item_of(evening, item["name"])["state"] == "OPEN"
    again = evening.run("review", "undo", item["name"])
    assert again.returncode == 1
    assert "nothing to undo" in again.stderr


def test_what_says_the_same_is_settled_at_once(evening: Mesh) -> None:
    def said(item: dict[str, Any]) -> tuple[str, str]:
        channel = short(item["message"]["channel"])
        return " ".join(item["message"]["text"].lower().split()), AUDIENCE.get(channel, "PUBLIC")

    items = waiting(evening)
    (most, count), *_ = Counter(map(said, items)).most_common(1)
    assert count > 1
    first = next(item for item in items if said(item) == most)
    assert evening.json("review", "show", first["name"])["duplicates"] == min(count - 1, 200)
    done = evening.json("review", "confirm", first["name"], "--duplicates")
    assert (len(done["duplicates"]), done["left"]) == (count - 1, 0)
    assert most not in {said(item) for item in waiting(evening)}


def test_a_second_opinion_is_somebody_elses(evening: Mesh) -> None:
    item = evening.json("review", "claim", "--brand", BRAND)["review_item"]
    asked = evening.run("review", "ask", item["name"])
    assert asked.stdout == f"{short(item['name'])}: waits for somebody else's opinion.\n"
    mine = evening.run("review", "confirm", item["name"])
    assert mine.returncode == 1
    assert "somebody else is asked" in mine.stderr
    with as_lead(evening):
        assert evening.json("review", "confirm", item["name"])["decision"]["actor"] == "lead"


def test_a_word_of_tonight_holds_the_next_message(evening: Mesh, tmp_path: Path) -> None:
    word, tag = "guimauve", secrets.token_hex(4)
    line = json.loads((SAMPLES / "event.jsonl").read_text().splitlines()[0])
    event = tmp_path / "after.jsonl"

    def send(number: int) -> None:
        row = line | {"external_id": f"{tag}-{number}", "text": f"j'adore la {word}"}
        event.write_text(json.dumps(row))
        assert evening.json("replay", str(event), "--same-ids")["decided"] == 1

    send(1)
    words = ("charter", "words")
    added = evening.json(*words, "add", word, "--list", "tonight", "--for", "30m", "--brand", BRAND, "--yes")
    assert added["hits"] == 1
    assert word in evening.run(*words, "list", "--brand", BRAND).stdout
    send(2)
    (held,) = [item for item in waiting(evening) if item["message"]["external_id"] == f"{tag}-2"]
    assert held["decision"]["visibility"] == "HOLD"
    assert "tonight" in [reason["clause"] for reason in held["decision"]["reasons"]]
    rechecked = evening.json("charter", "recheck", "--brand", BRAND, "--decisions", "5000")
    assert rechecked["checked"] > 900
    assert rechecked["different"] == 0, rechecked["examples"]
    assert evening.run(*words, "remove", added["live_word"]["name"]).returncode == 0
    assert word not in evening.run(*words, "list", "--brand", BRAND).stdout


def test_a_complaint_becomes_a_case_and_its_author_reads_a_reply(evening: Mesh) -> None:
    public = [item for item in waiting(evening) if item["queue"] == "CARE" and "twitch" in item["message"]["channel"]]
    message = public[0]["message"]
    opened = evening.json("case", "open", message["name"], "--note", "deuxième fois ce soir")["case"]
    assert evening.json("case", "open", message["name"])["case"]["name"] == opened["name"]
    assert evening.json("case", "assign", opened["name"], "--to", "cleo")["case"]["state"] == "ASSIGNED"
    draft = evening.json("draft", message["name"], "--posture", "solve")
    reply = draft["text"] or "Nous regardons votre commande et revenons vers vous ici."
    early = evening.run("case", "return", opened["name"])
    assert early.returncode == 1
    assert "Traceback" not in early.stderr
    evening.json("case", "answer", opened["name"], reply)
    shown = evening.run("case", "show", opened["name"]).stdout
    for said in ("deuxième fois ce soir", "cleo", message["text"].split()[0], "allowed"):
        assert said in shown
    assert evening.json("case", "return", opened["name"], "--public")["case"]["reply_pending"]
    assert evening.json("case", "report", opened["name"], "applied")["case"]["state"] == "RETURNED"
    assert evening.json("case", "close", opened["name"])["case"]["state"] == "CLOSED"
    assert opened["name"] not in evening.run("case", "list").stdout


def test_before_posting_and_what_is_worth_showing(evening: Mesh) -> None:
    asked = evening.json("preflight", "bande de voleurs, rendez l'argent", "--brand", BRAND)
    assert asked["explanation"]
    good = evening.json("forward", "--brand", BRAND, "--limit", "5")["forwards"]
    assert 0 < len(good) <= 5
    assert all({"fr", "en"} <= set(each["explanation"]) for each in good)


def test_the_evenings_figures_add_up(evening: Mesh) -> None:
    found = evening.json("figures", "--brand", BRAND, "--hours", "3")
    assert found["decided"] >= len((SAMPLES / "event.jsonl").read_text().splitlines())
    assert found["automated"] < found["decided"]
    assert found["reply"]["count"] >= 1
    reviewers = {each["actor"]: each for each in found["reviewers"]}
    assert reviewers["moderator"]["undone"] >= 1
    assert reviewers["lead"]["reviewed"] >= 1
    waiting_now = Counter(item["queue"] for item in waiting(evening))
    assert {each["queue"]: each["waiting"] for each in found["queues"]} == dict(waiting_now)
    seen = evening.run("figures", "--brand", BRAND, "--hours", "3").stdout
    assert "by the machine alone" in seen


def test_the_archive_is_for_the_legal_role(evening: Mesh) -> None:
    assert evening.run("archive", "list", "--brand", BRAND).returncode == 0
    with as_lead(evening):
        refused = evening.run("archive", "list", "--brand", BRAND)
    assert refused.returncode == 1
    assert "ROLE_MISSING" in refused.stderr
