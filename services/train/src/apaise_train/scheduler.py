"""The loop that asks for the runs that are due. The queue does the rest: one run a brand, oldest asked first."""

from __future__ import annotations

import asyncio
from typing import Final

from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import ApaiseError
from apaise_kit.runtime.logs import get_logger
from apaise_train.adapters import store
from apaise_train.app import Train, create_run
from apaise_train.domain.policy import Policy, due

_POLL_SECONDS: Final = 30.0
_log = get_logger(__name__)


async def schedule(train: Train, policy: Policy, poll: float = _POLL_SECONDS) -> None:
    """For ever: look at every brand (`poll` in seconds between two looks) and start what is due."""
    with acting_as(system_caller("train")):
        while True:
            try:
                await start_due(train, policy)
            except ApaiseError as error:
                _log.info("schedule_waits", reason=error.reason.value)
            await asyncio.sleep(poll)


async def start_due(train: Train, policy: Policy) -> list[str]:
    """Ask for a run of each brand that is due; the brands."""
    async with train.db.read() as conn:
        standings = await store.standings(conn)
    started = []
    for standing in standings:
        why = due(standing, policy, train.db.clock.now())
        if why is None:
            continue
        try:
            await create_run(train, standing.brand, "")
        except ApaiseError as error:
            # Both decisions are not there yet, or someone else was faster.
            _log.info("run_not_started", brand=standing.brand, reason=error.reason.value)
            continue
        _log.info("run_due", brand=standing.brand, why=why)
        started.append(standing.brand)
    return started
