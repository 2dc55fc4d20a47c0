"""What goes into a training job and what comes out: plain values, for they travel to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Row:
    """One text to learn from or to be judged on; labels not in `labels` are unknown."""

    text: str
    remove: bool
    labels: Mapping[str, bool] = field(default_factory=dict)
    weight: float = 1.0


@dataclass(frozen=True)
class HouseSource:
    """Where the house model comes from; None is the default of `mlops.house.build_house`."""

    cache: str | None = None
    model: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Job:
    """Everything a run needs. `champion` holds the files of the adapter that serves now, by name.

    `safety` has candidate and rivals read the house's safety suite as well.
    """

    brand: str
    revision: str
    seed: int
    created: datetime
    train: tuple[Row, ...]
    holdout: tuple[Row, ...]
    champion: Mapping[str, bytes] | None = None
    house: HouseSource = field(default_factory=HouseSource)
    threads: int = 1
    safety: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the job is: the stage, and 0 to 1 within it."""

    evaluating: bool
    fraction: float


@dataclass(frozen=True)
class Judged:
    """One competitor on the held-out rows: P(remove) of each, in order, and its own threshold."""

    scores: tuple[float, ...]
    threshold: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """So many corrections learnt from, and the AUC of `remove` on others."""

    corrections: int
    auc: float


@dataclass(frozen=True)
class Outcome:
    """A trained revision: its files, how it compares on rows it never saw, and what to tell MLflow.

    `curve` holds one mapping of metric to value per epoch; `learning_curve` is over the number of corrections, of the
    head alone (see `worker.curve`). `champion` is None without a champion, and when the champion was trained on
    another encoder: it cannot be compared on this one. `out_of_fold` and `house_taught` are the
    candidate and the house on the rows learnt from, each row judged by a candidate that had not seen it. `suite` says
    of each message of the safety suite whether a competitor reads it as it must, and (`goes`) which must be taken down.
    """

    files: Mapping[str, bytes]
    digest: str
    encoder: str
    candidate: Judged
    house: Judged
    champion: Judged | None
    out_of_fold: Judged
    house_taught: Judged
    params: Mapping[str, str | int | float]
    curve: tuple[Mapping[str, float], ...]
    metrics: Mapping[str, float]
    plots: Mapping[str, bytes]
    suite: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    learning_curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Broken:
    """The job cannot be done; `reason` is an ErrorReason without its prefix."""

    reason: str


Update = Progress | Outcome | Broken
