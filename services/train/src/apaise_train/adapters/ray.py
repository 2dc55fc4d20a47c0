"""Training jobs as Ray tasks."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from apaise_kit.core.errors import Unavailable
from apaise_kit.runtime.logs import get_logger
from apaise_train.domain.jobs import Broken, Job, Outcome, Update

_REACH_SECONDS: Final = 3.0
_STOP_SECONDS: Final = 15.0
_log = get_logger(__name__)


def run_in_task(job: Job) -> Iterator[Update]:
    """The body of the Ray task. Torch is imported here, in the worker, never in train's own process."""
    from apaise_train.worker.job import lower_priority, run

    lower_priority()
    yield from run(job)


class RayTrainer:
    """Each job is one Ray task in a process of its own: killing it is how a job is stopped, and frees its memory.

    The task is a streaming generator: its progress and its outcome (about one megabyte) come back through Ray's own
    store, so that training machines need neither our database nor a shared folder.
    """

    def __init__(self, address: str, cpus: float = 1.0) -> None:
        """`address` is Ray's, "" to start one here; `cpus` is what a job waits for."""
        self._address = address
        self._cpus = cpus
        self._connecting = asyncio.Lock()
        self._local: _Local | None = None

    async def train(self, job: Job) -> AsyncGenerator[Update, None]:
        """See `Trainer.train`."""
        if not self._address:
            _ask_for_token()
        import ray
        from ray.exceptions import LocalRayletDiedError, RayError, RaySystemError, RayTaskError

        await self._connect()
        results: Any = None
        finished = False
        try:
            once: dict[str, Any] = {"num_returns": "streaming", "max_retries": 0, "max_calls": 1}
            task = ray.remote(num_cpus=self._cpus, **once)(run_in_task).options(name=f"train-{job.revision}")
            results = await asyncio.to_thread(task.remote, job)
            async for reference in results:
                update: Update = await reference
                finished = isinstance(update, Outcome | Broken)
                yield update
        except RayError as error:
            if isinstance(error, RayTaskError):
                raise  # the job itself raised: sent again, it would end the same way
            if isinstance(error, LocalRayletDiedError | RaySystemError):
                await self.close()  # this connection is dead for good: the next job makes another
            raise _unavailable() from error
        finally:
            if results is not None and not finished:
                await asyncio.to_thread(_cancel, results)

    async def close(self) -> None:
        """Leave Ray; one started here stops."""
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():
            await asyncio.to_thread(ray.shutdown)
        if self._local is not None:
            await asyncio.to_thread(_stop, self._local)
            self._local = None

    async def _connect(self) -> None:
        import ray

        async with self._connecting:
            if ray.is_initialized():
                return
            address = self._address or await self._own_address()
            await _reachable(address)
            # In a thread: in the main one, Ray would take SIGTERM away from the server.
            await asyncio.to_thread(_join, address)

    async def _own_address(self) -> str:
        if self._local is None or self._local.process.poll() is not None:
            self._local = await asyncio.to_thread(_start)
        return self._local.address


@dataclass(frozen=True)
class _Local:
    """A Ray started by us, and where it is."""

    process: subprocess.Popen[str]
    address: str


def _ask_for_token() -> None:
    """Have the Ray we start let in nobody else. Ray reads this once, when it is first imported."""
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _start() -> _Local:
    """Start a Ray beside us (see `local_ray`)."""
    command = [sys.executable, "-m", "apaise_train.adapters.local_ray"]
    environment = {**os.environ, "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled")}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    if not address:
        process.kill()
        process.wait()
        raise _unavailable()
    return _Local(process, address)


def _stop(local: _Local) -> None:
    if local.process.stdin is not None:
        local.process.stdin.close()
    try:
        local.process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        local.process.kill()
        local.process.wait()


async def _reachable(address: str) -> None:
    """Ask the port first: Ray itself looks for a head that is not there for minutes, and cannot be interrupted."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        async with asyncio.timeout(_REACH_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        raise _unavailable() from None
    writer.close()


def _join(address: str) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address, namespace="apaise", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, TimeoutError, OSError, ValueError) as error:
        raise _unavailable() from error
    _log.info("ray_joined")


def _cancel(results: Any) -> None:
    import ray
    from ray.exceptions import RayError

    try:
        ray.cancel(results, force=True)
    except (RayError, RuntimeError, ValueError, TypeError) as error:
        _log.warning("ray_task_not_cancelled", error=error)


def _unavailable() -> Unavailable:
    return Unavailable("The machines that train do not answer. The run is tried again by itself.")
