"""The replica as Ray Serve runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from apaise_classify.domain.reading import Reading, Row, Vectors
from apaise_classify.serving.precedents import NEARNESS

APP: Final = "apaise"
_METHODS_BESIDE_READS: Final = 16


class ReplicaConfig(BaseModel):
    """All a replica needs to know; travels to it through Ray."""

    model_config = ConfigDict(frozen=True)

    dsn: SecretStr
    cache: Path
    base_model: str | None = None
    house_weights: Path | None = None
    device: str = "cpu"
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    lanes: int = 1
    threads: int = 1
    pass_tokens: int = 4096
    keep: int = 1
    room: int = 1000
    remembered: int = 0
    nearness: float = NEARNESS
    interval: float = 1.0
    log_level: str = "INFO"


class ReaderReplica:
    """What `adapters.serve.ServeReader` calls through a DeploymentHandle."""

    async def __init__(self, config: ReplicaConfig) -> None:  # type: ignore[misc]
        """Build the house model if it is not in the cache, load it, converge once. Serve awaits this."""
        from apaise_classify.adapters.postgres import PostgresStore
        from apaise_classify.serving.lanes import Lanes
        from apaise_classify.serving.replica import Replica
        from apaise_kit.runtime.logs import configure_logging

        configure_logging("classify-replica", config.log_level)
        self._store = PostgresStore.open(config.dsn.get_secret_value(), pool_size=2)
        lanes = Lanes(config.lanes, config.threads)
        engine = await lanes.run(lambda: build_engine(config))
        self._replica = Replica(
            engine,
            lanes,
            self._store,
            config.cache,
            keep=config.keep,
            room=config.room,
            remembered=config.remembered,
            nearness=config.nearness,
            interval=config.interval,
        )
        await self._replica.start()

    async def read(self, rows: Sequence[Row]) -> list[Reading]:
        """See `Reader.read`."""
        return await self._replica.read(rows)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Reader.embed`."""
        return await self._replica.embed(texts)

    async def trace(self, texts: Sequence[str]) -> Vectors:
        """See `Reader.trace`."""
        return await self._replica.trace(texts)

    async def nudge(self) -> None:
        """See `Reader.nudge`."""
        self._replica.nudge()

    async def identity(self) -> tuple[str, int]:
        """This replica's id and process id; answering is being alive."""
        return self._replica.id, os.getpid()

    async def check_health(self) -> None:
        """Asked by Serve; raising has the replica replaced.

        Raises:
            RuntimeError: the pool's task died.
        """
        if not self._replica.running:
            raise RuntimeError("the adapter pool stopped")

    async def __del__(self) -> None:
        """Serve awaits this after the last call."""
        await self._replica.stop()
        await self._store.close()


def quiet_products() -> None:
    """Let oneDNN keep every shape it has compiled: the engine knows a few hundred, its cache holds fewer by default."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")


def build_engine(config: ReplicaConfig) -> Any:
    """Build and load the house model; blocking."""
    quiet_products()
    from apaise_classify.serving.engine import Engine
    from mlops.base.encoder import load_encoder
    from mlops.house import build_house

    house = build_house(config.cache, config.base_model, weights=config.house_weights)
    encoder = load_encoder(house.path, config.device, config.dtype)
    return Engine(encoder, house, config.pass_tokens)


def application(config: ReplicaConfig, name: str, replicas: int, ongoing: int, cpus: float) -> Any:
    """The Serve application.

    Args:
        config: what each replica is told.
        name: of the deployment; it carries the version, so that a running one can be recognised.
        replicas: how many.
        ongoing: batches one replica may have at once.
        cpus: what Ray sets aside for one replica.
    """
    from ray import serve

    decorate: Callable[[type], Any] = serve.deployment(
        name=name,
        num_replicas=replicas,
        max_ongoing_requests=ongoing + _METHODS_BESIDE_READS,
        ray_actor_options={"num_cpus": cpus, "num_gpus": 1 if config.device.startswith("cuda") else 0},
        health_check_period_s=5,
        health_check_timeout_s=30,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=10,
    )
    return decorate(ReaderReplica).bind(config)
