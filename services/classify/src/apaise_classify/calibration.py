"""`python -m apaise_classify.calibration`: how near is a near-duplicate, and what precedents change, on and off.

Texts are our own hand-written ones (`mlops/house/{dev,test,safety}.jsonl`), which come with minimal pairs: texts that
differ by a word or two and in what they deserve. *Copies* are a text rewritten as people repeat themselves: another
case, punctuation, an emoji, a word before or after, a typing slip. *Others* are texts nobody would call the same.

A brand is drawn again and again: so many precedents, decided as the corpus says, and texts that are not among them.
What counts is the share of copies that find their precedent, the share of other texts that find one although its
decision is not theirs (a false hit), and the share of minimal pairs that do. The radius is the smallest cosine at which
both shares are small enough.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import numpy as np

from apaise_classify.domain.precedents import REMOVE, heard
from apaise_classify.domain.reading import Cited, Score, Threshold, Verdict, score
from apaise_classify.serving.deployment import quiet_products
from apaise_classify.serving.edition import HOUSE_SLOT, Scores, Traces, columns
from apaise_classify.serving.engine import Engine
from apaise_classify.serving.precedents import NEARNESS
from mlops.base.encoder import load_encoder
from mlops.base.normalize import normalize
from mlops.house import build_house

SEED: Final = 11
BATCH: Final = 64
SETS: Final = ("dev", "test", "safety")
GRID: Final = tuple(round(0.9 + 0.005 * step, 3) for step in range(20))
Row = Mapping[str, Any]
Edit = Callable[[str, random.Random], str]


def _slip(text: str, chance: random.Random) -> str:
    at = chance.randrange(1, max(2, len(text) - 1))
    return text[:at] + text[at + 1 :]


def _doubled(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + text[at] * 3 + text[at + 1 :]


COPIES: Final[Mapping[str, Edit]] = {
    "the same": lambda text, _: text,
    "another case": lambda text, chance: chance.choice((text.upper(), text.lower(), text.capitalize())),
    "punctuation": lambda text, chance: text.rstrip(" .!?") + chance.choice(("", "!!!", " ...", " ?!")),
    "an emoji": lambda text, chance: f"{text} {chance.choice(('😂', '🔥', '🙄', '👏'))}",
    "a word before": lambda text, chance: f"{chance.choice(('lol', 'bon', 'mdr', 'well', 'ok'))} {text}",
    "a word after": lambda text, chance: f"{text} {chance.choice(('lol', 'quoi', 'franchement', 'honestly', 'ptdr'))}",
    "a typing slip": _slip,
    "a letter tripled": _doubled,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m apaise_classify.calibration", description=__doc__)
    parser.add_argument("--texts", type=int, default=1200, help="texts read, at most")
    parser.add_argument("--precedents", type=int, default=400, help="precedents of a brand")
    parser.add_argument("--false-hits", type=float, default=0.005, help="share of other texts hit falsely, at most")
    parser.add_argument("--pairs-confused", type=float, default=0.05, help="share of minimal pairs confused, at most")
    parser.add_argument("--nearness", type=float, default=NEARNESS, help="radius whose effect is measured")
    options = parser.parse_args(arguments)
    quiet_products()
    house = build_house()
    engine = Engine(load_encoder(house.path), house)
    rows = corpus(options.texts)
    sys.stdout.write(json.dumps(measured(engine, rows, options), indent=1) + "\n")
    return 0


def corpus(limit: int) -> list[Row]:
    """Our own texts, each once, in an order that is the same each time."""
    folder = files("mlops.house")
    lines = [line for name in SETS for line in folder.joinpath(f"{name}.jsonl").read_text("utf-8").splitlines()]
    rows = list({row["text"]: row for row in map(json.loads, lines)}.values())
    # Whole minimal pairs together: half a pair tells nothing.
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.get("pair") or row["text"], []).append(row)
    order = sorted(groups)
    random.Random(SEED).shuffle(order)
    return [row for key in order for row in groups[key]][:limit]


def measured(engine: Engine, rows: Sequence[Row], options: argparse.Namespace) -> dict[str, Any]:
    """Everything the module's text promises."""
    chance = random.Random(SEED)
    texts = [row["text"] for row in rows]
    scores, traces = _read(engine, texts)
    copies = {name: [edit(text, chance) for text in texts] for name, edit in COPIES.items()}
    read = {name: _read(engine, given) for name, given in copies.items()}
    near = {name: np.einsum("nh,nh->n", traces, one) for name, (_, one) in read.items()}
    removed = np.array([REMOVE in row["labels"] for row in rows])
    others = _others(rows, traces, removed, options.precedents)
    pairs = _pairs(rows, traces, removed)
    table = [_line(at, near, others, pairs) for at in GRID]
    good = [
        line["nearness"]
        for line in table
        if line["false_hits"] <= options.false_hits and line["pairs_confused"] <= options.pairs_confused
    ]
    return {
        "texts": len(rows),
        "precedents": options.precedents,
        "encoder": engine.house.encoder,
        "calibrated": min(good, default=None),
        "table": table,
        "copies": {
            name: [round(float(q), 4) for q in np.quantile(one, (0.05, 0.25, 0.5))] for name, one in near.items()
        },
        "effect": _effect(engine, rows, (scores, traces), read, removed, options.nearness),
    }


def _line(at: float, near: Mapping[str, Any], others: Any, pairs: Any) -> dict[str, float]:
    found = np.concatenate([one for name, one in near.items() if name != "the same"])
    return {
        "nearness": at,
        "copies_found": round(float((found >= at).mean()), 4),
        "false_hits": round(float((others >= at).mean()), 5),
        "pairs_confused": round(float((pairs >= at).mean()), 4),
    }


def _read(engine: Engine, texts: Sequence[str]) -> tuple[Scores, Traces]:
    """The house's scores [n, labels of the house] and traces [n, H]."""
    parts = []
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(order), BATCH):
        batch = [normalize(texts[row]) for row in order[start : start + BATCH]]
        parts.append(engine.traced(batch, [HOUSE_SLOT] * len(batch)))
    back = np.argsort(order)
    scores = np.concatenate([part[0] for part in parts])[back][:, columns(engine.house)]
    return scores, np.concatenate([part[2] for part in parts])[back]


def _others(rows: Sequence[Row], traces: Traces, removed: Any, precedents: int, draws: int = 20) -> Any:
    """Of each text and each brand drawn, the nearest precedent whose decision is not the text's; no minimal pairs."""
    chance = np.random.default_rng(SEED)
    pair = np.array([row.get("pair") or f"-{n}" for n, row in enumerate(rows)])
    cosines = traces @ traces.T
    cosines[(pair[:, None] == pair[None, :]) | (removed[:, None] == removed[None, :])] = -1.0
    nearest = []
    for _ in range(draws):
        held = chance.choice(len(rows), size=min(precedents, len(rows) // 2), replace=False)
        rest = np.setdiff1d(np.arange(len(rows)), held)
        nearest.append(cosines[np.ix_(rest, held)].max(axis=1))
    return np.concatenate(nearest)


def _pairs(rows: Sequence[Row], traces: Traces, removed: Any) -> Any:
    """Cosines of minimal pairs that deserve different decisions."""
    groups: dict[str, list[int]] = {}
    for n, row in enumerate(rows):
        if row.get("pair"):
            groups.setdefault(row["pair"], []).append(n)
    found = [
        float(traces[one] @ traces[other])
        for group in groups.values()
        for at, one in enumerate(group)
        for other in group[at + 1 :]
        if removed[one] != removed[other]
    ]
    return np.array(found or [0.0])


def _effect(
    engine: Engine,
    rows: Sequence[Row],
    own: tuple[Scores, Traces],
    read: Mapping[str, tuple[Scores, Traces]],
    removed: Any,
    nearness: float,
) -> dict[str, Any]:
    """Precedents on and off: the texts the house decides wrongly are corrected, then come again as copies.

    Returns:
        corrected: texts; found: share of their copies within the radius; off, on: share decided as the person did;
        to_a_person: share left as it was but marked unsure by a precedent; unrelated: other texts; changed: share of
        them decided otherwise because of precedents.
    """
    labels, thresholds = engine.house.labels, engine.house.thresholds
    at = labels.index(REMOVE)
    wrong = np.flatnonzero((own[0][:, at] >= thresholds[at].decision) != removed)
    held = _Corrected(
        dict(zip(labels, thresholds, strict=True)),
        own[1][wrong],
        [Cited("", 1.0, {REMOVE: bool(removed[n])}) for n in wrong],
        nearness,
    )
    copies = [
        (bool(removed[n]), *held.decide(scores[n], traces[n]))
        for name, (scores, traces) in read.items()
        if name != "the same"
        for n in wrong
    ]
    rest = [held.decide(own[0][n], own[1][n]) for n in np.setdiff1d(np.arange(len(rows)), wrong)]
    asked = (
        after.verdict is Verdict.UNSURE and after.holds != right
        for right, before, after, _ in copies
        if after != before
    )
    return {
        "nearness": nearness,
        "corrected": len(wrong),
        "found": _mean(near for *_, near in copies),
        "off": _mean(before.holds == right for right, before, _, _ in copies),
        "on": _mean(after.holds == right for right, _, after, _ in copies),
        "to_a_person": round(sum(asked) / max(1, len(copies)), 4),
        "unrelated": len(rest),
        "changed": _mean(before.holds != after.holds for before, after, _ in rest),
    }


@dataclass(frozen=True)
class _Corrected:
    """Precedents of texts the house decided wrongly: their vectors [m, H] and what was said."""

    thresholds: Mapping[str, Threshold]
    matrix: Traces
    said: Sequence[Cited]
    nearness: float

    def decide(self, scores: Any, trace: Any) -> tuple[Score, Score, bool]:
        """`remove` of a text without and with them, and whether any speaks for it."""
        own = {
            label: score(float(probability), at)
            for (label, at), probability in zip(self.thresholds.items(), scores, strict=True)
        }
        near = np.flatnonzero(self.matrix @ trace >= self.nearness)
        after = heard(own, self.thresholds, [self.said[int(n)] for n in near])
        return own[REMOVE], after[REMOVE], bool(len(near))


def _mean(given: Iterable[bool]) -> float:
    counted = list(given)
    return round(sum(counted) / max(1, len(counted)), 5)


if __name__ == "__main__":
    sys.exit(main())
