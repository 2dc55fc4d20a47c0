"""Plots for MLflow, as PNG bytes. Figures only: nothing of pyplot's global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from apaise_train.domain.jobs import CurvePoint, Judged

_BINS = 8


def epochs(curve: Sequence[Mapping[str, float]], kept: int) -> bytes:
    """Loss and out-of-fold AUC per epoch, the kept one marked."""
    figure, axes = _figure("Learning, out of fold", "epoch", "loss")
    passes = range(1, len(curve) + 1)
    axes.plot(passes, [point["train_loss"] for point in curve], label="training loss")
    axes.plot(passes, [point["validation_loss"] for point in curve], label="validation loss")
    axes.axvline(kept, color="grey", linestyle=":", label="kept")
    right = axes.twinx()
    right.plot(passes, [point["validation_auc"] for point in curve], color="tab:green", label="validation AUC")
    right.set_ylabel("AUC of remove")
    lines = [*axes.get_lines(), *right.get_lines()]
    axes.legend(lines, [line.get_label() for line in lines], fontsize=8)
    return _png(figure)


def learning_curve(curve: Sequence[CurvePoint], adapter: CurvePoint | None) -> bytes:
    """AUC over the number of corrections learnt from, the house's own at 0: the head alone, and the whole adapter."""
    figure, axes = _figure("Learning curve, out of fold", "corrections", "AUC of remove")
    axes.plot([point.corrections for point in curve], [point.auc for point in curve], marker="o", label="head alone")
    if adapter is not None:
        axes.plot(adapter.corrections, adapter.auc, marker="*", markersize=12, linestyle="", label="adapter")
    axes.legend(loc="lower right", fontsize=8)
    return _png(figure)


def reliability(scores: Sequence[float], truth: Sequence[bool]) -> bytes:
    """What was said against what came true, out of fold, in bins of equal width."""
    figure, axes = _figure("Reliability of remove, out of fold", "said", "came true")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    bins: list[list[int]] = [[] for _ in range(_BINS)]
    for row, score in enumerate(scores):
        bins[min(_BINS - 1, int(score * _BINS))].append(row)
    full = [rows for rows in bins if rows]
    said = [sum(scores[row] for row in rows) / len(rows) for rows in full]
    true = [sum(truth[row] for row in rows) / len(rows) for rows in full]
    axes.plot(said, true, marker="o")
    for x, y, rows in zip(said, true, full, strict=True):
        axes.annotate(str(len(rows)), (x, y), textcoords="offset points", xytext=(4, -10), fontsize=7)
    return _png(figure)


def confusion(judged: Judged, truth: Sequence[bool]) -> bytes:
    """Held-out reviews by what people and the candidate decided."""
    figure, axes = _figure("Held-out reviews", "candidate", "people")
    decided = [score >= judged.threshold for score in judged.scores]
    pairs = list(zip(truth, decided, strict=True))
    table = [[pairs.count((person, machine)) for machine in (False, True)] for person in (False, True)]
    axes.imshow(table, cmap="Blues")
    for person in range(2):
        for machine in range(2):
            count = table[person][machine]
            color = "white" if count > len(pairs) / 3 else "black"
            axes.text(machine, person, str(count), ha="center", va="center", color=color)
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks([0, 1], ["stays", "goes"])
    return _png(figure)


def _figure(title: str, x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6, 4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without the library's version and the date, the same run gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
