"""Draw the plots of docs/learning.md, in docs/learning/.

    .venv/bin/python docs/generate_learning_plots.py                        # from docs/learning/measured.json
    .venv/bin/python docs/generate_learning_plots.py --measure              # measure that file again first
    .venv/bin/python docs/generate_learning_plots.py --communities FILE …   # and docs/learning/communities.svg

`--measure` learns the sample brands as a run does, and the whole adapter on parts of one brand's rows. A FILE is what
`python -m mlops.bench.communities --json` (or `apaise train --many --json`) printed; several may differ in the number
of corrections.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from matplotlib import rcParams
from matplotlib.figure import Figure

from apaise_train.domain.jobs import HouseSource, Job, Outcome, Row
from apaise_train.domain.sequential import ERROR, MIN_REVIEWED, Tally, Verdict, judge_canary, log_fortune

FOLDER: Final = Path(__file__).with_name("learning")
SAMPLES: Final = Path(__file__).parents[1] / "mlops/samples/corrections"
BRANDS: Final = ("demo-esport", "demo-kids")
SEED: Final = 1
_BINS: Final = 6


def main() -> None:
    """Measure if asked to, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--communities", type=Path, nargs="+", default=[])
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    measured = FOLDER / "measured.json"
    if options.measure:
        measured.write_text(json.dumps(measure()) + "\n", encoding="utf-8")
    found = json.loads(measured.read_text(encoding="utf-8"))
    save(learning_curve(found["curve"]), "curve")
    save(reliability(found["brands"]), "reliability")
    save(sequential(), "sequential")
    if options.communities:
        save(communities([row for path in options.communities for row in rows_of(path)]), "communities")


def save(figure: Figure, name: str) -> None:
    """As SVG; the same figures give the same file."""
    rcParams["svg.hashsalt"] = "apaise"
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


# What is measured


def measure() -> dict[str, Any]:
    """Both sample brands learnt and judged, and the learning curve of the first."""
    return {"brands": {brand: learnt(brand) for brand in BRANDS}, "curve": curve(BRANDS[0])}


def learnt(brand: str) -> dict[str, Any]:
    """P(remove) of rows held out and out of fold, before and after calibration, and what people decided."""
    from apaise_train.worker.job import run

    taught, held = rows(f"{brand}.jsonl"), rows(f"holdout-{brand}.jsonl")
    *_, outcome = run(Job(brand, "r1-docs", SEED, datetime.now(UTC), taught, held, threads=2))
    assert isinstance(outcome, Outcome), outcome
    slope, offset = (float(outcome.params[f"calibration_{name}"]) for name in ("slope", "offset"))
    sides = {"out_of_fold": (outcome.out_of_fold, taught), "held_out": (outcome.candidate, held)}
    return {
        "slope": slope,
        "offset": offset,
        **{
            name: {
                "truth": [row.remove for row in there],
                "after": judged.scores,
                "before": [uncalibrated(score, slope, offset) for score in judged.scores],
            }
            for name, (judged, there) in sides.items()
        },
    }


def uncalibrated(score: float, slope: float, offset: float) -> float:
    """The probability that calibration turned into this one (itself rounded to 3 decimals)."""
    score = min(max(score, 0.0005), 0.9995)
    return round(1 / (1 + math.exp(-(math.log(score / (1 - score)) - offset) / slope)), 3)


def curve(brand: str) -> dict[str, Any]:
    """The learning curve of a brand, of the head alone and of the whole adapter, and the seconds each took."""
    import torch

    from apaise_train.domain.examples import fold
    from apaise_train.worker import curve as curves
    from apaise_train.worker import learning
    from apaise_train.worker.job import REMOVE, house_of, make_targets
    from apaise_train.worker.net import BrandNet
    from mlops.base.encoder import load_encoder
    from mlops.house import load_heads

    taught, house = rows(f"{brand}.jsonl"), house_of(HouseSource())
    remove, recipe = house.labels.index(REMOVE), learning.Recipe()
    net, generator = BrandNet(load_encoder(house.path), *load_heads(house.heads)), torch.Generator().manual_seed(SEED)
    cached = net.cache([row.text for row in taught])
    with net.shortened():
        features = net.reset(generator, cached)
        before = net.scores(cached)
        targets = make_targets(taught, house.labels, before)
        keys, classes = [fold(row.text) for row in taught], [row.remove for row in taught]
        folds = learning.make_folds(keys, classes, recipe.folds, generator)
        lesson = learning.Lesson(net, cached, targets, before, remove, recipe, generator)

        def adapter(learn: Sequence[int], read: Sequence[int]) -> torch.Tensor:
            for _ in learning.fit(lesson, learn, recipe.passes(len(learn))):
                pass
            return net.scores(cached, read)[:, remove]

        head = timed(lambda: curves.head_curve(lesson, features, folds, SEED))
        return {
            "brand": brand,
            "head": head,
            "adapter": timed(lambda: curves.curve_of(lesson, folds, SEED, adapter, 2)),
        }


def timed(work: Callable[[], Iterable[Any]]) -> dict[str, Any]:
    """The points of a curve, and seconds."""
    begun = time.perf_counter()
    points = [asdict(point) for point in work()]
    return {"points": points, "seconds": round(time.perf_counter() - begun, 1)}


def rows(name: str) -> tuple[Row, ...]:
    """A file of the samples."""
    lines = map(json.loads, (SAMPLES / name).read_text(encoding="utf-8").splitlines())
    return tuple(Row(line["text"], line["remove"], line.get("labels") or {}) for line in lines)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The brands of one file: an array, or a document with `brands`."""
    found = json.loads(path.read_text(encoding="utf-8"))
    brands: list[dict[str, Any]] = found["brands"] if isinstance(found, dict) else found
    return brands


# What is drawn


def panels(count: int, width: float = 4.2) -> tuple[Figure, list[Any]]:
    """A row of axes."""
    figure = Figure(figsize=(width * count, 3.6), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis in axes:
        axis.grid(color="0.92")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def learning_curve(found: Mapping[str, Any]) -> Figure:
    """AUC over the number of corrections, of the head alone and of the whole adapter."""
    figure, (axis,) = panels(1, 6)
    for name, style in (("head", "o--"), ("adapter", "s-")):
        points = found[name]["points"]
        axis.plot([p["corrections"] for p in points], [p["auc"] for p in points], style, label=LABELS[name])
    axis.set_title(f"{found['brand']}: out of fold")
    axis.set_xlabel("corrections learnt from (0: the house model)")
    axis.set_ylabel("AUC of remove")
    axis.legend(loc="lower right", frameon=False)
    return figure


LABELS: Final = {"head": "head alone, frozen features", "adapter": "whole adapter"}


def reliability(brands: Mapping[str, Any]) -> Figure:
    """What was said against what was so, before and after calibration, one brand a panel."""
    figure, axes = panels(len(brands))
    for axis, (brand, found) in zip(axes, brands.items(), strict=True):
        side = found["out_of_fold"]
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, style in (("before", "o--"), ("after", "s-")):
            said, so, counts = binned(side[name], side["truth"])
            wrong = brier(side[name], side["truth"])
            axis.plot(said, so, style, label=f"{name} calibration, Brier score {wrong:.3f}")
        for x, y, count in zip(said, so, counts, strict=True):
            axis.annotate(str(count), (x, y), textcoords="offset points", xytext=(6, -10), fontsize=7, color="0.4")
        axis.set_title(f"{brand}, {len(side['truth'])} rows out of fold")
        axis.set_xlabel("probability of remove said")
        axis.legend(loc="upper left", frameon=False, fontsize=8)
    axes[0].set_ylabel("share taken down")
    return figure


def binned(scores: Sequence[float], truth: Sequence[bool]) -> tuple[list[float], list[float], list[int]]:
    """Mean score, share that is so and count of bins of equal width; empty ones are left out."""
    bins: list[list[int]] = [[] for _ in range(_BINS)]
    for at, score in enumerate(scores):
        bins[min(_BINS - 1, int(score * _BINS))].append(at)
    full = [each for each in bins if each]
    said = [statistics.mean(scores[at] for at in each) for each in full]
    return said, [statistics.mean(truth[at] for at in each) for each in full], [len(each) for each in full]


def brier(scores: Sequence[float], truth: Sequence[bool]) -> float:
    """Mean squared error of the probabilities."""
    return statistics.mean((score - yes) ** 2 for score, yes in zip(scores, truth, strict=True))


RIVALS: Final = {
    "accepted": (0.05, 0.15, "tab:green"),
    "refused": (0.16, 0.06, "tab:red"),
}
"""How often the machine of the canary, then of the champion, is wrong in a simulated canary that ends this way."""


def sequential() -> Figure:
    """The canary's test: where it stops, and one simulated canary that is accepted and one that is refused."""
    figure, (pairs, items) = panels(2, 4.8)
    reach = [(n, limit) for n in range(1, 82, 2) if (limit := edge(n)) is not None]
    for sign, name in ((1, "above: shown worse"), (-1, "below: shown better")):
        pairs.plot([n for n, _ in reach], [sign * limit for _, limit in reach], color="0.3")
        pairs.text(2, sign * reach[-1][1], name, va="center", fontsize=8)
    for name, (canary, champion, color) in RIVALS.items():
        gaps, fortunes = simulated(canary, champion)
        pairs.plot(range(len(gaps)), gaps, color=color)
        label = f"{name}: wrong in {canary:.0%}, champion in {champion:.0%}"
        items.plot(range(1, len(fortunes) + 1), fortunes, color=color, label=label)
        items.plot(len(fortunes), fortunes[-1], "o", color=color)
    pairs.set_xlabel("pairs in which exactly one arm was wrong")
    pairs.set_ylabel("canary wrong − champion wrong")
    items.axhline(1 / ERROR, color="0.3")
    items.axvline(MIN_REVIEWED, color="0.3", linestyle=":")
    items.set_yscale("log")
    items.set_ylim(top=40 / ERROR)
    items.set_xlabel("reviewed items in each arm")
    items.set_ylabel("fortune of the bet that wins in the end")
    items.legend(loc="upper left", frameon=False, fontsize=8)
    return figure


def edge(pairs: int) -> int | None:
    """By how many pairs more one arm must be wrong to be shown worse after so many that count; None: not yet."""
    gaps = (2 * against - pairs for against in range(pairs + 1))
    return next(
        (gap for gap in gaps if log_fortune((pairs + gap) // 2, (pairs - gap) // 2) >= math.log(1 / ERROR)), None
    )


def simulated(canary: float, champion: float) -> tuple[list[int], list[float]]:
    """One canary, item by item, until the test ends it: the gap after each pair that counts, the fortune per item."""
    chance = random.Random(SEED)
    ours: list[bool] = []
    theirs: list[bool] = []
    gaps, tallies, blamed, excused = [0], [], 0, 0
    while judge_canary(Tally(ours), Tally(theirs)).verdict is Verdict.WAIT:
        ours.append(chance.random() < canary)
        theirs.append(chance.random() < champion)
        if ours[-1] is not theirs[-1]:
            blamed, excused = blamed + ours[-1], excused + theirs[-1]
            gaps.append(blamed - excused)
        tallies.append((blamed, excused))
    lost = blamed > excused
    return gaps, [math.exp(log_fortune(*(tally if lost else tally[::-1]))) for tally in tallies]


def communities(brands: Sequence[Mapping[str, Any]]) -> Figure:
    """House and candidate AUC of each brand with the gate's word, and the gains by the number of corrections."""
    figure, (scatter, histogram) = panels(2, 4.8)
    trained = [one for one in brands if one["candidate"] and one["gain_auc"] is not None]
    lowest = min(min(one["house"]["auc"], one["candidate"]["auc"]) for one in trained) - 0.02
    scatter.plot([lowest, 1], [lowest, 1], color="0.7", linewidth=1)
    for promoted, marker, color, name in ((True, "o", "tab:green", "promoted"), (False, "x", "tab:red", "refused")):
        mine = [one for one in trained if one["gate"]["promoted"] is promoted]
        x, y = ([one[side]["auc"] for one in mine] for side in ("house", "candidate"))
        scatter.scatter(x, y, marker=marker, color=color, label=f"{name} ({len(mine)})")
    scatter.set_xlabel("AUC of the house model on the holdout")
    scatter.set_ylabel("AUC of the brand's adapter")
    scatter.legend(loc="lower right", frameon=False)
    gains: dict[int, list[float]] = {}
    for one in trained:
        gains.setdefault(one["n_corrections"], []).append(100 * one["gain_auc"])
    names = [f"{count} corrections, mean {statistics.mean(found):+.1f}" for count, found in sorted(gains.items())]
    histogram.hist([found for _, found in sorted(gains.items())], bins=15, stacked=True, label=names)
    histogram.axvline(0, color="0.3", linewidth=1)
    histogram.set_xlabel("gain in AUC points on the holdout")
    histogram.set_ylabel("brands")
    histogram.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
