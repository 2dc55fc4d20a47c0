"""The pipeline over a real socket, on generated contracts."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
import structlog
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from apaise.ingest.v1 import ingest_service_pb2 as ingest
from apaise.ingest.v1 import ingest_service_pb2_grpc as ingest_grpc
from apaise.route.v1 import route_service_pb2 as route
from apaise.route.v1 import route_service_pb2_grpc as route_grpc
from apaise_kit.core import errors
from apaise_kit.core.caller import Caller, current_caller
from apaise_kit.core.errors import Reason, Violation, not_found
from apaise_kit.runtime.client import is_serving, open_channel
from apaise_kit.runtime.deadline import remaining_seconds
from apaise_kit.runtime.logs import configure_logging
from apaise_kit.runtime.server import Service, build_server, serve
from apaise_kit.runtime.settings import KitSettings
from apaise_kit.runtime.status import Failure, failure_of
from apaise_kit.runtime.telemetry import Telemetry
from apaise_kit.testing import eventually, running
from apaise_kit.testing.tokens import MemoryTokens

CANARY = "Votre live est une honte, Jean-Michel Canari"


async def get_brand(channel: grpc.aio.Channel, name: str = "brands/acme", **options: Any) -> ingest.GetBrandResponse:
    return await ingest_grpc.IngestServiceStub(channel).GetBrand(ingest.GetBrandRequest(name=name), **options)


async def refusal(channel: grpc.aio.Channel, name: str = "brands/acme", **options: Any) -> Failure:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await get_brand(channel, name, **options)
    return failure_of(caught.value)


async def follow(channel: grpc.aio.Channel, parent: str = "brands/acme") -> list[Any]:
    call = route_grpc.RouteServiceStub(channel).FollowDecisions(route.FollowDecisionsRequest(parent=parent))
    return [item async for item in call]


def raising(error: BaseException) -> Any:
    async def unary(_request: Any) -> None:
        raise error

    return unary


async def test_the_caller_reaches_the_handler(toy: Any) -> None:
    seen: list[Caller] = []

    async def unary(_request: Any) -> None:
        seen.append(current_caller())

    async with running(*toy(unary)) as up:
        channel = up.channel("lea", roles=["moderator"], brands=["acme"])
        await get_brand(channel, metadata=(("x-request-id", "req-1"),))
    assert seen == [Caller("lea", frozenset({"moderator"}), frozenset({"acme"}), "req-1")]


async def test_a_bodys_request_id_is_the_one_audited(toy: Any) -> None:
    seen: list[str] = []

    async def unary(_request: Any) -> None:
        seen.append(current_caller().request_id)

    async with running(*toy(unary)) as up:
        stub = ingest_grpc.IngestServiceStub(up.channel())
        await stub.CreateBrand(ingest.CreateBrandRequest(brand_id="acme", request_id="mine-1"))
        call = stub.CreateBrand(ingest.CreateBrandRequest(brand_id="acme", request_id="not an id \n"))
        await call
        assert dict(await call.trailing_metadata())["x-request-id"] == seen[1]
    assert seen[0] == "mine-1"
    assert len(seen[1]) == 26


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_without_a_known_token_nothing_is_answered(toy: Any, token: str) -> None:
    async with running(*toy()) as up:
        failure = await refusal(up.channel(token=token))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert "authorization" in failure.message


async def test_roles_come_from_the_contract(toy: Any) -> None:
    async with running(*toy()) as up:
        stub = ingest_grpc.IngestServiceStub(up.channel(roles=["moderator"]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CreateBrand(ingest.CreateBrandRequest(brand_id="acme"))
        failure = failure_of(caught.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    assert failure.metadata == {"roles": "operator"}


async def test_another_brands_thing_reads_like_a_missing_one(toy: Any) -> None:
    async def unary(request: Any) -> None:
        raise not_found(request.name)

    async with running(*toy(unary)) as up:
        hidden = await refusal(up.channel(brands=["other"]))
        missing = await refusal(up.channel(brands=["acme"]))
    assert hidden == missing
    assert hidden.code is grpc.StatusCode.NOT_FOUND


async def test_the_guard_reads_parents_and_lets_the_wildcard_through(toy: Any) -> None:
    async with running(*toy()) as up:
        stub = ingest_grpc.IngestServiceStub(up.channel(brands=["acme"]))
        await stub.ListChannels(ingest.ListChannelsRequest(parent="brands/-"))
        await stub.ListChannels(ingest.ListChannelsRequest(parent="brands/acme"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListChannels(ingest.ListChannelsRequest(parent="brands/other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_streams_pass_the_same_guards(toy: Any) -> None:
    async def two(_request: Any) -> AsyncIterator[None]:
        yield
        yield

    async with running(*toy(stream=two)) as up:
        assert len(await follow(up.channel(brands=["acme"]))) == 2
        for channel, code in (
            (up.channel(brands=["other"]), grpc.StatusCode.NOT_FOUND),
            (up.channel(roles=["ml_engineer"]), grpc.StatusCode.PERMISSION_DENIED),
            (up.channel(token=""), grpc.StatusCode.UNAUTHENTICATED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await follow(channel)
            assert caught.value.code() is code


async def test_a_stream_that_fails_midway_keeps_its_typed_error(toy: Any) -> None:
    async def one_then_fail(_request: Any) -> AsyncIterator[None]:
        yield
        raise errors.OutOfRange("start again")

    async with running(*toy(stream=one_then_fail)) as up:
        call = route_grpc.RouteServiceStub(up.channel()).FollowDecisions(
            route.FollowDecisionsRequest(parent="brands/a")
        )
        assert await call.read() is not None
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert failure_of(caught.value).reason == "CURSOR_EXPIRED"


KINDS = [
    (errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Aborted, grpc.StatusCode.ABORTED),
    (errors.OutOfRange, grpc.StatusCode.OUT_OF_RANGE),
    (errors.ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
]


@pytest.mark.parametrize(("kind", "code"), KINDS)
async def test_every_kind_of_error_crosses_the_wire_whole(
    toy: Any, kind: type[errors.ApaiseError], code: grpc.StatusCode
) -> None:
    class Narrower(kind):  # type: ignore[misc, valid-type]
        """The mapping goes by MRO, so a service's own subclass needs no entry."""

    error = Narrower(
        "dites-le autrement",
        reason=Reason.TEXT_TOO_LONG,
        metadata={"limit": "32768"},
        violations=(Violation("message.text", "at most 32 KiB"),),
        retry_after=timedelta(seconds=2.5),
    )
    async with running(*toy(raising(error))) as up:
        failure = await refusal(up.channel())
    assert failure == Failure(
        code, "dites-le autrement", "TEXT_TOO_LONG", {"limit": "32768"}, error.violations, timedelta(seconds=2.5)
    )
    assert type(failure.as_error()) is kind


async def test_an_unknown_exception_leaves_no_text_anywhere(toy: Any) -> None:
    """The canary: neither the answer, nor a log line, nor a span may quote what an exception carries."""
    log, spans = io.StringIO(), InMemorySpanExporter()
    configure_logging("toy", stream=log)
    telemetry = Telemetry.create("toy", span_processor=SimpleSpanProcessor(spans))

    async def unary(_request: Any) -> None:
        try:
            raise KeyError(CANARY)
        except KeyError as cause:
            raise ValueError(f"cannot parse {CANARY}") from cause

    try:
        async with running(*toy(unary), telemetry=telemetry) as up:
            failure = await refusal(up.channel())
    finally:
        telemetry.close()
        structlog.reset_defaults()
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.metadata["error_id"] in failure.message
    assert "Canari" not in failure.message
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (line,) = [line for line in lines if line["event"] == "internal_error"]
    assert line["error_id"] == failure.metadata["error_id"]
    assert [part["type"] for part in line["exception"]] == ["builtins.ValueError", "builtins.KeyError"]
    assert any("test_server.py" in frame for frame in line["exception"][0]["frames"])
    assert line["rpc"] == "/apaise.ingest.v1.IngestService/GetBrand"
    assert line["actor"] == "tester"
    assert line["brand"] == "acme"
    assert "Canari" not in log.getvalue()
    finished = spans.get_finished_spans()
    assert {span.kind.name for span in finished} == {"SERVER", "CLIENT"}
    assert "Canari" not in "".join(span.to_json() for span in finished)


async def test_one_trace_runs_through_client_and_server(toy: Any) -> None:
    spans = InMemorySpanExporter()
    telemetry = Telemetry.create("toy", metrics_port=0, span_processor=SimpleSpanProcessor(spans))
    try:
        async with running(*toy(), telemetry=telemetry) as up:
            await get_brand(up.channel())
            await refusal(up.channel(brands=["other"]))
            page = await asyncio.to_thread(_http_get, f"http://127.0.0.1:{telemetry.metrics_port}/metrics")
    finally:
        telemetry.close()
    server, client = spans.get_finished_spans()[:2]  # a server's span ends before its client's
    assert (server.kind.name, client.kind.name) == ("SERVER", "CLIENT")
    assert server.parent is not None
    assert server.parent.span_id == client.context.span_id
    lines = [line for line in page.splitlines() if line.startswith("apaise_rpc_duration_seconds_count")]
    for code in ("OK", "NOT_FOUND"):
        assert any(f'code="{code}"' in line and 'side="server"' in line for line in lines)
    assert "acme" not in page


def _http_get(url: str) -> str:
    with urlopen(url) as answer:  # a fixed local address
        return str(answer.read().decode())


async def test_a_call_without_deadline_gets_one(toy: Any) -> None:
    seen: list[float | None] = []

    async def slow(_request: Any) -> None:
        seen.append(remaining_seconds())
        await asyncio.sleep(30)

    settings = KitSettings(default_deadline_seconds=0.05, drain_seconds=0)
    async with running(*toy(slow), settings=settings) as up, grpc.aio.insecure_channel(up.address) as bare:
        failure = await refusal(bare, metadata=(("authorization", f"Bearer {up.token()}"),))
    assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert seen[0] is not None
    assert 0 < seen[0] <= 0.05


async def test_a_timeout_of_the_handlers_own_is_not_the_callers_deadline(toy: Any) -> None:
    async with running(*toy(raising(TimeoutError("mine")))) as up:
        assert (await refusal(up.channel())).code is grpc.StatusCode.INTERNAL


async def test_a_call_made_for_a_caller_stays_within_its_deadline(toy: Any) -> None:
    """A → B: B must see A's deadline, not the longer one of the call to it, and A's request id."""
    seen: dict[str, Any] = {}

    async def inner(_request: Any) -> None:
        seen["b"] = (remaining_seconds(), current_caller().request_id)

    async with running(*toy(inner)) as b:

        async def outer(_request: Any) -> None:
            seen["a"] = (remaining_seconds(), current_caller().request_id)
            await get_brand(b.channel("service-a", roles=["service"]), timeout=600)

        async with running(*toy(outer)) as a:
            await get_brand(a.channel(), timeout=60)
    assert seen["b"][0] < 100  # gRPC rounds a deadline up on its way, by a hundredth at most
    assert seen["b"][1] == seen["a"][1]


async def test_no_call_is_made_for_a_caller_that_no_longer_waits(toy: Any) -> None:
    reached: list[str] = []

    async def inner(_request: Any) -> None:
        reached.append("b")

    async with running(*toy(inner)) as b:

        async def outer(_request: Any) -> None:
            remaining = remaining_seconds()
            assert remaining is not None
            await asyncio.sleep(max(0.0, remaining - 0.04))
            await get_brand(b.channel(roles=["service"]))

        settings = KitSettings(default_deadline_seconds=0.3, drain_seconds=0)
        async with (
            running(*toy(outer), settings=settings) as a,
            grpc.aio.insecure_channel(a.address) as bare,
        ):
            failure = await refusal(bare, metadata=(("authorization", f"Bearer {a.token()}"),))
    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reached == []


async def test_one_call_too_many_is_told_to_come_back(toy: Any) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold(_request: Any) -> None:
        entered.set()
        await leave.wait()

    async with running(*toy(hold), settings=KitSettings(max_concurrency=1, drain_seconds=0)) as up:
        first = asyncio.create_task(get_brand(up.channel()))
        await entered.wait()
        failure = await refusal(up.channel())
        leave.set()
        await first
        await get_brand(up.channel())
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert failure.retry_after == timedelta(seconds=1)


async def test_a_stream_left_by_its_client_gives_back_its_slot(toy: Any) -> None:
    closed = asyncio.Event()

    async def endless(_request: Any) -> AsyncIterator[None]:
        try:
            while True:
                yield
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    async with running(*toy(stream=endless), settings=KitSettings(max_streams=1, drain_seconds=0)) as up:
        call = route_grpc.RouteServiceStub(up.channel()).FollowDecisions(
            route.FollowDecisionsRequest(parent="brands/a")
        )
        await call.read()
        call.cancel()
        await eventually(lambda: closed.is_set() and up.server.admission.streams == 0)


async def test_unavailable_is_retried_only_where_it_is_safe(toy: Any) -> None:
    calls = 0

    async def flaky(_request: Any) -> None:
        nonlocal calls
        calls += 1
        if calls % 3:
            raise errors.Unavailable("not yet")

    async with running(*toy(flaky)) as up:
        await get_brand(up.channel(idempotent=["apaise.ingest.v1.IngestService/GetBrand"]))
        assert calls == 3
        assert (await refusal(up.channel())).code is grpc.StatusCode.UNAVAILABLE
        assert calls == 4


async def test_health_and_reflection_need_no_token(toy: Any) -> None:
    async with running(*toy()) as up, grpc.aio.insecure_channel(up.address) as bare:
        assert await is_serving(up.address, "apaise.ingest.v1.IngestService")
        health = health_pb2_grpc.HealthStub(bare)
        for name in ("", "apaise.ingest.v1.IngestService", "apaise.route.v1.RouteService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        names = await _listed(bare)
    assert {"apaise.ingest.v1.IngestService", "apaise.route.v1.RouteService", "grpc.health.v1.Health"} <= names


async def _listed(channel: grpc.aio.Channel) -> set[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)

    async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async for answer in stub.ServerReflectionInfo(requests()):
        return {service.name for service in answer.list_services_response.service}
    return set()


async def test_a_method_without_access_option_is_for_nobody(toy: Any) -> None:
    """Forgetting the option must shut a method, not open it."""
    file = descriptor_pb2.FileDescriptorProto(name="apaise/kit_test/bare.proto", package="apaise.kit_test")
    file.message_type.add(name="Nothing")
    service = file.service.add(name="BareService")
    service.method.add(name="Do", input_type=".apaise.kit_test.Nothing", output_type=".apaise.kit_test.Nothing")
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    nothing = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName("apaise.kit_test.Nothing"))

    async def do(request: Any, context: Any) -> Any:
        return request

    def add(_servicer: Any, server: grpc.aio.Server) -> None:
        handler = grpc.unary_unary_rpc_method_handler(do, nothing.FromString, nothing.SerializeToString)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("apaise.kit_test.BareService", {"Do": handler}),)
        )

    async with running(Service(add, None, "apaise.kit_test.BareService")) as up:
        every_role = ["service", "moderator", "lead", "ml_engineer", "operator"]
        call = up.channel(roles=every_role).unary_unary(
            "/apaise.kit_test.BareService/Do", nothing.SerializeToString, nothing.FromString
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(nothing())
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_invalid_utf8_is_refused_before_any_servicer(toy: Any) -> None:
    reached: list[Any] = []

    async def unary(request: Any) -> None:
        reached.append(request)

    async with running(*toy(unary)) as up:
        call = up.channel().unary_unary(
            "/apaise.ingest.v1.IngestService/GetBrand", lambda raw: raw, ingest.GetBrandResponse.FromString
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\x0a\x02\xff\xfe")
    failure = failure_of(caught.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert "UTF-8" in failure.message
    assert reached == []


class Life:
    """A server run by `serve`, with its steps under the test's control."""

    def __init__(self, toy: Any, stream: Any = None) -> None:
        self.tokens = MemoryTokens()
        self.server = build_server(
            KitSettings(drain_seconds=2), toy(self._hold, stream), tokens=self.tokens, telemetry=Telemetry.off()
        )
        self.may_start, self.entered, self.leave, self.closed = (asyncio.Event() for _ in range(4))
        self.ready = True

    async def _hold(self, _request: Any) -> None:
        self.entered.set()
        await self.leave.wait()

    async def _close(self) -> None:
        self.closed.set()

    async def _startup(self) -> None:
        await self.may_start.wait()

    async def _is_ready(self) -> bool:
        return self.ready

    def begin(self, **more: Any) -> asyncio.Task[None]:
        return asyncio.create_task(
            serve(self.server, startup=self._startup, ready=self._is_ready, shutdown=self._close, **more)
        )

    async def channel(self) -> grpc.aio.Channel:
        await eventually(lambda: self.server.port > 0)
        return open_channel(f"127.0.0.1:{self.server.port}", self.tokens.issue("t", ["operator"], ["*"]))

    async def health(self, channel: grpc.aio.Channel, wanted: int) -> None:
        await eventually(lambda: health_is(channel, wanted))


async def health_is(channel: grpc.aio.Channel, wanted: int) -> bool:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
    return bool(answer.status == wanted)


SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_life_from_start_to_drain(toy: Any) -> None:
    async def endless(_request: Any) -> AsyncIterator[None]:
        while True:
            yield
            await asyncio.sleep(0.01)

    life = Life(toy, endless)
    life_task = life.begin()
    channel = await life.channel()
    await life.health(channel, NOT_SERVING)
    starting = await refusal(channel)
    assert starting.code is grpc.StatusCode.UNAVAILABLE
    assert "starting" in starting.message

    life.may_start.set()
    await life.health(channel, SERVING)
    life.ready = False
    await life.health(channel, NOT_SERVING)
    life.ready = True
    await life.health(channel, SERVING)

    in_flight = asyncio.create_task(get_brand(channel))
    await life.entered.wait()
    stream = route_grpc.RouteServiceStub(channel).FollowDecisions(route.FollowDecisionsRequest(parent="brands/a"))
    await stream.read()
    life.server.request_stop()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stream:
            pass
    assert failure_of(caught.value).reason == "DRAINING"
    assert not life.closed.is_set()
    life.leave.set()
    await in_flight  # a call accepted before the stop is answered
    await life_task
    assert not await is_serving(f"127.0.0.1:{life.server.port}")
    assert life.closed.is_set()
    await channel.close()


async def test_a_background_loop_that_crashes_ends_the_process(toy: Any) -> None:
    async def crash() -> None:
        raise ZeroDivisionError

    life = Life(toy)
    life.may_start.set()
    with pytest.raises(ExceptionGroup) as caught:
        await life.begin(background=[crash])
    assert caught.group_contains(ZeroDivisionError)
    assert life.closed.is_set()


async def test_sigterm_drains_a_real_process(tmp_path: Any) -> None:
    port_file = tmp_path / "port"
    program = (
        "import asyncio, sys\n"
        "from apaise_kit.runtime.server import build_server, serve, run\n"
        "from apaise_kit.runtime.settings import KitSettings\n"
        "from apaise_kit.runtime.telemetry import Telemetry\n"
        "from apaise_kit.testing.tokens import MemoryTokens\n"
        "async def main():\n"
        "    server = build_server(KitSettings(), [], tokens=MemoryTokens(), telemetry=Telemetry.off())\n"
        "    await serve(server)\n"
        "sys.exit(run(main()))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={**os.environ, "APAISE_PORT_FILE": str(port_file)}
    )
    await eventually(port_file.exists, within=60)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port_file.read_text().strip()}") as channel:
        await eventually(lambda: health_is(channel, SERVING), within=60)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
