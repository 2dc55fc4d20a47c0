"""`apaise eval` with the shipped house model: files it has never seen, and files nobody could read."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from apaise_cli.main import run

KEYS = {"n", "auc", "accuracy", "macro_f1", "positive_recall", "negative_recall", "ece", "threshold", "groups"}
COMPLAINTS = [
    "Trois semaines sans réponse, votre service est nul",
    "Colis arrivé cassé, je veux être remboursé,\net vite",
    "On m'a dit \"demain\" quatre fois, rien n'est venu",
    "The app ate my ticket and nobody answers, terrible service",
]
OTHERS = [
    "Coucou tout le monde, bonne soirée",
    "Quel est le prix de la robe verte ?",
    "trop belle cette lampe, bravo",
    "See you all tomorrow night",
]
ROWS = [*((text, "yes") for text in COMPLAINTS), *((text, "no") for text in OTHERS)]


def evaluate(capfd: pytest.CaptureFixture[str], file: Path, *more: str, score: str = "complaint") -> tuple[int, Any]:
    options = ["--text-column", "text", "--label-column", "gold", "--positive", "yes", "--score", score, "--json"]
    code = run(["eval", str(file), *options, *more])
    return code, json.loads(capfd.readouterr().out)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "never-seen.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("gold", "text", "lang"))
        writer.writerows((gold, text, "fr" if "é" in text else "?") for text, gold in ROWS)
    return path


def test_complaints_are_told_from_the_rest(capfd: pytest.CaptureFixture[str], file: Path) -> None:
    code, document = evaluate(capfd, file, "--group-column", "lang")
    assert code == 0
    assert set(document) == KEYS
    assert document["n"] == 8
    assert document["auc"] == 1.0
    assert {name: set(figures) for name, figures in document["groups"].items()} == dict.fromkeys(
        ("fr", "?"), KEYS - {"groups"}
    )


def test_the_same_from_gzipped_json_lines(capfd: pytest.CaptureFixture[str], file: Path, tmp_path: Path) -> None:
    other = tmp_path / "a.jsonl.gz"
    lines = [json.dumps({"text": text, "gold": gold}) for text, gold in ROWS]
    other.write_bytes(gzip.compress("\n".join(lines).encode()))
    plain, packed = evaluate(capfd, file), evaluate(capfd, other)
    assert plain == packed


@pytest.mark.parametrize(
    ("content", "score", "code"),
    [
        ("", "complaint", "BAD_FILE"),
        ("text,label\na,yes\n", "complaint", "BAD_FILE"),
        ("text,gold\na,maybe\n", "complaint", "BAD_FILE"),
        ("text,gold\na,yes\n", "rudeness", "UNKNOWN_LABEL"),
    ],
)
def test_what_cannot_be_evaluated_says_why(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, content: str, score: str, code: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    exit_code, document = evaluate(capfd, path, score=score)
    assert exit_code == 1
    assert document["error"]["code"] == code
    assert document["error"]["way_out"]


def test_a_table_for_people(capfd: pytest.CaptureFixture[str], file: Path) -> None:
    options = ["--text-column", "text", "--label-column", "gold", "--positive", "yes", "--score", "complaint"]
    assert run(["eval", str(file), *options]) == 0
    shown = capfd.readouterr().out
    assert "macro f1" in shown
    assert "as shipped" in shown
