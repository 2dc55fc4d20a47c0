"""Train's composition root: the one place where its parts meet."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from apaise.train.v1.train_service_pb2_grpc import add_TrainServiceServicer_to_server
from apaise_kit.runtime.auth import TokenFile
from apaise_kit.runtime.client import open_channel
from apaise_kit.runtime.db import Database, create_engine, wait_for_database
from apaise_kit.runtime.logs import configure_logging
from apaise_kit.runtime.migrations import migrate
from apaise_kit.runtime.server import Service, Step, build_server, serve
from apaise_kit.runtime.telemetry import Telemetry
from apaise_train.adapters.mesh import GrpcGoldens, GrpcPrecedents, GrpcReviews, GrpcServing
from apaise_train.adapters.mlflow import MlflowRegistry
from apaise_train.adapters.ray import RayTrainer
from apaise_train.adapters.shelf import FsspecShelf
from apaise_train.adapters.tables import SCHEMA, events
from apaise_train.app import Train
from apaise_train.domain.jobs import HouseSource
from apaise_train.domain.policy import Policy
from apaise_train.follower import Follower
from apaise_train.promoter import Promoter
from apaise_train.runner import Collaborators, Limits, Runner
from apaise_train.scheduler import schedule
from apaise_train.settings import TrainSettings
from apaise_train.speaker import Speaker
from apaise_train.transport.servicer import TrainServicer
from apaise_train.trials import Trials

SERVICE = "apaise.train.v1.TrainService"


async def main() -> None:
    """Run the service until it is told to stop."""
    settings = TrainSettings()
    configure_logging("train", settings.log_level)
    telemetry = Telemetry.create("train", settings.metrics_port, settings.otlp_endpoint, settings.host)
    engine = create_engine(settings.dsn.get_secret_value(), SCHEMA, settings.database_pool)
    db = Database(engine, SCHEMA, events)
    route = open_channel(settings.route_address, settings.service_token, telemetry=telemetry)
    classify = open_channel(settings.classify_address, settings.service_token, telemetry=telemetry)
    registry = MlflowRegistry(settings.mlflow_uri.get_secret_value(), settings.artifacts)
    trainer = RayTrainer(settings.ray_address, settings.train_cpus)
    serving = GrpcServing(classify)
    promoter = Promoter(db, registry, serving)
    runner = Runner(db, Collaborators(trainer, registry, FsspecShelf(settings.artifacts), promoter), _limits(settings))
    speaker = Speaker(db, GrpcPrecedents(classify))
    follower = Follower(db, GrpcReviews(route), speaker.nudge)
    goldens = GrpcGoldens(route, db.clock)
    train = Train(db, runner, promoter, goldens, frozenset(settings.golden_reviewers))
    servicer = TrainServicer(train, settings.mlflow_ui)
    server = build_server(
        settings,
        [Service(add_TrainServiceServicer_to_server, servicer, SERVICE)],
        tokens=TokenFile(settings.tokens_file),
        telemetry=telemetry,
    )

    async def startup() -> None:
        await wait_for_database(engine)
        await migrate(settings.dsn.get_secret_value(), SCHEMA, "apaise_train")

    async def shutdown() -> None:
        await trainer.close()
        await route.close()
        await classify.close()
        await engine.dispose()
        telemetry.close()

    background: list[Step] = [
        follower.run,
        speaker.run,
        runner.run,
        promoter.run,
        Trials(db, serving, promoter).run,
        partial(schedule, train, _policy(settings)),
    ]
    await serve(server, startup=startup, ready=db.ping, background=background, shutdown=shutdown)


def _policy(settings: TrainSettings) -> Policy:
    return Policy(
        reviews=settings.auto_train_reviews,
        waited=timedelta(days=settings.auto_train_days),
        gap=timedelta(hours=settings.auto_train_gap_hours),
    )


def _limits(settings: TrainSettings) -> Limits:
    house = HouseSource(
        cache=str(settings.cache) if settings.cache else None,
        model=settings.base_model,
        weights=str(settings.house_weights) if settings.house_weights else None,
    )
    return Limits(
        settings.train_runs,
        settings.train_timeout_seconds,
        settings.train_threads,
        house,
        canary_share=settings.canary_share,
    )
