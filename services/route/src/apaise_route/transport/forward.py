"""ForwardService: the contract's side of messages worth bringing forward."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from apaise.route.v1 import forward_service_pb2 as pb
from apaise.route.v1.forward_service_pb2_grpc import ForwardServiceServicer
from apaise_kit.core.names import parse_brand
from apaise_route.app.deps import Deps
from apaise_route.app.forward import list_forward
from apaise_route.domain.forward import EXPLANATIONS, Forward
from apaise_route.transport import codec

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class ForwardServicer(ForwardServiceServicer):
    """ForwardService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def ListForward(self, request: pb.ListForwardRequest, context: Context) -> pb.ListForwardResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent")
        start = codec.time_of(request.start_time, "start_time") if request.HasField("start_time") else None
        found = await list_forward(self._deps, brand, start, request.page_size)
        return pb.ListForwardResponse(forwards=map(forward_pb, found))


def forward_pb(found: Forward) -> pb.Forward:
    """One message worth bringing forward."""
    return pb.Forward(
        message=codec.message_pb(found.message),
        reason=int(found.reason),  # type: ignore[arg-type]
        explanation=EXPLANATIONS[found.reason],
        score=found.score,
    )
