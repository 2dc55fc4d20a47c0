"""Traffic that never stops: what a brand's readers see while an adapter is swapped in."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import grpc

from apaise.classify.v1 import classify_service_pb2 as pb
from apaise.classify.v1 import classify_service_pb2_grpc as rpc
from apaise_kit.runtime.status import failure_of, failure_of_status

_PAUSE: Final = 0.1


@dataclass
class Traffic:
    """What was answered: how often by which adapter of which brand, and what failed."""

    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def adapters(self, brand: str) -> dict[str, int]:
        """Answers by adapter, in the order the adapters came to serve."""
        return {adapter: count for (each, adapter), count in self.answered.items() if each == brand}


@asynccontextmanager
async def flowing(classify: grpc.aio.Channel, brands: Sequence[str], texts: Sequence[str]) -> AsyncIterator[Traffic]:
    """Ask for these texts, the brands mixed in every call, until the block ends."""
    traffic = Traffic()
    task = asyncio.create_task(_ask_for_ever(classify, brands, texts, traffic))
    try:
        yield traffic
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _ask_for_ever(
    classify: grpc.aio.Channel, brands: Sequence[str], texts: Sequence[str], traffic: Traffic
) -> None:
    service = rpc.ClassifyServiceStub(classify)
    inputs = [pb.Input(brand=f"brands/{brand}", text=text) for text in texts for brand in brands]
    asked = [brand for _ in texts for brand in brands]
    while True:
        try:
            response = await service.BatchClassify(pb.BatchClassifyRequest(inputs=inputs))
        except grpc.aio.AioRpcError as error:
            failure = failure_of(error)
            traffic.failed[failure.reason or failure.code.name] += len(inputs)
        else:
            _count(traffic, asked, response)
        await asyncio.sleep(_PAUSE)


def _count(traffic: Traffic, asked: Sequence[str], response: pb.BatchClassifyResponse) -> None:
    for brand, result in zip(asked, response.results, strict=True):
        failure = failure_of_status(result.status)
        if failure is None:
            traffic.answered[brand, result.assessment.provenance.adapter] += 1
        else:
            traffic.failed[failure.reason or failure.code.name] += 1
