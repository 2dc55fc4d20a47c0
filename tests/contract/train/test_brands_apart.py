"""Another brand's thing reads like a thing that does not exist, on every RPC; and who may call what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from apaise.train.v1 import train_service_pb2 as pb
from apaise_kit.runtime.status import failure_of
from apaise_train.testing import examples

from .test_runs import create, end_of

if TYPE_CHECKING:
    from .conftest import Mesh

REQUESTS: dict[str, Callable[[str, str], Any]] = {
    "CreateTrainingRun": lambda run, adapter: pb.CreateTrainingRunRequest(parent="brands/acme"),
    "GetTrainingRun": lambda run, adapter: pb.GetTrainingRunRequest(name=run),
    "ListTrainingRuns": lambda run, adapter: pb.ListTrainingRunsRequest(parent="brands/acme"),
    "CancelTrainingRun": lambda run, adapter: pb.CancelTrainingRunRequest(name=run),
    "FollowTrainingRun": lambda run, adapter: pb.FollowTrainingRunRequest(name=run),
    "PromoteRevision": lambda run, adapter: pb.PromoteRevisionRequest(name=adapter, reason="x"),
    "RollbackRevision": lambda run, adapter: pb.RollbackRevisionRequest(parent="brands/acme", reason="x"),
    "ListLedger": lambda run, adapter: pb.ListLedgerRequest(parent="brands/acme"),
}


async def answer(stub: Any, method: str, request: Any) -> Any:
    call = getattr(stub, method)(request)
    return [each async for each in call] if method == "FollowTrainingRun" else await call


def test_every_rpc_is_crossed() -> None:
    service = pb.DESCRIPTOR.services_by_name["TrainService"]
    assert {method.name for method in service.methods} == set(REQUESTS)


@pytest.mark.parametrize("method", REQUESTS)
async def test_another_brand_is_not_found(mesh: Mesh, method: str) -> None:
    await mesh.teach(examples(100))
    run, _ = await end_of(mesh, await create(mesh))
    stub = mesh.stub("ml_engineer", "operator", brands=("other",))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await answer(stub, method, REQUESTS[method](run.name, run.adapter))
    assert failure_of(error.value).reason == "NOT_FOUND"
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await answer(mesh.stub(), "GetTrainingRun", pb.GetTrainingRunRequest(name="brands/acme/trainingRuns/none"))
    assert missing.value.code() is error.value.code()


@pytest.mark.parametrize(
    "request_",
    [
        pb.PromoteRevisionRequest(name="brands/other/adapters/r1-x", reason="x"),
        pb.PromoteRevisionRequest(name="brands/acme/adapters/none", reason="x"),
    ],
)
async def test_a_revision_of_another_brand_or_none_is_not_found(mesh: Mesh, request_: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await mesh.stub().PromoteRevision(request_)
    assert failure_of(error.value).reason == "NOT_FOUND"


async def test_a_rollback_cannot_name_another_brands_revision(mesh: Mesh) -> None:
    request = pb.RollbackRevisionRequest(parent="brands/acme", adapter="brands/other/adapters/r1-x", reason="x")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await mesh.stub().RollbackRevision(request)
    assert error.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


@pytest.mark.parametrize("role", ["moderator", "service"])
async def test_moderators_and_services_start_nothing(mesh: Mesh, role: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await mesh.stub(role).CreateTrainingRun(pb.CreateTrainingRunRequest(parent="brands/acme"))
    assert failure_of(error.value).reason == "ROLE_MISSING"


@pytest.mark.parametrize("size", [-1, 501])
async def test_page_sizes_have_bounds(mesh: Mesh, size: int) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await mesh.stub().ListLedger(pb.ListLedgerRequest(parent="brands/acme", page_size=size))
    assert failure_of(error.value).reason == "INVALID_FIELD"
