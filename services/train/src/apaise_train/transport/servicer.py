"""TrainService over gRPC: decode, use case, encode."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from apaise.train.v1 import train_service_pb2 as pb
from apaise.train.v1 import train_service_pb2_grpc as pb_grpc
from apaise_kit.core import cursor
from apaise_kit.core.errors import Reason, invalid_field
from apaise_kit.core.names import ADAPTER, TRAINING_RUN, parse_brand
from apaise_train import app
from apaise_train.app import Train
from apaise_train.transport import codec

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 500
MAX_REQUEST_ID: Final = 128
T = TypeVar("T")


class TrainServicer(pb_grpc.TrainServiceServicer):
    """The RPCs of `apaise.train.v1.TrainService`; the .proto says what each does."""

    def __init__(self, train: Train, mlflow_ui: str = "") -> None:
        self._train = train
        self._ui = mlflow_ui

    async def CreateTrainingRun(
        self, request: pb.CreateTrainingRunRequest, context: Any
    ) -> pb.CreateTrainingRunResponse:
        brand = parse_brand(request.parent, "parent")
        run = await app.create_run(self._train, brand, _request_id(request.request_id))
        return pb.CreateTrainingRunResponse(training_run=codec.run_to(run, self._ui))

    async def GetTrainingRun(self, request: pb.GetTrainingRunRequest, context: Any) -> pb.GetTrainingRunResponse:
        run = await app.get_run(self._train, *TRAINING_RUN.parse(request.name))
        return pb.GetTrainingRunResponse(training_run=codec.run_to(run, self._ui))

    async def ListTrainingRuns(self, request: pb.ListTrainingRunsRequest, context: Any) -> pb.ListTrainingRunsResponse:
        size, scope = _page_size(request.page_size), f"runs/{request.parent}"
        before = _before(request.page_token, scope)
        runs = await app.list_runs(self._train, parse_brand(request.parent, "parent"), before, size + 1)
        page, token = _page(runs, size, scope, lambda run: run.number)
        return pb.ListTrainingRunsResponse(
            training_runs=[codec.run_to(run, self._ui) for run in page], next_page_token=token
        )

    async def CancelTrainingRun(
        self, request: pb.CancelTrainingRunRequest, context: Any
    ) -> pb.CancelTrainingRunResponse:
        brand, run_id = TRAINING_RUN.parse(request.name)
        run = await app.cancel_run(self._train, brand, run_id, _request_id(request.request_id))
        return pb.CancelTrainingRunResponse(training_run=codec.run_to(run, self._ui))

    async def FollowTrainingRun(
        self, request: pb.FollowTrainingRunRequest, context: Any
    ) -> AsyncIterator[pb.FollowTrainingRunResponse]:
        async for run in app.follow_run(self._train, *TRAINING_RUN.parse(request.name)):
            yield pb.FollowTrainingRunResponse(training_run=codec.run_to(run, self._ui))

    async def PromoteRevision(self, request: pb.PromoteRevisionRequest, context: Any) -> pb.PromoteRevisionResponse:
        brand, revision = ADAPTER.parse(request.name)
        request_id = _request_id(request.request_id)
        entry = await app.promote(self._train, brand, revision, request.reason, request.force, request_id)
        return pb.PromoteRevisionResponse(entry=codec.entry_to(entry))

    async def RollbackRevision(self, request: pb.RollbackRevisionRequest, context: Any) -> pb.RollbackRevisionResponse:
        brand = parse_brand(request.parent, "parent")
        revision = _revision_of(brand, request.adapter)
        request_id = _request_id(request.request_id)
        entry = await app.roll_back(self._train, brand, revision, request.house, request.reason, request_id)
        return pb.RollbackRevisionResponse(entry=codec.entry_to(entry))

    async def ListLedger(self, request: pb.ListLedgerRequest, context: Any) -> pb.ListLedgerResponse:
        size, scope = _page_size(request.page_size), f"ledger/{request.parent}"
        before = _before(request.page_token, scope)
        entries = await app.list_ledger(self._train, parse_brand(request.parent, "parent"), before, size + 1)
        page, token = _page(entries, size, scope, lambda entry: entry.sequence)
        return pb.ListLedgerResponse(entries=[codec.entry_to(entry) for entry in page], next_page_token=token)


def _revision_of(brand: str, name: str) -> str | None:
    if not name:
        return None
    owner, revision = ADAPTER.parse(name, "adapter")
    if owner != brand:
        raise invalid_field("adapter", "must be a revision of `parent`")
    return revision


def _request_id(value: str) -> str:
    if len(value) > MAX_REQUEST_ID:
        raise invalid_field("request_id", f"at most {MAX_REQUEST_ID} characters")
    return value


def _page_size(asked: int) -> int:
    if not 0 <= asked <= MAX_PAGE:
        raise invalid_field("page_size", f"0 to {MAX_PAGE}")
    return asked or DEFAULT_PAGE


def _before(token: str, scope: str) -> int | None:
    position = cursor.decode(token, scope).get("before")
    if position is not None and not isinstance(position, int):
        raise invalid_field("page_token", "is not a token this list gave", Reason.BAD_CURSOR)
    return position


def _page(items: list[T], size: int, scope: str, key: Callable[[T], int]) -> tuple[list[T], str]:
    """The page of `size` out of `size + 1` items read, and the token of the next one."""
    page = items[:size]
    return page, cursor.encode({"before": key(page[-1])}, scope) if len(items) > size else ""
