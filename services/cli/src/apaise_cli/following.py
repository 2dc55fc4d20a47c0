"""Following a training run to its end, through restarts of the service."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import grpc
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from apaise.train.v1 import train_service_pb2 as pb
from apaise.train.v1 import train_service_pb2_grpc as rpc
from apaise_cli.remote import explain_failure
from apaise_cli.screen import Screen
from apaise_kit.runtime.status import failure_of

_ENDED: Final = (
    pb.RUN_STATE_PROMOTED,
    pb.RUN_STATE_REFUSED,
    pb.RUN_STATE_FAILED,
    pb.RUN_STATE_CANCELLED,
    pb.RUN_STATE_CANARY,
)
_PATIENCE: Final = 60.0


async def follow_run(service: rpc.TrainServiceAsyncStub, run: pb.TrainingRun, screen: Screen) -> pb.TrainingRun:
    """Show a run's progress until it ends and give it as it ended.

    Raises:
        CliError: when the service does not answer for a minute.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen.err, transient=True, disable=not screen.err.is_terminal) as progress:
        task = progress.add_task("queued", total=1.0)
        said, answered_at = "", time.monotonic()
        while run.state not in _ENDED:
            try:
                async for response in service.FollowTrainingRun(pb.FollowTrainingRunRequest(name=run.name)):
                    run, answered_at = response.training_run, time.monotonic()
                    state = pb.RunState.Name(run.state).removeprefix("RUN_STATE_").lower()
                    progress.update(task, description=state, completed=run.progress)
                    if state != said and not screen.err.is_terminal:
                        screen.note(state)
                    said = state
            except grpc.aio.AioRpcError as error:
                failure = failure_of(error)
                if not failure.transient or time.monotonic() - answered_at > _PATIENCE:
                    raise explain_failure(failure) from error
            if run.state not in _ENDED:
                await asyncio.sleep(1)
    return run
