"""Figures of the house model beside its first version, TF-IDF and a word list, on tests nobody trained on.

Reads the frozen test, the safety suite and the held-out rows of the licensed sets; fits nothing on them. Every figure
comes with a 95 % interval from resampling families, since messages of one family stand and fall together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlops.house.lexicon import Lexicon
from mlops.house.reader import Reader
from mlops.house.rows import stable_number

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
LEAST_POSITIVES: Final = 50
_RESAMPLES: Final = 400
_CRUDE_LABELS: Final = frozenset({"toxic", "insult", "profanity", "hate", "remove"})


@dataclass(frozen=True)
class Suite:
    """Messages in the corpus's format with what is known of them: nan where masked, [rows, labels]."""

    rows: Sequence[Mapping[str, Any]]
    labels: tuple[str, ...]

    @cached_property
    def truth(self) -> Floats:
        """1 YES, 0 NO, nan masked."""
        known = np.zeros((len(self.rows), len(self.labels)))
        for at, row in enumerate(self.rows):
            for column, label in enumerate(self.labels):
                known[at, column] = np.nan if label in row.get("maybe", ()) else float(label in row["labels"])
        return known

    @cached_property
    def families(self) -> NDArray[np.int64]:
        """A number per family."""
        return np.unique([row["family"] for row in self.rows], return_inverse=True)[1]

    @cached_property
    def texts(self) -> list[str]:
        """What is read."""
        return [row["text"] for row in self.rows]

    def of(self, lang: str) -> Mask:
        """Rows of a language."""
        return np.array([row["lang"] == lang for row in self.rows])

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Contrast pairs, by row."""
        members: dict[str, list[int]] = defaultdict(list)
        for at, row in enumerate(self.rows):
            if row.get("pair"):
                members[f"{row['lang']}/{row['pair']}"].append(at)
        return [(pair[0], pair[1]) for pair in members.values() if len(pair) == 2]


@dataclass(frozen=True)
class Answers:
    """One model's reading of a suite: probabilities (or 0/1) and yes/no at its own thresholds, [rows, labels]."""

    name: str
    scores: Floats
    said: Mask


def read_suite(path: Path, labels: tuple[str, ...]) -> Suite:
    """A file in the corpus's format."""
    return Suite([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()], labels)


def by_model(reader: Reader, suite: Suite, name: str = "house") -> Answers:
    """What a model reads."""
    scores = reader.probabilities(suite.texts)
    return Answers(name, scores, scores >= np.array([reader.thresholds[label].decision for label in suite.labels]))


def by_lexicon(lexicon: Lexicon, suite: Suite) -> Answers:
    """A word filter: a listed crude word makes every label it can speak of hold."""
    hits = np.array([lexicon.hits(row["text"], row["lang"]) for row in suite.rows])
    speaks = np.array([label in _CRUDE_LABELS for label in suite.labels])
    said = hits[:, None] & speaks[None, :]
    return Answers("word list", said.astype(float), said)


def remembered(path: Path, suite: Suite, name: str) -> Answers | None:
    """What an earlier model read, kept by digest of the text; None when it has not read all of the suite."""
    kept = np.load(path)
    place = {int(key): at for at, key in enumerate(kept["texts"])}
    rows = [place.get(stable_number(text)) for text in suite.texts]
    if None in rows:
        return None
    columns = [list(kept["labels"]).index(label) for label in suite.labels]
    scores = kept["scores"][rows][:, columns] / 1000.0
    return Answers(name, scores, scores >= kept["thresholds"][columns])


def remember(path: Path, reader: Reader, texts: Sequence[str]) -> None:
    """Keep a model's reading of texts, without the texts."""
    np.savez_compressed(
        path,
        texts=np.array([stable_number(text) for text in texts], dtype=np.uint64),
        labels=np.array(reader.labels),
        scores=np.round(reader.probabilities(texts) * 1000).astype(np.uint16),
        thresholds=np.array([reader.thresholds[label].decision for label in reader.labels]),
    )


# ---- figures of one label: (answers, truth, rows) -> value or nan


def macro_f1(said: Mask, truth: Floats) -> float:
    """Mean of the F1 of yes and of no; nan without both sides."""
    yes = truth > 0.5
    if not yes.any() or yes.all():
        return float("nan")
    return float(np.mean([_f1(said, yes), _f1(~said, ~yes)]))


def auc(scores: Floats, truth: Floats) -> float:
    """Area under the ROC curve (Mann-Whitney, ties count half); nan without both sides."""
    yes = truth > 0.5
    positives, negatives = int(yes.sum()), int((~yes).sum())
    if not positives or not negatives:
        return float("nan")
    _, rank_of, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    return float((middle[rank_of][yes].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _f1(said: Mask, truth: Mask) -> float:
    whole = int(said.sum()) + int(truth.sum())
    return 2 * float((said & truth).sum()) / whole if whole else 1.0


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "–" if np.isnan(self.value) else f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def interval(value: Callable[[NDArray[np.int64]], float], families: NDArray[np.int64], seed: int = 1) -> Figure:
    """A figure over rows, and its interval from resampled families.

    Args:
        value: the figure of some rows, given by index (repeats allowed).
        families: the family of each row.
        seed: of the resampling.
    """
    chance = np.random.default_rng(seed)
    order = np.argsort(families, kind="stable")
    bounds = np.searchsorted(families[order], np.arange(families.max(initial=-1) + 2))
    members = [order[start:end] for start, end in pairwise(bounds) if end > start]
    drawn = [
        value(np.concatenate([members[at] for at in chance.integers(0, len(members), len(members))]))
        for _ in range(_RESAMPLES)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if not np.all(np.isnan(drawn)) else (np.nan, np.nan)
    return Figure(value(np.arange(len(families))), float(low), float(high))


def label_figure(suite: Suite, answers: Answers, label: str, kind: str) -> Figure:
    """`macro_f1` or `auc` of a label over the rows that know it, with its interval."""
    here = _known(suite, label)
    families = np.unique(suite.families[here], return_inverse=True)[1]
    return interval(lambda part: _measured(suite, answers, label, kind, here[part]), families)


def label_value(suite: Suite, answers: Answers, label: str, kind: str) -> float:
    """The same without its interval, which takes four hundred times as long."""
    return _measured(suite, answers, label, kind, _known(suite, label))


def _known(suite: Suite, label: str) -> NDArray[np.int64]:
    return np.flatnonzero(~np.isnan(suite.truth[:, suite.labels.index(label)]))


def _measured(suite: Suite, answers: Answers, label: str, kind: str, rows: NDArray[np.int64]) -> float:
    column = suite.labels.index(label)
    truth = suite.truth[rows, column]
    return auc(answers.scores[rows, column], truth) if kind == "auc" else macro_f1(answers.said[rows, column], truth)


def measured_labels(suite: Suite, least: int = LEAST_POSITIVES) -> list[str]:
    """Labels with enough positives to be measured."""
    positives = np.nansum(suite.truth, axis=0)
    return [label for label, count in zip(suite.labels, positives, strict=True) if count >= least]


# Labels that follow from others: a pair is about the label that brings them.
_IMPLIED: Final = ("toxic", "remove", "target_group", "target_user", "target_guest", "target_staff", "target_brand")


def main_label(suite: Suite, pair: tuple[int, int]) -> str | None:
    """What a pair is about: the first label that flips, those that only follow from others last."""
    flips = [label for label, flip in zip(suite.labels, _flips(suite, pair), strict=True) if flip]
    return min(flips, key=lambda label: (label in _IMPLIED, suite.labels.index(label)), default=None)


def _flips(suite: Suite, pair: tuple[int, int]) -> Mask:
    flips: Mask = (suite.truth[pair[0]] + suite.truth[pair[1]]) == 1.0  # nan where either is masked
    return flips


def pairs_right(suite: Suite, answers: Answers, label: str | None = None, main: bool = False) -> tuple[int, int]:
    """Contrast pairs read right on both members, and how many there are.

    Args:
        suite: the messages.
        answers: how they were read.
        label: judge this label alone, on the pairs where it flips.
        main: judge each pair by its main label alone; without it and `label`, by every label that flips at once.
    """
    right = whole = 0
    for one, other in suite.pairs:
        flips = _flips(suite, (one, other))
        wanted = main_label(suite, (one, other)) if main else label
        if wanted is not None:
            flips &= np.array([name == wanted for name in suite.labels])
        if flips.any():
            whole += 1
            right += all((answers.said[at, flips] == (suite.truth[at, flips] > 0.5)).all() for at in (one, other))
    return right, whole
