"""Readers to hold to one suite: a fake engine, the real one in process, the real one in Ray Serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import SecretStr

from apaise_classify.adapters.batching import Limits
from apaise_classify.adapters.fake import FakeEngine
from apaise_classify.adapters.local import LocalReader
from apaise_classify.adapters.postgres import PostgresStore
from apaise_classify.adapters.serve import ServeOptions, ServeReader
from apaise_classify.domain.adapters import Revision
from apaise_classify.domain.ports import Reader
from apaise_classify.serving.deployment import ReplicaConfig, build_engine
from apaise_classify.serving.lanes import Lanes
from apaise_classify.serving.replica import Replica
from apaise_classify.testing import LABELS, TinyHouse, random_adapter, tiny_house
from mlops.house import House

torch.set_num_threads(1)
Start = Callable[[], AbstractAsyncContextManager["Mesh"]]


@dataclass
class Mesh:
    """A reader and the store its replicas follow."""

    reader: Reader
    store: PostgresStore
    house: House
    root: Path
    real: bool

    def adapter(self, brand: str, revision: str, seed: int = 1, **more: Any) -> Revision:
        """A new adapter on disk."""
        return random_adapter(self.root / f"{brand}-{revision}-{seed}", self.house, brand, revision, seed=seed, **more)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyHouse:
    return tiny_house(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def house(tiny: TinyHouse) -> House:
    return tiny.build()


def config(dsn: str, tiny: TinyHouse) -> ReplicaConfig:
    return ReplicaConfig(
        dsn=SecretStr(dsn),
        cache=tiny.cache,
        base_model=str(tiny.base),
        house_weights=tiny.weights,
        dtype="float32",
        remembered=100,
        interval=0.2,
    )


@asynccontextmanager
async def in_process(
    engine: Any, store: PostgresStore, cache: Path, limits: Limits, now: Callable[[], float] = time.monotonic
) -> AsyncIterator[LocalReader]:
    replica = Replica(engine, Lanes(), store, cache, remembered=100, interval=0.2, now=now)
    await replica.start()
    try:
        yield LocalReader(replica, limits)
    finally:
        await replica.stop()


@asynccontextmanager
async def start(kind: str, dsn: str, tiny: TinyHouse, root: Path, limits: Limits | None = None) -> AsyncIterator[Mesh]:
    """A mesh of that kind (`fake`, `local`, `serve`) on a fresh database."""
    limits = limits or Limits(rows=8)
    store = PostgresStore.open(dsn, 4)
    await store.prepare()
    house = await asyncio.to_thread(tiny.build)
    try:
        if kind == "serve":
            reader = ServeReader(config(dsn, tiny), ServeOptions(limits=limits, cpus=0.5))
            await reader.start()
            try:
                yield Mesh(reader, store, house, root, real=True)
            finally:
                await reader.stop()
            return
        engine = (
            FakeEngine(house.encoder_digest, LABELS)
            if kind == "fake"
            else await asyncio.to_thread(build_engine, config(dsn, tiny))
        )
        async with in_process(engine, store, tiny.cache, limits) as local:
            yield Mesh(local, store, house, root, real=kind != "fake")
    finally:
        await store.close()
