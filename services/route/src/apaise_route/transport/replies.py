"""ReplyService: the contract's side of drafts."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from apaise.route.v1 import reply_service_pb2 as pb
from apaise.route.v1.reply_service_pb2_grpc import ReplyServiceServicer
from apaise_kit.core.errors import invalid_field
from apaise_kit.core.names import MESSAGE
from apaise_route.app.deps import Deps
from apaise_route.app.replies import draft_reply
from apaise_route.domain.replies import POSTURES, Draft

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class ReplyServicer(ReplyServiceServicer):
    """ReplyService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def DraftReply(self, request: pb.DraftReplyRequest, context: Context) -> pb.DraftReplyResponse:
        """See the contract."""
        brand, message = MESSAGE.parse(request.message, "message")
        return draft_pb(await draft_reply(self._deps, brand, message, _posture(request.posture)))


def _posture(value: str) -> str:
    if value and value not in POSTURES:
        raise invalid_field("posture", f"must be one of {', '.join(POSTURES)}")
    return value


def draft_pb(found: Draft) -> pb.DraftReplyResponse:
    """A draft."""
    return pb.DraftReplyResponse(
        text=found.text,
        scenario=found.scenario,
        posture=found.posture,
        language=found.language,
        audience=int(found.audience),  # type: ignore[arg-type]
        note=int(found.note),  # type: ignore[arg-type]
        answer=found.answer,
        similarity=found.similarity,
    )
