"""The ceiling: the house encoder alone, no adapter, no service, on the same texts."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BATCHES: Final = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Bare:
    """The best batch size found, and what it gives."""

    messages_per_second: float
    batch: int
    dtype: str


def measure(texts: Sequence[str], seconds: float = 3.0) -> Bare:
    """Read the texts over and over with each batch size, tokenising included, batches sorted by length.

    Args:
        texts: realistic texts, a few hundred.
        seconds: least time spent on each batch size.
    """
    import torch

    from mlops.base.encoder import load_encoder
    from mlops.house import build_house

    encoder = load_encoder(build_house().path)
    torch.set_num_threads(os.cpu_count() or 1)
    rates = {}
    for batch in BATCHES:
        encoder.pooled(encoder.windows(texts[:batch]).ids, batch)
        started, read = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - started) < seconds:
            encoder.pooled(encoder.windows(texts).ids, batch)
            read += len(texts)
        rates[batch] = read / elapsed
    best = max(rates, key=lambda batch: rates[batch])
    return Bare(round(rates[best], 1), best, str(encoder.dtype).removeprefix("torch."))


def lone(texts: Sequence[str], times: int = 200) -> float:
    """Median milliseconds of one message alone, with all cores."""
    import torch

    from mlops.base.encoder import load_encoder
    from mlops.house import build_house

    encoder = load_encoder(build_house().path)
    torch.set_num_threads(os.cpu_count() or 1)
    taken = []
    for turn in range(times + 20):
        started = time.perf_counter()
        encoder.pooled(encoder.windows([texts[turn % len(texts)]]).ids)
        taken.append(time.perf_counter() - started)
    return round(sorted(taken[20:])[times // 2] * 1000, 2)
