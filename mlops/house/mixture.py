"""Which rows a training run sees, and how much each counts.

The naive mixture taught the model which collection a text came from. Three things work against it here: each source has
a fixed share, spread over languages and kinds; within a language, positives and negatives of the abuse heads weigh the
same; and surface habits that betray a collection (case, accents, final points) are shuffled.
"""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlops.base.normalize import normalize
from mlops.house.disguise import disguise
from mlops.house.rows import Row

SHARES: dict[str, float] = {
    "corpus": 0.46,
    "grammar": 0.12,
    "measuring_hate": 0.07,
    "davidson": 0.03,
    "edos": 0.02,
    "mlma": 0.06,
    "ftr": 0.03,
    "jigsaw_fr": 0.035,
    "wikitalk": 0.04,
    "toxic_spans": 0.03,
    "germeval": 0.035,
    "told_br": 0.05,
    "convabuse": 0.03,
    "sentiment": 0.09,
    "goemotions": 0.08,
    "xed": 0.10,
    "isarcasm": 0.03,
    "multipico": 0.035,
    "banking": 0.02,
    "clinc": 0.02,
    "hint3": 0.02,
    "youtube": 0.025,
}
BALANCED = ("toxic", "hate", "insult", "threat", "remove")
FRENCH_BOOST = 2.0
DISGUISED = 0.1
_MAX_BALANCE = 4.0


@dataclass(frozen=True)
class Batchable:
    """A sampled stream as arrays: targets and weights float32 [rows, labels], weight 0 where unknown.

    `pairs` int64 [rows]: contrast pair of a row, -1 for none; members of a pair stand next to each other.
    """

    texts: list[str]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    pairs: NDArray[np.int64]


def draw(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """A stream of about `count` rows with each source at its share; small strata repeat, large ones are sampled."""
    chance = random.Random(seed)
    by_source: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row)
    total = sum(SHARES[source] for source in by_source)
    stream: list[Row] = []
    for source in sorted(by_source):
        stream += _draw_source(by_source[source], round(count * SHARES[source] / total), chance)
    chance.shuffle(stream)
    return [replace(row, text=roughen(row.text, chance)) for row in side_by_side(stream)]


def side_by_side(rows: Sequence[Row]) -> list[Row]:
    """The same rows, each contrast pair's members one after the other where the first of them stood."""
    waiting: dict[str, list[list[Row]]] = defaultdict(list)
    places: list[list[Row]] = []
    for row in rows:
        opened = next((place for place in waiting[row.pair] if place[0].text != row.text), None) if row.pair else None
        if opened is None:
            places.append([row])
            if row.pair:
                waiting[row.pair].append(places[-1])
        else:
            opened.append(row)
            waiting[row.pair].remove(opened)
    return [row for place in places for row in place]


def _draw_source(rows: Sequence[Row], count: int, chance: random.Random) -> list[Row]:
    if rows[0].source in ("corpus", "grammar"):
        return _cycle(list(rows), count, chance)
    strata: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        strata[row.lang, kind(row)].append(row)
    mass = {key: len(members) ** 0.5 * (FRENCH_BOOST if key[0] == "fr" else 1.0) for key, members in strata.items()}
    whole = sum(mass.values())
    drawn: list[Row] = []
    for key in sorted(strata):
        drawn += _cycle(strata[key], min(round(count * mass[key] / whole), 3 * len(strata[key])), chance)
    return drawn


def _cycle(rows: list[Row], count: int, chance: random.Random) -> list[Row]:
    """`count` rows, each used equally often (give or take one)."""
    drawn: list[Row] = []
    while len(drawn) < count:
        drawn += chance.sample(rows, min(len(rows), count - len(drawn)))
    return drawn


def kind(row: Row) -> str:
    """The stratum of a row inside its source: what it is a positive of, else what it is a negative of."""
    positives = sorted(label for label, value in row.known.items() if value)
    return "+".join(positives) if positives else "-" + str("toxic" in row.known)


def roughen(text: str, chance: random.Random) -> str:
    """Vary what people vary without meaning it: case, accents, the last point; and now and then hide a word."""
    if chance.random() < 0.25:
        text = text.lower()
    elif chance.random() < 0.04:
        text = text.upper()
    if chance.random() < 0.12:
        text = "".join(map(_bare_latin, text))
    if chance.random() < 0.3:
        text = text.rstrip(".… ")
    if chance.random() < DISGUISED:
        text = normalize(disguise(text, chance))
    return text


def _bare_latin(letter: str) -> str:
    """`é` -> `e`; letters of scripts whose marks are not optional stay as they are."""
    base = unicodedata.normalize("NFD", letter)[0]
    return base if base.isascii() else letter


def arrays(rows: Sequence[Row], labels: Sequence[str]) -> Batchable:
    """Targets and weights of rows, before balancing."""
    column = {label: index for index, label in enumerate(labels)}
    targets = np.zeros((len(rows), len(labels)), np.float32)
    weights = np.zeros((len(rows), len(labels)), np.float32)
    for at, row in enumerate(rows):
        for label, value in row.known.items():
            if label in column:
                targets[at, column[label]] = value
                weights[at, column[label]] = row.weight
    names = {name: number for number, name in enumerate(sorted({row.pair for row in rows if row.pair}))}
    pairs = np.array([names.get(row.pair, -1) for row in rows], np.int64)
    return Batchable([row.text for row in rows], targets, weights, pairs)


def balance(rows: Sequence[Row], labels: Sequence[str], stream: Batchable) -> None:
    """Scale weights in place: by language for the abuse heads, over everything for the others.

    The rarer side is raised (at most `_MAX_BALANCE` times) to the weight of the other, or for heads that are not about
    abuse to a third of it: their rarity is real and calibration restores it.
    """
    languages = np.array([row.lang for row in rows])
    for column, label in enumerate(labels):
        cells: Iterable[NDArray[np.bool_]]
        if label in BALANCED:
            cells, aim = [languages == lang for lang in np.unique(languages)], 1.0
        else:
            cells, aim = [np.ones(len(rows), np.bool_)], 0.33
        for cell in cells:
            _raise_rarer(stream, column, cell, aim)


def _raise_rarer(stream: Batchable, column: int, cell: NDArray[np.bool_], aim: float) -> None:
    positive = cell & (stream.targets[:, column] > 0.5)
    negative = cell & ~(stream.targets[:, column] > 0.5)
    up, down = (float(stream.weights[side, column].sum()) for side in (positive, negative))
    if not up or not down:
        # A language seen from one side only would be learnt as that side.
        stream.weights[cell, column] *= 0.25
    elif up < aim * down:
        stream.weights[positive, column] *= min(_MAX_BALANCE, aim * down / up)
    elif down < aim * up:
        stream.weights[negative, column] *= min(_MAX_BALANCE, aim * up / down)
