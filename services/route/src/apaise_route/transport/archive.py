"""ArchiveService: the contract's side of what is kept as evidence."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from apaise.route.v1 import archive_service_pb2 as pb
from apaise.route.v1.archive_service_pb2_grpc import ArchiveServiceServicer
from apaise_kit.core.names import EXHIBIT, MESSAGE, parse_brand
from apaise_route.app import archive
from apaise_route.app.deps import Deps
from apaise_route.domain.archive import Standing
from apaise_route.domain.model import decision_name
from apaise_route.transport import codec

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class ArchiveServicer(ArchiveServiceServicer):
    """ArchiveService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def ListExhibits(self, request: pb.ListExhibitsRequest, context: Context) -> pb.ListExhibitsResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent", wildcard=True)
        page, token = await archive.list_exhibits(self._deps, brand, request.page_size, request.page_token)
        return pb.ListExhibitsResponse(exhibits=map(exhibit_pb, page), next_page_token=token)

    async def GetExhibit(self, request: pb.GetExhibitRequest, context: Context) -> pb.GetExhibitResponse:
        """See the contract."""
        found = await archive.get_exhibit(self._deps, *EXHIBIT.parse(request.name))
        return pb.GetExhibitResponse(exhibit=exhibit_pb(found), content=found.exhibit.content.encode())


def exhibit_pb(found: Standing) -> pb.Exhibit:
    """An exhibit without its content."""
    exhibit = found.exhibit
    response = pb.Exhibit(
        name=exhibit.name,
        message=MESSAGE.format(exhibit.brand, exhibit.message),
        edit_revision=exhibit.edit_revision,
        decision=decision_name(exhibit.brand, exhibit.message, exhibit.sequence),
        clause=exhibit.clause,
        reason=exhibit.reason,
        charter=exhibit.charter,
        charter_digest=exhibit.charter_digest,
        actor=exhibit.actor,
        digest=exhibit.digest,
        visibility=int(found.visibility),  # type: ignore[arg-type]
        ground=int(found.ground),  # type: ignore[arg-type]
    )
    codec.stamp(response.create_time, exhibit.create_time)
    return response
