"""The threads a replica computes on.

Under load, two lanes of one thread each keep two cores busier than one lane of two: nobody waits for the other at the
end of every product. A pass that begins while all other lanes rest takes their cores as well, so that a lone message is
answered as fast as the machine can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import torch

T = TypeVar("T")


class Lanes:
    """Runs functions, each on one lane, `count` at once."""

    def __init__(self, count: int = 1, threads: int = 1) -> None:
        """Lanes that rest.

        Args:
            count: how many.
            threads: of a pass beside others; one that begins alone takes `count` times as many.
        """
        self._count = count
        self._threads = threads
        # Torch sets a new thread to the last number anyone chose when that thread first asks: it asks here.
        self._pool = ThreadPoolExecutor(count, "lane", torch.get_num_threads)
        self._busy = 0
        self._lock = Lock()

    def run(self, function: Callable[[], T]) -> Awaitable[T]:
        """Compute on the next free lane."""
        return asyncio.get_running_loop().run_in_executor(self._pool, self._computed, function)

    async def close(self) -> None:
        """Let what is under way end; what waits is given up."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    def _computed(self, function: Callable[[], T]) -> T:
        with self._lock:
            alone = not self._busy
            self._busy += 1
        torch.set_num_threads(self._threads * (self._count if alone else 1))  # OpenMP counts by calling thread
        try:
            return function()
        finally:
            with self._lock:
                self._busy -= 1
