"""The house network in training: frozen encoder, LoRA on its upper layers, linear heads on the mean-pooled output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mlops.base.encoder import Encoder
from mlops.base.shape import linear_modules
from mlops.house.build import HEADS_FILE, LORA_FILE

RANK = 32
ALPHA = 64
HOUSE_LAYERS = 12


class LoraLinear(nn.Module):
    """A frozen linear plus a trained low-rank update: y = Wx + b + (alpha / rank) * up(down(x))."""

    def __init__(self, frozen: nn.Linear, rank: int = RANK, alpha: int = ALPHA) -> None:
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(torch.empty(rank, frozen.in_features))
        self.lora_B = nn.Parameter(torch.zeros(frozen.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        down = nn.functional.linear(x, self.lora_A.to(x.dtype))
        update = nn.functional.linear(down, (self.scale * self.lora_B).to(x.dtype))
        output: Tensor = self.frozen(x) + update
        return output


@dataclass(frozen=True)
class PoolStatistics:
    """Mean and deviation of pooled vectors before training, float32 [hidden]: heads see z-scores, folded on save."""

    mean: Tensor
    deviation: Tensor


class HouseNet(nn.Module):
    """Encoder with LoRA and heads; parameters that train are `lora_*`, `weight` and `bias`."""

    def __init__(self, encoder: Encoder, labels: int, pooled: PoolStatistics, layers: int = HOUSE_LAYERS) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooled = pooled
        encoder.model.set_attn_implementation("eager")  # its backward pass takes a fifth of the fused one on a CPU
        self.adapted = linear_modules(encoder.model, layers)
        for name in self.adapted:
            parent, _, child = name.rpartition(".")
            owner = encoder.model.get_submodule(parent)
            setattr(owner, child, LoraLinear(getattr(owner, child)))
        self.lora = nn.ModuleDict({name.replace(".", "/"): encoder.model.get_submodule(name) for name in self.adapted})
        self.weight = nn.Parameter(torch.zeros(labels, encoder.hidden_size))
        self.bias = nn.Parameter(torch.full((labels,), -2.0))

    def features(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Pooled vectors of token lists, float32 [n, hidden], with gradients."""
        batch = self.encoder.pad(ids)
        hidden = self.encoder.model(**batch).last_hidden_state
        return self.encoder.pool(hidden, batch["attention_mask"])

    def forward(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Logits [n, labels]."""
        scaled = (self.features(ids) - self.pooled.mean) / self.pooled.deviation
        scaled = nn.functional.dropout(scaled, 0.1, self.training)
        return nn.functional.linear(scaled, self.weight, self.bias)

    def lora_tensors(self) -> dict[str, Tensor]:
        """`{module}.lora_A` [rank, in] and `{module}.lora_B` [out, rank] of every adapted module."""
        tensors: dict[str, Tensor] = {}
        for name in self.adapted:
            module = self.encoder.model.get_submodule(name)
            tensors[f"{name}.lora_A"] = module.lora_A.detach()
            tensors[f"{name}.lora_B"] = module.lora_B.detach()
        return tensors

    def folded_heads(self) -> tuple[Tensor, Tensor]:
        """Weight and bias that apply to the raw pooled vector."""
        weight = (self.weight / self.pooled.deviation).detach()
        return weight, (self.bias - weight @ self.pooled.mean).detach()

    def trained_state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold."""
        return {name: value.detach() for name, value in self.named_parameters() if value.requires_grad}

    def load_trained(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self.named_parameters():
                if value.requires_grad:
                    value.copy_(state[name])


def masked_bce(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy where weight is positive: [n, labels] each -> scalar.

    Labels average separately, so that a head many rows know does not drown one few rows know; a head seen by one or two
    rows of the batch counts less than a full one.
    """
    losses = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weights
    return (losses.sum(0) / (weights.sum(0) + 2.0)).sum()


PAIR_MARGIN = 2.0


def pair_loss(logits: Tensor, targets: Tensor, weights: Tensor, pairs: Tensor) -> Tensor:
    """How far the members of contrast pairs are from standing `PAIR_MARGIN` apart on the labels that flip: a scalar.

    Near-identical messages get near-identical scores, and the usual loss is content with both near the threshold. Two
    members of a pair stand next to each other; [n, labels] each, pairs [n].
    """
    together = (pairs[1:] == pairs[:-1]) & (pairs[1:] >= 0)
    side = targets[1:] - targets[:-1]
    flips = side.abs() * (weights[1:] > 0) * (weights[:-1] > 0) * together.unsqueeze(1)
    apart = side * (logits[1:] - logits[:-1])
    return (nn.functional.softplus(PAIR_MARGIN - apart) * flips).sum() / (flips.sum() + 4.0)


def pool_statistics(encoder: Encoder, texts: Sequence[str]) -> PoolStatistics:
    """Statistics of the untrained encoder's pooled vectors over some texts."""
    vectors = encoder.pooled(encoder.windows(texts).ids)
    return PoolStatistics(vectors.mean(0), vectors.std(0).clamp(min=1e-3))


def save_weights(folder: Path, lora: dict[str, Tensor], weight: Tensor, bias: Tensor) -> None:
    """Write LoRA factors in float16 (they are merged in float32) and heads in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.to(torch.float16).contiguous() for name, value in lora.items()}, folder / LORA_FILE)
    save_file({"weight": weight.float().contiguous(), "bias": bias.float().contiguous()}, folder / HEADS_FILE)
