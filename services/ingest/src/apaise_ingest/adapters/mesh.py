"""The two services behind the pump, over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, cast

import grpc

from apaise.classify.v1 import classify_service_pb2 as classify_pb
from apaise.classify.v1.classify_service_pb2_grpc import ClassifyServiceStub
from apaise.route.v1 import decision_pb2
from apaise.route.v1 import route_service_pb2 as route_pb
from apaise.route.v1.route_service_pb2_grpc import RouteServiceStub
from apaise.type.v1 import assessment_pb2
from apaise_ingest import codec
from apaise_ingest.adapters.language import UNDETERMINED
from apaise_ingest.domain import Owed
from apaise_ingest.ports import Absence, Assessment
from apaise_kit.core.errors import ApaiseError
from apaise_kit.core.names import BRAND
from apaise_kit.runtime.status import failure_of, failure_of_status

_ROUTE_TIMEOUT: Final = 10.0


class GrpcClassifier:
    """ClassifyService as the pump's classifier."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ClassifyServiceStub(channel)

    async def read(self, rows: Sequence[Owed], timeout: timedelta) -> list[Assessment | ApaiseError]:
        """See `Classifier.read`."""
        request = classify_pb.BatchClassifyRequest(inputs=[_input(row) for row in rows])
        try:
            response = await self._stub.BatchClassify(request, timeout=timeout.total_seconds())
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None
        return [_answer(result) for result in response.results]


def _input(row: Owed) -> classify_pb.Input:
    draft, language = row.message.draft, row.message.language
    return classify_pb.Input(
        brand=BRAND.format(draft.brand),
        text=draft.text,
        language="" if language == UNDETERMINED else language,
        context=classify_pb.Context(event=draft.event),
        private=row.channel.audience == "PRIVATE",
    )


def _answer(result: classify_pb.BatchClassifyResponse.Result) -> Assessment | ApaiseError:
    failure = failure_of_status(result.status)
    return failure.as_error() if failure else result.assessment


class GrpcRouter:
    """RouteService as the pump's router."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = RouteServiceStub(channel)

    async def decide(self, rows: Sequence[tuple[Owed, Assessment | Absence]]) -> list[ApaiseError | None]:
        """See `Router.decide`."""
        request = route_pb.BatchRouteRequest(inputs=[_route_input(row, reading) for row, reading in rows])
        try:
            response = await self._stub.BatchRoute(request, timeout=_ROUTE_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None
        failures = [failure_of_status(result.status) for result in response.results]
        return [failure.as_error() if failure else None for failure in failures]


def _route_input(row: Owed, reading: Assessment | Absence) -> route_pb.RouteInput:
    known = route_pb.RouteInput(message=codec.message_to(row.message), channel=codec.channel_to(row.channel))
    if isinstance(reading, str):
        known.absence = decision_pb2.AssessmentAbsence.Value(f"ASSESSMENT_ABSENCE_{reading}")
    else:
        known.assessment.CopyFrom(cast(assessment_pb2.Assessment, reading))
    return known
