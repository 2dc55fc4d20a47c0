"""`python -m mlops.house examine`: what the shipped weights read of the frozen test, at their shipped thresholds."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from mlops.base.encoder import highest, load_encoder
from mlops.house.build import build_house, load_heads

LEAST_POSITIVES: Final = 50


@dataclass(frozen=True)
class Read:
    """Messages and the YES of each label: `yes[row, label]`."""

    rows: list[dict[str, Any]]
    labels: tuple[str, ...]
    yes: NDArray[np.bool_]

    def said(self, label: str) -> NDArray[np.bool_]:
        """YES of one label, by row."""
        said: NDArray[np.bool_] = self.yes[:, self.labels.index(label)]
        return said


def examine(file: Path, least: int = LEAST_POSITIVES) -> dict[str, Any]:
    """Macro-F1 by label (those with at least `least` positives), crude complaints read as `remove`, contrast pairs.

    Args:
        file: JSON lines in the corpus's format. Nothing is fitted on it.
        least: positives a label needs to be measured.
    """
    read = _read([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()])
    by_label = {label: score for label in read.labels if (score := _macro_f1(read, label, least)) is not None}
    return {
        "n": len(read.rows),
        "labels": len(by_label),
        "macro_f1": round(float(np.mean(list(by_label.values()))), 3) if by_label else None,
        "by_label": by_label,
        "crude_complaints": _crude_complaints(read),
        "pairs": _pairs(read),
    }


@torch.inference_mode()
def _read(rows: list[dict[str, Any]]) -> Read:
    house = build_house()
    encoder = load_encoder(house.path)
    weight, bias = load_heads(house.heads)
    windows = encoder.windows([row["text"] for row in rows])
    scores = highest(encoder.pooled(windows.ids) @ weight.T + bias, windows.owners, len(rows))
    thresholds = np.array([house.thresholds[label].decision for label in house.labels])
    return Read(rows, house.labels, torch.sigmoid(scores).numpy() >= thresholds)


def _macro_f1(read: Read, label: str, least: int) -> float | None:
    known = [n for n, row in enumerate(read.rows) if label not in row.get("maybe", ())]
    truth = [label in read.rows[n]["labels"] for n in known]
    if sum(truth) < least:
        return None
    return round(float(f1_score(truth, read.said(label)[known], average="macro")), 3)


def _crude_complaints(read: Read) -> dict[str, Any]:
    """Complaints with crude words that no moderator would remove."""
    crude = [
        n
        for n, row in enumerate(read.rows)
        if {"complaint", "profanity"} <= set(row["labels"]) and "remove" not in [*row["labels"], *row.get("maybe", ())]
    ]
    shares = {f"read_as_{label}": read.said(label)[crude] for label in ("remove", "complaint")}
    return {"n": len(crude), **{name: round(float(said.mean()), 3) for name, said in shares.items() if crude}}


def _pairs(read: Read) -> dict[str, int]:
    """Contrast pairs, and those of which both members are right on every label that flips."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for n, row in enumerate(read.rows):
        if row.get("pair"):
            members[row["lang"], row["pair"]].append(n)
    right = [_both_right(read, *pair) for pair in members.values() if len(pair) == 2]
    return {"n": len(right), "both_right": sum(right)}


def _both_right(read: Read, one: int, other: int) -> bool:
    first, second = read.rows[one], read.rows[other]
    masked = {*first.get("maybe", ()), *second.get("maybe", ())}
    flips = (set(first["labels"]) ^ set(second["labels"])) - masked
    return all(read.said(label)[n] == (label in read.rows[n]["labels"]) for label in flips for n in (one, other))
