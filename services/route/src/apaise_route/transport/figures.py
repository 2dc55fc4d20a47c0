"""FiguresService: the contract's side of a brand's figures."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias, TypedDict

import grpc

from apaise.route.v1 import figures_service_pb2 as pb
from apaise.route.v1.figures_service_pb2_grpc import FiguresServiceServicer
from apaise_kit.core.names import parse_brand
from apaise_route.app import figures
from apaise_route.app.deps import Deps
from apaise_route.domain.figures import ClauseFigures, Delay, Figures, Rate, ReviewerFigures
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
        response.clauses.add(
            clause=clause.clause, reviewed=clause.reviewed, overridden=clause.overridden, **_rates_pb(clause)
        )
    for reviewer in found.reviewers:
        response.reviewers.add(
            actor=reviewer.actor,
            reviewed=reviewer.reviewed,
            overridden=reviewer.overridden,
            skipped=reviewer.skipped,
            undone=reviewer.undone,
            **_rates_pb(reviewer),
        )
    return response


class _Rates(TypedDict):
    override: pb.Rate
    agreement: pb.Rate
    golden: pb.Rate


def _rates_pb(found: ClauseFigures | ReviewerFigures) -> _Rates:
    return _Rates(override=_rate_pb(found.override), agreement=_rate_pb(found.agreement), golden=_rate_pb(found.golden))


def _rate_pb(rate: Rate) -> pb.Rate:
    low, high = rate.interval or (None, None)
    return pb.Rate(count=rate.count, hits=rate.hits, low=low, high=high)


def _delay_pb(delay: Delay) -> pb.Delay:
    found = pb.Delay(count=delay.count, with_deadline=delay.with_deadline, within_deadline=delay.within_deadline)
    if delay.median is not None and delay.p90 is not None:
        found.median.FromTimedelta(delay.median)
        found.p90.FromTimedelta(delay.p90)
    return found
