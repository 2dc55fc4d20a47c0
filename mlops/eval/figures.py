"""What scores are worth against the truth, at a threshold that was shipped and not fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
ECE_BINS: Final = 15


@dataclass(frozen=True)
class Figures:
    """Figures of one label on one set of rows; None where a side is missing and the figure has no meaning.

    Attributes:
        n: rows.
        auc: area under the ROC curve.
        accuracy: share of right yes/no.
        macro_f1: mean of the F1 of yes and of no.
        positive_recall: share of positives read YES.
        negative_recall: share of negatives read NO.
        ece: expected calibration error over `ECE_BINS` bins of equal count.
        threshold: where YES begins.
    """

    n: int
    auc: float | None
    accuracy: float
    macro_f1: float
    positive_recall: float | None
    negative_recall: float | None
    ece: float
    threshold: float


def figures(scores: Floats, truth: Mask, threshold: float) -> Figures:
    """Figures of scores [n] against the truth [n], n > 0."""
    said = scores >= threshold
    return Figures(
        n=len(scores),
        auc=auc(scores, truth),
        accuracy=_rounded(np.mean(said == truth)),
        macro_f1=_rounded((_f1(said, truth) + _f1(~said, ~truth)) / 2),
        positive_recall=_recall(said, truth),
        negative_recall=_recall(~said, ~truth),
        ece=_rounded(expected_calibration_error(scores, truth)),
        threshold=threshold,
    )


def report(scores: Floats, truth: Mask, threshold: float, groups: Sequence[str]) -> dict[str, Any]:
    """Figures over all rows and, under `groups`, over those of each group."""
    names = np.array(groups, dtype=object)
    parts = {
        name: asdict(figures(scores[names == name], truth[names == name], threshold)) for name in sorted(set(groups))
    }
    return {**asdict(figures(scores, truth, threshold)), "groups": parts}


def expected_calibration_error(scores: Floats, truth: Mask, bins: int = ECE_BINS) -> float:
    """Mean distance between what was said and what was true, over bins of equal count, each weighed by its rows.

    Source: Guo et al. 2017 (arXiv:1706.04599), with the equal-count bins of Nguyen and O'Connor 2015.
    """
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(len(part) * abs(scores[part].mean() - truth[part].mean()) for part in parts) / len(scores))


def auc(scores: Floats, truth: Mask) -> float | None:
    """Area under the ROC curve, four decimals; None with one class only."""
    from sklearn.metrics import roc_auc_score

    return _rounded(roc_auc_score(truth, scores)) if truth.any() and not truth.all() else None


def _recall(said: Mask, truth: Mask) -> float | None:
    return _rounded((said & truth).sum() / truth.sum()) if truth.any() else None


def _f1(said: Mask, truth: Mask) -> float:
    whole = int(said.sum()) + int(truth.sum())
    return 2 * float((said & truth).sum()) / whole if whole else 1.0


def _rounded(value: Any) -> float:
    return round(float(value), 4)
