"""Route's composition root: the one place where its parts meet."""

from __future__ import annotations

from functools import partial

from apaise.route.v1.answer_service_pb2_grpc import add_AnswerServiceServicer_to_server
from apaise.route.v1.archive_service_pb2_grpc import add_ArchiveServiceServicer_to_server
from apaise.route.v1.case_service_pb2_grpc import add_CaseServiceServicer_to_server
from apaise.route.v1.charter_service_pb2_grpc import add_CharterServiceServicer_to_server
from apaise.route.v1.figures_service_pb2_grpc import add_FiguresServiceServicer_to_server
from apaise.route.v1.forward_service_pb2_grpc import add_ForwardServiceServicer_to_server
from apaise.route.v1.preflight_service_pb2_grpc import add_PreflightServiceServicer_to_server
from apaise.route.v1.reply_service_pb2_grpc import add_ReplyServiceServicer_to_server
from apaise.route.v1.review_service_pb2_grpc import add_ReviewServiceServicer_to_server
from apaise.route.v1.route_service_pb2_grpc import add_RouteServiceServicer_to_server
from apaise_kit.core.clock import Clock, SystemClock
from apaise_kit.runtime.auth import TokenFile
from apaise_kit.runtime.client import open_channel
from apaise_kit.runtime.db import Database, create_engine, wait_for_database
from apaise_kit.runtime.logs import configure_logging
from apaise_kit.runtime.migrations import migrate
from apaise_kit.runtime.server import Service, Step, build_server, serve
from apaise_kit.runtime.telemetry import Telemetry
from apaise_route.adapters.desks import DeskFile, Desks, NoDesks
from apaise_route.adapters.metrics import Metrics
from apaise_route.adapters.post import Poster
from apaise_route.adapters.reader import GrpcReader
from apaise_route.adapters.shelf import Shelf
from apaise_route.adapters.tables import SCHEMA, events
from apaise_route.app import alone, cases, clocks, deliveries
from apaise_route.app.deps import Deps
from apaise_route.domain.reading import NoReader, Reader
from apaise_route.settings import RouteSettings
from apaise_route.transport.answers import AnswerServicer
from apaise_route.transport.archive import ArchiveServicer
from apaise_route.transport.case_servicer import CaseServicer
from apaise_route.transport.figures import FiguresServicer
from apaise_route.transport.forward import ForwardServicer
from apaise_route.transport.preflight import PreflightServicer
from apaise_route.transport.replies import ReplyServicer
from apaise_route.transport.servicer import CharterServicer, ReviewServicer, RouteServicer
from apaise_route.transport.webhook import WebhookServer

PACKAGE = "apaise_route"


def services(deps: Deps) -> list[Service]:
    """The gRPC services of this process."""
    return [
        Service(add_RouteServiceServicer_to_server, RouteServicer(deps), "apaise.route.v1.RouteService"),
        Service(add_CharterServiceServicer_to_server, CharterServicer(deps), "apaise.route.v1.CharterService"),
        Service(add_ReviewServiceServicer_to_server, ReviewServicer(deps), "apaise.route.v1.ReviewService"),
        Service(add_CaseServiceServicer_to_server, CaseServicer(deps), "apaise.route.v1.CaseService"),
        Service(add_FiguresServiceServicer_to_server, FiguresServicer(deps), "apaise.route.v1.FiguresService"),
        Service(add_PreflightServiceServicer_to_server, PreflightServicer(deps), "apaise.route.v1.PreflightService"),
        Service(add_ForwardServiceServicer_to_server, ForwardServicer(deps), "apaise.route.v1.ForwardService"),
        Service(add_ReplyServiceServicer_to_server, ReplyServicer(deps), "apaise.route.v1.ReplyService"),
        Service(add_AnswerServiceServicer_to_server, AnswerServicer(deps), "apaise.route.v1.AnswerService"),
        Service(add_ArchiveServiceServicer_to_server, ArchiveServicer(deps), "apaise.route.v1.ArchiveService"),
    ]


def wire(
    db: Database,
    telemetry: Telemetry,
    clock: Clock,
    desks: Desks | None = None,
    reader: Reader | None = None,
    second_looks: float = 0.0,
    golden_share: float = 0.05,
) -> tuple[Deps, Metrics]:
    """What use cases need, over a database that is there or will be."""
    shelf = Shelf()
    metrics = Metrics(telemetry.meter, shelf.default.charter)
    others = (NoDesks() if desks is None else desks, reader or NoReader(), second_looks, golden_share)
    return Deps(db, shelf, metrics, clock, *others), metrics


def _webhooks(deps: Deps, settings: RouteSettings) -> WebhookServer | None:
    return None if settings.webhook_port is None else WebhookServer(deps, settings.host, settings.webhook_port)


async def main() -> None:
    """Run the service until it is told to stop."""
    settings = RouteSettings()
    configure_logging("route", settings.log_level)
    telemetry = Telemetry.create("route", settings.metrics_port, settings.otlp_endpoint, settings.host)
    engine = create_engine(settings.dsn.get_secret_value(), SCHEMA, settings.database_pool)
    clock = SystemClock()
    db = Database(engine, SCHEMA, events, clock)
    classify = open_channel(settings.classify_address, settings.service_token, telemetry=telemetry)
    desks, reader = DeskFile(settings.desks_file), GrpcReader(classify)
    deps, metrics = wire(db, telemetry, clock, desks, reader, settings.second_look_share, settings.golden_share)
    post, webhooks = Poster(), _webhooks(deps, settings)
    server = build_server(settings, services(deps), tokens=TokenFile(settings.tokens_file), telemetry=telemetry)

    async def startup() -> None:
        await wait_for_database(engine)
        await migrate(settings.dsn.get_secret_value(), SCHEMA, PACKAGE)
        if webhooks is not None:
            await webhooks.start()

    async def measure() -> None:
        metrics.measured(await clocks.read_queues(deps), clock.now())
        metrics.loaded(await clocks.read_loads(deps))

    async def shutdown() -> None:
        if webhooks is not None:
            await webhooks.stop()
        await post.close()
        await classify.close()
        await engine.dispose()
        telemetry.close()

    background: list[Step] = [
        partial(clocks.every, settings.hold_check_seconds, partial(clocks.end_holds, deps)),
        partial(clocks.every, settings.case_check_seconds, partial(cases.run_late, deps)),
        partial(clocks.every, settings.case_check_seconds, partial(deliveries.deliver, deps, post)),
        partial(clocks.every, settings.case_check_seconds, partial(alone.reply_alone, deps)),
        partial(clocks.every, settings.queue_metrics_seconds, measure),
        partial(clocks.every, settings.retention_check_seconds, partial(clocks.forget_events, deps)),
    ]
    await serve(server, startup=startup, ready=db.ping, background=background, shutdown=shutdown)
