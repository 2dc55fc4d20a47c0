"""`python -m apaise_train.worker.bench`: our trainer on a lesson it shares with another trainer.

A lesson as JSON on stdin (the keys of `mlops.bench.peft_trainer.Lesson`), `{"seconds", "scores", …}` on stdout.
`seconds` is one fit on all rows, with what it alone needs (the lower layers' pass, the z-scores); `seconds_with_folds`
is a whole run as brands get it, its out-of-fold scores and the files included.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch

from apaise_train.domain.jobs import HouseSource, Job, Outcome, Row
from apaise_train.worker import learning
from apaise_train.worker.job import REMOVE, house_of, make_targets, run
from apaise_train.worker.learning import Lesson, Recipe
from apaise_train.worker.net import BrandNet
from mlops.base.encoder import load_encoder
from mlops.house import load_heads


def main() -> int:
    """Read a lesson, learn it, print what it took."""
    given = json.load(sys.stdin)
    torch.set_num_threads(given["threads"])
    rows = tuple(Row(text, goes) for text, goes in zip(given["texts"], given["remove"], strict=True))
    recipe = Recipe()
    recipe = replace(recipe, **{name: given[name] for name in ("epochs", "batch", "lora_rate", "head_rate")})
    document = fitted(rows, given["held"], recipe, given["seed"])
    if given.get("whole"):
        job = Job("bench", "r1-bench", given["seed"], datetime.now(UTC), rows, (), threads=given["threads"])
        started = time.perf_counter()
        *_, outcome = run(job, recipe)
        assert isinstance(outcome, Outcome)
        document["seconds_with_folds"] = round(time.perf_counter() - started, 3)
    sys.stdout.write(json.dumps(document))
    return 0


def fitted(
    rows: tuple[Row, ...], held: list[str], recipe: Recipe, seed: int, source: HouseSource | None = None
) -> dict[str, Any]:
    """Seconds of one fit on all rows, and the logits of the held texts afterwards."""
    house = house_of(source or HouseSource())
    net, remove = BrandNet(load_encoder(house.path), *load_heads(house.heads)), house.labels.index(REMOVE)
    unseen = net.cache(held)
    generator = torch.Generator().manual_seed(seed)
    started = time.perf_counter()
    cached = net.cache([row.text for row in rows])
    with net.shortened():
        net.reset(generator, cached)
        before = net.scores(cached)
        targets = make_targets(rows, house.labels, before)
        lesson = Lesson(net, cached, targets, before, remove, recipe, generator)
        for _ in learning.fit(lesson, range(len(rows)), recipe.epochs):
            pass
        seconds = time.perf_counter() - started
        return {"seconds": round(seconds, 3), "scores": net.scores(unseen)[:, remove].tolist()}


if __name__ == "__main__":
    sys.exit(main())
