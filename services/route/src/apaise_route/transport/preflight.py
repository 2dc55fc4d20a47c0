"""PreflightService: the contract's side of asking before posting."""

from __future__ import annotations

from typing import Final, TypeAlias

import grpc

from apaise.route.v1 import preflight_service_pb2 as pb
from apaise.route.v1.preflight_service_pb2_grpc import PreflightServiceServicer
from apaise_kit.core.errors import Reason, invalid_field
from apaise_kit.core.names import parse_brand
from apaise_route.app.deps import Deps
from apaise_route.app.preflight import Preflight, preflight_message
from apaise_route.domain.model import Audience, Channel, ChannelKind, Moderation
from apaise_route.transport import codec

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"
_MAX_BYTES: Final = 4 * 1024


class PreflightServicer(PreflightServiceServicer):
    """PreflightService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def PreflightMessage(
        self, request: pb.PreflightMessageRequest, context: Context
    ) -> pb.PreflightMessageResponse:
        """See the contract."""
        found = await preflight_message(self._deps, _channel(request), _text(request), codec.clean(request.language))
        return preflight_pb(found)


def _channel(request: pb.PreflightMessageRequest) -> Channel:
    return Channel(
        brand=parse_brand(request.parent, "parent"),
        id="preflight",
        kind=codec.optional_member(ChannelKind, request.kind, "kind") or ChannelKind.COMMENT,
        audience=codec.optional_member(Audience, request.audience, "audience") or Audience.PUBLIC,
        moderation=codec.optional_member(Moderation, request.moderation_mode, "moderation_mode") or Moderation.PRE,
    )


def _text(request: pb.PreflightMessageRequest) -> str:
    if not request.text.strip():
        raise invalid_field("text", "must not be empty", Reason.EMPTY_MESSAGE)
    if len(request.text.encode()) > _MAX_BYTES:
        raise invalid_field("text", f"must be at most {_MAX_BYTES} bytes", Reason.TEXT_TOO_LONG)
    return codec.clean(request.text)


def preflight_pb(found: Preflight) -> pb.PreflightMessageResponse:
    """What would become of a text."""
    response = pb.PreflightMessageResponse(
        visibility=int(found.ruling.visibility),  # type: ignore[arg-type]
        passes=found.passes,
        clause=found.ruling.clause,
        explanation=found.ruling.explanation,
        proposals=found.proposals,
    )
    for passage in found.passages:
        response.spans.add(label=passage.label, start=passage.start, end=passage.end, weight=passage.weight)
    return response
