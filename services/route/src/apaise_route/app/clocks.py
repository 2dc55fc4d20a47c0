"""What happens because time passes: holds end, the queue ages, old events are forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import Unavailable
from apaise_kit.runtime.logs import get_logger
from apaise_route.adapters import case_store, store
from apaise_route.adapters.case_store import TeamLoad
from apaise_route.adapters.store import QueueDepth
from apaise_route.app.decisions import save
from apaise_route.app.deps import Deps

RETENTION: Final = timedelta(days=30)
_BATCH: Final = 200
_log = get_logger(__name__)


async def end_holds(deps: Deps) -> int:
    """End the holds whose time has come, up to a batch of them; how many."""
    async with deps.db.write() as tx:
        threads = await store.expired_holds(tx.conn, tx.now, _BATCH)
        charters = await deps.shelf.in_force(tx.conn, {brand for brand, _ in threads})
        for (brand, _), thread in threads.items():
            thread.expire_hold(charters[brand], tx.now, deps.new_id)
        await save(tx, list(threads.values()))
    added = [decision for thread in threads.values() for decision in thread.added]
    deps.meter.decided(added)
    return len(added)


async def read_queues(deps: Deps) -> list[QueueDepth]:
    """What waits in each queue."""
    async with deps.db.read() as conn:
        return await store.queue_depths(conn)


async def read_loads(deps: Deps) -> list[TeamLoad]:
    """What each team owes."""
    async with deps.db.read() as conn:
        return await case_store.team_loads(conn)


async def forget_events(deps: Deps) -> int:
    """Forget the events streams no longer offer; how many."""
    return await deps.db.trim_events(deps.clock.now() - RETENTION)


async def every(seconds: float, step: Callable[[], Awaitable[object]]) -> None:
    """Repeat a step for ever; a database that does not answer is waited for."""
    while True:
        with acting_as(system_caller("route")):
            try:
                await step()
            except Unavailable:
                _log.warning("step_postponed", retry_in=seconds)
        await asyncio.sleep(seconds)
