"""Promotion, rollback and the ledger: in this order, resumable at each step, and never silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from apaise.train.v1 import train_service_pb2 as pb
from apaise_kit.core.errors import FailedPrecondition, Reason, Unavailable
from apaise_kit.runtime.status import failure_of
from apaise_train.testing import examples, outcome

from .conftest import until
from .test_runs import PARENT, create, end_of

if TYPE_CHECKING:
    from .conftest import Mesh

K = pb.LedgerKind


async def revisions(mesh: Mesh, *good: bool) -> list[str]:
    """Train that many revisions; their names."""
    await mesh.teach(examples(100))
    made = []
    for each in good:
        mesh.trainer.result = lambda job, each=each: outcome(job, good=each)
        run, _ = await end_of(mesh, await create(mesh))
        made.append(run.adapter)
    return made


async def promote(mesh: Mesh, name: str, force: bool = False, reason: str = "because") -> pb.LedgerEntry:
    request = pb.PromoteRevisionRequest(name=name, reason=reason, force=force)
    return (await mesh.stub().PromoteRevision(request)).entry


async def roll_back(mesh: Mesh, adapter: str = "", house: bool = False) -> pb.LedgerEntry:
    request = pb.RollbackRevisionRequest(parent=PARENT, adapter=adapter, house=house, reason="disappointing")
    return (await mesh.stub().RollbackRevision(request)).entry


async def ledger(mesh: Mesh) -> list[pb.LedgerEntry]:
    return list((await mesh.stub().ListLedger(pb.ListLedgerRequest(parent=PARENT))).entries)[::-1]


def served(mesh: Mesh) -> str:
    revision = mesh.serving.serving.get("acme")
    return f"{PARENT}/adapters/{revision}" if revision else ""


async def test_a_refused_revision_needs_force(mesh: Mesh) -> None:
    (refused,) = await revisions(mesh, False)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await promote(mesh, refused)
    assert failure_of(error.value).reason == "GATE_REFUSED"
    entry = await promote(mesh, refused, force=True, reason="the moderators insist")
    assert (entry.kind, entry.actor, entry.reason) == (K.LEDGER_KIND_PROMOTED, "lea", "the moderators insist")
    assert served(mesh) == refused
    assert await promote(mesh, refused, force=True) == entry


async def test_rollbacks_walk_back_to_the_house_and_never_forward(mesh: Mesh) -> None:
    first, second = await revisions(mesh, True, False)
    await promote(mesh, second, force=True)
    entry = await roll_back(mesh)
    assert (entry.kind, entry.adapter, entry.previous) == (K.LEDGER_KIND_ROLLED_BACK, first, second)
    assert served(mesh) == first
    assert mesh.registry.champion["acme"] == "1"
    assert (await roll_back(mesh)).adapter == ""
    assert served(mesh) == ""
    assert mesh.registry.champion["acme"] is None
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await roll_back(mesh)
    assert failure_of(error.value).reason == "WRONG_STATE"
    await roll_back(mesh, adapter=second)
    assert served(mesh) == second
    await roll_back(mesh, house=True)
    assert served(mesh) == ""


async def test_a_rollback_goes_only_to_what_was_champion(mesh: Mesh) -> None:
    _, never = await revisions(mesh, True, False)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await roll_back(mesh, adapter=never)
    assert failure_of(error.value).reason == "WRONG_STATE"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await roll_back(mesh, adapter=never, house=True)
    assert failure_of(error.value).reason == "INVALID_FIELD"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await roll_back(mesh, adapter=f"{PARENT}/adapters/unheard-of")
    assert failure_of(error.value).reason == "NOT_FOUND"


async def test_a_promotion_waits_for_mlflow_and_is_carried_out_when_it_answers(mesh: Mesh) -> None:
    first, second = await revisions(mesh, True, False)
    mesh.registry.down = Unavailable("away")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await promote(mesh, second, force=True)
    assert failure_of(error.value).reason == "DEPENDENCY_UNAVAILABLE"
    assert served(mesh) == first
    assert (await ledger(mesh))[-1].adapter == second
    mesh.registry.down = None

    async def carried_out() -> bool:
        return served(mesh) == second

    await until(carried_out)


async def test_a_rollback_does_not_wait_for_mlflow(mesh: Mesh) -> None:
    await revisions(mesh, True)
    mesh.registry.down = Unavailable("away")
    await roll_back(mesh)
    assert served(mesh) == ""
    mesh.registry.down = None

    async def alias_followed() -> bool:
        return bool(mesh.registry.champion["acme"] is None)

    await until(alias_followed)


async def test_a_crash_between_the_steps_loses_none(mesh: Mesh) -> None:
    first, second = await revisions(mesh, True, False)
    mesh.serving.down = Unavailable("away")
    with pytest.raises(grpc.aio.AioRpcError):
        await promote(mesh, second, force=True)
    assert mesh.registry.champion["acme"] == "2"
    await mesh.stop()
    mesh.serving.down = None
    assert served(mesh) == first
    await mesh.start()

    async def resumed() -> bool:
        return served(mesh) == second

    await until(resumed)
    assert len(await ledger(mesh)) == 3


async def test_a_run_whose_promotion_waits_ends_when_classify_answers(mesh: Mesh) -> None:
    mesh.serving.down = Unavailable("away")
    await mesh.teach(examples(100))
    run = await create(mesh)

    async def waiting() -> bool:
        got = await mesh.stub().GetTrainingRun(pb.GetTrainingRunRequest(name=run.name))
        return got.training_run.state == pb.RunState.RUN_STATE_PROMOTING

    await until(waiting)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await mesh.stub().CancelTrainingRun(pb.CancelTrainingRunRequest(name=run.name))
    assert failure_of(error.value).reason == "WRONG_STATE"
    mesh.serving.down = None
    ended, _ = await end_of(mesh, run)
    assert ended.state == pb.RunState.RUN_STATE_PROMOTED


async def test_a_rollback_overtakes_a_promotion_that_waits(mesh: Mesh) -> None:
    (first,) = await revisions(mesh, True)
    mesh.serving.down = Unavailable("away")
    mesh.trainer.result = lambda job: outcome(job, champion=outcome(job).house)
    run = await create(mesh)

    async def waiting() -> bool:
        got = await mesh.stub().GetTrainingRun(pb.GetTrainingRunRequest(name=run.name))
        return got.training_run.state == pb.RunState.RUN_STATE_PROMOTING

    await until(waiting)
    mesh.serving.down = None
    await roll_back(mesh)
    ended, _ = await end_of(mesh, run)
    assert ended.state in (pb.RunState.RUN_STATE_CANCELLED, pb.RunState.RUN_STATE_PROMOTED)
    assert served(mesh) == first


async def test_an_adapter_serving_refuses_is_given_up_and_the_one_before_serves_on(mesh: Mesh) -> None:
    first, second = await revisions(mesh, True, False)
    mesh.serving.refuses[second.rpartition("/")[2]] = FailedPrecondition("no", reason=Reason.ADAPTER_CORRUPT)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await promote(mesh, second, force=True)
    assert failure_of(error.value).reason == "ADAPTER_CORRUPT"
    assert served(mesh) == first
    last = (await ledger(mesh))[-1]
    assert (last.kind, last.adapter, last.previous, last.actor) == (K.LEDGER_KIND_ROLLED_BACK, first, second, "apaise")

    async def alias_back() -> bool:
        return bool(mesh.registry.champion["acme"] == "1")

    await until(alias_back)


async def test_a_run_whose_adapter_serving_refuses_fails_with_its_reason(mesh: Mesh) -> None:
    await mesh.teach(examples(100))

    async def refuse(brand: str, revision: object, request_id: str) -> None:
        if revision is not None:
            raise FailedPrecondition("no", reason=Reason.ADAPTER_WRONG_SHAPE)

    mesh.serving.serve = refuse  # type: ignore[method-assign]
    run, _ = await end_of(mesh, await create(mesh))
    assert (run.state, run.failure) == (pb.RunState.RUN_STATE_FAILED, "ADAPTER_WRONG_SHAPE")


@pytest.mark.parametrize("statement", ["update ledger set reason = 'x'", "delete from ledger", "truncate ledger"])
async def test_the_ledger_is_append_only(mesh: Mesh, statement: str) -> None:
    await revisions(mesh, True)
    with pytest.raises(DBAPIError, match="append-only"):
        async with mesh.db.engine.begin() as conn:
            await conn.execute(text(statement))


async def test_the_ledger_is_listed_newest_first_page_by_page(mesh: Mesh) -> None:
    await revisions(mesh, True, False, False)
    stub = mesh.stub()
    first = await stub.ListLedger(pb.ListLedgerRequest(parent=PARENT, page_size=2))
    second = await stub.ListLedger(pb.ListLedgerRequest(parent=PARENT, page_size=2, page_token=first.next_page_token))
    assert [entry.sequence for entry in (*first.entries, *second.entries)] == [3, 2, 1]


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
async def test_a_reason_is_asked_for(mesh: Mesh, reason: str) -> None:
    (first,) = await revisions(mesh, True)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await promote(mesh, first, reason=reason)
    assert failure_of(error.value).code is grpc.StatusCode.INVALID_ARGUMENT
