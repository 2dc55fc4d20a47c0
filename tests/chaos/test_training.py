"""train is killed in the middle of a run: the run is taken up again, ends once, and the brand is served meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apaise_cli.home import Home

from ..e2e.conftest import SAMPLES, Mesh
from ..e2e.lesson import teach
from .background import started
from .books import Books
from .faults import is_back, is_whole, kill, wait_for

BRAND = "demo-esport"
LESSONS = 80


@pytest.mark.timeout(1200)
def test_a_run_whose_service_was_killed_is_taken_up_again(mesh: Mesh) -> None:
    home = Home(mesh.home)
    books = Books(home)
    wait_for(lambda: is_whole(home), "the mesh is whole", 120)
    lines = (SAMPLES / f"corrections/{BRAND}.jsonl").read_text().splitlines()[:LESSONS]
    teach(mesh, BRAND, [json.loads(line) for line in lines])
    wait_for(lambda: _count(books, "examples") >= LESSONS, "train has followed the reviews", 60)

    with started(mesh, "train", "--brand", BRAND) as training:
        wait_for(lambda: _run(books)["state"] == "TRAINING", "the run trains", 180, poll=0.1)
        killed = kill(home, "train")
        wait_for(lambda: is_back(home, "train", killed), "train is back", 120)
        assert _served(mesh)["labels"]
        code, document, said = training.result(timeout=600)

    run = document["training_run"]
    assert run["state"] in ("PROMOTED", "REFUSED"), (run, said)
    assert code == (0 if run["state"] == "PROMOTED" else 1)
    assert _run(books)["attempts"] == 2
    assert [line["kind"] for line in _rows(books, "ledger")] == [run["state"]]
    assert _count(books, "revisions") == 1
    assessment = _served(mesh)
    assert assessment["fallback"] is (run["state"] == "REFUSED")
    assert assessment["provenance"]["adapter"] == (
        run["adapter"].rsplit("/", 1)[-1] if run["state"] == "PROMOTED" else "house"
    )
    assert books.events_verified()["train"] > 0


def _rows(books: Books, table: str) -> list[dict[str, Any]]:
    return books.rows(f"select * from train.{table} where brand = %(brand)s", brand=BRAND)


def _count(books: Books, table: str) -> int:
    return len(_rows(books, table))


def _run(books: Books) -> dict[str, Any]:
    runs = _rows(books, "runs")
    return runs[0] if runs else {"state": "none yet"}


def _served(mesh: Mesh) -> dict[str, Any]:
    assessment: dict[str, Any] = mesh.json("classify", "--brand", BRAND, "gg ez noob, uninstall")["assessments"][0]
    return assessment
