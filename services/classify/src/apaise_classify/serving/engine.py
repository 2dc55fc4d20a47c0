"""One encoder pass over a batch of mixed brands: each row gets its own low-rank updates and its own heads.

The tensors of every resident adapter are stacked by *slot*; slot 0 holds zeros and the house's heads, so a row without
an adapter is not a special case. Rows are packed end to end (`packing`), go through the encoder together (`forward`),
and each is judged by its own slot's heads. Reading may happen on several threads at once; slots are written by one
task, never one that a row of a pass under way uses.

Shapes: n rows, H hidden size, S slots, L labels (all of `apaise_kit.core.labels.LABELS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from apaise_classify.domain.reading import Span
from apaise_classify.serving.edition import HOUSE_SLOT, ROW_OF, Scores, Traces, house_edition
from apaise_classify.serving.explain import pieces, spans
from apaise_classify.serving.forward import Forward, Updates, grown
from apaise_classify.serving.packing import pack
from apaise_kit.core.labels import LABELS
from mlops.base import adapted_modules
from mlops.base.adapter import AdapterFiles, read_adapter, wrong_shape
from mlops.base.encoder import Encoder, highest
from mlops.base.normalize import normalize_with_offsets
from mlops.house import House, load_heads

FIRST_CAPACITY: Final = 8
# A pass over more tokens is no faster for each of them, and keeps the next caller waiting.
PASS_TOKENS: Final = 4096


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

    @property
    def bytes(self) -> int:
        """Memory of both banks."""
        return self._weight.nbytes + self._bias.nbytes

    def grow(self, capacity: int) -> None:
        """Longer banks with the same content; new slots have no label."""
        longer = grown(self._bias, capacity)
        longer[len(self._bias) :] = -torch.inf
        self._weight, self._bias = grown(self._weight, capacity), longer


class Engine:
    """The house encoder with its banks."""

    def __init__(self, encoder: Encoder, house: House, pass_tokens: int = PASS_TOKENS) -> None:
        """Take over an encoder.

        Args:
            encoder: the house encoder, in eval mode; the engine owns it from now on.
            house: its heads, thresholds and revisions.
            pass_tokens: most tokens of one pass; a larger batch takes several.

        Raises:
            BaseModelError: the encoder does not have BERT's layout.
        """
        self._encoder = encoder
        self._pass_tokens = pass_tokens
        self._capacity = FIRST_CAPACITY
        self._forward = Forward.of(encoder.model, adapted_modules(encoder.model), self._capacity)
        self._heads = HeadBank(encoder.hidden_size, self._capacity, encoder.device)
        self._heads.write(HOUSE_SLOT, house.labels, *load_heads(house.heads))
        self.house = house_edition(house)

    @property
    def capacity(self) -> int:
        """Slots, the house's included."""
        return self._capacity

    @property
    def slot_bytes(self) -> int:
        """Memory of one resident adapter: its part of every bank."""
        return (self._forward.bytes + self._heads.bytes) // self._capacity

    @torch.inference_mode()
    def grow(self, capacity: int) -> None:
        """Make room; what is resident stays where it is."""
        self._forward.grow(capacity)
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
        if set(files.down) != set(self._forward.adapted):
            raise wrong_shape("The adapter does not touch exactly the modules brands adapt.")
        for name in files.down:
            inputs, outputs = self._forward.shape(name)
            if files.down[name].shape[1] != inputs or files.up[name].shape[0] != outputs:
                raise wrong_shape("The adapter's matrices do not fit the encoder.")
        if files.weight.shape[1] != self._encoder.hidden_size:
            raise wrong_shape("The adapter's heads do not fit the encoder.")
        # A label silently gone from a brand's assessments would disarm every clause that reads it.
        if not set(self.house.labels) <= set(files.manifest.labels):
            raise wrong_shape("The adapter lacks labels the house has.")

    @torch.inference_mode()
    def install(self, slot: int, files: AdapterFiles) -> None:
        """Write an adapter into a slot that no row uses."""
        self._forward.write(slot, files.down, files.up)
        self._heads.write(slot, files.manifest.labels, files.weight, files.bias)

    @torch.inference_mode()
    def read(self, texts: Sequence[str], slots: Sequence[int]) -> tuple[Scores, list[bool]]:
        """Probabilities float64 [n, L], 3 decimals, and whether each text took several windows (the highest wins)."""
        scores, truncated, _ = self.traced(texts, slots)
        return scores, truncated

    @torch.inference_mode()
    def traced(self, texts: Sequence[str], slots: Sequence[int]) -> tuple[Scores, list[bool], Traces]:
        """What `read` gives, and each text's trace: its unit vector in the last layer all brands share, [n, H]."""
        windows = self._encoder.windows(texts)
        given = [slots[owner] for owner in windows.owners]
        pooled, shared = self._pooled(windows.ids, given)
        best: Scores = highest(self._judged(pooled, given).sigmoid(), windows.owners, len(texts)).double().numpy()
        return np.round(best, 3), windows.truncated, self._encoder.joined(windows, shared, len(texts))

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

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, H] of the house encoder; a long text is the mean of its windows, by their tokens."""
        windows = self._encoder.windows(texts)
        pooled, _ = self._pooled(windows.ids, [HOUSE_SLOT] * len(windows.ids))
        return self._encoder.joined(windows, pooled, len(texts))

    def _framed(self, tokens: Sequence[int], window: range, without: range = range(0)) -> list[int]:
        """A window as the encoder reads it, less some of its tokens."""
        start, end = self._encoder.frame
        return [*start, *(tokens[at] for at in window if at not in without), *end]

    def _logits(self, ids: Sequence[Sequence[int]], slots: Sequence[int]) -> Tensor:
        """Logits [windows, L] of token lists, each by its slot's adapter and heads."""
        return self._judged(self._pooled(ids, slots)[0], slots)

    def _judged(self, pooled: Tensor, slots: Sequence[int]) -> Tensor:
        """Logits [n, L] of pooled rows [n, H], each by its slot's heads."""
        return self._heads.logits(pooled, torch.tensor(slots, dtype=torch.long, device=pooled.device)).cpu()

    @torch.inference_mode()
    def _pooled(self, ids: Sequence[Sequence[int]], slots: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Means of each token list's hidden states, last and last shared, float32 [windows, H] each."""
        device = self._encoder.device
        out = torch.empty(len(ids), self._encoder.hidden_size, device=device)
        shared = torch.empty_like(out)
        for rows in self._passes(ids):
            packed = pack([ids[row] for row in rows], device)
            given = [rows[place] for place in packed.order]
            updates = Updates.of(packed, torch.tensor([slots[row] for row in given], device=device))
            last, common = self._forward(packed, updates)
            out[given], shared[given] = packed.means(last), packed.means(common)
        return out, shared

    def _passes(self, ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """Rows in passes of at most `pass_tokens` tokens, in the order given."""
        passes: list[list[int]] = []
        tokens = self._pass_tokens
        for row, one in enumerate(ids):
            if tokens + len(one) > self._pass_tokens:
                passes.append([])
                tokens = 0
            passes[-1].append(row)
            tokens += len(one)
        return passes
