"""How a brand's adapter is learnt: folds to choose when to stop and where to cut, then one fit on everything."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from apaise_train.domain.gate import auc
from apaise_train.worker.net import BrandNet, Cached, batches


@dataclass(frozen=True)
class Recipe:
    """What may be turned.

    Attributes:
        epochs: passes over the rows of a large brand.
        steps: a small brand's rows are passed over more often, until they have made this many steps.
        folds: parts of the training rows, each judged by a model that has not seen it.
        batch: rows a step.
        lora_rate, head_rate: peak learning rates, reached after the first tenth of the steps, then falling to zero.
        decay: weight decay of the LoRA factors.
        anchor: pull of the heads toward the house's, for brands with little to say.
        distil: weight of "every label nobody spoke of stays as the house reads it".
        dropout: on the pooled vector.
        held_back: how far a brand goes from the house toward what was learnt when its folds speak against all the way.
        clear: out-of-fold AUC by which fewer epochs, or holding back, must be better to be preferred.
    """

    epochs: int = 5
    steps: int = 75
    folds: int = 3
    batch: int = 16
    lora_rate: float = 2e-3
    head_rate: float = 3e-3
    decay: float = 0.01
    anchor: float = 1e-3
    distil: float = 1.0
    dropout: float = 0.1
    held_back: float = 0.5
    clear: float = 0.01

    def passes(self, rows: int) -> int:
        """Epochs for this many rows."""
        return max(self.epochs, round(self.steps * self.batch / max(1, rows)))


@dataclass(frozen=True)
class Targets:
    """What each row should read: [n, L] of 0, 1 or the house's probability; which a person stated; weights [n]."""

    wanted: Tensor
    stated: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Fitted:
    """How learning went: epochs and strength kept, mean losses per epoch, out-of-fold logits of `remove` with them."""

    epochs: int
    strength: float
    curve: tuple[dict[str, float], ...]
    out_of_fold: Tensor


def loss_of(logits: Tensor, house: Tensor, targets: Targets, rows: Sequence[int], remove: int, distil: float) -> Tensor:
    """Cross-entropy on what people stated (`remove` first, other labels beside it), distillation on everything else."""
    wanted, stated, weights = targets.wanted[rows], targets.stated[rows], targets.weights[rows].unsqueeze(1)
    losses = bce(logits, wanted, reduction="none")
    # The least a soft target allows is its own entropy: without it, the loss would say nothing about drift.
    floor = bce(house, wanted, reduction="none")
    said = losses * stated * weights
    others = stated.clone()
    others[:, remove] = 0.0
    judged = said[:, remove].sum() / (stated[:, remove] * weights.squeeze(1)).sum().clamp(min=1e-6)
    labelled = (said * others).sum() / (others * weights).sum().clamp(min=1.0)
    kept = 1.0 - stated
    drift = ((losses - floor) * kept).sum() / len(rows)
    return judged + 0.5 * labelled + distil * drift


@dataclass(frozen=True)
class Lesson:
    """All that learning works on: `house` holds the house's logits [n, L], `remove` the column it is about."""

    net: BrandNet
    cached: Cached
    targets: Targets
    house: Tensor
    remove: int
    recipe: Recipe
    generator: torch.Generator


def fit(lesson: Lesson, rows: Sequence[int], epochs: int) -> Iterator[float]:
    """Train from the house on `rows`; yields the mean loss after each epoch."""
    net, recipe, generator = lesson.net, lesson.recipe, lesson.generator
    torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
    net.reset(generator)
    groups = net.groups()
    optimizer = torch.optim.AdamW(
        [
            {"params": groups["lora"], "lr": recipe.lora_rate, "weight_decay": recipe.decay},
            {"params": groups["heads"], "lr": recipe.head_rate, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    origin = [parameter.detach().clone() for parameter in groups["heads"]]
    steps = epochs * max(1, -(-len(rows) // recipe.batch))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    for _ in range(epochs):
        total = 0.0
        for batch in _shuffled(lesson.cached, rows, recipe.batch, generator):
            logits = net(lesson.cached, batch, recipe.dropout)
            loss = loss_of(logits, lesson.house[batch], lesson.targets, batch, lesson.remove, recipe.distil)
            pulled = [((now - then) ** 2).sum() for now, then in zip(groups["heads"], origin, strict=True)]
            optimizer.zero_grad()
            torch.autograd.backward(loss + recipe.anchor * torch.stack(pulled).sum())
            torch.nn.utils.clip_grad_norm_([*groups["lora"], *groups["heads"]], 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        yield total / len(rows)


def cross_fit(lesson: Lesson, folds: Sequence[Sequence[int]]) -> Generator[float, None, Fitted]:
    """Train on all folds but one, each in turn, and see out of fold whether to stop early or to stay near the house.

    Yields the part done, 0 to 1, after each epoch.
    """
    n, net = len(lesson.cached), lesson.net
    epochs = lesson.recipe.passes(n)
    scores = torch.zeros((epochs + 1, n))  # the last: all epochs, then held back
    losses = torch.zeros(epochs)
    for turn, fold in enumerate(folds):
        held = set(fold)
        rest = [row for row in range(n) if row not in held]
        for epoch, loss in enumerate(fit(lesson, rest, epochs)):
            scores[epoch, list(fold)] = net.scores(lesson.cached, fold)[:, lesson.remove]
            losses[epoch] += loss / len(folds)
            yield (turn * epochs + epoch + 1) / (len(folds) * epochs)
        net.hold_back(lesson.recipe.held_back)
        scores[epochs, list(fold)] = net.scores(lesson.cached, fold)[:, lesson.remove]
    ranked = _ranked(lesson, scores)
    curve = tuple(
        {"train_loss": float(losses[epoch]), **{f"validation_{name}": value for name, value in ranked[epoch].items()}}
        for epoch in range(epochs)
    )
    kept = _kept([each["auc"] for each in ranked], lesson.recipe.clear)
    if kept == epochs:
        return Fitted(epochs, lesson.recipe.held_back, curve, scores[kept])
    return Fitted(kept + 1, 1.0, curve, scores[kept])


def _ranked(lesson: Lesson, scores: Tensor) -> list[dict[str, float]]:
    truth, weights = lesson.targets.wanted[:, lesson.remove], lesson.targets.weights
    yes = [value > 0.5 for value in truth.tolist()]
    return [{"loss": float(bce(each, truth, weight=weights)), "auc": auc(yes, each.tolist()) or 0.5} for each in scores]


def _kept(aucs: Sequence[float], clear: float) -> int:
    """Which to keep of the AUC after each epoch and, last, held back: all epochs, unless another is clearly better."""
    whole = len(aucs) - 2
    best = max(range(len(aucs)), key=lambda at: aucs[at])
    return best if aucs[best] >= aucs[whole] + clear else whole


def make_folds(keys: Sequence[str], classes: Sequence[bool], folds: int, generator: torch.Generator) -> list[list[int]]:
    """Rows dealt into folds: equal keys (copies of a text) together, both classes spread evenly."""
    groups: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    dealt: list[list[int]] = [[] for _ in range(folds)]
    for side in (True, False):
        mine = [rows for rows in groups.values() if classes[rows[-1]] is side]
        for at, index in enumerate(torch.randperm(len(mine), generator=generator).tolist()):
            dealt[at % folds] += mine[index]
    return [sorted(fold) for fold in dealt if fold]


def calibration(logits: Tensor, truth: Tensor, weights: Tensor) -> tuple[float, float]:
    """Platt's slope and offset, held near (1, 0) when there is little to go by.

    Platt, "Probabilistic outputs for support vector machines" (1999).
    """
    x, y, w = logits.double(), truth.double(), weights.double()
    theta = torch.tensor([1.0, 0.0], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=100, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        pull = (theta[0] - 1.0) ** 2 + theta[1] ** 2
        value = bce(theta[0] * x + theta[1], y, weight=w, reduction="sum") + pull
        torch.autograd.backward(value)
        return value

    optimizer.step(objective)  # type: ignore[no-untyped-call]  # untyped in torch
    slope, offset = theta.detach().tolist()
    # A slope that turns the ranking over, or flattens it, is noise: the ranking was chosen for being good.
    return min(max(slope, 0.2), 5.0), min(max(offset, -5.0), 5.0)


def best_threshold(scores: Sequence[float], truth: Sequence[bool]) -> float:
    """The cut with the best balanced accuracy, in the middle of the scores it separates; 0.5 when all are alike."""
    positives = sum(truth)
    negatives = len(truth) - positives
    levels = sorted(set(scores))
    if not positives or not negatives or len(levels) < 2:
        return 0.5
    cuts = [(low + high) / 2 for low, high in pairwise(levels)]

    def balanced(cut: float) -> float:
        hit = sum(score >= cut for score, yes in zip(scores, truth, strict=True) if yes)
        kept = sum(score < cut for score, yes in zip(scores, truth, strict=True) if not yes)
        return hit / positives + kept / negatives

    # Many cuts are about equally good: the middle of them does not hang on one review.
    values = [balanced(cut) for cut in cuts]
    good = [cut for cut, value in zip(cuts, values, strict=True) if value >= max(values) - 0.01]
    return good[len(good) // 2]


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    return (step + 1) / warm if step < warm else max(0.02, (steps - step) / max(1, steps - warm))


def _shuffled(cached: Cached, rows: Sequence[int], size: int, generator: torch.Generator) -> list[list[int]]:
    """Batches of similar length in random order: little padding, and another mixture each epoch."""
    order = [rows[at] for at in torch.randperm(len(rows), generator=generator).tolist()]
    chunk = size * 8
    mixed: list[list[int]] = []
    for start in range(0, len(order), chunk):
        part = order[start : start + chunk]
        mixed += [[part[at] for at in batch] for batch in batches(cached, size, part)]
    return [mixed[at] for at in torch.randperm(len(mixed), generator=generator).tolist()]
