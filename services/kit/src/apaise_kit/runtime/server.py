"""A service's gRPC server: listening at once, serving when ready, draining when told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_health.v1.health import aio as health_aio  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from apaise_kit.runtime.auth import Tokens
from apaise_kit.runtime.logs import get_logger, quiet_loop_errors
from apaise_kit.runtime.pipeline import Admission, Pipeline
from apaise_kit.runtime.settings import KitSettings
from apaise_kit.runtime.telemetry import Telemetry

_HEALTH: Final = "grpc.health.v1.Health"
_READY_POLL_SECONDS: Final = 0.5
_READY_TIMEOUT_SECONDS: Final = 3.0
_log = get_logger(__name__)

Step = Callable[[], Awaitable[None]]
Probe = Callable[[], Awaitable[bool]]


class Service(NamedTuple):
    """One gRPC service to serve: the generated `add_…_to_server`, the servicer, the full name."""

    add: Callable[[Any, grpc.aio.Server], None]
    servicer: Any
    name: str


@dataclass
class KitServer:
    """A server built by `build_server`, not yet listening."""

    grpc_server: grpc.aio.Server
    health: health_aio.HealthServicer
    names: tuple[str, ...]
    settings: KitSettings
    admission: Admission
    port: int = 0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Listen; health says NOT_SERVING and calls are told to come back until `open`.

        Raises:
            RuntimeError: when the address is taken.
        """
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.port = self.grpc_server.add_insecure_port(f"{self.settings.host}:{self.settings.port}")
        await self.grpc_server.start()
        if self.settings.port_file is not None:
            _write_atomically(self.settings.port_file, f"{self.port}\n")
        _log.info("listening", host=self.settings.host, port=self.port)

    def open(self) -> None:
        """Let calls through."""
        self.admission.started = True

    async def set_serving(self, serving: bool) -> None:
        """What health answers from now on, for every service of this server and for the server as a whole."""
        values = health_pb2.HealthCheckResponse
        await self._say(values.SERVING if serving else values.NOT_SERVING)

    def request_stop(self) -> None:
        """Begin to stop; `serve` then drains and returns. Safe to call twice."""
        self._stopping.set()

    async def wait_for_stop(self) -> None:
        """Until `request_stop` is called."""
        await self._stopping.wait()

    async def drain(self) -> None:
        """Refuse new calls, end streams, let unary calls in flight finish within `drain_seconds`."""
        self.admission.drain()
        await self.health.enter_graceful_shutdown()
        await self.grpc_server.stop(self.settings.drain_seconds)

    async def _say(self, status: int) -> None:
        for name in ("", *self.names):
            await self.health.set(name, status)


def build_server(
    settings: KitSettings, services: Sequence[Service], *, tokens: Tokens, telemetry: Telemetry
) -> KitServer:
    """Wire a server: the pipeline's stages, health per service, reflection, size limits.

    Args:
        settings: ports and limits.
        services: what to serve.
        tokens: who may call.
        telemetry: where spans and durations go.
    """
    names = tuple(service.name for service in services)
    admission = Admission(settings.max_concurrency, settings.max_streams)
    pipeline = Pipeline(
        service=names[0].rpartition(".")[2] if names else "The service",
        tokens=tokens,
        telemetry=telemetry,
        admission=admission,
        default_deadline=settings.default_deadline_seconds,
    )
    server = grpc.aio.server(
        interceptors=[pipeline],
        options=[
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            ("grpc.so_reuseport", 0),  # a second process on the same port is a mistake, not a load balancer
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
    )
    for service in services:
        service.add(service.servicer, server)
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection((*names, _HEALTH, reflection.SERVICE_NAME), server)
    return KitServer(server, health, names, settings, admission)


async def serve(
    server: KitServer,
    *,
    startup: Step | None = None,
    ready: Probe | None = None,
    background: Sequence[Step] = (),
    shutdown: Step | None = None,
) -> None:
    """Run a server until SIGTERM, SIGINT or `request_stop`, then drain.

    It listens before `startup` runs, so that probes get an answer while the database is still awaited. Health says
    SERVING while `ready` says so.

    Args:
        server: what `build_server` gave.
        startup: what must be done before the first call (wait for the database, migrate).
        ready: whether calls can be answered now; asked twice a second.
        background: loops that run beside the server; cancelled at the start of the drain.
        shutdown: what must be closed after the last call.

    Raises:
        Exception: whatever `startup` or a background loop raised: the process must not live on half-working.
    """
    loop = asyncio.get_running_loop()
    quiet_loop_errors(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError):  # not the main thread: a test stops it by request_stop
            loop.add_signal_handler(number, server.request_stop)
    await server.start()
    work = asyncio.create_task(_work(server, startup, ready, background))
    stop = asyncio.create_task(server.wait_for_stop())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        _log.info("draining")
        server.admission.draining = True
        failure = await _cancelled(work)
        await _cancelled(stop)
        await server.drain()
        if shutdown is not None:
            await shutdown()
        _log.info("stopped")
    if failure is not None:
        raise failure


async def _work(server: KitServer, startup: Step | None, ready: Probe | None, background: Sequence[Step]) -> None:
    if startup is not None:
        await startup()
    server.open()
    async with asyncio.TaskGroup() as group:
        for loop in background:
            group.create_task(_awaited(loop))
        group.create_task(_watch(server, ready))


async def _awaited(step: Step) -> None:
    await step()


async def _watch(server: KitServer, ready: Probe | None) -> None:
    said: bool | None = None
    while True:
        serving = await _is_ready(ready)
        if serving is not said:
            said = serving
            await server.set_serving(serving)
            _log.info("health", serving=serving)
        await asyncio.sleep(_READY_POLL_SECONDS)


async def _is_ready(ready: Probe | None) -> bool:
    if ready is None:
        return True
    try:
        async with asyncio.timeout(_READY_TIMEOUT_SECONDS):
            return await ready()
    except Exception as error:
        _log.warning("readiness_probe_failed", error=error)
        return False


async def _cancelled(task: asyncio.Task[None]) -> BaseException | None:
    """Cancel a task, wait for its end, give what it had raised by itself."""
    task.cancel()
    await asyncio.wait({task})
    return None if task.cancelled() else task.exception()


def _write_atomically(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(content, encoding="ascii")
    os.replace(temporary, path)


def run(main: Coroutine[Any, Any, None]) -> int:
    """Run a service's main coroutine; the process's exit code. A crash is logged without quoting the exception."""
    try:
        asyncio.run(main)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        _log.error("crashed", exc_info=error)
        return 1
    return 0
