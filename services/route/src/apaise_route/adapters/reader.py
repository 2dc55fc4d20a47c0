"""ClassifyService, for texts that are not messages yet: nothing of them is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc

from apaise.classify.v1 import classify_service_pb2 as pb
from apaise.classify.v1.classify_service_pb2_grpc import ClassifyServiceStub
from apaise_kit.core.names import BRAND
from apaise_kit.runtime.status import failure_of, failure_of_status
from apaise_route.domain.reading import Reading, Vectors
from apaise_route.domain.rephrase import Passage
from apaise_route.transport.codec import assessment

_TIMEOUT: Final = 10.0


class GrpcReader:
    """Reads through a channel to classify."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """`channel` leads to ClassifyService."""
        self._stub = ClassifyServiceStub(channel)

    async def read(
        self, brand: str, texts: Sequence[str], language: str, *, private: bool, explain: bool
    ) -> list[Reading]:
        """See `domain.reading.Reader`.

        Raises:
            ApaiseError: what classify refused with.
        """
        name = BRAND.format(brand)
        inputs = [pb.Input(brand=name, text=t, language=language, private=private, explain=explain) for t in texts]
        try:
            response = await self._stub.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None
        return [_reading(result) for result in response.results]

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `domain.reading.Reader`.

        Raises:
            ApaiseError: what classify refused with.
        """
        try:
            response = await self._stub.Embed(pb.EmbedRequest(texts=texts), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None
        return Vectors([list(one.values) for one in response.embeddings], response.encoder)


def _reading(result: pb.BatchClassifyResponse.Result) -> Reading:
    failure = failure_of_status(result.status)
    if failure is not None:
        raise failure.as_error()
    spans = [Passage(span.label, span.start, span.end, span.weight) for span in result.assessment.spans]
    return assessment(result.assessment), spans
