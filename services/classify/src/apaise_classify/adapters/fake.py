"""An engine without a model: deterministic scores from a hash of the text and of what reads it. For tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apaise_classify.domain.reading import HOUSE, Edition, Span, Threshold
from apaise_classify.serving.edition import HOUSE_SLOT, ROW_OF, Scores, Traces, adapter_edition
from apaise_kit.core.labels import LABELS
from mlops.base.adapter import AdapterFiles, read_manifest
from mlops.base.normalize import NORMALIZER, normalize

WINDOW: Final = 600
DIMENSIONS: Final = 8
_NO_TENSOR: Final[Any] = None


class FakeEngine:
    """`ReadingEngine`: an adapter answers its own probe texts as its manifest says, and any other text by hash."""

    def __init__(self, encoder: str = "fake-encoder", labels: Sequence[str] = ("toxic", "complaint", "remove")) -> None:
        """A house of that encoder digest and those labels."""
        self.house = Edition(
            revision=HOUSE,
            labels=tuple(labels),
            thresholds=tuple(Threshold(decision=0.5, yes=0.6, no=0.4) for _ in labels),
            thresholds_revision="fake-thresholds",
            encoder=encoder,
            normalizer=NORMALIZER,
        )
        self._capacity = 2
        self._slots: dict[int, tuple[str, Mapping[str, Scores]]] = {HOUSE_SLOT: (HOUSE, {})}

    @property
    def capacity(self) -> int:
        """See `ReadingEngine.capacity`."""
        return self._capacity

    def load(self, folder: Path) -> AdapterFiles:
        """See `ReadingEngine.load`; tensors are not looked at."""
        return AdapterFiles(read_manifest(folder), 0, {}, {}, _NO_TENSOR, _NO_TENSOR)

    def install(self, slot: int, files: AdapterFiles) -> None:
        """See `ReadingEngine.install`."""
        edition, parity = adapter_edition(files), files.manifest.parity
        known: dict[str, Scores] = {}
        for text, scores in zip(parity.texts, parity.scores, strict=True):
            row = np.zeros(len(LABELS))
            row[[ROW_OF[label] for label in edition.labels]] = scores
            known[normalize(text)] = row
        self._slots[slot] = (edition.revision, known)

    def grow(self, capacity: int) -> None:
        """See `ReadingEngine.grow`."""
        self._capacity = capacity

    def read(self, texts: Sequence[str], slots: Sequence[int]) -> tuple[Scores, list[bool]]:
        """See `ReadingEngine.read`."""
        rows = [self._row(text, slot) for text, slot in zip(texts, slots, strict=True)]
        return np.round(np.array(rows).reshape(-1, len(LABELS)), 3), [len(text) > WINDOW for text in texts]

    def traced(self, texts: Sequence[str], slots: Sequence[int]) -> tuple[Scores, list[bool], Traces]:
        """See `ReadingEngine.traced`: texts that differ by case alone leave the same trace."""
        return *self.read(texts, slots), self.embed([text.casefold() for text in texts])

    def explain(self, text: str, slot: int, labels: Sequence[str]) -> list[Span]:
        """See `ReadingEngine.explain`: the whole text, whatever the label."""
        return [Span(label, 0, len(text), 1.0) for label in labels]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `ReadingEngine.embed`."""
        values = np.array([_numbers(text, DIMENSIONS) - 0.5 for text in texts]).reshape(-1, DIMENSIONS)
        unit: NDArray[np.float32] = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def _row(self, text: str, slot: int) -> Scores:
        revision, known = self._slots[slot]
        return known.get(text, _numbers(f"{revision}\0{text}", len(LABELS)))


def _numbers(seed: str, count: int) -> Scores:
    digest = b"".join(hashlib.sha256(f"{n}\0{seed}".encode()).digest() for n in range(count // 32 + 1))
    return np.frombuffer(digest[:count], dtype=np.uint8).astype(np.float64) / 255
