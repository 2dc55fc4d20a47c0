"""Ingest over a real PostgreSQL and real interceptors; classify and route are stand-ins for their ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import grpc
import pytest

from apaise.ingest.v1 import ingest_service_pb2 as pb
from apaise.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub, add_IngestServiceServicer_to_server
from apaise.type.v1 import message_pb2
from apaise_ingest.adapters.language import LanguageReader
from apaise_ingest.adapters.tables import SCHEMA, events
from apaise_ingest.app import Ingest
from apaise_ingest.backlog import Backlog
from apaise_ingest.domain import Owed
from apaise_ingest.ports import Absence, Assessment
from apaise_ingest.pump import Pump
from apaise_ingest.transport.servicer import IngestServicer
from apaise_kit.core.errors import ApaiseError
from apaise_kit.runtime.db import Database, create_engine
from apaise_kit.runtime.migrations import migrate
from apaise_kit.runtime.server import Service
from apaise_kit.runtime.telemetry import Telemetry
from apaise_kit.testing import FakeClock
from apaise_kit.testing.server import Running, running

if TYPE_CHECKING:
    from apaise.ingest.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub as Stub

SERVICE = "apaise.ingest.v1.IngestService"
languages = cache(LanguageReader)


@dataclass
class FakeClassifier:
    """Answers with the text's length, or as told."""

    down: ApaiseError | None = None
    poison: dict[str, ApaiseError] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    timeouts: list[timedelta] = field(default_factory=list)

    async def read(self, rows: Sequence[Owed], timeout: timedelta) -> list[Assessment | ApaiseError]:
        self.calls.append(len(rows))
        self.timeouts.append(timeout)
        if self.down is not None:
            raise self.down
        for row in rows:
            if row.message.draft.external_id in self.poison:
                raise self.poison[row.message.draft.external_id]
        return [{"length": len(row.message.draft.text)} for row in rows]


@dataclass
class FakeRouter:
    """Remembers every decision asked for."""

    down: ApaiseError | None = None
    refuse: dict[str, ApaiseError] = field(default_factory=dict)
    decided: list[tuple[str, int, str]] = field(default_factory=list)
    brands: list[str] = field(default_factory=list)

    async def decide(self, rows: Sequence[tuple[Owed, Assessment | Absence]]) -> list[ApaiseError | None]:
        if self.down is not None:
            raise self.down
        answers: list[ApaiseError | None] = []
        for row, reading in rows:
            name = row.message.draft.external_id
            answers.append(self.refuse.get(name))
            if name not in self.refuse:
                how = reading if isinstance(reading, str) else "ASSESSED"
                self.decided.append((name, row.message.edit_revision, how))
                self.brands.append(row.channel.brand)
        return answers


@dataclass
class World:
    """Everything a test may reach for."""

    running: Running
    db: Database
    pump: Pump
    clock: FakeClock
    classifier: FakeClassifier
    router: FakeRouter
    backlog: Backlog

    def stub(self, roles: Sequence[str] = ("operator",), brands: Sequence[str] = ("*",)) -> Stub:
        return IngestServiceStub(self.running.channel(roles=roles, brands=brands))


@pytest.fixture
async def world(dsn: str) -> AsyncIterator[World]:
    await migrate(dsn, SCHEMA, "apaise_ingest")
    clock = FakeClock()
    engine = create_engine(dsn, SCHEMA)
    db = Database(engine, SCHEMA, events, clock)
    backlog, classifier, router = Backlog(2048), FakeClassifier(), FakeRouter()
    pump = Pump(db, classifier, router, backlog, Telemetry.off().meter)
    servicer = IngestServicer(Ingest(db, languages(), backlog, b"0123456789abcdef", pump.nudge))
    async with running(Service(add_IngestServiceServicer_to_server, servicer, SERVICE)) as up:
        yield World(up, db, pump, clock, classifier, router, backlog)
    await engine.dispose()


@pytest.fixture
async def stub(world: World) -> Stub:
    """An operator's stub; brand `b` has a live chat and a comment channel, brand `other` a live chat."""
    stub = world.stub()
    for brand in ("b", "other"):
        await stub.CreateBrand(pb.CreateBrandRequest(brand_id=brand, brand=pb.Brand(display_name=brand)))
        await create_channel(stub, brand, "live", message_pb2.CHANNEL_KIND_LIVE_CHAT)
    await create_channel(stub, "b", "comments", message_pb2.CHANNEL_KIND_COMMENT)
    return stub


async def create_channel(
    stub: Stub, brand: str, channel: str, kind: message_pb2.ChannelKind.ValueType
) -> message_pb2.Channel:
    request = pb.CreateChannelRequest(
        parent=f"brands/{brand}",
        channel_id=channel,
        channel=message_pb2.Channel(
            platform="twitch",
            kind=kind,
            audience=message_pb2.AUDIENCE_PUBLIC,
            moderation_mode=message_pb2.MODERATION_MODE_POST,
        ),
    )
    return (await stub.CreateChannel(request)).channel


def message(
    external_id: str, text: str = "bonjour à tous", brand: str = "b", channel: str = "live"
) -> message_pb2.Message:
    return message_pb2.Message(
        channel=f"brands/{brand}/channels/{channel}",
        external_id=external_id,
        text=text,
        author=message_pb2.Author(platform_id="someone"),
    )


def batch(*messages: message_pb2.Message) -> pb.BatchSubmitMessagesRequest:
    return pb.BatchSubmitMessagesRequest(requests=[pb.SubmitMessageRequest(message=each) for each in messages])


def refusal(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    from apaise_kit.runtime.status import failure_of

    failure = failure_of(error)
    return failure.code, failure.reason
