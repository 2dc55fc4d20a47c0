"""Ingest's composition root: the one place where its parts meet."""

from __future__ import annotations

from functools import partial

from apaise.ingest.v1.ingest_service_pb2_grpc import add_IngestServiceServicer_to_server
from apaise_ingest.adapters.language import LanguageReader
from apaise_ingest.adapters.mesh import GrpcClassifier, GrpcRouter
from apaise_ingest.adapters.tables import SCHEMA, events
from apaise_ingest.app import Ingest
from apaise_ingest.backlog import Backlog
from apaise_ingest.domain import Lane
from apaise_ingest.pump import Pump
from apaise_ingest.settings import IngestSettings
from apaise_ingest.transport.servicer import IngestServicer
from apaise_kit.runtime.auth import TokenFile
from apaise_kit.runtime.client import open_channel
from apaise_kit.runtime.db import Database, create_engine, wait_for_database
from apaise_kit.runtime.logs import configure_logging
from apaise_kit.runtime.migrations import migrate
from apaise_kit.runtime.server import Service, Step, build_server, serve
from apaise_kit.runtime.telemetry import Telemetry

SERVICE = "apaise.ingest.v1.IngestService"


async def main() -> None:
    """Run the service until it is told to stop."""
    settings = IngestSettings()
    configure_logging("ingest", settings.log_level)
    telemetry = Telemetry.create("ingest", settings.metrics_port, settings.otlp_endpoint, settings.host)
    engine = create_engine(settings.dsn.get_secret_value(), SCHEMA, settings.database_pool)
    db = Database(engine, SCHEMA, events)
    classify = open_channel(settings.classify_address, settings.service_token, telemetry=telemetry)
    route = open_channel(settings.route_address, settings.service_token, telemetry=telemetry)
    backlog = Backlog(settings.max_pending)
    pump = Pump(db, GrpcClassifier(classify), GrpcRouter(route), backlog, telemetry.meter, settings.pump_batch)
    secret = settings.author_secret.get_secret_value().encode()
    servicer = IngestServicer(Ingest(db, LanguageReader(), backlog, secret, pump.nudge))
    server = build_server(
        settings,
        [Service(add_IngestServiceServicer_to_server, servicer, SERVICE)],
        tokens=TokenFile(settings.tokens_file),
        telemetry=telemetry,
    )

    async def startup() -> None:
        await wait_for_database(engine)
        await migrate(settings.dsn.get_secret_value(), SCHEMA, "apaise_ingest")

    async def shutdown() -> None:
        await classify.close()
        await route.close()
        await engine.dispose()
        telemetry.close()

    # Live messages have three seconds, the others a minute: one worker is enough for those.
    lanes = [Lane.LIVE] * settings.pump_workers + [Lane.CALM, Lane.LATE]
    background: list[Step] = [pump.count, *(partial(pump.drain, lane) for lane in lanes)]
    await serve(server, startup=startup, ready=db.ping, background=background, shutdown=shutdown)
