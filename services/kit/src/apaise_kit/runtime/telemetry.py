"""Traces and metrics: OpenTelemetry inside, a Prometheus endpoint per service, OTLP only where a collector is given.

The ready-made gRPC instrumentation is not used: it writes exception texts into spans (they may quote a message), and
its client wrapper gives back a bare generator for a stream, which can then not be cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, start_http_server

PROPAGATOR: Final = TraceContextTextMapPropagator()
SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SCOPE: Final = "apaise"


class _HttpServer(Protocol):
    server_port: int

    def shutdown(self) -> None: ...
    def server_close(self) -> None: ...


@dataclass
class Telemetry:
    """One service's tracer and meter. Metric labels come from closed lists (methods, codes), never brands."""

    tracer: trace.Tracer
    meter: metrics.Meter
    metrics_port: int | None = None
    _tracer_provider: TracerProvider | None = None
    _meter_provider: MeterProvider | None = None
    _http: _HttpServer | None = None
    _http_thread: threading.Thread | None = None
    rpc_duration: metrics.Histogram = field(init=False)

    def __post_init__(self) -> None:
        """Create the one instrument every service has."""
        self.rpc_duration = self.meter.create_histogram(
            "apaise_rpc_duration",
            unit="s",
            description="Duration of calls, by side (server or client), method and status code.",
            explicit_bucket_boundaries_advisory=SECONDS_BUCKETS,
        )

    @classmethod
    def create(
        cls,
        service: str,
        metrics_port: int | None = None,
        otlp_endpoint: str | None = None,
        host: str = "127.0.0.1",
        span_processor: SpanProcessor | None = None,
    ) -> Telemetry:
        """Start telemetry for a service.

        Args:
            service: its name, `service.name` in traces.
            metrics_port: port of the Prometheus endpoint (GET /metrics); 0 takes a free one, None starts none.
            otlp_endpoint: OTLP gRPC collector for traces, None exports none.
            host: address the endpoint listens on.
            span_processor: where else to send spans; tests collect them through it.

        Raises:
            OSError: when the port is taken.
        """
        resource = Resource.create({"service.name": service})
        registry = CollectorRegistry()
        meter_provider = MeterProvider(
            metric_readers=[PrometheusMetricReader(registry=registry, scope_info_enabled=False)],
            resource=resource,
            shutdown_on_exit=False,
        )
        tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        if otlp_endpoint is not None:
            # Imported here: most processes never export.
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

            tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))
        if span_processor is not None:
            tracer_provider.add_span_processor(span_processor)
        http, thread = (
            (None, None) if metrics_port is None else start_http_server(metrics_port, addr=host, registry=registry)
        )
        return cls(
            tracer=tracer_provider.get_tracer(_SCOPE),
            meter=meter_provider.get_meter(_SCOPE),
            metrics_port=None if http is None else http.server_port,
            _tracer_provider=tracer_provider,
            _meter_provider=meter_provider,
            _http=http,
            _http_thread=thread,
        )

    @classmethod
    def off(cls) -> Telemetry:
        """Telemetry that measures nothing, for tests and short commands."""
        return cls(tracer=trace.NoOpTracer(), meter=metrics.NoOpMeter(_SCOPE))

    @contextmanager
    def span(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: str | int | float | bool
    ) -> Iterator[Span]:
        """A span around a block. An exception marks it with its type only: texts of exceptions may quote a message."""
        with self.tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(StatusCode.ERROR)
                raise

    def close(self) -> None:
        """Flush what is left and close the endpoint."""
        if self._tracer_provider is not None:
            self._tracer_provider.shutdown()
        if self._meter_provider is not None:
            self._meter_provider.shutdown()
        if self._http is not None and self._http_thread is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http_thread.join(timeout=2)


def continue_trace(carrier: dict[str, str]) -> None:
    """Make the trace named by W3C headers the current one for the rest of this task."""
    otel_context.attach(PROPAGATOR.extract(carrier))


def trace_headers() -> dict[str, str]:
    """The W3C headers naming the current span, {} when there is none."""
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier)
    return carrier
