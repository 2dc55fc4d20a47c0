"""Train over a real PostgreSQL and real interceptors; the rest are the fakes beside their ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from apaise.train.v1.train_service_pb2_grpc import TrainServiceStub, add_TrainServiceServicer_to_server
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.runtime.db import Database, create_engine
from apaise_kit.runtime.migrations import migrate
from apaise_kit.runtime.server import Service
from apaise_kit.testing.server import Running, running
from apaise_train.adapters import store
from apaise_train.adapters.shelf import FsspecShelf
from apaise_train.adapters.tables import SCHEMA, events
from apaise_train.app import Train
from apaise_train.domain.examples import Example
from apaise_train.domain.ports import Registry, Trainer
from apaise_train.follower import Follower
from apaise_train.promoter import Promoter
from apaise_train.runner import Collaborators, Limits, Runner
from apaise_train.speaker import Speaker
from apaise_train.testing import FakeGoldens, FakePrecedents, FakeRegistry, FakeReviews, FakeServing, FakeTrainer
from apaise_train.transport.servicer import TrainServicer
from apaise_train.trials import Trials

if TYPE_CHECKING:
    from apaise.train.v1.train_service_pb2_grpc import TrainServiceAsyncStub as Stub

SERVICE = "apaise.train.v1.TrainService"
UI = "http://mlflow.example"


@dataclass
class Mesh:
    """Train and everything around it. `start` and `stop` are a process's life: what is kept is in PostgreSQL."""

    db: Database
    artifacts: Path
    trainer: Any = field(default_factory=FakeTrainer)
    registry: Any = field(default_factory=FakeRegistry)
    serving: FakeServing = field(default_factory=FakeServing)
    reviews: FakeReviews = field(default_factory=FakeReviews)
    precedents: FakePrecedents = field(default_factory=FakePrecedents)
    goldens: FakeGoldens = field(default_factory=FakeGoldens)
    limits: Limits = field(default_factory=lambda: Limits(retry=0.01))
    speaker: Any = None
    _loops: list[asyncio.Task[None]] = field(default_factory=list)
    _up: Running | None = None
    _serving: Any = None

    async def start(self) -> None:
        promoter = Promoter(self.db, self.registry, self.serving)
        others = Collaborators(self.trainer, self.registry, FsspecShelf(str(self.artifacts)), promoter)
        runner = Runner(self.db, others, self.limits)
        self.speaker = Speaker(self.db, self.precedents)
        follower = Follower(self.db, self.reviews, self.speaker.nudge)
        servicer = TrainServicer(Train(self.db, runner, promoter, self.goldens), UI)
        self._serving = running(Service(add_TrainServiceServicer_to_server, servicer, SERVICE))
        self._up = await self._serving.__aenter__()
        trials = Trials(self.db, self.serving, promoter, poll=0.05)
        loops = (follower.run, self.speaker.run, runner.run, promoter.run, trials.run)
        self._loops = [asyncio.create_task(loop()) for loop in loops]

    async def stop(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._serving is not None:
            await self._serving.__aexit__(None, None, None)
        self._up = self._serving = None

    def stub(self, *roles: str, brands: tuple[str, ...] = ("*",), actor: str = "lea") -> Stub:
        assert self._up is not None
        channel = self._up.channel(actor, roles or ("ml_engineer",), brands)
        return TrainServiceStub(channel)

    async def teach(self, rows: list[Example]) -> None:
        """Examples as if followed."""
        with acting_as(system_caller("test")):
            async with self.db.write() as tx:
                for row in rows:
                    await store.add_example(tx.conn, row)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for something other tasks do; fails when it does not come."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in another task or in PostgreSQL
            await asyncio.sleep(0.02)


@asynccontextmanager
async def mesh_on(
    dsn: str, artifacts: Path, trainer: Trainer | None = None, registry: Registry | None = None
) -> AsyncIterator[Mesh]:
    """A mesh on a fresh database, not started."""
    await migrate(dsn, SCHEMA, "apaise_train")
    engine = create_engine(dsn, SCHEMA)
    mesh = Mesh(Database(engine, SCHEMA, events), artifacts)
    mesh.trainer, mesh.registry = trainer or mesh.trainer, registry or mesh.registry
    try:
        yield mesh
    finally:
        await mesh.stop()
        await engine.dispose()


@pytest.fixture
async def mesh(dsn: str, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with mesh_on(dsn, tmp_path / "artifacts") as mesh:
        await mesh.start()
        yield mesh
