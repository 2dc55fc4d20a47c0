"""A canary that fails or is slow: nobody who asks notices, and who watches it reads by how much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from apaise.classify.v1 import classify_service_pb2 as pb
from apaise.classify.v1.classify_service_pb2_grpc import ClassifyServiceStub, add_ClassifyServiceServicer_to_server
from apaise_classify.adapters.batching import Limits
from apaise_classify.adapters.fake import FakeEngine
from apaise_classify.adapters.postgres import PostgresStore
from apaise_classify.domain.adapters import Revision
from apaise_classify.domain.arms import Counted
from apaise_classify.serving.edition import Scores
from apaise_classify.testing import LABELS, TinyHouse, random_adapter
from apaise_classify.transport.servicer import SERVICE, ClassifyServicer
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.runtime.server import Service
from apaise_kit.testing.server import running
from mlops.house import House

from .conftest import in_process

pytestmark = pytest.mark.asyncio(loop_scope="module")


class AilingEngine(FakeEngine):
    """Whoever is named in `breaks` breaks the pass, in `babbles` gives no numbers; a row takes `takes` seconds."""

    def __init__(self, encoder: str) -> None:
        super().__init__(encoder, LABELS)
        self.breaks: set[str] = set()
        self.babbles: set[str] = set()
        self.takes: dict[str, float] = {}
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def read(self, texts: Sequence[str], slots: Sequence[int]) -> tuple[Scores, list[bool]]:
        who = [self._slots[slot][0] for slot in slots]
        if self.breaks.intersection(who):
            raise RuntimeError("broken")
        self.time += sum(self.takes.get(revision, 0.01) for revision in who)
        scores, truncated = super().read(texts, slots)
        scores[[revision in self.babbles for revision in who]] = np.nan
        return scores, truncated


@dataclass
class Up:
    engine: AilingEngine
    store: PostgresStore
    stub: Any
    root: Path
    house: House
    tried: list[str] = field(default_factory=list)

    def adapter(self, brand: str, revision: str, seed: int = 1) -> Revision:
        return random_adapter(self.root / f"{brand}-{revision}", self.house, brand, revision, seed=seed)

    async def set(self, revision: Revision, share: float = 0.5) -> pb.SetCanaryResponse:
        adapter = pb.Adapter(
            name=f"brands/{revision.brand}/adapters/{revision.id}",
            artifact_uri=revision.artifact_uri,
            digest=revision.digest,
            encoder=revision.encoder,
        )
        request = pb.SetCanaryRequest(parent=f"brands/{revision.brand}", adapter=adapter, share=share)
        response: pb.SetCanaryResponse = await self.stub.SetCanary(request)
        return response

    async def get(self, brand: str) -> pb.GetCanaryResponse:
        response: pb.GetCanaryResponse = await self.stub.GetCanary(pb.GetCanaryRequest(parent=f"brands/{brand}"))
        return response

    async def read(self, brand: str, count: int, first: int = 0, kind: str = "texte") -> list[str]:
        """Who read each of these texts."""
        inputs = [pb.Input(brand=f"brands/{brand}", text=f"{kind} {n}") for n in range(first, first + count)]
        results = (await self.stub.BatchClassify(pb.BatchClassifyRequest(inputs=inputs))).results
        assert [result.status.code for result in results] == [0] * count
        assert all(0 <= score.probability <= 1 for one in results for score in one.assessment.labels.values())
        return [result.assessment.provenance.adapter for result in results]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(
    postgres_server: Any, tiny: TinyHouse, house: House, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Up]:
    store = PostgresStore.open(postgres_server.fresh_database(), 4)
    await store.prepare()
    engine = AilingEngine(house.encoder_digest)
    # A batch of both brands, or of both arms, is what a failure must not spread through.
    async with in_process(engine, store, tiny.cache, Limits(rows=8, under_way=1), engine.now) as reader:
        servicer = ClassifyServicer(reader, store, store.precedents(per_brand=5))
        async with running(Service(add_ClassifyServiceServicer_to_server, servicer, SERVICE)) as server:
            stub = ClassifyServiceStub(server.channel(roles=("service",), brands=("*",)))
            yield Up(engine, store, stub, tmp_path_factory.mktemp("adapters"), house)
    await store.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in PostgreSQL
            await asyncio.sleep(0.02)


async def counted(up: Up, brand: str, reads: int) -> pb.GetCanaryResponse:
    """Once every one of so many reads is counted."""

    async def all_there() -> bool:
        found = await up.get(brand)
        return found.canary.reads + found.champion.reads >= reads

    await until(all_there)
    return await up.get(brand)


@pytest.mark.parametrize("ill", ["breaks", "babbles"])
async def test_what_a_canary_cannot_read_is_read_as_the_rest_is_and_counted(up: Up, ill: str) -> None:
    brand, revision = f"acme-{ill}", f"r-{ill}"
    await up.set(up.adapter(brand, revision))
    sound = await up.read(brand, 100)
    getattr(up.engine, ill).add(revision)
    assert set(await up.read(brand, 100, first=100)) == {"house"}
    assert set(await up.read("bystander", 20)) == {"house"}
    found = await counted(up, brand, 200)
    assert (found.adapter, found.share) == (f"brands/{brand}/adapters/{revision}", 0.5)
    assert found.canary.reads > sound.count(revision) == found.canary.reads - found.canary.failures
    assert found.champion.failures == 0
    assert found.canary.reads + found.champion.reads == 200
    again = await up.set(up.adapter(f"{brand}-other", "r1"))
    assert again.generation == 1
    assert (await up.get(f"{brand}-other")).canary.failures == 0


async def test_another_brands_rows_in_the_same_batch_are_blamed_on_nobody(up: Up) -> None:
    await up.set(up.adapter("ill", "r-ill"))
    await up.set(up.adapter("well", "r-well"))
    up.engine.breaks.add("r-ill")
    inputs = [pb.Input(brand=f"brands/{brand}", text=f"mixte {n}") for n in range(60) for brand in ("ill", "well")]
    results = (await up.stub.BatchClassify(pb.BatchClassifyRequest(inputs=inputs))).results
    assert {each.assessment.provenance.adapter for each in results} == {"house", "r-well"}
    ill, well = await counted(up, "ill", 60), await counted(up, "well", 60)
    assert ill.canary.failures == ill.canary.reads > 0
    assert (well.canary.failures, well.champion.failures) == (0, 0)


async def test_each_arm_is_timed_on_what_it_read_afresh(up: Up) -> None:
    await up.set(up.adapter("slow", "r-slow"))
    up.engine.takes["r-slow"] = 0.2
    for number in range(60):
        await up.read("slow", 1, first=number, kind="lent")
    for number in range(60):
        await up.read("slow", 1, first=number, kind="lent")
    found = await counted(up, "slow", 120)
    assert found.canary.timed + found.champion.timed == 60, "what is remembered takes no time"
    assert 0.2 <= found.canary.p90.ToTimedelta().total_seconds() <= 0.25
    assert 0.01 <= found.champion.p95.ToTimedelta().total_seconds() <= 0.0126


async def test_counts_begin_anew_with_each_canary_and_go_with_it(up: Up) -> None:
    revision = up.adapter("anew", "r1")
    first = await up.set(revision)
    await up.read("anew", 50)
    assert (await counted(up, "anew", 50)).generation == first.generation
    second = await up.set(revision, share=0.25)
    begun = await up.get("anew")
    assert [(arm.reads, arm.failures, arm.timed) for arm in (begun.canary, begun.champion)] == [(0, 0, 0)] * 2
    await up.read("anew", 10)
    assert (await counted(up, "anew", 10)).generation == second.generation
    await up.stub.SetCanary(pb.SetCanaryRequest(parent="brands/anew"))
    assert await up.get("anew") == pb.GetCanaryResponse()
    await up.read("anew", 10)
    assert await up.get("anew") == pb.GetCanaryResponse()


async def test_what_a_replica_that_has_gone_saw_still_counts(up: Up) -> None:
    await up.set(up.adapter("left", "r1"))
    await up.read("left", 30)
    before = await counted(up, "left", 30)
    found = await up.store.canary("left")
    assert found is not None
    wish, arms = found
    with acting_as(system_caller("test")):
        await up.store.count("another", [Counted("left", wish.generation, arms), Counted("none", 1, arms)])
        await up.store.count("late", [Counted("left", wish.generation - 1, arms)])
    after = await up.get("left")
    assert (after.canary.reads, after.canary.timed) == (2 * before.canary.reads, 2 * before.canary.timed)
