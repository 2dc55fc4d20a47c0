"""Batches across callers: what waits makes the next batch, callers take turns, nothing grows without bound."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apaise_classify.adapters.batching import Batcher, Limits
from apaise_kit.core.errors import ResourceExhausted, Unavailable


class Replica:
    """Doubles numbers when allowed to, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.cancelled = 0

    async def run(self, items: list[int]) -> Sequence[int]:
        self.batches.append(items)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return [2 * item for item in items]


def weightless(_: int) -> int:
    return 0


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_idle_replica_is_called_at_once_and_a_busy_one_fills_the_next_batch() -> None:
    replica = Replica()
    batcher = Batcher(replica.run, Limits(rows=4, under_way=1), weightless)
    calls = [asyncio.create_task(batcher.submit([n])) for n in range(6)]
    await settle()
    assert replica.batches == [[0]]
    replica.gate.set()
    assert await asyncio.gather(*calls) == [[2 * n] for n in range(6)]
    assert replica.batches == [[0], [1, 2, 3, 4], [5]]


async def test_a_large_call_is_split_and_does_not_hold_up_a_small_one() -> None:
    replica = Replica()
    batcher = Batcher(replica.run, Limits(rows=32, under_way=1), weightless)
    large = asyncio.create_task(batcher.submit(list(range(500))))
    await settle()
    small = asyncio.create_task(batcher.submit([1000]))
    await settle()
    replica.gate.set()
    assert await small == [2000]
    assert not large.done()
    assert await large == [2 * n for n in range(500)]
    assert 1000 in replica.batches[1]
    assert max(map(len, replica.batches)) == 32


async def test_weight_bounds_a_batch_and_a_heavy_row_travels_alone() -> None:
    replica = Replica()
    replica.gate.set()
    batcher = Batcher(replica.run, Limits(rows=10, weight=10, under_way=1), lambda item: item)
    await batcher.submit([4, 4, 4, 50, 1, 1])
    assert replica.batches == [[4, 4], [4], [50], [1, 1]]


async def test_too_much_waiting_is_told_to_come_back() -> None:
    replica = Replica()
    batcher = Batcher(replica.run, Limits(rows=1, under_way=1, waiting=3), weightless)
    first = asyncio.create_task(batcher.submit([0] * 4))  # one leaves, three wait
    await settle()
    with pytest.raises(ResourceExhausted) as caught:
        await batcher.submit([1])
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() > 0
    replica.gate.set()
    await first
    assert await batcher.submit([1] * 10) == [2] * 10, "a call larger than the bound is let in when nothing waits"


async def test_a_cancelled_call_leaves_the_queue_and_a_deserted_batch_is_taken_back() -> None:
    replica = Replica()
    batcher = Batcher(replica.run, Limits(rows=2, under_way=1), weightless)
    gone = asyncio.create_task(batcher.submit([1, 2, 3, 4]))
    await settle()
    kept = asyncio.create_task(batcher.submit([9]))
    await settle()
    gone.cancel()
    await settle()
    assert replica.cancelled == 1
    assert replica.batches == [[1, 2], [9]]
    replica.gate.set()
    assert await kept == [18]
    assert batcher.waiting == 0


async def test_a_batch_shared_with_someone_who_stays_is_not_taken_back() -> None:
    replica = Replica()
    batcher = Batcher(replica.run, Limits(rows=8, under_way=1), weightless)
    blocker = asyncio.create_task(batcher.submit([0]))
    await settle()
    gone, kept = (asyncio.create_task(batcher.submit([n])) for n in (1, 2))
    await settle()
    replica.gate.set()
    await blocker
    replica.gate.clear()
    await settle()
    assert replica.batches[1] == [1, 2]
    gone.cancel()
    await settle()
    assert replica.cancelled == 0
    replica.gate.set()
    assert await kept == [4]


async def test_a_failed_batch_fails_its_callers_and_nobody_else() -> None:
    replica = Replica()
    batcher = Batcher(replica.run, Limits(rows=2, under_way=1), weightless)
    failing = asyncio.create_task(batcher.submit([1, 2, 3]))
    await settle()
    other = asyncio.create_task(batcher.submit([7]))
    replica.error = Unavailable("no replica")
    replica.gate.set()
    with pytest.raises(Unavailable):
        await failing
    replica.error = None
    assert await other == [14]
    assert batcher.waiting == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12),
    st.integers(1, 20),
    st.integers(1, 60),
    st.integers(1, 3),
)
def test_every_row_is_answered_once_in_order(calls: list[list[int]], rows: int, weight: int, under_way: int) -> None:
    seen: list[int] = []

    async def run(items: list[int]) -> Sequence[int]:
        assert len(items) <= rows
        assert len(items) == 1 or sum(items) <= weight
        await asyncio.sleep(0)
        seen.extend(items)
        return [-item for item in items]

    async def main() -> list[list[int]]:
        batcher = Batcher(run, Limits(rows, weight, under_way, 10_000), lambda item: item)
        return await asyncio.gather(*(batcher.submit(call) for call in calls))

    assert asyncio.run(main()) == [[-item for item in call] for call in calls]
    assert sorted(seen) == sorted(item for call in calls for item in call)


async def test_brands_take_turns_however_much_one_of_them_sends() -> None:
    replica = Replica()
    batcher: Batcher[int, int] = Batcher(replica.run, Limits(rows=16, under_way=1), weightless, lambda n: str(n % 100))
    flood = asyncio.create_task(batcher.submit([n * 100 for n in range(400)]))
    await settle()
    others = [asyncio.create_task(batcher.submit([n, 100 + n])) for n in (1, 2, 3)]
    await settle()
    replica.gate.set()
    await asyncio.gather(*others)
    assert not flood.done()
    assert {1, 101, 2, 102, 3, 103} <= set(replica.batches[1])
    await flood


async def test_a_call_of_many_brands_is_answered_in_order() -> None:
    replica = Replica()
    replica.gate.set()
    batcher: Batcher[int, int] = Batcher(replica.run, Limits(rows=7, under_way=2), weightless, lambda n: str(n % 5))
    assert await batcher.submit(list(range(60))) == [2 * n for n in range(60)]
    assert batcher.waiting == 0
