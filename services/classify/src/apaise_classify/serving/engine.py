"""One encoder pass over a batch of mixed brands: each row gets its own low-rank update and its own heads.

The tensors of every resident adapter are stacked by *slot*; slot 0 holds zeros and the house's heads, so a row without
an adapter is not a special case. For a batch of n rows, the slots' tensors are gathered once per module and applied as
two batched products:  y = W x + b + (x A_s) B_s, with s the row's slot. There is no loop over brands, and a row's
arithmetic never sees its neighbours.

Shapes: n rows, t tokens, H hidden size, r rank, S slots, L labels (all of `apaise_kit.core.labels.LABELS`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from apaise_classify.domain.reading import Span
from apaise_classify.serving.edition import HOUSE_SLOT, ROW_OF, Scores, house_edition
from apaise_classify.serving.explain import pieces, spans
from apaise_kit.core.labels import LABELS
from mlops.base import BRAND_RANK, adapted_modules
from mlops.base.adapter import AdapterFiles, read_adapter, wrong_shape
from mlops.base.encoder import Encoder, highest, length_sorted
from mlops.base.normalize import normalize_with_offsets
from mlops.house import House, load_heads

FIRST_CAPACITY: Final = 8


class RowSlots:
    """Which slot each row of the pass under way uses; None outside a pass and when every row is the house's."""

    def __init__(self) -> None:
        self.index: Tensor | None = None

    @contextmanager
    def of(self, slots: Sequence[int], device: torch.device) -> Iterator[Tensor]:
        """Bind a pass's slots, [n]."""
        index = torch.tensor(slots, dtype=torch.long, device=device)
        self.index = index if any(slots) else None
        try:
            yield index
        finally:
            self.index = None


class AdaptedLinear(nn.Module):
    """A frozen linear module with a bank of low-rank updates, one per slot."""

    def __init__(self, inner: nn.Linear, rows: RowSlots, capacity: int) -> None:
        super().__init__()
        self.inner = inner
        self._rows = rows
        like = inner.weight
        self._down = like.new_zeros(capacity, inner.in_features, BRAND_RANK)
        self._up = like.new_zeros(capacity, BRAND_RANK, inner.out_features)

    def forward(self, x: Tensor) -> Tensor:
        """[n, t, in] -> [n, t, out]."""
        y: Tensor = self.inner(x)
        slots = self._rows.index
        if slots is None:
            return y
        low = torch.bmm(x, self._down.index_select(0, slots))
        return torch.baddbmm(y, low, self._up.index_select(0, slots))

    def grow(self, capacity: int) -> None:
        """Longer banks with the same content."""
        self._down = _grown(self._down, capacity)
        self._up = _grown(self._up, capacity)

    def write(self, slot: int, down: Tensor, up: Tensor) -> None:
        """Fill a slot from PEFT's lora_A [r, in] and scaled lora_B [out, r]; ranks below the bank's leave zeros."""
        rank = len(down)
        self._down[slot] = 0
        self._up[slot] = 0
        self._down[slot, :, :rank] = down.T
        self._up[slot, :rank] = up.T


class HeadBank:
    """Every slot's heads in float32: weight [S, L, H], bias [S, L]. A label a slot does not have scores 0."""

    def __init__(self, hidden: int, capacity: int, device: torch.device) -> None:
        self._weight = torch.zeros(capacity, len(LABELS), hidden, device=device)
        self._bias = torch.full((capacity, len(LABELS)), -torch.inf, device=device)

    def logits(self, pooled: Tensor, slots: Tensor) -> Tensor:
        """[n, H] and [n] -> [n, L]."""
        weight, bias = self._weight.index_select(0, slots), self._bias.index_select(0, slots)
        return torch.baddbmm(bias.unsqueeze(2), weight, pooled.unsqueeze(2)).squeeze(2)

    def write(self, slot: int, labels: Sequence[str], weight: Tensor, bias: Tensor) -> None:
        """Fill a slot from heads [len(labels), H] and [len(labels)]."""
        rows = [ROW_OF[label] for label in labels]
        self._weight[slot] = 0
        self._bias[slot] = -torch.inf
        self._weight[slot, rows] = weight.to(self._weight)
        self._bias[slot, rows] = bias.to(self._bias)

    def grow(self, capacity: int) -> None:
        """Longer banks with the same content; new slots have no label."""
        used = len(self._bias)
        self._weight, self._bias = _grown(self._weight, capacity), _grown(self._bias, capacity)
        self._bias[used:] = -torch.inf


def _grown(bank: Tensor, capacity: int) -> Tensor:
    longer = bank.new_zeros(capacity, *bank.shape[1:])
    longer[: len(bank)] = bank
    return longer


class Engine:
    """The house encoder with its banks. Works on any BERT-like model: it wraps the linear modules it finds."""

    def __init__(self, encoder: Encoder, house: House, batch_rows: int = 32) -> None:
        """Wrap the encoder's adapted modules in place.

        Args:
            encoder: the house encoder, in eval mode; the engine owns it from now on.
            house: its heads, thresholds and revisions.
            batch_rows: rows of one padded sub-batch; 16 to 64 is best on a CPU.
        """
        self._encoder = encoder
        self._batch_rows = batch_rows
        self._rows = RowSlots()
        self._capacity = FIRST_CAPACITY
        self._modules = {
            name: _wrap(encoder.model, name, self._rows, self._capacity) for name in adapted_modules(encoder.model)
        }
        self._heads = HeadBank(encoder.hidden_size, self._capacity, encoder.device)
        self._heads.write(HOUSE_SLOT, house.labels, *load_heads(house.heads))
        self.house = house_edition(house)

    @property
    def capacity(self) -> int:
        """Slots, the house's included."""
        return self._capacity

    @torch.inference_mode()
    def grow(self, capacity: int) -> None:
        """Make room; what is resident stays where it is."""
        for module in self._modules.values():
            module.grow(capacity)
        self._heads.grow(capacity)
        self._capacity = capacity

    def load(self, folder: Path) -> AdapterFiles:
        """Read an adapter's folder, refuse one whose modules, shapes or labels are not the ones served.

        Raises:
            AdapterRefused: ADAPTER_CORRUPT or ADAPTER_WRONG_SHAPE.
        """
        files = read_adapter(folder)
        self._check(files)
        return files

    def _check(self, files: AdapterFiles) -> None:
        if set(files.down) != set(self._modules):
            raise wrong_shape("The adapter does not touch exactly the modules brands adapt.")
        for name, module in self._modules.items():
            inner = module.inner
            if files.down[name].shape[1] != inner.in_features or files.up[name].shape[0] != inner.out_features:
                raise wrong_shape("The adapter's matrices do not fit the encoder.")
        if files.weight.shape[1] != self._encoder.hidden_size:
            raise wrong_shape("The adapter's heads do not fit the encoder.")
        # A label silently gone from a brand's assessments would disarm every clause that reads it.
        if not set(self.house.labels) <= set(files.manifest.labels):
            raise wrong_shape("The adapter lacks labels the house has.")

    @torch.inference_mode()
    def install(self, slot: int, files: AdapterFiles) -> None:
        """Write an adapter into a slot that no row uses."""
        for name, module in self._modules.items():
            module.write(slot, files.down[name], files.up[name])
        self._heads.write(slot, files.manifest.labels, files.weight, files.bias)

    @torch.inference_mode()
    def read(self, texts: Sequence[str], slots: Sequence[int]) -> tuple[Scores, list[bool]]:
        """Probabilities float64 [n, L], 3 decimals, and whether each text took several windows (the highest wins)."""
        windows = self._encoder.windows(texts)
        logits = self._logits(windows.ids, [slots[owner] for owner in windows.owners])
        best: Scores = highest(logits.sigmoid(), windows.owners, len(texts)).double().numpy()
        return np.round(best, 3), windows.truncated

    def _logits(self, ids: Sequence[Sequence[int]], slots: Sequence[int]) -> Tensor:
        """Logits [windows, L] of token lists, each by its slot."""
        logits = torch.empty(len(ids), len(LABELS))
        for rows in length_sorted(ids, self._batch_rows):
            batch = self._encoder.pad([ids[row] for row in rows])
            with self._rows.of([slots[row] for row in rows], self._encoder.device) as index:
                hidden = self._encoder.model(**batch).last_hidden_state
            pooled = self._encoder.pool(hidden, batch["attention_mask"])
            logits[rows] = self._heads.logits(pooled, index).cpu()
        return logits

    @torch.inference_mode()
    def explain(self, text: str, slot: int, labels: Sequence[str]) -> list[Span]:
        """The words of a text, as it was given, behind each of these labels; of a long text, in the best window."""
        read = normalize_with_offsets(text)
        tokens, offsets = self._encoder.tokens(read.text)
        windows = self._encoder.cut(len(tokens))
        whole = self._logits([self._framed(tokens, window) for window in windows], [slot] * len(windows))
        best = {label: int(whole[:, ROW_OF[label]].argmax()) for label in labels}
        found: list[Span] = []
        for at in sorted(set(best.values())):
            window = windows[at]
            parts = pieces(offsets[window.start : window.stop], read.text)
            parts = [range(window.start + part.start, window.start + part.stop) for part in parts]
            without = self._logits([self._framed(tokens, window, part) for part in parts], [slot] * len(parts))
            drops = (whole[at] - without).double().numpy()
            for label in (label for label in labels if best[label] == at):
                found += spans(label, drops[:, ROW_OF[label]], parts, offsets, read)
        return found

    def _framed(self, tokens: Sequence[int], window: range, without: range = range(0)) -> list[int]:
        """A window as the encoder reads it, less some of its tokens."""
        start, end = self._encoder.frame
        return [*start, *(tokens[at] for at in window if at not in without), *end]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, H] of the house encoder: outside `read` no adapter is bound."""
        return self._encoder.embed(texts)


def _wrap(model: nn.Module, name: str, rows: RowSlots, capacity: int) -> AdaptedLinear:
    parent, _, leaf = name.rpartition(".")
    inner = model.get_submodule(name)
    assert isinstance(inner, nn.Linear)
    wrapped = AdaptedLinear(inner, rows, capacity)
    setattr(model.get_submodule(parent), leaf, wrapped)
    return wrapped
