"""What route asks of classify."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from apaise.classify.v1 import classify_service_pb2 as pb
from apaise.classify.v1 import classify_service_pb2_grpc as rpc
from apaise_kit.core.errors import Reason, ResourceExhausted, Unavailable
from apaise_kit.runtime.client import open_channel
from apaise_kit.runtime.server import Service
from apaise_kit.testing import running
from apaise_route.adapters.reader import GrpcReader
from apaise_route.domain.reading import NoReader


class Classify(rpc.ClassifyServiceServicer):
    async def Embed(self, request: pb.EmbedRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.EmbedResponse:
        if request.texts[0] == "too much":
            raise ResourceExhausted("Busy.", reason=Reason.OVERLOADED)
        vectors = [pb.EmbedResponse.Embedding(values=[len(text), 0.5]) for text in request.texts]
        return pb.EmbedResponse(embeddings=vectors, encoder="enc")


async def test_vectors_come_in_order_with_their_encoder_and_refusals_as_they_are() -> None:
    made = Classify()  # type: ignore[abstract]
    service = Service(rpc.add_ClassifyServiceServicer_to_server, made, "apaise.classify.v1.ClassifyService")
    async with running(service) as server:
        channel = open_channel(server.address, server.token(roles=("service",)))
        reader = GrpcReader(channel)
        found = await reader.embed(["a", "bb"])
        assert (found.values, found.encoder) == ([[1, 0.5], [2, 0.5]], "enc")
        with pytest.raises(ResourceExhausted):
            await reader.embed(["too much"])
        await channel.close()


async def test_no_classify_says_so() -> None:
    with pytest.raises(Unavailable):
        await NoReader().embed(["a"])
