"""The examination counts what it says it counts."""

from __future__ import annotations

import json
from pathlib import Path

from mlops.house.examine import examine

ROWS = [
    {"text": "votre service c'est de la merde, remboursez-moi", "lang": "fr", "labels": ["complaint", "profanity"]},
    {"text": "vous livrez en Corse ?", "lang": "fr", "labels": ["question"], "pair": "p"},
    {"text": "vous livrez en Corse, bravo", "lang": "fr", "labels": [], "pair": "p"},
    {"text": "t'es qu'un pauvre abruti", "lang": "fr", "labels": ["insult", "toxic", "remove"], "maybe": ["anger"]},
]


def test_it_counts_labels_crude_complaints_and_pairs(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")
    report = examine(file, least=1)
    assert report["n"] == 4
    assert report["by_label"]["question"] == 1.0
    assert report["crude_complaints"]["n"] == 1
    assert report["pairs"] == {"n": 1, "both_right": 1}
    assert examine(file)["macro_f1"] is None
