"""FiguresService: the contract's side of a brand's figures."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import grpc

from apaise.route.v1 import figures_service_pb2 as pb
from apaise.route.v1.figures_service_pb2_grpc import FiguresServiceServicer
from apaise_kit.core.names import parse_brand
from apaise_route.app import figures
from apaise_route.app.deps import Deps
from apaise_route.domain.figures import Delay, Figures
from apaise_route.transport import codec

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class FiguresServicer(FiguresServiceServicer):
    """FiguresService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def GetFigures(self, request: pb.GetFiguresRequest, context: Context) -> pb.GetFiguresResponse:
        """See the contract."""
        found = await figures.get_figures(self._deps, parse_brand(request.name), *_span(request))
        return figures_pb(found, self._deps.clock.now())


def _span(request: pb.GetFiguresRequest) -> tuple[datetime | None, datetime | None]:
    start = codec.time_of(request.start_time, "start_time") if request.HasField("start_time") else None
    return start, codec.time_of(request.end_time, "end_time") if request.HasField("end_time") else None


def figures_pb(found: Figures, now: datetime) -> pb.GetFiguresResponse:
    """A brand's figures; ages are counted to `now`."""
    response = pb.GetFiguresResponse(
        **found.counts._asdict(), review=_delay_pb(found.review), reply=_delay_pb(found.reply)
    )
    codec.stamp(response.start_time, found.start)
    codec.stamp(response.end_time, found.end)
    for queue in found.queues:
        waiting = response.queues.add(queue=int(queue.queue), waiting=queue.waiting)
        waiting.oldest.FromTimedelta(now - queue.oldest)
    for clause in found.clauses:
        response.clauses.add(**clause._asdict())
    for reviewer in found.reviewers:
        response.reviewers.add(**reviewer._asdict())
    return response


def _delay_pb(delay: Delay) -> pb.Delay:
    found = pb.Delay(count=delay.count, with_deadline=delay.with_deadline, within_deadline=delay.within_deadline)
    if delay.median is not None and delay.p90 is not None:
        found.median.FromTimedelta(delay.median)
        found.p90.FromTimedelta(delay.p90)
    return found
