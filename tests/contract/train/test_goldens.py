"""What golden items tell of reviewers: one suite over the fake and over route's contract; then what comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from apaise.route.v1 import figures_service_pb2 as pb
from apaise.route.v1.figures_service_pb2_grpc import FiguresServiceServicer, add_FiguresServiceServicer_to_server
from apaise_kit.core.errors import ApaiseError, Unavailable
from apaise_kit.runtime.server import Service
from apaise_kit.testing import FakeClock, running
from apaise_train.adapters.mesh import GrpcGoldens
from apaise_train.domain.ports import Goldens
from apaise_train.domain.trust import PRIOR, Tally
from apaise_train.testing import FakeGoldens, example

from .test_runs import create, end_of

if TYPE_CHECKING:
    from .conftest import Mesh

KNOWN = {"acme": {"ana": Tally(10, 9), "mallory": Tally(8, 1)}}
DOWN = Unavailable("Route does not answer.")


class Figures(FiguresServiceServicer):
    """Route's figures of the brands there are; one reviewer has none to tell of."""

    down: ApaiseError | None = None
    asked: pb.GetFiguresRequest | None = None

    async def GetFigures(self, request: pb.GetFiguresRequest, context: Any) -> pb.GetFiguresResponse:
        if self.down is not None:
            raise self.down
        self.asked = request
        response = pb.GetFiguresResponse()
        for actor, tally in KNOWN.get(request.name.removeprefix("brands/"), {}).items():
            response.reviewers.add(actor=actor, golden=pb.Rate(count=tally.answered, hits=tally.right))
        response.reviewers.add(actor="new", reviewed=3)
        return response


@pytest.fixture(params=["fake", "route"])
async def sides(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Goldens, Any]]:
    """The port, and what can be put down behind it."""
    if request.param == "fake":
        fake = FakeGoldens(KNOWN)
        yield fake, fake
        return
    figures = Figures()
    service = Service(add_FiguresServiceServicer_to_server, figures, "apaise.route.v1.FiguresService")
    async with running(service) as server:
        yield GrpcGoldens(server.channel("train", ("service",), ("*",)), FakeClock()), figures


async def test_each_reviewer_who_answered_has_a_tally(sides: tuple[Goldens, Any]) -> None:
    goldens, _ = sides
    assert await goldens.of("acme") == KNOWN["acme"]
    assert await goldens.of("beta") == {}


async def test_one_that_does_not_answer_is_unavailable(sides: tuple[Goldens, Any]) -> None:
    goldens, behind = sides
    behind.down = DOWN
    with pytest.raises(Unavailable):
        await goldens.of("acme")


async def test_the_last_three_months_are_asked_for() -> None:
    figures, clock = Figures(), FakeClock()
    service = Service(add_FiguresServiceServicer_to_server, figures, "apaise.route.v1.FiguresService")
    async with running(service) as server:
        await GrpcGoldens(server.channel("train", ("service",), ("*",)), clock).of("acme")
    assert figures.asked is not None
    assert figures.asked.end_time.ToDatetime() == clock.now().replace(tzinfo=None)
    assert figures.asked.end_time.ToDatetime() - figures.asked.start_time.ToDatetime() == timedelta(days=92)


def lessons() -> list[Any]:
    return [example(n, n % 2 == 0, text=f"phrase {n:02}", actor="ana" if n < 50 else "mallory") for n in range(80)]


async def test_a_run_weighs_corrections_by_it(mesh: Mesh) -> None:
    mesh.goldens.known = {"acme": {"ana": Tally(10, 6), "bob": Tally(9, 9)}}
    await mesh.teach(lessons())
    await end_of(mesh, await create(mesh))
    (job,) = mesh.trainer.jobs
    weights = {row.text: row.weight for row in (*job.train, *job.holdout)}
    assert {weights[f"phrase {n:02}"] for n in range(50)} == {round((6 + PRIOR) / (10 + PRIOR), 4)}
    assert {weights[f"phrase {n:02}"] for n in range(50, 80)} == {1.0}


async def test_who_is_wrong_about_golden_items_does_not_teach(mesh: Mesh) -> None:
    mesh.goldens.known = KNOWN
    await mesh.teach(lessons())
    run, _ = await end_of(mesh, await create(mesh))
    (job,) = mesh.trainer.jobs
    assert {row.text for row in (*job.train, *job.holdout)} == {f"phrase {n:02}" for n in range(50)}
    assert "30 (their reviewer contradicts golden items" in run.gate.reasons[-1]


async def test_no_run_begins_while_nobody_tells(mesh: Mesh) -> None:
    await mesh.teach(lessons())
    mesh.goldens.down = DOWN
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(mesh)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    mesh.goldens.down = None
    await end_of(mesh, await create(mesh))
