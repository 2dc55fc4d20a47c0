"""From logits to probabilities worth reading: Platt scaling and operating points, both on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops.house.mixture import Batchable
from mlops.house.rows import Row

Floats = NDArray[np.float64]
# What a person must not have to find by chance: of the messages that have a label, the share that may pass for sure NO,
MISSED = 0.05
# and of those that have not, the share that may pass for sure YES.
ALARMED = 0.05
# Messages to brands look like our corpus, not like film subtitles or talk pages.
CORPUS_SHARE = 0.75
# A rare label calibrated at its rarity would never rise: the probabilities read as if one message in ten had it.
LOWEST_PRIOR = 0.1
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
    """Where a label begins to hold: the best balanced accuracy, averaged in logits over resamples.

    Averaged, so that a few positives decide less. 0.5 when one side is missing.
    """
    known = np.flatnonzero(weights > 0)
    if len(np.unique(targets[known])) < 2:
        return 0.5
    chance = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(_RESAMPLES):
        part = chance.choice(known, len(known))
        if len(np.unique(targets[part])) == 2:
            found.append(logit(_best_point(probabilities[part], targets[part], weights[part])))
    return float(sigmoid(np.array([np.mean(found)]))[0]) if found else 0.5


def _best_point(probabilities: Floats, targets: Floats, weights: Floats) -> float:
    order = np.argsort(-probabilities)
    p, y, w = probabilities[order], targets[order], weights[order]
    hits, alarms = np.cumsum(w * y), np.cumsum(w * (1 - y))
    best = int(np.argmax(hits / hits[-1] - alarms / alarms[-1]))
    return float(p[best] + np.append(p[1:], 0.0)[best]) / 2


@dataclass(frozen=True)
class Band:
    """Between `no` and `yes` a person looks; `load` is the share of messages that falls there.

    Of the messages that have the label, at most `MISSED` are expected below `no`; of those that have not, at most
    `ALARMED` at or above `yes`.
    """

    no: float
    yes: float
    load: float


def abstention(probabilities: Floats, targets: Floats, weights: Floats, decision: float) -> Band:
    """The band that keeps both promises on messages exchangeable with these; as narrow as they allow.

    Each end is an order statistic of one class's scores: with n of them, a new one falls below the k-th smallest with
    probability at most k / (n + 1). Source: class-conditional (Mondrian) split conformal prediction, Vovk 2012
    (arXiv:1209.2673); with a 0/1 loss it is the conformal risk control of Angelopoulos et al. 2022 (arXiv:2208.02814).
    A class with too few messages for its promise opens its side of the band to the end.
    """
    known = weights > 0
    no = _quantile(probabilities[known & (targets > 0.5)], MISSED)
    yes = 1.0 - _quantile(1.0 - probabilities[known & (targets <= 0.5)], ALARMED)
    if yes <= no:  # one cut keeps both promises: nobody has to look
        no = yes = float(np.clip(decision, yes, no))
    inside = (probabilities > no) & (probabilities < yes)
    share = float(weights[inside].sum() / max(float(weights[known].sum()), 1e-12))
    return Band(no=max(0.0, round(no, 3)), yes=min(1.0, round(yes, 3)), load=round(share, 4))


def _quantile(scores: Floats, level: float) -> float:
    """What at most `level` of new scores fall below; 0 when there are too few to promise it."""
    rank = int(level * (len(scores) + 1))
    return float(np.sort(scores)[rank - 1]) if rank else 0.0
