"""Following every decision of the mesh while something else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final

import grpc

from apaise.route.v1 import decision_pb2
from apaise.route.v1 import route_service_pb2 as pb
from apaise.route.v1 import route_service_pb2_grpc as rpc
from apaise_cli.errors import CliError

_POLL: Final = 0.05


class Decisions:
    """The decision that holds for each message seen, by the platform's id of the message."""

    def __init__(self) -> None:
        self.holding: dict[str, decision_pb2.Decision] = {}

    def take(self, decision: decision_pb2.Decision) -> None:
        """Note a decision; a later one of the same message takes its place."""
        known = self.holding.get(decision.external_id)
        if known is None or decision.sequence > known.sequence:
            self.holding[decision.external_id] = decision

    async def of(
        self, ids: Collection[str], patience: float, when: Callable[[decision_pb2.Decision], bool] = lambda _: True
    ) -> dict[str, decision_pb2.Decision]:
        """The decisions of these messages, once all have one that suits.

        Raises:
            CliError: when some have none after `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while missing := [each for each in ids if each not in self.holding or not when(self.holding[each])]:
            if time.monotonic() > deadline:
                raise CliError(
                    f"{len(missing)} messages were not decided in time.", "apaise status shows what is down."
                )
            await asyncio.sleep(_POLL)
        return {each: self.holding[each] for each in ids}


@asynccontextmanager
async def following(route: grpc.aio.Channel) -> AsyncIterator[Decisions]:
    """Follow from now on, until the block ends."""
    decisions, listening = Decisions(), asyncio.Event()

    async def follow() -> None:
        stream = rpc.RouteServiceStub(route).FollowDecisions(pb.FollowDecisionsRequest(parent="brands/-", cursor="now"))
        async for response in stream:
            listening.set()
            if response.HasField("decision"):
                decisions.take(response.decision)

    task = asyncio.create_task(follow())
    try:
        await listening.wait()
        yield decisions
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await task


def assessed(decision: decision_pb2.Decision) -> bool:
    """Whether a model had read the message when this was decided."""
    return decision.absence == decision_pb2.ASSESSMENT_ABSENCE_UNSPECIFIED
