"""What an engine is to the pool and the replica; torch-free, so that they run over a fake one as well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from apaise_classify.domain.reading import HOUSE, Edition, Span, Threshold
from apaise_kit.core.labels import LABELS
from mlops.base import adapter as stored
from mlops.base.adapter import AdapterFiles
from mlops.base.normalize import NORMALIZER
from mlops.house import House
from mlops.house import Threshold as HouseThreshold

HOUSE_SLOT: Final = 0
ROW_OF: Final = {label: row for row, label in enumerate(LABELS)}

Scores = NDArray[np.float64]
Traces = NDArray[np.float32]
Columns = NDArray[np.intp]


class ReadingEngine(Protocol):
    """An encoder with slots for adapters. `read`, `embed`, `install` and `grow` are called from one thread only."""

    house: Edition

    @property
    def capacity(self) -> int:
        """Slots, the house's included."""
        ...

    def load(self, folder: Path) -> AdapterFiles:
        """Read an adapter's folder and check that it fits; from any thread.

        Raises:
            AdapterRefused: ADAPTER_CORRUPT or ADAPTER_WRONG_SHAPE.
        """
        ...

    def install(self, slot: int, files: AdapterFiles) -> None:
        """Write an adapter into a slot that no row uses."""
        ...

    def grow(self, capacity: int) -> None:
        """Make room; what is resident stays where it is."""
        ...

    def read(self, texts: Sequence[str], slots: Sequence[int]) -> tuple[Scores, list[bool]]:
        """Probabilities float64 [n, len(LABELS)], 3 decimals, and whether each text was longer than the window."""
        ...

    def traced(self, texts: Sequence[str], slots: Sequence[int]) -> tuple[Scores, list[bool], Traces]:
        """What `read` gives, and each text's trace: its unit vector in the last layer all brands share, [n, H]."""
        ...

    def explain(self, text: str, slot: int, labels: Sequence[str]) -> list[Span]:
        """The words of a text, as it was given, behind each of these labels."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, H] of the house encoder."""
        ...


def house_edition(house: House) -> Edition:
    """How the house reads."""
    return Edition(
        revision=HOUSE,
        labels=house.labels,
        thresholds=tuple(_threshold(house.thresholds[label]) for label in house.labels),
        thresholds_revision=house.thresholds_revision,
        encoder=house.encoder_digest,
        normalizer=NORMALIZER,
    )


def adapter_edition(files: AdapterFiles) -> Edition:
    """How an adapter reads."""
    manifest = files.manifest
    thresholds = (manifest.thresholds[label] for label in manifest.labels)
    return Edition(
        revision=manifest.revision,
        labels=manifest.labels,
        thresholds=tuple(_threshold(threshold) for threshold in thresholds),
        thresholds_revision=manifest.thresholds_revision,
        encoder=manifest.encoder_digest,
        normalizer=NORMALIZER,
    )


def _threshold(given: stored.Threshold | HouseThreshold) -> Threshold:
    return Threshold(given.decision, given.yes, given.no)


def columns(edition: Edition) -> Columns:
    """Where the edition's labels are among an engine's scores."""
    return np.array([ROW_OF[label] for label in edition.labels], dtype=np.intp)
