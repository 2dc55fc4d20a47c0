"""The replicas, run by Ray Serve. Ray is joined by address or started here, and never prints on our stdout."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from apaise_classify.adapters.batching import Batcher, Limits
from apaise_classify.domain.reading import Reading, Row, Vectors
from apaise_classify.serving.deployment import APP, ReplicaConfig, application
from apaise_kit.core.errors import ApaiseError, Unavailable
from apaise_kit.runtime.logs import get_logger
from mlops.house import HouseWeightsError

NAMESPACE: Final = "apaise"
_PROBE_SECONDS: Final = 2.0
_DEPLOY_SECONDS: Final = 600.0
_log = get_logger(__name__)
T = TypeVar("T")
# A unit vector and the digest of the encoder that made it.
_Vector = tuple[tuple[float, ...], str]


class RayLost(RuntimeError):
    """Ray itself no longer answers: this process must end, and be started again."""


@dataclass(frozen=True)
class ServeOptions:
    """How the replicas are run.

    Attributes:
        address: of a Ray cluster; empty starts one in this machine.
        replicas: how many.
        cpus: CPUs Ray sets aside for one.
        limits: of the queue; `under_way` is per replica.
        patience: seconds a batch is retried while replicas die or come back.
        lost_after: seconds without a sign of Ray itself before `watch` gives up.
    """

    address: str = ""
    replicas: int = 1
    cpus: float = 1.0
    limits: Limits = field(default_factory=Limits)
    patience: float = 30.0
    lost_after: float = 15.0


class ServeReader:
    """`Reader` over a DeploymentHandle: one call per batch, whoever the rows belong to.

    Attributes:
        answered: rows answered so far.
        recalled: those of them whose text a replica had read before.
    """

    def __init__(self, config: ReplicaConfig, options: ServeOptions) -> None:
        """Nothing is started yet: `start` is."""
        self._config = config
        self._options = options
        self._handle: Any = None
        self.answered = 0
        self.recalled = 0
        per_call = options.limits.under_way * options.replicas
        limits = Limits(options.limits.rows, options.limits.weight, per_call, options.limits.waiting)
        self._rows: Batcher[Row, Reading] = Batcher(
            self._read_batch, limits, lambda row: len(row.text), lambda row: row.brand
        )
        self._texts: Batcher[str, _Vector] = Batcher(partial(self._vectors, "embed"), limits, len)
        self._traces: Batcher[str, _Vector] = Batcher(partial(self._vectors, "trace"), limits, len)

    async def start(self) -> None:
        """Join or start Ray, then join the application if it runs in this very version, else deploy it.

        Keeps trying while Ray is away: services start in any order.

        Raises:
            HouseWeightsError: there is no usable house model; its text says what to do.
        """
        delay = 0.5
        while True:
            try:
                # In a thread: Ray blocks, and in the main thread it would take SIGTERM for itself.
                self._handle = await asyncio.to_thread(self._connect)
                return
            except HouseWeightsError as error:
                _log.error("house_unusable", advice=str(error))
                raise
            except (ConnectionError, TimeoutError, RuntimeError) as error:
                # Nothing has been read yet: what Ray says can only be about the deployment.
                _log.warning("waiting_for_ray", retry_in=delay, error=error, detail=str(error)[-2000:])
                await asyncio.to_thread(_disconnect)
            await asyncio.sleep(delay)
            delay = min(5.0, delay * 2)

    async def stop(self) -> None:
        """Leave Ray. A cluster started here ends; an application on a cluster joined by address goes on."""
        self._handle = None
        await asyncio.to_thread(_disconnect)

    async def read(self, rows: Sequence[Row]) -> list[Reading]:
        """See `Reader.read`."""
        return await self._rows.submit(rows)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Reader.embed`."""
        return _of_one_encoder(await self._texts.submit(texts))

    async def trace(self, texts: Sequence[str]) -> Vectors:
        """See `Reader.trace`."""
        return _of_one_encoder(await self._traces.submit(texts))

    @property
    def waiting(self) -> int:
        """Texts not yet given to a replica."""
        return self._rows.waiting + self._texts.waiting + self._traces.waiting

    async def nudge(self) -> None:
        """See `Reader.nudge`."""
        try:
            await self._ready().broadcast("nudge").results_async(timeout_s=_PROBE_SECONDS, return_exceptions=True)
        except Exception as error:
            _log.info("nudge_missed", error=error)

    async def alive(self) -> bool:
        """See `Reader.alive`."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._ready().identity.remote()
        except Exception as error:
            _log.info("no_replica_answers", error=error)
            return False
        return True

    async def watch(self) -> None:
        """Look after Ray for ever.

        Raises:
            RayLost: Ray does not answer any more, or the application is gone from it.
        """
        seen = time.monotonic()
        while time.monotonic() - seen < self._options.lost_after:
            await asyncio.sleep(1.0)
            if await self.alive() or await _within(_PROBE_SECONDS * 2, asyncio.to_thread(self._application_known)):
                seen = time.monotonic()
        _log.error("ray_lost", seconds=self._options.lost_after)
        raise RayLost("Ray does not answer")

    async def _read_batch(self, rows: list[Row]) -> list[Reading]:
        readings: list[Reading] = await self._insist(lambda: self._ready().read.remote(rows))
        self.answered += len(readings)
        self.recalled += sum(reading.recalled for reading in readings)
        return readings

    async def _vectors(self, method: str, texts: list[str]) -> list[_Vector]:
        vectors: Vectors = await self._insist(lambda: getattr(self._ready(), method).remote(texts))
        return [(values, vectors.encoder) for values in vectors.values]

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call a replica; when it dies, another one, as reading is pure.

        Raises:
            Unavailable: none answered within the patience. Each caller's own deadline ends its wait earlier.
        """
        until, delay = time.monotonic() + self._options.patience, 0.05
        while True:
            try:
                async with asyncio.timeout(max(0.1, until - time.monotonic())):
                    return await call()
            except ApaiseError:
                raise
            except Exception as error:
                if not _replica_lost(error):
                    raise
                _log.warning("replica_lost", error=error)
            if time.monotonic() + delay > until:
                raise Unavailable("No replica answers. Try again in a moment.", retry_after=timedelta(seconds=2))
            await asyncio.sleep(delay)
            delay = min(1.0, delay * 2)

    def _ready(self) -> Any:
        if self._handle is None:
            raise Unavailable("The replicas are starting. Try again in a moment.", retry_after=timedelta(seconds=2))
        return self._handle

    def _connect(self) -> Any:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray
        from ray import serve

        if not ray.is_initialized():
            ray.init(
                address=self._options.address or "local",
                namespace=NAMESPACE,
                include_dashboard=False if not self._options.address else None,
                log_to_driver=False,
                configure_logging=False,
            )
        serve.start(proxy_location="Disabled")
        name = f"reader-{self.version()}"
        if _runs(name):
            _log.info("serve_joined", deployment=name)
            return serve.get_deployment_handle(name, APP)
        _log.info("serve_deploying", deployment=name, replicas=self._options.replicas)
        ongoing = self._options.limits.under_way * self._options.replicas
        app = application(self._config, name, self._options.replicas, ongoing, self._options.cpus)
        return serve.run(app, name=APP, route_prefix=None)

    def version(self) -> str:
        """Of what is deployed: code, settings, house weights. Part of the deployment's name."""
        from importlib.metadata import version

        from mlops.house.build import read_record, weights_dir

        record = read_record(self._config.house_weights or weights_dir())
        parts = [
            version("apaise-classify"),
            self._config.model_dump_json(exclude={"dsn"}),
            self._config.dsn.get_secret_value(),
            f"{self._options.replicas} {self._options.cpus} {self._options.limits.under_way}",
            f"{record['revision']} {record['thresholds_revision']}",
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def _application_known(self) -> bool:
        from ray import serve

        known = serve.status().applications.get(APP)
        return known is not None and f"reader-{self.version()}" in known.deployments


def _of_one_encoder(answers: Sequence[_Vector]) -> Vectors:
    encoders = {encoder for _, encoder in answers}
    if len(encoders) != 1:
        raise Unavailable("The replicas are moving to another encoder. Try again in a moment.")
    return Vectors(tuple(values for values, _ in answers), encoders.pop())


def _runs(name: str) -> bool:
    """Whether this very deployment runs, after waiting for one that is being deployed (by us, before a crash)."""
    from ray import serve
    from ray.serve.schema import ApplicationStatus

    until = time.monotonic() + _DEPLOY_SECONDS
    while time.monotonic() < until:
        found = serve.status().applications.get(APP)
        if found is None or name not in found.deployments:
            return False
        if found.status is ApplicationStatus.RUNNING:
            return True
        if found.status not in (ApplicationStatus.DEPLOYING, ApplicationStatus.NOT_STARTED):
            return False
        time.sleep(0.5)
    return False


def _disconnect() -> None:
    import ray

    ray.shutdown()


def _replica_lost(error: Exception) -> bool:
    """Whether a call failed because its replica did, not because of what it was asked."""
    from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
    from ray.serve.exceptions import (
        BackPressureError,
        DeploymentUnavailableError,
        ReplicaUnavailableError,
        RequestCancelledError,
    )

    lost = (
        RayActorError,
        WorkerCrashedError,
        NodeDiedError,
        ObjectLostError,
        BackPressureError,
        DeploymentUnavailableError,
        ReplicaUnavailableError,
        RequestCancelledError,
        Unavailable,
        TimeoutError,
    )
    return isinstance(error, lost)


async def _within(seconds: float, probe: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await probe
    except Exception:
        return False
