"""Would more corrections help? The learning curve over their number, and what the gate's report says of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

from apaise_train.domain.gate import CLEAR_GAIN
from apaise_train.domain.jobs import CurvePoint

FLAT: Final = 0.005
"""AUC a doubling of the corrections must bring to be told from noise."""


def per_doubling(curve: Sequence[CurvePoint]) -> float | None:
    """AUC each doubling brought, by least squares on the logarithm of the count; None below two counts."""
    taught = [point for point in curve if point.corrections]
    if len({point.corrections for point in taught}) < 2:
        return None
    doublings = [math.log2(point.corrections) for point in taught]
    return statistics.linear_regression(doublings, [point.auc for point in taught]).slope


def curve_words(curve: Sequence[CurvePoint]) -> str:
    """One sentence of how AUC grew with the corrections and what more would bring; "" without a curve.

    It is the head of `remove` alone, on the frozen house features: the whole adapter would cost the run again.
    """
    slope = per_doubling(curve)
    if slope is None:
        return ""
    house = next((f"{point.auc:.3f} with none, " for point in curve if not point.corrections), "")
    first, *_, last = [point for point in curve if point.corrections]
    figures = f"AUC {house}{first.auc:.3f} with {first.corrections}, {last.auc:.3f} with {last.corrections}"
    if slope < FLAT:
        pace = f"{slope:+.3f} a doubling: more of the same would hardly help"
    else:
        more = last.corrections * (2 ** (CLEAR_GAIN / slope) - 1)
        pace = f"{slope:+.3f} a doubling: about {_rounded(more)} more would bring another {CLEAR_GAIN}"
    return f"Learning curve of the head alone, out of fold: {figures}, {pace}."


def _rounded(count: float) -> int:
    return max(10, round(count / 10) * 10)
