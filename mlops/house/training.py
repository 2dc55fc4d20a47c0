"""One pass over a sampled stream, with checkpoints it resumes from."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlops.base.encoder import Encoder
from mlops.house.mixture import Batchable
from mlops.house.model import HouseNet, masked_bce, pair_loss
from mlops.house.tracking import say

Report = Callable[[str, float, int], None]


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides the outcome besides the rows."""

    rows: int = 165_000
    batch: int = 32
    max_tokens: int = 64
    lora_rate: float = 6e-4
    head_rate: float = 2e-3
    warmup: float = 0.05
    decay: float = 0.01
    pair_weight: float = 2.0
    seed: int = 20
    checkpoint_every: int = 100

    def described(self) -> dict[str, Any]:
        return asdict(self)


def train(
    net: HouseNet, stream: Batchable, plan: TrainingPlan, checkpoint: Path, report: Report | None = None
) -> HouseNet:
    """Train in place; continues from `checkpoint` when it exists, and removes nothing (the caller owns the file)."""
    torch.manual_seed(plan.seed)
    ids = truncated_ids(net.encoder, stream.texts, plan.max_tokens)
    batches = bucketed(ids, stream.pairs, plan.batch, plan.seed)
    optimiser = _optimiser(net, plan)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, len(batches), plan.warmup))
    done, spent = _resume(checkpoint, net, optimiser, schedule)
    targets, weights = torch.from_numpy(stream.targets), torch.from_numpy(stream.weights)
    pairs = torch.from_numpy(stream.pairs)
    net.train()  # the heads only: the encoder stays in eval, its dropout only slows learning at this size
    net.encoder.model.eval()
    started, running = time.monotonic(), 0.0
    for step in range(done, len(batches)):
        rows = batches[step]
        logits = net([ids[row] for row in rows])
        loss = masked_bce(logits, targets[rows], weights[rows])
        if plan.pair_weight:
            loss = loss + plan.pair_weight * pair_loss(logits, targets[rows], weights[rows], pairs[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
        optimiser.step()
        schedule.step()
        running = loss.item() if step == done else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 50 == 0 or step + 1 == len(batches):
            rate = (step + 1 - done) * plan.batch / (time.monotonic() - started)
            say(f"  step {step + 1}/{len(batches)}  loss {running:.3f}  {rate:.0f} rows/s")
            if report:
                report("loss", running, step + 1)
        if (step + 1) % plan.checkpoint_every == 0 or step + 1 == len(batches):
            seconds = spent + time.monotonic() - started
            _save(checkpoint, step + 1, seconds, net, optimiser, schedule)
    net.eval()
    return net


def minutes_spent(checkpoint: Path) -> float:
    """Minutes of training behind a checkpoint, over all the times it was resumed."""
    return float(torch.load(checkpoint, weights_only=True)["seconds"]) / 60


def truncated_ids(encoder: Encoder, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """First window of each text, cut to `max_tokens` with its closing tokens kept."""
    windows = encoder.windows(texts)
    first: dict[int, list[int]] = {}
    for tokens, owner in zip(windows.ids, windows.owners, strict=True):
        first.setdefault(owner, tokens)
    return [
        tokens if len(tokens) <= max_tokens else [*tokens[: max_tokens - 1], tokens[-1]] for tokens in first.values()
    ]


def bucketed(
    ids: Sequence[Sequence[int]], pairs: NDArray[np.int64], batch: int, seed: int, pool: int = 24
) -> list[list[int]]:
    """Batches of about `batch` rows of similar length, a contrast pair always in one.

    The stream's order in pools, sorted inside a pool, batches shuffled.
    """
    chance = random.Random(seed)
    units = _units(pairs)
    batches: list[list[int]] = []
    for start in range(0, len(units), batch * pool):
        part = sorted(units[start : start + batch * pool], key=lambda unit: max(len(ids[row]) for row in unit))
        cut: list[list[int]] = [[]]
        for unit in part:
            if len(cut[-1]) >= batch:
                cut.append([])
            cut[-1] += unit
        chance.shuffle(cut)
        batches += cut
    return batches


def _units(pairs: NDArray[np.int64]) -> list[list[int]]:
    """Rows that stay together: neighbours of one pair, everything else alone."""
    units: list[list[int]] = []
    for row, pair in enumerate(pairs.tolist()):
        if pair >= 0 and row and pairs[row - 1] == pair and len(units[-1]) == 1:
            units[-1].append(row)
        else:
            units.append([row])
    return units


def _optimiser(net: HouseNet, plan: TrainingPlan) -> torch.optim.Optimizer:
    lora = [p for name, p in net.named_parameters() if p.requires_grad and "lora_" in name]
    heads = [net.weight, net.bias]
    groups = [{"params": lora, "lr": plan.lora_rate}, {"params": heads, "lr": plan.head_rate}]
    return torch.optim.AdamW(groups, weight_decay=plan.decay, betas=(0.9, 0.98))


def _rate(step: int, steps: int, warmup: float) -> float:
    ramp = max(1.0, steps * warmup)
    if step < ramp:
        return (step + 1) / ramp
    return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(1.0, steps - ramp)))


def _save(path: Path, step: int, seconds: float, net: HouseNet, optimiser: Any, schedule: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "step": step,
        "seconds": seconds,
        "net": net.trained_state(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
    }
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _resume(path: Path, net: HouseNet, optimiser: Any, schedule: Any) -> tuple[int, float]:
    if not path.is_file():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    net.load_trained(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    say(f"  resumed at step {state['step']}")
    return int(state["step"]), float(state["seconds"])
