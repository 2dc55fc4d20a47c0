"""What is counted of a canary adds up, and stays of a fixed size."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from apaise_classify.domain.adapters import Revision, Wish, canary_lane
from apaise_classify.domain.arms import BUCKETS, EDGES, Arm, Counted, added, bucket, percentile
from apaise_classify.serving.watch import Watch


def wish(brand: str = "acme", generation: int = 1) -> Wish:
    return Wish(canary_lane(brand), Revision(canary_lane(brand), "r2", "/x", "d", "e"), generation, 0.5)


def counts(times: list[float]) -> tuple[int, ...]:
    found = [0] * BUCKETS
    for seconds in times:
        found[bucket(seconds)] += 1
    return tuple(found)


def test_a_percentile_is_right_to_a_quarter() -> None:
    chance = random.Random(5)
    times = sorted(chance.lognormvariate(-3, 1) for _ in range(1000))
    for share in (0.5, 0.9, 0.95):
        exact = times[round(share * 1000) - 1]
        assert exact <= percentile(counts(times), share) <= 1.25 * exact


def test_the_ends() -> None:
    assert percentile(counts([]), 0.9) == 0.0
    assert percentile(counts([0.0]), 0.9) == EDGES[0]
    assert percentile(counts([3600.0]), 0.9) == EDGES[-1]


def test_replicas_add_up() -> None:
    one, other = Arm(3, 1, counts([0.01, 0.02])), Arm(2, 0, counts([0.02, 9.0]))
    assert added([one, other]) == Arm(5, 1, counts([0.01, 0.02, 0.02, 9.0]))
    assert added([]) == Arm()


def test_each_side_is_counted_and_a_canary_that_is_no_more_is_forgotten() -> None:
    watch = Watch()
    watch.read(wish(), True, 0.1)
    watch.read(wish(), True)
    watch.failed(wish(), False)
    watch.read(wish("globex"), True)
    (found,) = watch.counted([wish()])
    assert (found.brand, found.generation) == ("acme", 1)
    assert (found.arms.canary.reads, found.arms.canary.failures, found.arms.canary.timed) == (2, 0, 1)
    assert (found.arms.champion.reads, found.arms.champion.failures) == (1, 1)
    assert watch.counted([wish("globex")]) == []


def test_another_generation_begins_anew() -> None:
    watch = Watch()
    watch.failed(wish(), True)
    watch.read(wish(generation=2), True)
    (found,) = watch.counted([wish(generation=2)])
    assert isinstance(found, Counted)
    assert (found.arms.canary.reads, found.arms.canary.failures) == (1, 0)


def many(watch: Watch) -> None:
    for _ in range(500):
        watch.read(wish(), True, 0.1)


def test_nothing_is_lost_between_lanes() -> None:
    watch = Watch()
    with ThreadPoolExecutor(4) as lanes:
        for _ in range(4):
            lanes.submit(many, watch)
    (found,) = watch.counted([wish()])
    assert found.arms.canary.reads == found.arms.canary.timed == 2000
