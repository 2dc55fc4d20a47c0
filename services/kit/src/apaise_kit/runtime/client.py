"""Channels to other services: token, request id, trace, deadline and retries are added here, once."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import SecretStr

from apaise_kit.core.caller import current_caller
from apaise_kit.core.errors import DeadlineExceeded, Unauthenticated
from apaise_kit.core.ids import new_id
from apaise_kit.runtime.deadline import remaining_seconds
from apaise_kit.runtime.pipeline import REQUEST_ID_KEY
from apaise_kit.runtime.telemetry import Telemetry, trace_headers

# Kept back from the caller's time, so that our own refusal reaches it before it gives up.
MARGIN_SECONDS: Final = 0.05
_MAX_ATTEMPTS: Final = 4


def open_channel(
    address: str,
    token: SecretStr | str | None,
    *,
    telemetry: Telemetry | None = None,
    idempotent: Sequence[str] = (),
    timeout: float = 30.0,
    max_message_bytes: int = 4 * 1024 * 1024,
    wait_for_ready: bool = False,
) -> grpc.aio.Channel:
    """A channel to another service. Close it with `await channel.close()` or use it as a context manager.

    Args:
        address: host:port.
        token: bearer token, None for calls that need none (health).
        telemetry: where client spans and durations go.
        idempotent: full method names ("apaise.route.v1.RouteService/BatchRoute") that may be sent again on UNAVAILABLE.
        timeout: seconds for a unary call that gives none; the caller's own deadline, less a margin, always wins.
        max_message_bytes: largest message sent or accepted.
        wait_for_ready: wait for the other side, within the deadline, instead of failing at once.
    """
    secret = token.get_secret_value() if isinstance(token, SecretStr) else token
    shared = _Outgoing(secret, telemetry or Telemetry.off(), timeout, wait_for_ready)
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.service_config", _service_config(idempotent)),
            ("grpc.enable_retries", 1),
            # A restarted service must be found again in well under a second, not after gRPC's default of up to 120.
            ("grpc.initial_reconnect_backoff_ms", 100),
            # gRPC's name for the time one attempt to connect may take: a busy machine needs more than a blink.
            ("grpc.min_reconnect_backoff_ms", 5000),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 5_000),
        ],
        interceptors=[_Unary(shared), _Stream(shared)],
    )


async def is_serving(address: str, service: str = "", timeout: float = 2.0) -> bool:
    """Whether the server at host:port answers SERVING to a health check within `timeout` seconds; needs no token.

    Args:
        address: host:port.
        service: full name of one service, "" for the server as a whole.
        timeout: seconds to wait for the answer.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            check = health_pb2_grpc.HealthStub(channel).Check
            answer = await check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _service_config(idempotent: Sequence[str]) -> str:
    names = [dict(zip(("service", "method"), name.lstrip("/").split("/"), strict=True)) for name in idempotent]
    policy = {
        "maxAttempts": _MAX_ATTEMPTS,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}] if names else []})


class _Outgoing:
    """What the two interceptors share: a call's details completed, its span and duration."""

    def __init__(self, token: str | None, telemetry: Telemetry, timeout: float, wait_for_ready: bool) -> None:
        self._authorization = f"Bearer {token}" if token else None
        self.telemetry = telemetry
        self._timeout = timeout
        self._wait_for_ready = wait_for_ready

    def complete(self, details: grpc.aio.ClientCallDetails, streaming: bool) -> grpc.aio.ClientCallDetails:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        headers = {REQUEST_ID_KEY: _request_id(), **trace_headers()}
        if self._authorization:
            headers["authorization"] = self._authorization
        for key, value in headers.items():
            if metadata.get(key) is None:  # what the call itself gives wins
                metadata.add(key, value)
        return grpc.aio.ClientCallDetails(
            method=details.method,
            timeout=self._time_left(details.timeout, streaming),
            metadata=metadata,
            credentials=details.credentials,
            wait_for_ready=self._wait_for_ready if details.wait_for_ready is None else details.wait_for_ready,
        )

    def _time_left(self, given: float | None, streaming: bool) -> float | None:
        wanted = given if given is not None or streaming else self._timeout
        remaining = remaining_seconds()
        if remaining is None:
            return wanted
        if remaining <= MARGIN_SECONDS:
            raise DeadlineExceeded("The deadline passed before another service could be asked. Allow more time.")
        left = remaining - MARGIN_SECONDS
        return left if wanted is None else min(wanted, left)

    def record(self, method: str, code: grpc.StatusCode, started: float) -> None:
        self.telemetry.rpc_duration.record(
            time.perf_counter() - started, {"side": "client", "method": method, "code": code.name}
        )


def _request_id() -> str:
    try:
        return current_caller().request_id or new_id()
    except Unauthenticated:
        return new_id()


def _method_of(details: grpc.aio.ClientCallDetails) -> str:
    method: str | bytes = details.method  # bytes in fact, whatever the annotation says
    return method.decode() if isinstance(method, bytes) else method


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, shared: _Outgoing) -> None:
        self._shared = shared

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        method = _method_of(client_call_details)
        started = time.perf_counter()
        with self._shared.telemetry.span(method.lstrip("/"), SpanKind.CLIENT, **{"rpc.system": "grpc"}) as span:
            call = await continuation(self._shared.complete(client_call_details, streaming=False), request)
            code = await call.code()
            span.set_attribute("rpc.grpc.status_code", code.value[0])
            if code is not grpc.StatusCode.OK:
                span.set_status(StatusCode.ERROR)
            self._shared.record(method, code, started)
            return call


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, shared: _Outgoing) -> None:
        self._shared = shared

    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        # A stream may live for hours: no span and no duration here, the server's own tell its story.
        return await continuation(self._shared.complete(client_call_details, streaming=True), request)
