"""A servicer on a generated contract, whose behaviour each test chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from apaise.ingest.v1 import ingest_service_pb2 as ingest
from apaise.ingest.v1 import ingest_service_pb2_grpc as ingest_grpc
from apaise.route.v1 import route_service_pb2 as route
from apaise.route.v1 import route_service_pb2_grpc as route_grpc
from apaise_kit.runtime.server import Service

INGEST = "apaise.ingest.v1.IngestService"
ROUTE = "apaise.route.v1.RouteService"

Unary = Callable[[Any], Awaitable[None]]
Stream = Callable[[Any], AsyncIterator[None]]


async def _nothing(_request: Any) -> None:
    return None


class Toy(ingest_grpc.IngestServiceServicer, route_grpc.RouteServiceServicer):
    """GetBrand, ListChannels and CreateBrand run `unary`; FollowDecisions answers once for each item of `stream`."""

    def __init__(self, unary: Unary = _nothing, stream: Stream | None = None) -> None:
        self._run = unary
        self._items = stream

    async def GetBrand(self, request: ingest.GetBrandRequest, context: Any) -> ingest.GetBrandResponse:
        await self._run(request)
        return ingest.GetBrandResponse()

    async def ListChannels(self, request: ingest.ListChannelsRequest, context: Any) -> ingest.ListChannelsResponse:
        await self._run(request)
        return ingest.ListChannelsResponse()

    async def CreateBrand(self, request: ingest.CreateBrandRequest, context: Any) -> ingest.CreateBrandResponse:
        await self._run(request)
        return ingest.CreateBrandResponse()

    async def FollowDecisions(
        self, request: route.FollowDecisionsRequest, context: Any
    ) -> AsyncIterator[route.FollowDecisionsResponse]:
        assert self._items is not None
        async for _ in self._items(request):
            yield route.FollowDecisionsResponse()


ToyFactory = Callable[..., tuple[Service, Service]]


@pytest.fixture
def toy() -> ToyFactory:
    """`toy(unary, stream)` gives the two services to run."""
    return _toy


def _toy(unary: Unary = _nothing, stream: Stream | None = None) -> tuple[Service, Service]:
    servicer = Toy(unary, stream)  # type: ignore[abstract]
    return (
        Service(ingest_grpc.add_IngestServiceServicer_to_server, servicer, INGEST),
        Service(route_grpc.add_RouteServiceServicer_to_server, servicer, ROUTE),
    )
