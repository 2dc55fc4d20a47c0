"""Lanes compute side by side, and end after what is under way."""

from __future__ import annotations

import asyncio
from threading import Barrier, Event

import pytest

from apaise_classify.serving.lanes import Lanes


async def test_as_many_passes_as_lanes_are_under_way_at_once() -> None:
    lanes, meeting = Lanes(count=2), Barrier(2, timeout=10)
    assert sorted(await asyncio.gather(*(lanes.run(meeting.wait) for _ in range(2)))) == [0, 1]
    await lanes.close()


async def test_closing_waits_for_what_is_under_way_and_gives_up_what_waits() -> None:
    lanes, begun, go = Lanes(), Event(), Event()

    def long() -> str:
        begun.set()
        assert go.wait(10)
        return "read"

    first, second = asyncio.ensure_future(lanes.run(long)), asyncio.ensure_future(lanes.run(long))
    assert await asyncio.to_thread(begun.wait, 10)
    closing = asyncio.create_task(lanes.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    go.set()
    await closing
    assert await first == "read"
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_a_failed_pass_leaves_its_lane_free() -> None:
    lanes = Lanes()
    with pytest.raises(ZeroDivisionError):
        await lanes.run(lambda: 1 // 0)
    assert await lanes.run(lambda: 1) == 1
    await lanes.close()
