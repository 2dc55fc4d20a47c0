"""The trainable part: PEFT's LoRA on the upper layers and the brand's own heads, over cached texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any, Final

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from apaise_train.worker.upper import UpperLayers
from mlops.base import BRAND_RANK, adapted_modules
from mlops.base.adapter import AdapterFiles
from mlops.base.encoder import Encoder, highest, length_sorted
from mlops.base.normalize import normalize

ALPHA: Final = 2 * BRAND_RANK
# A moderator's 32 KiB paste must not cost more than a whole evening of chat.
MAX_WINDOWS: Final = 8


@dataclass(frozen=True)
class Cached:
    """Texts as hidden states below the adapted layers: `windows[i]` are the windows of text i."""

    windows: list[list[Tensor]]

    def __len__(self) -> int:
        return len(self.windows)

    def length(self, row: int) -> int:
        """Tokens of a text's longest window."""
        return max(len(window) for window in self.windows[row])


class BrandNet(nn.Module):
    """House encoder with a fresh LoRA and a copy of the house heads.

    Heads see z-scores of the pooled vector (its raw dimensions differ by orders of magnitude and learn at odd speeds);
    `folded_heads` gives the ones that apply to the raw vector.
    """

    def __init__(self, encoder: Encoder, weight: Tensor, bias: Tensor) -> None:
        """`weight` [L, H] and `bias` [L] are the house's."""
        super().__init__()
        self._encoder = encoder
        self._upper = UpperLayers(encoder)
        config = LoraConfig(r=BRAND_RANK, lora_alpha=ALPHA, target_modules=adapted_modules(encoder.model), bias="none")
        self.peft: Any = get_peft_model(encoder.model, config)
        self._lora: dict[str, Any] = {
            name.removeprefix("base_model.model."): module
            for name, module in self.peft.named_modules()
            if hasattr(module, "lora_A") and "default" in module.lora_A
        }
        for module in self._lora.values():
            module.forward = MethodType(_lean_forward, module)
        self.register_buffer("house_weight", weight.clone())
        self.register_buffer("house_bias", bias.clone())
        self.register_buffer("mean", torch.zeros(weight.shape[1]))
        self.register_buffer("deviation", torch.ones(weight.shape[1]))
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())
        self.house_weight: Tensor
        self.house_bias: Tensor
        self.mean: Tensor
        self.deviation: Tensor

    def cache(self, texts: Sequence[str]) -> Cached:
        """Run the frozen lower layers on texts, normalised and cut into windows as serving does."""
        windows = self._encoder.windows([normalize(text) for text in texts])
        rows: list[list[int]] = [[] for _ in texts]
        for index, owner in enumerate(windows.owners):
            if len(rows[owner]) < MAX_WINDOWS:
                rows[owner].append(index)
        wanted = [index for row in rows for index in row]
        hidden = dict(zip(wanted, self._upper.capture([windows.ids[index] for index in wanted]), strict=True))
        return Cached([[hidden[index] for index in row] for row in rows])

    @contextmanager
    def shortened(self) -> Iterator[None]:
        """Inside, `forward`, `reset` and `scores` work; `cache` and `parity` work outside."""
        # The fused attention's backward pass takes four times as long as the plain one on a CPU, at these lengths.
        with self._upper.shortened(), sdpa_kernel(SDPBackend.MATH):
            yield

    def reset(self, generator: torch.Generator, cached: Cached | None = None) -> Tensor:
        """Back to the house: LoRA up-projections at zero, heads copied; with `cached`, z-scores set by its texts.

        What the heads see of these texts, [n, hidden], the mean of a text's windows; [0, hidden] without any.
        """
        vectors: list[Tensor] = []
        with torch.no_grad():
            for module in self._lora.values():
                down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
                bound = 1.0 / down.shape[1] ** 0.5
                down.copy_((torch.rand(down.shape, generator=generator) * 2 - 1) * bound)
                up.zero_()
            if cached is not None:
                vectors = self._vectors(cached)
                whole = torch.cat(vectors)
                self.mean.copy_(whole.mean(0))
                self.deviation.copy_(whole.std(0).clamp(min=1e-3) if len(whole) > 1 else self.deviation)
            self.set_heads(self.house_weight, self.house_bias)
            seen = [(each.mean(0) - self.mean) / self.deviation for each in vectors]
            return torch.stack(seen) if seen else torch.empty((0, len(self.mean)))

    def hold_back(self, strength: float) -> None:
        """Go only this far, 0 to 1, from the house toward what was learnt.

        Wortsman et al., "Robust fine-tuning of zero-shot models" (2022), on the LoRA's up-projections and the heads.
        """
        house = self.house_weight * self.deviation, self.house_bias + self.house_weight @ self.mean
        with torch.no_grad():
            for module in self._lora.values():
                module.lora_B["default"].weight.mul_(strength)
            for learnt, origin in zip((self.weight, self.bias), house, strict=True):
                learnt.copy_(torch.lerp(origin, learnt, strength))

    def set_heads(self, weight: Tensor, bias: Tensor) -> None:
        """Take heads that apply to the raw pooled vector."""
        with torch.no_grad():
            self.weight.copy_(weight * self.deviation)
            self.bias.copy_(bias + weight @ self.mean)

    def folded_heads(self) -> tuple[Tensor, Tensor]:
        """Weight [L, H] and bias [L] for the raw pooled vector."""
        weight = (self.weight / self.deviation).detach()
        return weight, (self.bias - weight @ self.mean).detach()

    def load(self, adapter: AdapterFiles, labels: Sequence[str]) -> None:
        """Become another adapter of the same encoder (to be judged, not trained)."""
        scaling = ALPHA / BRAND_RANK
        with torch.no_grad():
            for name, module in self._lora.items():
                down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
                down.zero_()
                up.zero_()
                if name in adapter.down:
                    rank = len(adapter.down[name])
                    down[:rank].copy_(adapter.down[name])
                    up[:, :rank].copy_(adapter.up[name] / scaling)
        order = [adapter.manifest.labels.index(label) for label in labels]
        self.set_heads(adapter.weight[order], adapter.bias[order])

    def forward(self, cached: Cached, rows: Sequence[int], dropout: float = 0.0) -> Tensor:
        """Logits [rows, L]: the highest of a text's windows, as serving reads it."""
        vectors, owners = self._pooled(cached, rows)
        scaled = nn.functional.dropout((vectors - self.mean) / self.deviation, dropout, dropout > 0)
        logits = nn.functional.linear(scaled, self.weight, self.bias)
        return logits if len(owners) == len(rows) else highest(logits, owners, len(rows))

    @torch.no_grad()
    def scores(self, cached: Cached, rows: Iterable[int] | None = None) -> Tensor:
        """Logits [rows, L] of all rows or some, in order, without gradients."""
        wanted = list(range(len(cached)) if rows is None else rows)
        out = torch.empty((len(wanted), len(self.bias)))
        for batch in batches(cached, 64, wanted):
            out[batch] = self(cached, [wanted[at] for at in batch])
        return out

    @torch.no_grad()
    def parity(self, texts: Sequence[str]) -> list[list[float]]:
        """Probabilities [texts][L] through the whole model, as the serving engine computes them."""
        windows = self._encoder.windows([normalize(text) for text in texts])
        weight, bias = self.folded_heads()
        vectors = self._encoder.pooled(windows.ids)
        logits = highest(vectors @ weight.T + bias, windows.owners, len(texts))
        return [[round(float(value), 4) for value in row] for row in logits.sigmoid()]

    def groups(self) -> Mapping[str, list[nn.Parameter]]:
        """What trains: `lora` and `heads`."""
        lora = [parameter for name, parameter in self.peft.named_parameters() if "lora_" in name]
        return {"lora": lora, "heads": [self.weight, self.bias]}

    def _vectors(self, cached: Cached) -> list[Tensor]:
        """Of each text, its windows' pooled vectors, [windows, hidden]."""
        found: list[Tensor] = [torch.empty(0)] * len(cached)
        for batch in batches(cached, 64):
            parts = self._pooled(cached, batch)[0].split_with_sizes([len(cached.windows[row]) for row in batch])
            for row, part in zip(batch, parts, strict=True):
                found[row] = part
        return found

    def _pooled(self, cached: Cached, rows: Sequence[int]) -> tuple[Tensor, list[int]]:
        hidden = [window for row in rows for window in cached.windows[row]]
        owners = [at for at, row in enumerate(rows) for _ in cached.windows[row]]
        return self._upper.pooled(hidden), owners


def _lean_forward(module: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """What PEFT's own forward computes for one plain LoRA, in the encoder's type throughout, as the engine does.

    PEFT goes through float32 and back in each of the 24 layers: a third of the time of a step.
    """
    down, up = module.lora_A["default"].weight, module.lora_B["default"].weight * module.scaling["default"]
    low = nn.functional.linear(x, down.to(x.dtype))
    output: Tensor = module.base_layer(x) + nn.functional.linear(low, up.to(x.dtype))
    return output


def batches(cached: Cached, size: int, rows: Sequence[int] | None = None) -> list[list[int]]:
    """Positions in `rows` (default: all rows) in batches of similar length."""
    wanted = range(len(cached)) if rows is None else rows
    return list(length_sorted([range(cached.length(row)) for row in wanted], size))
