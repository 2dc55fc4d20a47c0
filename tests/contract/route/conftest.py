"""A route service to talk to: in this process over an embedded PostgreSQL, or one that runs already.

To run these tests against a running service, name it in APAISE_TEST_ROUTE (host:port), and in APAISE_TEST_TOKENS its
token file, to which the tests add theirs. Tests that own the clock are then left out.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import grpc
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from apaise.route.v1 import route_service_pb2 as routes_pb
from apaise.route.v1.answer_service_pb2_grpc import AnswerServiceStub
from apaise.route.v1.archive_service_pb2_grpc import ArchiveServiceStub
from apaise.route.v1.case_service_pb2_grpc import CaseServiceStub
from apaise.route.v1.charter_service_pb2_grpc import CharterServiceStub
from apaise.route.v1.decision_pb2 import Decision
from apaise.route.v1.figures_service_pb2_grpc import FiguresServiceStub
from apaise.route.v1.forward_service_pb2_grpc import ForwardServiceStub
from apaise.route.v1.preflight_service_pb2_grpc import PreflightServiceStub
from apaise.route.v1.reply_service_pb2_grpc import ReplyServiceStub
from apaise.route.v1.review_service_pb2_grpc import ReviewServiceStub
from apaise.route.v1.route_service_pb2_grpc import RouteServiceStub
from apaise_kit.runtime.client import open_channel
from apaise_kit.runtime.db import Database, create_engine
from apaise_kit.runtime.migrations import migrate
from apaise_kit.runtime.telemetry import Telemetry
from apaise_kit.testing import FakeClock, running, tokens
from apaise_route.adapters.desks import NO_DESK, Desk
from apaise_route.adapters.tables import SCHEMA, events
from apaise_route.app.deps import Deps
from apaise_route.bootstrap import PACKAGE, services, wire
from apaise_route.domain.reading import Reading, Vectors
from apaise_route.domain.rephrase import Passage
from apaise_route.testing import reading

if TYPE_CHECKING:
    from apaise.route.v1.answer_service_pb2_grpc import AnswerServiceAsyncStub
    from apaise.route.v1.archive_service_pb2_grpc import ArchiveServiceAsyncStub
    from apaise.route.v1.case_service_pb2_grpc import CaseServiceAsyncStub
    from apaise.route.v1.charter_service_pb2_grpc import CharterServiceAsyncStub
    from apaise.route.v1.figures_service_pb2_grpc import FiguresServiceAsyncStub
    from apaise.route.v1.forward_service_pb2_grpc import ForwardServiceAsyncStub
    from apaise.route.v1.preflight_service_pb2_grpc import PreflightServiceAsyncStub
    from apaise.route.v1.reply_service_pb2_grpc import ReplyServiceAsyncStub
    from apaise.route.v1.review_service_pb2_grpc import ReviewServiceAsyncStub
    from apaise.route.v1.route_service_pb2_grpc import RouteServiceAsyncStub

EVERYONE = ("service", "moderator", "lead", "operator", "ml_engineer", "legal")


class Desks(dict[str, Desk]):
    """The desks of the brands a test says."""

    def of(self, brand: str) -> Desk:
        return self.get(brand, NO_DESK)


class WordReader:
    """Reads a label wherever one of its words is, and says where; keeps what it was asked. Its vectors are bags of
    words: texts that share half of theirs have half a cosine."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.asked: list[str] = []
        self.embedded: list[str] = []
        self.encoder = "bags-of-words"

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        return Vectors([_bag(text) for text in texts], self.encoder)

    async def read(
        self, brand: str, texts: Sequence[str], language: str, *, private: bool, explain: bool
    ) -> list[Reading]:
        self.asked += texts
        return [self._reading(text, explain) for text in texts]

    def _reading(self, text: str, explain: bool) -> Reading:
        found = {word: label for word, label in self.words.items() if word in text.lower()}
        spans = [Passage(label, at := text.lower().index(word), at + len(word), 0.9) for word, label in found.items()]
        return reading([*found.values(), *(["remove"] if found else [])]), spans if explain else []


def _bag(text: str, size: int = 512) -> list[float]:
    bag = [0.0] * size
    for word in re.findall(r"\w+", text.casefold()):
        bag[zlib.crc32(word.encode()) % size] = 1.0
    length = math.sqrt(sum(bag)) or 1.0
    return [value / length for value in bag]


@dataclass
class Door:
    """Where calls go. `deps` and `clock` are there when the service lives in this process."""

    address: str
    mint: Any
    deps: Deps | None = None
    clock: FakeClock | None = None
    channels: list[grpc.aio.Channel] = field(default_factory=list)
    desks: Desks = field(default_factory=Desks)
    words: WordReader | None = None
    telemetry: Telemetry | None = None

    def metric(self, name: str) -> dict[tuple[str, ...], float]:
        """A metric as /metrics shows it, by the values of its labels in their names' order."""
        assert self.telemetry is not None
        with urlopen(f"http://127.0.0.1:{self.telemetry.metrics_port}/metrics", timeout=10) as page:
            families = text_string_to_metric_families(page.read().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return {tuple(labels[key] for key in sorted(labels)): value for _, labels, value, *_ in samples}

    def channel(
        self, actor: str = "tester", roles: Sequence[str] = EVERYONE, brands: Sequence[str] = ("*",)
    ) -> grpc.aio.Channel:
        """A channel for one caller."""
        channel = open_channel(self.address, self.mint(actor, roles, brands), timeout=20.0)
        self.channels.append(channel)
        return channel

    def route(self, **caller: Any) -> RouteServiceAsyncStub:
        return RouteServiceStub(self.channel(**caller))

    def review(self, **caller: Any) -> ReviewServiceAsyncStub:
        return ReviewServiceStub(self.channel(**caller))

    def charter(self, **caller: Any) -> CharterServiceAsyncStub:
        return CharterServiceStub(self.channel(**caller))

    def case(self, **caller: Any) -> CaseServiceAsyncStub:
        return CaseServiceStub(self.channel(**caller))

    def figures(self, **caller: Any) -> FiguresServiceAsyncStub:
        return FiguresServiceStub(self.channel(**caller))

    def preflight(self, **caller: Any) -> PreflightServiceAsyncStub:
        return PreflightServiceStub(self.channel(**caller))

    def forward(self, **caller: Any) -> ForwardServiceAsyncStub:
        return ForwardServiceStub(self.channel(**caller))

    def reply(self, **caller: Any) -> ReplyServiceAsyncStub:
        return ReplyServiceStub(self.channel(**caller))

    def answer(self, **caller: Any) -> AnswerServiceAsyncStub:
        return AnswerServiceStub(self.channel(**caller))

    def archive(self, **caller: Any) -> ArchiveServiceAsyncStub:
        return ArchiveServiceStub(self.channel(**caller))

    async def decide(self, *inputs: routes_pb.RouteInput) -> list[Decision]:
        """Route inputs that must all be decided."""
        response = await self.route().BatchRoute(routes_pb.BatchRouteRequest(inputs=inputs))
        assert [result.status.code for result in response.results] == [0] * len(inputs)
        return [result.decision for result in response.results]


@pytest_asyncio.fixture
async def door(request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    """The service under test; a module's SECOND_LOOKS is its share of second looks."""
    address = os.environ.get("APAISE_TEST_ROUTE")
    if address:
        file = Path(os.environ["APAISE_TEST_TOKENS"])
        found = Door(address, lambda actor, roles, brands: tokens(file, actor=actor, roles=roles, brands=brands))
        yield found
        for channel in found.channels:
            await channel.close()
        return
    dsn: str = request.getfixturevalue("module_dsn")
    await migrate(dsn, SCHEMA, PACKAGE)
    clock = FakeClock()
    engine = create_engine(dsn, SCHEMA)
    desks, words = Desks(), WordReader()
    telemetry = Telemetry.create("route", 0)
    shared = getattr(request.module, "SECOND_LOOKS", 0.0)
    deps, _ = wire(Database(engine, SCHEMA, events, clock), telemetry, clock, desks, words, shared, 1.0)
    async with running(*services(deps)) as server:
        found = Door(server.address, server.token, deps, clock, desks=desks, words=words, telemetry=telemetry)
        yield found
        for channel in found.channels:
            await channel.close()
    await engine.dispose()
    telemetry.close()


@pytest.fixture
def clocked(door: Door) -> Door:
    """The service with its clock in our hands."""
    if door.clock is None:
        pytest.skip("needs to own the clock")
    return door


@pytest.fixture
def brand() -> str:
    """A brand no other test uses."""
    return f"t-{secrets.token_hex(5)}"
