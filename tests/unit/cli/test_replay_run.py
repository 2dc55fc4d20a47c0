"""A replay against an ingest and a route that misbehave in the ways the real ones may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest

from apaise.ingest.v1 import ingest_service_pb2 as ingest_pb
from apaise.ingest.v1 import ingest_service_pb2_grpc as ingest_rpc
from apaise.route.v1 import decision_pb2
from apaise.route.v1 import route_service_pb2 as route_pb
from apaise.route.v1 import route_service_pb2_grpc as route_rpc
from apaise_cli.errors import CliError
from apaise_cli.replay.recording import Entry
from apaise_cli.replay.run import Options, Replay
from apaise_kit.core.errors import ApaiseError, ResourceExhausted, Unavailable, invalid_field, not_found
from apaise_kit.runtime.server import Service
from apaise_kit.runtime.status import status_of, status_ok
from apaise_kit.testing import running


def entries(*ids: str) -> list[Entry]:
    author: dict[str, Any] = {"platform_id": "u", "display_name": "", "follows_page": None, "roles": []}
    return [Entry(n, "demo", "live", each, "hi", None, author) for n, each in enumerate(ids, 1)]


class Journal:
    """What both fakes share: who was accepted, and the stream of decisions."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.decisions: list[decision_pb2.Decision] = []
        self.changed = asyncio.Event()

    def decide(self, external_id: str, number: int = 1) -> None:
        name = f"brands/demo/messages/{external_id}"
        self.decisions.append(
            decision_pb2.Decision(
                name=f"{name}/decisions/{number}",
                message=name,
                edit_revision=1,
                cause=decision_pb2.CAUSE_AUTOMATIC,
                visibility=decision_pb2.VISIBILITY_HIDE,
                queue=decision_pb2.QUEUE_CARE,
            )
        )
        self.changed.set()


class Ingest(ingest_rpc.IngestServiceServicer):
    """Accepts and decides at once, but for what the id says: `full-…` is refused for now the first time, `bad-…` for
    good, `lost-…` never decided, `twice-…` decided twice."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.turned_away: set[str] = set()
        self.down = 0

    async def BatchSubmitMessages(
        self, request: ingest_pb.BatchSubmitMessagesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ingest_pb.BatchSubmitMessagesResponse:
        if self.down:
            self.down -= 1
            raise Unavailable("away")
        results = [self._one(each.message.external_id) for each in request.requests]
        return ingest_pb.BatchSubmitMessagesResponse(results=results)

    def _one(self, external_id: str) -> ingest_pb.BatchSubmitMessagesResponse.Result:
        kind = external_id.split("-")[0]
        refusal: ApaiseError | None = None
        if kind == "bad":
            refusal = invalid_field("message.text", "empty")
        elif kind == "stuck" or (kind == "full" and external_id not in self.turned_away):
            self.turned_away.add(external_id)
            refusal = ResourceExhausted("full", retry_after=timedelta(milliseconds=20))
        if refusal:
            return ingest_pb.BatchSubmitMessagesResponse.Result(status=status_of(refusal))
        receipt = ingest_pb.Receipt(
            message=f"brands/demo/messages/{external_id}", edit_revision=1, duplicate=external_id in self.journal.known
        )
        receipt.received_time.GetCurrentTime()
        if external_id not in self.journal.known:
            self.journal.known.add(external_id)
            for number in range({"lost": 0, "twice": 2}.get(kind, 1)):
                self.journal.decide(external_id, number)
        return ingest_pb.BatchSubmitMessagesResponse.Result(status=status_ok(), receipt=receipt)


class Route(route_rpc.RouteServiceServicer):
    """Streams the journal's decisions; breaks the stream after each `break_after` of them."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.break_after = 1_000_000
        self.opened = 0
        self.refuses = False

    async def FollowDecisions(
        self, request: route_pb.FollowDecisionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[route_pb.FollowDecisionsResponse]:
        self.opened += 1
        if self.refuses:
            raise not_found(request.parent)
        place = len(self.journal.decisions) if request.cursor == "now" else int(request.cursor)
        yield route_pb.FollowDecisionsResponse(cursor=str(place))
        until = place + self.break_after
        while True:
            self.journal.changed.clear()
            for decision in self.journal.decisions[place:]:
                if place == until:
                    raise Unavailable("broken")
                place += 1
                yield route_pb.FollowDecisionsResponse(decision=decision, cursor=str(place))
            await self.journal.changed.wait()

    async def ListDecisions(
        self, request: route_pb.ListDecisionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> route_pb.ListDecisionsResponse:
        found = [decision for decision in self.journal.decisions if decision.message == request.parent]
        if not found:
            raise not_found(request.parent)
        return route_pb.ListDecisionsResponse(decisions=found)


class Stage:
    """The two fakes and a replay between them."""

    def __init__(self, channel: grpc.aio.Channel, ingest: Ingest, route: Route) -> None:
        self.channel, self.ingest, self.route = channel, ingest, route

    async def replay(self, *ids: str, patience: float = 20.0) -> dict[str, Any]:
        replay = Replay(self.channel, self.channel, Options(speed=None, patience=patience))
        return (await replay.run([entries(*ids)])).report()


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    journal = Journal()
    ingest, route = Ingest(journal), Route(journal)  # type: ignore[abstract]
    services = (
        Service(ingest_rpc.add_IngestServiceServicer_to_server, ingest, "apaise.ingest.v1.IngestService"),
        Service(route_rpc.add_RouteServiceServicer_to_server, route, "apaise.route.v1.RouteService"),
    )
    async with running(*services) as server:
        yield Stage(server.channel(roles=("operator",)), ingest, route)


async def test_everything_is_sent_and_decided() -> None:
    async with staged() as stage:
        report = await stage.replay(*(f"m-{n}" for n in range(250)))
    assert (report["sent"], report["decided"], report["lost"], report["duplicated"]) == (250, 250, 0, 0)
    assert report["visibility"] == {"HIDE": 250}
    assert report["p99_ms"] is not None


async def test_what_ingest_asks_to_send_later_is_sent_later() -> None:
    async with staged() as stage:
        report = await stage.replay("full-1", "m-1", "full-2")
    assert (report["sent"], report["decided"], report["refused"]) == (3, 3, 0)


async def test_a_refusal_for_good_is_counted_and_the_rest_goes_on() -> None:
    async with staged() as stage:
        report = await stage.replay("m-1", "bad-1", "m-2")
    assert (report["decided"], report["refused"]) == (2, 1)
    assert report["refusals"] == {"INVALID_FIELD": 1}


async def test_lost_and_duplicated_are_told() -> None:
    async with staged() as stage:
        report = await stage.replay("m-1", "lost-1", "twice-1", patience=1.0)
    assert (report["sent"], report["decided"], report["lost"], report["duplicated"]) == (3, 2, 1, 1)


async def test_a_second_replay_of_the_same_ids_decides_nothing_twice() -> None:
    async with staged() as stage:
        await stage.replay("m-1", "m-2")
        report = await stage.replay("m-1", "m-2")
    assert (report["decided"], report["redelivered"], report["lost"], report["duplicated"]) == (2, 2, 0, 0)


async def test_a_stream_that_breaks_goes_on_from_its_cursor() -> None:
    async with staged() as stage:
        stage.route.break_after = 2
        report = await stage.replay(*(f"m-{n}" for n in range(5)))
    assert (report["decided"], report["duplicated"]) == (5, 0)
    assert stage.route.opened == 3


async def test_an_ingest_that_restarts_is_waited_for() -> None:
    async with staged() as stage:
        stage.ingest.down = 2
        report = await stage.replay("m-1")
    assert report["decided"] == 1


async def test_an_ingest_that_takes_nothing_more_ends_the_replay_with_its_reason() -> None:
    async with staged() as stage:
        with pytest.raises(CliError) as refusal:
            await stage.replay("stuck-1", patience=0.3)
    assert refusal.value.reason == "OVERLOADED"


async def test_a_route_that_refuses_to_be_followed_ends_the_replay() -> None:
    async with staged() as stage:
        stage.route.refuses = True
        with pytest.raises(CliError) as refusal:
            await stage.replay("m-1")
    assert refusal.value.reason == "NOT_FOUND"
