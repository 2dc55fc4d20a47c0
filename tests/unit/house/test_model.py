"""Training: the loss sees only what is known, checkpoints lose nothing, folding changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mlops.house.mixture import Batchable
from mlops.house.model import HouseNet, masked_bce, pair_loss
from mlops.house.training import TrainingPlan, bucketed, train

from .conftest import disturb, fresh_net

PLAN = TrainingPlan(rows=24, batch=4, max_tokens=32, checkpoint_every=2)


def stream() -> Batchable:
    texts = ["abc", "you are bad", "so good", "hello hello", "zzz", "what a day"] * 4
    targets = np.array([[at % 2, (at + 1) % 2] for at in range(len(texts))], np.float32)
    weights = np.ones_like(targets)
    weights[:, 1] = 0.0
    return Batchable(texts, targets, weights, np.full(len(texts), -1, np.int64))


def test_masked_loss_ignores_labels_that_are_not_known() -> None:
    logits = torch.tensor([[2.0, -7.0], [-1.0, 9.0]], requires_grad=True)
    weights = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    losses = [masked_bce(logits, torch.tensor([[1.0, x], [0.0, y]]), weights) for x, y in ((0.0, 1.0), (1.0, 0.0))]
    assert losses[0].item() == losses[1].item()
    losses[0].backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[:, 1].abs().sum() == 0
    assert logits.grad[:, 0].abs().sum() > 0


def test_masked_loss_of_a_label_does_not_depend_on_how_many_rows_know_another() -> None:
    logits, targets = torch.zeros(4, 2), torch.ones(4, 2)
    weights = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    full = masked_bce(logits, targets, weights)
    alone = masked_bce(logits, targets, weights * torch.tensor([1.0, 0.0]))
    other = masked_bce(logits, targets, weights * torch.tensor([0.0, 1.0]))
    assert full.item() == pytest.approx(alone.item() + other.item())


def test_untrained_lora_changes_nothing(tiny_folder: Path) -> None:
    net = fresh_net(tiny_folder).eval()
    ids = net.encoder.windows(["abc def"]).ids
    with torch.no_grad():
        before = net.features(ids)
        for name, value in net.named_parameters():
            if name.endswith("lora_A"):
                value.mul_(100.0)
        assert torch.equal(net.features(ids), before)


def test_only_lora_and_heads_train(tiny_folder: Path) -> None:
    names = set(fresh_net(tiny_folder).trained_state())
    assert {"weight", "bias"} < names
    assert all("lora_" in name for name in names - {"weight", "bias"})


def test_folded_heads_give_the_same_logits(net: HouseNet) -> None:
    ids = net.encoder.windows(["abc", "you are bad"]).ids
    weight, bias = net.folded_heads()
    with torch.no_grad():
        assert torch.allclose(net.features(ids) @ weight.T + bias, net(ids), atol=1e-4)


def test_training_learns_the_known_label(tiny_folder: Path, tmp_path: Path) -> None:
    data, seen = stream(), []
    plan = TrainingPlan(rows=24, batch=4, max_tokens=32, head_rate=0.05)
    repeated = Batchable(
        data.texts * 20, np.tile(data.targets, (20, 1)), np.tile(data.weights, (20, 1)), np.tile(data.pairs, 20)
    )
    train(fresh_net(tiny_folder), repeated, plan, tmp_path / "c.pt", lambda _, loss, step: seen.append(loss))
    assert seen[-1] < 0.8 * seen[0]


def test_a_killed_training_resumes_to_the_same_weights(tiny_folder: Path, tmp_path: Path) -> None:
    whole = train(fresh_net(tiny_folder), stream(), PLAN, tmp_path / "whole.pt").trained_state()

    class Killed(Exception):
        pass

    interrupted = fresh_net(tiny_folder)
    steps = 0
    forward = interrupted.forward

    def counted(ids: list[list[int]]) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise Killed
        return forward(ids)

    interrupted.forward = counted  # type: ignore[method-assign,assignment]
    with pytest.raises(Killed):
        train(interrupted, stream(), PLAN, tmp_path / "part.pt")
    resumed = train(fresh_net(tiny_folder, seed=99), stream(), PLAN, tmp_path / "part.pt").trained_state()
    # Dropout draws differ after a restart; everything else must not.
    assert set(resumed) == set(whole)
    assert all(torch.isfinite(value).all() for value in resumed.values())
    assert torch.load(tmp_path / "part.pt", weights_only=True)["step"] == 6
    untouched = disturb(fresh_net(tiny_folder)).trained_state()
    name = next(name for name in whole if name.endswith("lora_A"))
    assert (resumed[name] - whole[name]).norm() < 0.2 * (untouched[name] - whole[name]).norm()


def test_batches_hold_every_row_once_and_similar_lengths() -> None:
    lengths = [[0] * (1 + (at * 7) % 50) for at in range(103)]
    pairs = np.full(103, -1, np.int64)
    pairs[10:12], pairs[40:42], pairs[42:44] = 0, 1, 1  # the third is the second pair, drawn again
    batches = bucketed(lengths, pairs, batch=8, seed=1)
    assert sorted(row for batch in batches for row in batch) == list(range(103))
    assert all(any({at, at + 1} <= set(batch) for batch in batches) for at in (10, 40, 42))
    spreads = [max(len(lengths[r]) for r in b) - min(len(lengths[r]) for r in b) for b in batches]
    assert sorted(spreads)[len(spreads) // 2] <= 8


def test_pair_loss_pulls_the_members_apart_on_what_flips_and_is_known() -> None:
    targets = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    weights = torch.ones(3, 2)
    pairs = torch.tensor([5, 5, -1])
    near = torch.tensor([[0.1, 3.0], [0.0, 3.0], [9.0, 9.0]], requires_grad=True)
    loss = pair_loss(near, targets, weights, pairs)
    loss.backward()  # type: ignore[no-untyped-call]
    assert near.grad is not None
    assert near.grad[0, 0] < 0 < near.grad[1, 0]
    assert not near.grad[:, 1].any()
    assert not near.grad[2].any()
    apart = torch.tensor([[9.0, 3.0], [-9.0, 3.0], [9.0, 9.0]])
    assert pair_loss(apart, targets, weights, pairs) < 0.01 < loss
    unknown = weights.clone()
    unknown[0, 0] = 0.0
    assert pair_loss(near, targets, unknown, pairs) == 0.0
