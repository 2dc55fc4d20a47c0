"""`apaise bench route`: deciding alone on one core, beside its CEL program; BatchRoute with its commits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from apaise_cli.bench.around import module, table, whole_mesh
from apaise_cli.home import Home
from apaise_cli.screen import Screen

if TYPE_CHECKING:
    from apaise.route.v1 import route_service_pb2 as pb

CALL: Final = 256
UNDER_WAY: Final = 3
BRAND: Final = "bench"


def shown(document: Mapping[str, Any]) -> Table:
    """The figures for people."""
    found = table("", "decisions/s", "of the CEL program")
    found.add_row(f"CEL program alone, {document['clauses']} clauses", f"{document['program_per_s']}", "")
    found.add_row("decide(), one core", f"{document['decide_per_s']}", f"{document['decide_to_program']:.2f}")
    if "batch_route_per_s" in document:
        batch = f"BatchRoute with commits, calls of {CALL}, {UNDER_WAY} at once"
        found.add_row(batch, f"{document['batch_route_per_s']}", f"{document['batch_route_to_program']:.2f}")
    return found


def measure(screen: Screen, seconds: float, *, batch: bool) -> dict[str, Any]:
    """The keys of `apaise bench route --json`."""
    from apaise_cli.mesh import plan

    screen.note("decide() alone, one core")
    document = module("apaise_route.bench", ["--seconds", str(seconds)], {})
    if not batch:
        return document
    source = module("apaise_route.bench", ["--source"], {})["source"]
    screen.note("BatchRoute with commits: PostgreSQL and route")
    with whole_mesh(screen, plan.select(["route"])) as home:
        decided = asyncio.run(_routed(home, source, seconds))
    document |= {"call": CALL, "under_way": UNDER_WAY, "batch_route_per_s": round(decided)}
    return document | {"batch_route_to_program": round(decided / document["program_per_s"], 3)}


async def _routed(home: Home, source: str, seconds: float) -> float:
    """Messages decided and committed in a second, each a new one, by the bench's own charter."""
    from apaise.route.v1 import route_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    await _put_in_force(home, source)
    calls = _calls()
    async with connect(home, "route", "service") as channel:
        stub = rpc.RouteServiceStub(channel)
        await stub.BatchRoute(next(calls))
        with _stopwatch() as elapsed:
            decided = await asyncio.gather(*(_caller(stub, calls, seconds, elapsed) for _ in range(UNDER_WAY)))
            taken: float = elapsed()
        return sum(decided) / taken


async def _caller(stub: Any, calls: Iterator[pb.BatchRouteRequest], seconds: float, elapsed: Any) -> int:
    """Send calls one after the other for so long; how many messages were decided."""
    decided = 0
    while elapsed() < seconds:
        answer = await stub.BatchRoute(next(calls), timeout=60)
        decided += sum(result.status.code == 0 for result in answer.results)
    return decided


@contextmanager
def _stopwatch() -> Iterator[Any]:
    started = time.perf_counter()
    yield lambda: time.perf_counter() - started


async def _put_in_force(home: Home, source: str) -> None:
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise.route.v1 import charter_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "lead") as channel:
        stub = rpc.CharterServiceStub(channel)
        charter = pb.Charter(source=source)
        made = await stub.CreateCharter(pb.CreateCharterRequest(parent=f"brands/{BRAND}", charter=charter))
        await stub.ActivateCharter(pb.ActivateCharterRequest(name=made.charter.name))


def _calls() -> Iterator[pb.BatchRouteRequest]:
    """Calls without end, every message a new one. A call is made while another is answered: it costs what it costs a
    caller, on the same cores."""
    from apaise.route.v1 import route_service_pb2 as pb

    inputs = _inputs()
    number = 0
    while True:
        request = pb.BatchRouteRequest()
        for at in range(CALL):
            entry = request.inputs.add()
            entry.CopyFrom(inputs[(number + at) % len(inputs)])
            entry.message.external_id = f"x{number + at}"
            entry.message.name = f"brands/{BRAND}/messages/m{number + at}"
        number += CALL
        yield request


def _inputs() -> list[pb.RouteInput]:
    """A thousand messages with all labels, from a seed."""
    from apaise.route.v1 import route_service_pb2 as pb
    from apaise.type.v1 import assessment_pb2, message_pb2
    from apaise_kit.core.labels import LABELS

    chance, now = random.Random(7), datetime.now(UTC)
    channel = message_pb2.Channel(
        name=f"brands/{BRAND}/channels/live",
        platform="bench",
        kind=message_pb2.CHANNEL_KIND_LIVE_CHAT,
        audience=message_pb2.AUDIENCE_PUBLIC,
        moderation_mode=message_pb2.MODERATION_MODE_POST,
    )
    made = []
    for at in range(1000):
        entry = pb.RouteInput(channel=channel)
        entry.message.channel, entry.message.text = channel.name, f"message {at % 97}"
        entry.message.edit_revision = 1
        entry.message.received_time.FromDatetime(now)
        for label in LABELS:
            probability = round(chance.random() ** 4, 3)
            score = entry.assessment.labels[label]
            score.probability, score.holds = probability, probability >= 0.5
            score.verdict = assessment_pb2.VERDICT_YES if score.holds else assessment_pb2.VERDICT_NO
        made.append(entry)
    return made
