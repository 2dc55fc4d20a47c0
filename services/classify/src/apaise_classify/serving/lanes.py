"""The threads a replica computes on.

Two lanes of one thread each keep two cores busier than one lane of two: nobody waits for the other at the end of every
small product. Even a lone message gains little from a second core, which the services around it need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


class Lanes:
    """Runs functions, each on one lane, `count` at once."""

    def __init__(self, count: int = 1, threads: int = 1) -> None:
        """Lanes that rest.

        Args:
            count: how many.
            threads: of one pass.
        """
        self._pool = ThreadPoolExecutor(count, "lane", lambda: torch.set_num_threads(threads))

    def run(self, function: Callable[[], T]) -> Awaitable[T]:
        """Compute on the next free lane."""
        return asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def close(self) -> None:
        """Let what is under way end; what waits is given up."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
