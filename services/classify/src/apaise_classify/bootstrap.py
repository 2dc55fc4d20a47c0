"""Classify's composition root: the one place where its parts meet."""

from __future__ import annotations

import asyncio
import os
from functools import partial

from opentelemetry.metrics import Observation

from apaise.classify.v1.classify_service_pb2_grpc import add_ClassifyServiceServicer_to_server
from apaise_classify.adapters.batching import Limits
from apaise_classify.adapters.postgres import PostgresStore
from apaise_classify.adapters.serve import ServeOptions, ServeReader
from apaise_classify.app import settle_forgotten
from apaise_classify.serving.deployment import ReplicaConfig
from apaise_classify.settings import ClassifySettings
from apaise_classify.transport.servicer import SERVICE, ClassifyServicer
from apaise_kit.runtime.auth import TokenFile
from apaise_kit.runtime.logs import configure_logging
from apaise_kit.runtime.server import Service, Step, build_server, serve
from apaise_kit.runtime.telemetry import Telemetry


async def main() -> None:
    """Run the service until it is told to stop."""
    settings = ClassifySettings()
    configure_logging("classify", settings.log_level)
    telemetry = Telemetry.create("classify", settings.metrics_port, settings.otlp_endpoint, settings.host)
    store = PostgresStore.open(settings.dsn.get_secret_value(), settings.database_pool)
    reader = ServeReader(replica_config(settings), serve_options(settings))
    servicer = ClassifyServicer(reader, store, store.precedents(settings.precedents_per_brand))
    server = build_server(
        settings,
        [Service(add_ClassifyServiceServicer_to_server, servicer, SERVICE)],
        tokens=TokenFile(settings.tokens_file),
        telemetry=telemetry,
    )

    telemetry.meter.create_observable_gauge(
        "apaise_classify_waiting",
        callbacks=[lambda _: [Observation(reader.waiting)]],
        description="Texts waiting for a replica.",
    )
    telemetry.meter.create_observable_counter(
        "apaise_classify_answered",
        callbacks=[
            lambda _: [
                Observation(reader.recalled, {"recalled": True}),
                Observation(reader.answered - reader.recalled, {"recalled": False}),
            ]
        ],
        description="Texts answered, by whether the same had been read before.",
    )

    async def startup() -> None:
        # The schema first: a replica looks at it as soon as it runs.
        await store.prepare()
        await reader.start()

    async def ready() -> bool:
        return all(await asyncio.gather(reader.alive(), store.ping()))

    async def shutdown() -> None:
        await reader.stop()
        await store.close()
        telemetry.close()

    background: list[Step] = [reader.watch, partial(settle_forgotten, store)]
    await serve(server, startup=startup, ready=ready, background=background, shutdown=shutdown)


def replica_config(settings: ClassifySettings) -> ReplicaConfig:
    """What each replica is told."""
    return ReplicaConfig(
        dsn=settings.dsn,
        cache=settings.cache.expanduser().absolute(),
        base_model=settings.base_model,
        house_weights=settings.house_weights.absolute() if settings.house_weights else None,
        device=settings.device,
        dtype=settings.dtype,
        lanes=lanes(settings),
        threads=settings.torch_threads,
        pass_tokens=settings.pass_tokens,
        keep=settings.retired_kept,
        room=settings.adapters_resident,
        remembered=settings.remembered,
        nearness=settings.precedent_nearness,
        interval=settings.adapter_poll_seconds,
        log_level=settings.log_level,
    )


def lanes(settings: ClassifySettings) -> int:
    """Batches a replica computes at once."""
    if settings.lanes or settings.device.startswith("cuda"):
        return settings.lanes or 1
    return max(1, (os.cpu_count() or 1) // (settings.replicas * settings.torch_threads))


def serve_options(settings: ClassifySettings) -> ServeOptions:
    """How the replicas are run."""
    return ServeOptions(
        address=settings.ray_address,
        replicas=settings.replicas,
        cpus=settings.replica_cpus,
        limits=Limits(
            rows=settings.batch_rows,
            under_way=lanes(settings) + settings.batches_waiting,
            waiting=settings.max_waiting,
        ),
        patience=settings.replica_patience_seconds,
    )
