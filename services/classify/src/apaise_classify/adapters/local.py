"""A replica in this very process: the whole of serving but Ray."""

from __future__ import annotations

from collections.abc import Sequence

from apaise_classify.adapters.batching import Batcher, Limits
from apaise_classify.domain.reading import Reading, Row, Vectors
from apaise_classify.serving.replica import Replica


class LocalReader:
    """`Reader` over one replica that somebody else starts and stops."""

    def __init__(self, replica: Replica, limits: Limits | None = None) -> None:
        """`limits` are those of the queue in front of it."""
        self._replica = replica
        limits = limits or Limits()
        self._rows: Batcher[Row, Reading] = Batcher(
            replica.read, limits, lambda row: len(row.text), lambda row: row.brand
        )
        self._texts: Batcher[str, tuple[float, ...]] = Batcher(self._embed_batch, limits, len)
        self._traces: Batcher[str, tuple[float, ...]] = Batcher(self._trace_batch, limits, len)
        self._encoder = replica.encoder

    async def read(self, rows: Sequence[Row]) -> list[Reading]:
        """See `Reader.read`."""
        return await self._rows.submit(rows)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Reader.embed`."""
        return Vectors(tuple(await self._texts.submit(texts)), self._encoder)

    async def trace(self, texts: Sequence[str]) -> Vectors:
        """See `Reader.trace`."""
        return Vectors(tuple(await self._traces.submit(texts)), self._encoder)

    async def nudge(self) -> None:
        """See `Reader.nudge`."""
        self._replica.nudge()

    async def alive(self) -> bool:
        """See `Reader.alive`."""
        return self._replica.running

    async def _embed_batch(self, texts: list[str]) -> Sequence[tuple[float, ...]]:
        return (await self._replica.embed(texts)).values

    async def _trace_batch(self, texts: list[str]) -> Sequence[tuple[float, ...]]:
        return (await self._replica.trace(texts)).values
