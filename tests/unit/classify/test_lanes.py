"""Lanes: a pass that begins alone takes every core; beside another it takes its share."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest
import torch

from apaise_classify.serving.lanes import Lanes


async def test_a_lone_pass_takes_every_lanes_threads_and_one_beside_it_its_own() -> None:
    lanes = Lanes(count=2, threads=1)
    begun, go = Event(), Event()

    def first() -> int:
        begun.set()
        assert go.wait(10)
        return torch.get_num_threads()

    long = asyncio.ensure_future(lanes.run(first))
    assert await asyncio.to_thread(begun.wait, 10)
    beside = await lanes.run(torch.get_num_threads)
    go.set()
    assert (await long, beside) == (2, 1)
    assert await lanes.run(torch.get_num_threads) == 2
    await lanes.close()


async def test_a_failed_pass_leaves_its_lane_free() -> None:
    lanes = Lanes(count=2)
    with pytest.raises(ZeroDivisionError):
        await lanes.run(lambda: 1 // 0)
    assert await lanes.run(torch.get_num_threads) == 2
    await lanes.close()
