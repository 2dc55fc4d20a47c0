"""The house model, or one brand's adapter on it, reading texts in this process: what `eval` and the reports use.

The served engine reads many brands in one pass; this reads one. Both end in the same arithmetic, rounded to the same
three decimals (a test compares them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlops.base.encoder import Encoder, highest, load_encoder
from mlops.base.normalize import normalize
from mlops.house.build import House, Threshold, load_heads

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
_CHUNK = 256


@dataclass(frozen=True)
class Reader:
    """An encoder with heads [labels, hidden], [labels] and where YES begins for each label."""

    encoder: Encoder
    labels: tuple[str, ...]
    weight: Tensor
    bias: Tensor
    thresholds: Mapping[str, Threshold]

    @torch.inference_mode()
    def probabilities(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Probabilities [texts, labels] as the mesh states them; a text of several windows gets its highest."""
        parts: list[Any] = []
        for start in range(0, len(texts), _CHUNK):
            chunk = [normalize(text) for text in texts[start : start + _CHUNK]]
            windows = self.encoder.windows(chunk)
            scores = self.encoder.pooled(windows.ids) @ self.weight.T + self.bias
            parts.append(highest(scores, windows.owners, len(chunk)).sigmoid().double().numpy())
            if progress:
                progress(min(len(texts), start + _CHUNK), len(texts))
        return np.round(np.concatenate(parts), 3) if parts else np.zeros((0, len(self.labels)))


def house_reader(house: House) -> Reader:
    """The house model alone."""
    return Reader(load_encoder(house.path), house.labels, *load_heads(house.heads), house.thresholds)


def adapter_reader(house: House, folder: Path) -> Reader:
    """The house encoder with an adapter folded into it.

    Raises:
        AdapterRefused: the folder is not an adapter, or not one of this encoder.
    """
    from mlops.base.adapter import read_adapter, wrong_encoder

    files = read_adapter(folder)
    if files.manifest.encoder_digest != house.encoder_digest:
        raise wrong_encoder(files.manifest.encoder_digest, house.encoder_digest)
    encoder = load_encoder(house.path)
    with torch.no_grad():
        for name, down in files.down.items():
            weight = encoder.model.get_submodule(name).weight
            weight += (files.up[name] @ down).to(weight.dtype)
    thresholds = {label: Threshold(**given.model_dump()) for label, given in files.manifest.thresholds.items()}
    return Reader(encoder, tuple(files.manifest.labels), files.weight, files.bias, thresholds)
