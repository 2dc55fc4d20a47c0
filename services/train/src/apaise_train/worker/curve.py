"""The learning curve over the number of corrections, from the head of `remove` alone.

Refits of the whole adapter on parts of the rows would cost as much as the run itself: a small brand's steps do not fall
with its rows. The head alone, a logistic regression on the frozen house features that starts from what the house says,
costs hundredths of a run. It tells whether the brand's corrections still teach, not how good the adapter is.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from apaise_train.domain.gate import auc
from apaise_train.domain.jobs import CurvePoint
from apaise_train.worker.learning import Lesson

SHARES: Final = (0.25, 0.5, 0.75, 1.0)
DRAWS: Final = 3
RIDGE: Final = 100.0
"""Pull of the head toward the house's: of 3, 10, 30, 100, 300 and 1000 the best over sixteen brands."""

Reader = Callable[[Sequence[int], Sequence[int]], Tensor]
"""Logits of `remove` of rows (the second) by whoever learnt from rows (the first)."""


def head_curve(lesson: Lesson, features: Tensor, folds: Sequence[Sequence[int]], seed: int) -> tuple[CurvePoint, ...]:
    """The curve of the head alone; features are the house's, [n, hidden]. See `curve_of`."""
    return curve_of(lesson, folds, seed, partial(head_scores, lesson, features))


def curve_of(
    lesson: Lesson, folds: Sequence[Sequence[int]], seed: int, read: Reader, draws: int = DRAWS
) -> tuple[CurvePoint, ...]:
    """AUC on each fold after learning from parts of the others, the house's own first; means over folds and draws.

    Empty when no fold has both decisions. Parts are drawn by `seed` alone, so that what the lesson itself learns does
    not depend on this.
    """
    chance = torch.Generator().manual_seed(seed)
    truth = lesson.targets.wanted[:, lesson.remove] > 0.5
    found: dict[float, list[tuple[int, float]]] = {}
    for fold in folds:
        if len(set(truth[fold].tolist())) < 2:
            continue
        held = set(fold)
        rest = [row for row in range(len(truth)) if row not in held]
        found.setdefault(0.0, []).append((0, _ranked(lesson.house[fold, lesson.remove], truth[fold])))
        for share in SHARES:
            for _ in range(draws if share < 1 else 1):
                rows = _part(rest, truth, share, chance)
                found.setdefault(share, []).append((len(rows), _ranked(read(rows, fold), truth[fold])))
    return tuple(_mean(points) for _, points in sorted(found.items()))


def of_folds(scores: Tensor, truth: Sequence[bool], folds: Sequence[Sequence[int]]) -> CurvePoint | None:
    """The same measure of scores that were read out of fold, to stand beside the curve; None where it has no point."""
    points = [
        (len(truth) - len(fold), found)
        for fold in folds
        if (found := auc([truth[row] for row in fold], scores[list(fold)].tolist())) is not None
    ]
    return _mean(points) if points else None


def _mean(points: Sequence[tuple[int, float]]) -> CurvePoint:
    counts, aucs = zip(*points, strict=True)
    return CurvePoint(round(statistics.mean(counts)), round(statistics.mean(aucs), 4))


def _ranked(scores: Tensor, truth: Tensor) -> float:
    found = auc(truth.tolist(), scores.tolist())
    assert found is not None, "a fold with both decisions"
    return found


def _part(rows: Sequence[int], truth: Tensor, share: float, chance: torch.Generator) -> list[int]:
    """A random share of the rows, the same of each decision."""
    part: list[int] = []
    for side in (True, False):
        mine = [row for row in rows if bool(truth[row]) is side]
        part += [mine[at] for at in torch.randperm(len(mine), generator=chance)[: round(share * len(mine))].tolist()]
    return part


def head_scores(lesson: Lesson, features: Tensor, rows: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """Logits of `remove` of the wanted rows by a head that learnt from `rows`, features [n, hidden]."""
    x, house = features.double(), lesson.house[:, lesson.remove].double()
    truth, weights = lesson.targets.wanted[rows, lesson.remove].double(), lesson.targets.weights[rows].double()
    taught, before = x[rows], house[rows]
    theta = torch.zeros(x.shape[1] + 1, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=30, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        said = bce(before + taught @ theta[:-1] + theta[-1], truth, weight=weights, reduction="sum")
        value = said + 0.5 * RIDGE * (theta[:-1] ** 2).sum()
        torch.autograd.backward(value)
        return value

    optimizer.step(objective)  # type: ignore[no-untyped-call]  # untyped in torch
    return (house[wanted] + x[wanted] @ theta[:-1] + theta[-1]).detach()
