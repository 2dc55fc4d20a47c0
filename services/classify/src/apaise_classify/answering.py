"""`python -m apaise_classify.answering --data DIR`: how near a message must be to a question for its answer to fit.

Texts are customers' questions by intent: three brands of HINT3, banking77, clinc150 with its out-of-scope texts, and
our own in French (`mlops/samples/questions.jsonl`). Of the sets the house model was told whether a text asks for care
or means to buy, never its intent; of ours it was told nothing.

A base is drawn again and again: answers for half of the intents, or for four, a few examples each; every other text of
the set is a message. Its answer is that of the nearest example, when it *leads*: twice its cosine, less the next
answer's or `UNRELATED`, whichever is greater. *Precision* is the share of answers given that are the right one: texts
whose intent has no answer count against it. *Coverage* is the share of the messages whose intent has an answer that are
given the right one. Calibrated is the smallest lead of the grid from which on precision is high enough.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apaise_classify.serving.deployment import quiet_products
from apaise_classify.serving.engine import Engine
from mlops.base.encoder import load_encoder
from mlops.base.normalize import normalize
from mlops.house import build_house

SEED: Final = 17
BATCH: Final = 64
BRANDS: Final = ("hint3_curekart_train", "hint3_powerplay11_train", "hint3_sofmattress_train")
SETS: Final = (*BRANDS, "banking77_train", "clinc150")
OURS: Final = "questions"
# Of a set, texts read and intents with an answer in a base: a brand has tens of answers, not hundreds.
MOST: Final = 4000
MOST_ANSWERS: Final = 40
FEW_ANSWERS: Final = 4
OUT_OF_SCOPE: Final = "oos"
# As `apaise_route.domain.answers` has it: a cosine that texts on different things often reach.
UNRELATED: Final = 0.9
GRID: Final = tuple(round(0.9 + 0.01 * step, 2) for step in range(21))
Row = Mapping[str, Any]
Vectors = NDArray[np.float32]
Drawn = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m apaise_classify.answering", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("APAISE_DATA"), help="folder of the licensed sets")
    parser.add_argument("--examples", type=int, default=3, help="examples of each answer")
    parser.add_argument("--draws", type=int, default=20, help="bases drawn of each set")
    parser.add_argument("--precision", type=float, default=0.9, help="precision wanted")
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("give --data or APAISE_DATA")
    quiet_products()
    house = build_house()
    engine = Engine(load_encoder(house.path), house)
    read = {name: _read(engine, _rows(options.data, name)) for name in (*SETS, OURS)}
    document = {
        "encoder": engine.house.encoder,
        "texts": {name: len(intents) for name, (intents, _) in read.items()},
        "examples": options.examples,
        "half of the intents": _measured(read, None, options),
        "four answers": _measured(read, FEW_ANSWERS, options),
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 0


def _measured(
    read: Mapping[str, tuple[list[str], Vectors]], answers: int | None, options: argparse.Namespace
) -> dict[str, Any]:
    """By set: the calibrated lead, and precision and coverage at each."""
    tables = {name: table(drawn_bases(*given, answers, options)) for name, given in read.items()}
    return {name: {"calibrated": calibrated(one, options.precision), "table": one} for name, one in tables.items()}


def _rows(data: Path, name: str) -> list[Row]:
    if name == OURS:
        text = files("mlops").joinpath("samples", f"{OURS}.jsonl").read_text(encoding="utf-8")
    else:
        text = gzip.decompress((data / f"{name}.jsonl.gz").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def _read(engine: Engine, rows: Sequence[Row]) -> tuple[list[str], Vectors]:
    """Intents and unit vectors [n, H] of a set; at most `MOST` texts, the same each time."""
    rows = list({" ".join(row["text"].casefold().split()): row for row in rows}.values())
    random.Random(SEED).shuffle(rows)
    rows = rows[:MOST]
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]["text"]))
    texts = [normalize(rows[row]["text"]) for row in order]
    parts = [engine.embed(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    return [rows[row]["intent"] for row in order], np.concatenate(parts)


def drawn_bases(intents: Sequence[str], vectors: Vectors, answers: int | None, options: argparse.Namespace) -> Drawn:
    """Of every message of every base drawn: the nearest answer's lead, whether it is right, whether the base has the
    right one."""
    chance = np.random.default_rng(SEED)
    parts = [_one_base(np.array(intents), vectors, answers, options, chance) for _ in range(options.draws)]
    leads, right, answered = (np.concatenate(one) for one in zip(*parts, strict=True))
    return leads, right, answered


def _one_base(
    intents: NDArray[np.str_],
    vectors: Vectors,
    answers: int | None,
    options: argparse.Namespace,
    chance: np.random.Generator,
) -> Drawn:
    known = [intent for intent in np.unique(intents) if intent != OUT_OF_SCOPE and _enough(intents, intent, options)]
    given = chance.choice(known, size=answers or min(MOST_ANSWERS, len(known) // 2), replace=False)
    held = np.concatenate(
        [chance.choice(np.flatnonzero(intents == intent), size=options.examples, replace=False) for intent in given]
    )
    asked = np.setdiff1d(np.arange(len(intents)), held)
    # [messages, answers]: each answer by its nearest example.
    cosines = (vectors[asked] @ vectors[held].T).reshape(len(asked), len(given), -1).max(axis=2)
    nearest = cosines.argmax(axis=1)
    first, second = np.sort(cosines, axis=1)[:, -1], np.sort(cosines, axis=1)[:, -2]
    leads = 2 * first - np.maximum(second, UNRELATED)
    return leads, given[nearest] == intents[asked], np.isin(intents[asked], given)


def _enough(intents: NDArray[np.str_], intent: str, options: argparse.Namespace) -> bool:
    """Whether an intent has texts left when its examples are taken."""
    return bool(int((intents == intent).sum()) > options.examples)


def table(drawn: Drawn) -> list[dict[str, float]]:
    """Precision and coverage at each lead of the grid."""
    leads, right, answered = drawn
    return [
        {
            "lead": at,
            "precision": round(float(right[leads >= at].mean()), 4) if (leads >= at).any() else 1.0,
            "coverage": round(float((right & (leads >= at)).sum() / max(1, answered.sum())), 4),
            "given": round(float((leads >= at).mean()), 4),
        }
        for at in GRID
    ]


def calibrated(lines: Sequence[Mapping[str, float]], precision: float) -> float | None:
    """The smallest lead from which on precision is high enough; None when there is none that gives anything."""
    good = None
    for line in reversed(lines):
        if line["precision"] < precision:
            break
        good = line["lead"] if line["given"] else good
    return good


if __name__ == "__main__":
    sys.exit(main())
