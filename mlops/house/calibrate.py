"""From logits to probabilities worth reading: Platt scaling and operating points, both on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops.house.build import Threshold
from mlops.house.mixture import Batchable
from mlops.house.rows import Row

Floats = NDArray[np.float64]
# Half-width, in logits, of the band around an operating point in which the answer is UNSURE.
UNSURE_BAND = 0.2
# Messages to brands look like our corpus, not like film subtitles or talk pages.
CORPUS_SHARE = 0.75
# A rare label calibrated at its rarity would never rise: the probabilities read as if one message in ten had it.
LOWEST_PRIOR = 0.1
# A YES must read like one: never below this probability, however rare the label.
LOWEST_OPERATING_POINT = 0.3
_RESAMPLES = 30


@dataclass(frozen=True)
class Platt:
    """probability = sigmoid(slope * logit + shift)."""

    slope: float
    shift: float


def sigmoid(x: Floats) -> Floats:
    values: Floats = 1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0)))
    return values


def logit(p: float) -> float:
    p = min(max(p, 1e-6), 1.0 - 1e-6)
    return float(np.log(p / (1.0 - p)))


def validation_weights(rows: Sequence[Row], stream: Batchable) -> NDArray[np.float32]:
    """Weights [rows, labels] that say what mixture the probabilities are calibrated for.

    Our corpus has `CORPUS_SHARE` of each label's weight, the other sources the rest in equal parts; then positives are
    raised to at least `LOWEST_PRIOR` of it.
    """
    sources = np.array([row.source for row in rows])
    weights = np.zeros_like(stream.weights)
    for column in range(weights.shape[1]):
        known = stream.weights[:, column] > 0
        others = [source for source in np.unique(sources[known]) if source != "corpus"]
        for source in [*others, "corpus"]:
            cell = known & (sources == source)
            share = CORPUS_SHARE if source == "corpus" else (1.0 - CORPUS_SHARE) / len(others)
            weights[cell, column] = share / max(1, int(cell.sum()))
        positive = known & (stream.targets[:, column] > 0.5)
        up, total = float(weights[positive, column].sum()), float(weights[:, column].sum())
        if 0.0 < up < LOWEST_PRIOR * total:
            weights[positive, column] *= LOWEST_PRIOR / (1.0 - LOWEST_PRIOR) * (total - up) / up
        weights[:, column] *= known.sum() / max(float(weights[:, column].sum()), 1e-12)
    return weights


def fit_platt(logits: Floats, targets: Floats, weights: Floats) -> Platt:
    """Weighted Platt scaling; the identity when one side is missing, never a reversed or exploding slope."""
    from sklearn.linear_model import LogisticRegression

    known = weights > 0
    if len(np.unique(targets[known])) < 2:
        return Platt(1.0, 0.0)
    fitted = LogisticRegression(C=10.0).fit(logits[known, None], targets[known], sample_weight=weights[known])
    slope = float(np.clip(fitted.coef_[0, 0], 0.3, 3.0))
    return Platt(slope, float(fitted.intercept_[0]))


def best_threshold(probabilities: Floats, targets: Floats, weights: Floats, seed: int = 7) -> float:
    """Where YES begins: half-way, in logits, between the best balanced accuracy and the best F1.

    For a common label the two agree. For a rare one balanced accuracy alone cries wolf and F1 alone stays silent.
    Averaged over resamples, so that a few positives decide less. 0.5 when one side is missing, and never below
    `LOWEST_OPERATING_POINT`.
    """
    known = np.flatnonzero(weights > 0)
    if len(np.unique(targets[known])) < 2:
        return 0.5
    chance = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(_RESAMPLES):
        part = chance.choice(known, len(known))
        if len(np.unique(targets[part])) == 2:
            found += map(logit, _best_points(probabilities[part], targets[part], weights[part]))
    if not found:
        return 0.5
    return max(LOWEST_OPERATING_POINT, float(sigmoid(np.array([np.mean(found)]))[0]))


def _best_points(probabilities: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Probabilities with the best balanced accuracy and with the best F1."""
    order = np.argsort(-probabilities)
    p, y, w = probabilities[order], targets[order], weights[order]
    hits, alarms = np.cumsum(w * y), np.cumsum(w * (1 - y))
    after = np.append(p[1:], 0.0)
    balanced = int(np.argmax(hits / hits[-1] - alarms / alarms[-1]))
    f1 = int(np.argmax(2 * hits / (hits + alarms + hits[-1])))
    return float(p[balanced] + after[balanced]) / 2, float(p[f1] + after[f1]) / 2


def banded(threshold: float) -> Threshold:
    """Operating point with its UNSURE band."""
    at = logit(threshold)
    yes, no = sigmoid(np.array([at + UNSURE_BAND, at - UNSURE_BAND]))
    return Threshold(yes=round(float(yes), 4), no=round(float(no), 4))
