"""Scores on held-out rows and what they are worth: per label, language and contrast pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops.house.calibrate import Floats, best_threshold
from mlops.house.mixture import Batchable
from mlops.house.rows import Row, stable_number

MIN_SIDE = 8
Mask = NDArray[np.bool_]


def auc(scores: Floats, targets: Floats) -> float | None:
    """Area under the ROC curve, None when either side has fewer than `MIN_SIDE` rows."""
    from sklearn.metrics import roc_auc_score

    positives = int(targets.sum())
    if min(positives, len(targets) - positives) < MIN_SIDE:
        return None
    return round(float(roc_auc_score(targets, scores)), 4)


def f1(decided: Mask, targets: Floats) -> float | None:
    """F1 of decisions, None as for `auc`."""
    positives = int(targets.sum())
    if min(positives, len(targets) - positives) < MIN_SIDE:
        return None
    both = float((decided & (targets > 0.5)).sum())
    return round(2 * both / max(1.0, float(decided.sum()) + positives), 4)


def crossed_decisions(scores: Floats, targets: Floats, weights: Floats, halves: Mask) -> Mask:
    """Decisions with each half's threshold taken from the other, so that no row helps to place its own."""
    decided = np.zeros(len(scores), np.bool_)
    for half in (halves, ~halves):
        decided[half] = scores[half] >= best_threshold(scores[~half], targets[~half], weights[~half])
    return decided


def measure(
    rows: Sequence[Row], labels: Sequence[str], probabilities: Floats, known: Batchable, weights: NDArray[np.float32]
) -> dict[str, Any]:
    """Per label: AUC and F1 overall, by language, on our corpus and by source. Shapes [rows, labels]."""
    halves = np.array([stable_number(f"half/{row.source}/{row.group}") % 2 == 0 for row in rows])
    languages = np.array([row.lang for row in rows])
    sources = np.array([row.source for row in rows])
    report: dict[str, Any] = {}
    for column, label in enumerate(labels):
        seen = known.weights[:, column] > 0
        scores, targets = probabilities[:, column], known.targets[:, column].astype(np.float64)
        decided = np.zeros(len(rows), np.bool_)
        decided[seen] = crossed_decisions(
            scores[seen], targets[seen], weights[seen, column].astype(np.float64), halves[seen]
        )
        slices: dict[str, Mask] = {"all": seen, "corpus": seen & (sources == "corpus")}
        slices |= {f"lang:{lang}": seen & (languages == lang) for lang in np.unique(languages)}
        slices |= {f"corpus:{lang}": slices["corpus"] & (languages == lang) for lang in ("fr", "en")}
        slices |= {f"source:{source}": seen & (sources == source) for source in np.unique(sources)}
        report[label] = {
            name: {
                "rows": int(cell.sum()),
                "positives": int(targets[cell].sum()),
                "auc": value,
                "f1": f1(decided[cell], targets[cell]),
            }
            for name, cell in slices.items()
            if (value := auc(scores[cell], targets[cell])) is not None
        }
    return report


def pair_accuracy(rows: Sequence[Row], labels: Sequence[str], probabilities: Floats) -> dict[str, Any]:
    """Contrast pairs of our corpus: how often the member that has the label scores above the one that has not."""
    members: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        if row.pair:
            members[row.pair].append(at)
    right: dict[str, list[float]] = defaultdict(list)
    for pair in members.values():
        if len(pair) != 2:
            continue
        for column, label in enumerate(labels):
            values = [rows[at].known.get(label) for at in pair]
            if None not in values and values[0] != values[1]:
                yes, no = pair if values[0] else pair[::-1]
                right[label].append(float(probabilities[yes, column] > probabilities[no, column]))
    flat = [mark for marks in right.values() for mark in marks]
    per_label = {label: {"pairs": len(m), "right": round(sum(m) / len(m), 3)} for label, m in sorted(right.items())}
    return {"pairs": len(flat), "right": round(sum(flat) / max(1, len(flat)), 3), "labels": per_label}


def contrast_report(
    rows: Sequence[Row], labels: Sequence[str], probabilities: Floats, yes: Sequence[float]
) -> dict[str, Any]:
    """The contrast set at the operating points that ship: per label AUC, precision, recall; and pairs, by language."""
    report: dict[str, Any] = {"rows": len(rows), "labels": {}, "languages": {}}
    report["pairs"] = pair_accuracy(rows, labels, probabilities)
    for lang in sorted({row.lang for row in rows}):
        here = [at for at, row in enumerate(rows) if row.lang == lang]
        pairs = pair_accuracy([rows[at] for at in here], labels, probabilities[here])
        report["languages"][lang] = {"pairs": pairs["pairs"], "right": pairs["right"]}
    for column, label in enumerate(labels):
        here = [at for at, row in enumerate(rows) if label in row.known]
        targets = np.array([rows[at].known[label] for at in here])
        scores = probabilities[here, column]
        decided = scores >= yes[column]
        if (value := auc(scores, targets)) is None:
            continue
        right = float((decided & (targets > 0.5)).sum())
        report["labels"][label] = {
            "positives": int(targets.sum()),
            "auc": value,
            "precision": round(right / max(1.0, float(decided.sum())), 3),
            "recall": round(right / float(targets.sum()), 3),
        }
    return report
