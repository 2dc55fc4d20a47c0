"""Swaps under traffic: every answer is exactly one revision's, whatever is loaded, flipped or dropped meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from apaise_classify.adapters.batching import Limits
from apaise_classify.adapters.local import LocalReader
from apaise_classify.domain.adapters import Report, Revision, Wish
from apaise_classify.domain.arms import Counted
from apaise_classify.domain.ports import PrecedentSet
from apaise_classify.domain.reading import HOUSE, Row
from apaise_classify.serving.engine import Engine
from apaise_classify.serving.lanes import Lanes
from apaise_classify.serving.replica import Replica
from apaise_classify.testing import random_adapter, reference
from mlops.base.encoder import load_encoder
from mlops.house import House

TEXTS = ("bonjour à tous", "where is my order, it is late", "gg ez", "une phrase nettement plus longue que les autres")
BRANDS = ("acme", "globex", "initech")
SWAPS = 40
# Scores are rounded to 3 decimals; float32 at another padding moves them far less than that.
EPSILON = 1.1e-3


class Wishes:
    """A store that only remembers."""

    def __init__(self) -> None:
        self.wanted: dict[str, Wish] = {}
        self.reached: dict[str, Report] = {}
        self._changed = asyncio.Condition()

    async def wishes(self) -> list[Wish]:
        return list(self.wanted.values())

    async def changed_precedents(self, encoder: str, known: Mapping[str, int]) -> list[PrecedentSet]:
        return []

    async def report(self, replica: str, encoder: str, changed: Sequence[Report]) -> None:
        async with self._changed:
            self.reached.update({report.brand: report for report in changed})
            self._changed.notify_all()

    async def count(self, replica: str, counted: Sequence[Counted]) -> None:
        assert not counted, "nothing is on trial here"

    async def reach(self, brand: str, generation: int) -> None:
        def reached() -> bool:
            return brand in self.reached and self.reached[brand].generation == generation

        async with self._changed:
            await self._changed.wait_for(reached)

    def wish(self, brand: str, revision: Revision | None) -> int:
        generation = self.wanted[brand].generation + 1 if brand in self.wanted else 1
        self.wanted[brand] = Wish(brand, revision, generation)
        return generation


@pytest.fixture(scope="module")
def revisions(house: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Revision]]:
    """Three revisions for each brand, all different."""
    root = tmp_path_factory.mktemp("adapters")
    return {
        brand: [
            random_adapter(root / f"{brand}-r{n}", house, brand, f"r{n}", seed=10 * b + n, strength=1 + n)
            for n in range(3)
        ]
        for b, brand in enumerate(BRANDS)
    }


async def test_no_answer_mixes_two_revisions(
    house: House, revisions: dict[str, list[Revision]], tmp_path: Path
) -> None:
    engine = Engine(load_encoder(house.path, dtype="float32"), house, pass_tokens=64)
    expected = {
        (brand, revision.id): reference(house, Path(revision.artifact_uri), TEXTS).numpy()
        for brand, known in revisions.items()
        for revision in known
    }
    bare, _ = engine.read(TEXTS, [0] * len(TEXTS))
    columns = [i for i in range(bare.shape[1]) if bare[:, i].any()]
    expected.update({(brand, HOUSE): bare[:, columns] for brand in BRANDS})
    _check_telling(expected)

    store = Wishes()
    replica = Replica(engine, Lanes(), store, tmp_path, keep=0, interval=0.01)
    await replica.start()
    reader = LocalReader(replica, Limits(rows=8))
    answers: Counter[tuple[str, str]] = Counter()
    stop = asyncio.Event()

    async def traffic(offset: int) -> None:
        n = offset
        while not stop.is_set():
            rows = [(BRANDS[(n + k) % 3], (n * 7 + k) % len(TEXTS)) for k in range(5)]
            readings = await reader.read([Row(brand, TEXTS[text]) for brand, text in rows])
            for (brand, text), reading in zip(rows, readings, strict=True):
                key = (brand, reading.edition.revision)
                difference = np.abs(np.array(reading.scores) - expected[key][text]).max()
                assert difference <= EPSILON, f"torn: {key} off by {difference}"
                answers[key] += 1
            n += 1

    async def swaps() -> None:
        for n in range(SWAPS):
            brand = BRANDS[n % 3]
            target = None if n % 10 == 9 else revisions[brand][(n // 3) % 3]
            generation = store.wish(brand, target)
            replica.nudge()
            async with asyncio.timeout(20):
                await store.reach(brand, generation)
            assert store.reached[brand].serving == (target.id if target else HOUSE)
        stop.set()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(swaps())
            for offset in range(6):
                group.create_task(traffic(offset))
    finally:
        stop.set()
        await replica.stop()
    assert len(answers) >= 9, "traffic has seen most revisions"


def _check_telling(expected: dict[tuple[str, str], np.ndarray]) -> None:
    """Revisions of a brand differ by far more than epsilon on every text, else the test could not see a torn answer."""
    for (brand, id), scores in expected.items():
        for (other_brand, other), others in expected.items():
            if brand == other_brand and id < other:
                assert np.abs(scores - others).max(axis=1).min() > 20 * EPSILON, (brand, id, other)
