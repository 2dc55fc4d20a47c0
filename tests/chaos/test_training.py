"""train, Ray's worker or MLflow is killed in the middle of a run, or MLflow when a revision is promoted.

The brand is served by its champion meanwhile, and what was under way is taken up again and ends once.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from apaise_cli.home import Home

from ..e2e.conftest import SAMPLES, Mesh
from ..e2e.lesson import teach
from .background import started
from .books import Books
from .faults import TRAINING, is_back, is_whole, kill, pids, wait_for, without_mlflow

BRAND = "demo-esport"
LESSONS = 80
ENDED = ("PROMOTED", "REFUSED")


@pytest.fixture(scope="module")
def taught(mesh: Mesh) -> Books:
    """The books of a mesh in which the brand's moderators have taught enough for a run."""
    home = Home(mesh.home)
    books = Books(home)
    wait_for(lambda: is_whole(home), "the mesh is whole", 120)
    lines = (SAMPLES / f"corrections/{BRAND}.jsonl").read_text().splitlines()[:LESSONS]
    teach(mesh, BRAND, [json.loads(line) for line in lines])
    wait_for(lambda: _count(books, "examples") >= LESSONS, "train has followed the reviews", 60)
    return books


@pytest.mark.timeout(1200)
def test_a_run_whose_service_was_killed_is_taken_up_again(mesh: Mesh, taught: Books) -> None:
    home, books = Home(mesh.home), taught
    with started(mesh, "train", "--brand", BRAND) as training:
        wait_for(lambda: _run(books)["state"] == "TRAINING", "the run trains", 180, poll=0.1)
        killed = kill(home, "train")
        wait_for(lambda: is_back(home, "train", killed), "train is back", 120)
        assert _served(mesh)["labels"]
        code, document, said = training.result(timeout=600)

    run = document["training_run"]
    assert run["state"] in ENDED, (run, said)
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


@pytest.mark.timeout(1200)
def test_a_run_whose_worker_was_killed_is_sent_again(mesh: Mesh, taught: Books) -> None:
    home, champion = Home(mesh.home), _adapter(mesh)
    with started(mesh, "train", "--brand", BRAND) as training:
        wait_for(lambda: _run(taught)["state"] == "TRAINING", "the run trains", 180, poll=0.1)
        wait_for(lambda: bool(pids(home, TRAINING)), "Ray has a worker for it", 60, poll=0.1)
        kill(home, TRAINING)
        assert _adapter(mesh) == champion
        _, document, said = training.result(timeout=600)
    _check_it_ended_once(mesh, taught, document["training_run"], champion, said)
    assert _run(taught)["attempts"] == 2


@pytest.mark.timeout(1200)
def test_a_run_under_which_mlflow_went_away_is_published_when_it_is_back(mesh: Mesh, taught: Books) -> None:
    home, champion = Home(mesh.home), _adapter(mesh)
    with started(mesh, "train", "--brand", BRAND) as training:
        wait_for(lambda: _run(taught)["state"] == "TRAINING", "the run trains", 180, poll=0.1)
        with without_mlflow(home):
            wait_for(lambda: _run(taught)["failure"] == "DEPENDENCY_UNAVAILABLE", "the run has missed MLflow", 240)
            assert _run(taught)["state"] not in ENDED
            assert _adapter(mesh) == champion
        _, document, said = training.result(timeout=600)
    _check_it_ended_once(mesh, taught, document["training_run"], champion, said)
    assert _run(taught)["attempts"] > 1
    wait_for(lambda: is_whole(home), "MLflow is back", 240)


@pytest.mark.timeout(600)
def test_a_promotion_waits_for_mlflow_and_the_champion_before_serves_meanwhile(mesh: Mesh, taught: Books) -> None:
    home = Home(mesh.home)
    if _adapter(mesh) != "house":
        mesh.json("rollback", "--brand", BRAND, "--house", "--reason", "chaos")
    revision = _rows(taught, "revisions", "create_time")[-1]["id"]
    with without_mlflow(home):
        asked = mesh.run("promote", revision, "--brand", BRAND, "--force", "--reason", "chaos", "--json")
        assert asked.returncode != 0
        assert _adapter(mesh) == "house"
        entry = _rows(taught, "ledger", "sequence")[-1]
        assert (entry["kind"], entry["revision"]) == ("PROMOTED", revision)
    wait_for(lambda: _adapter(mesh) == revision, "the promotion is carried out by itself", 120)
    assert _rows(taught, "ledger", "sequence")[-1] == entry
    wait_for(lambda: is_whole(home), "MLflow is back", 240)


def _check_it_ended_once(mesh: Mesh, books: Books, run: dict[str, Any], champion: str, said: str) -> None:
    """With one verdict and one revision, which serves if it was promoted; the champion before does if not."""
    assert run["state"] in ENDED, (run, said)
    mine = run["name"].rsplit("/", 1)[-1]
    assert [line["kind"] for line in _rows(books, "ledger") if line["run"] == mine] == [run["state"]]
    (revision,) = [row["id"] for row in _rows(books, "revisions") if row["run"] == mine]
    assert _adapter(mesh) == (revision if run["state"] == "PROMOTED" else champion)
    assert books.events_verified()["train"] > 0


def _adapter(mesh: Mesh) -> str:
    """What reads the brand's messages now."""
    adapter: str = _served(mesh)["provenance"]["adapter"]
    return adapter


def _rows(books: Books, table: str, order: str = "brand") -> list[dict[str, Any]]:
    return books.rows(f"select * from train.{table} where brand = %(brand)s order by {order}", brand=BRAND)


def _count(books: Books, table: str) -> int:
    return len(_rows(books, table))


def _run(books: Books) -> dict[str, Any]:
    """The newest."""
    runs = _rows(books, "runs", "number")
    return runs[-1] if runs else {"state": "none yet"}


def _served(mesh: Mesh) -> dict[str, Any]:
    assessment: dict[str, Any] = mesh.json("classify", "--brand", BRAND, "gg ez noob, uninstall")["assessments"][0]
    return assessment
