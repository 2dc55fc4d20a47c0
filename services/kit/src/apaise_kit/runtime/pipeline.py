"""What every call goes through before and after its handler, in one order.

    request id -> telemetry -> errors -> started -> auth -> decoded -> brand guard -> deadline -> concurrency -> handler

Outer stages see what inner ones decide: the request id is bound to every log line, telemetry measures the final code,
and *errors* stands outside the guards so that they refuse the way use cases do, by raising. Health and reflection are
exempt from all of it: probes carry no token.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import grpc
import structlog
from google.api import resource_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from opentelemetry.trace import SpanKind, StatusCode

from apaise.type.v1 import access_pb2
from apaise_kit.core.caller import Caller, current_caller, set_caller
from apaise_kit.core.errors import (
    ApaiseError,
    DeadlineExceeded,
    InvalidArgument,
    PermissionDenied,
    Reason,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    not_found,
)
from apaise_kit.core.ids import new_id
from apaise_kit.core.names import WILDCARD, brand_of
from apaise_kit.runtime.auth import Tokens
from apaise_kit.runtime.deadline import set_deadline
from apaise_kit.runtime.logs import get_logger
from apaise_kit.runtime.status import STATUS_METADATA_KEY, status_of
from apaise_kit.runtime.telemetry import Telemetry, continue_trace

REQUEST_ID_KEY: Final = "x-request-id"
_EXEMPT: Final = ("/grpc.health.", "/grpc.reflection.")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_log = get_logger(__name__)


@dataclass
class Method:
    """What is known of a method before any call: who may call it, which of its fields name a brand."""

    path: str
    descriptor: MethodDescriptor | None

    @cached_property
    def roles(self) -> frozenset[str]:
        """Roles that may call it, from its `access` option; empty (nobody) when the option is absent."""
        if self.descriptor is None:
            return frozenset()
        roles = self.descriptor.GetOptions().Extensions[access_pb2.access].roles
        return frozenset(access_pb2.Role.Name(role).removeprefix("ROLE_").lower() for role in roles)

    @cached_property
    def name_fields(self) -> tuple[str, ...]:
        """Top-level request fields that hold resource names: annotated as a reference, or called name or parent."""
        if self.descriptor is None:
            return ()
        return tuple(
            field.name
            for field in self.descriptor.input_type.fields
            if field.type == FieldDescriptor.TYPE_STRING
            and (field.name in ("name", "parent") or field.GetOptions().HasExtension(resource_pb2.resource_reference))
        )


@dataclass
class Call:
    """One call on its way through the stages."""

    method: Method
    streaming: bool
    request: Any
    context: grpc.aio.ServicerContext[Any, Any]
    metadata: dict[str, str]
    request_id: str = ""
    code: grpc.StatusCode = grpc.StatusCode.OK


@dataclass
class Admission:
    """What the server as a whole allows at this moment."""

    max_concurrency: int
    max_streams: int
    started: bool = False
    draining: bool = False
    unary: int = 0
    streams: int = 0
    stream_tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def drain(self) -> None:
        """Refuse new calls and end open streams: their clients come back later with their cursor."""
        self.draining = True
        for task in self.stream_tasks:
            task.cancel()


Stage = Callable[[Call], AbstractAsyncContextManager[None]]


class Pipeline(grpc.aio.ServerInterceptor):
    """The one interceptor of a server: wraps unary and server-streaming handlers in the stages."""

    def __init__(
        self, *, service: str, tokens: Tokens, telemetry: Telemetry, admission: Admission, default_deadline: float
    ) -> None:
        """`default_deadline` (seconds) is given to unary calls that come without one."""
        self._service = service
        self._tokens = tokens
        self._telemetry = telemetry
        self._admission = admission
        self._default_deadline = default_deadline
        self._methods: dict[str, Method] = {}
        self._stages: Sequence[Stage] = (
            self._request_id,
            self._measure,
            self._errors,
            self._started,
            self._authenticate,
            self._decoded,
            self._guard_brands,
            self._limit_time,
            self._limit_concurrency,
        )

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler, unless the method is exempt or unknown."""
        handler = await continuation(handler_call_details)
        path: str = handler_call_details.method
        if handler is None or path.startswith(_EXEMPT):
            return handler
        if handler.request_streaming:
            raise NotImplementedError("client streams are not part of Apaise's contracts")
        method = self._method(path)
        metadata = _text_metadata(handler_call_details.invocation_metadata)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(handler.unary_stream, method, metadata),
                request_deserializer=_decoder(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(handler.unary_unary, method, metadata),
            request_deserializer=_decoder(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _method(self, path: str) -> Method:
        if path not in self._methods:
            self._methods[path] = Method(path, _find_method(path))
        return self._methods[path]

    def _unary(self, behavior: Any, method: Method, metadata: dict[str, str]) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            async with self._through(Call(method, False, request, context, metadata)):
                return await behavior(request, context)

        return handle

    def _streaming(self, behavior: Any, method: Method, metadata: dict[str, str]) -> Any:
        # Written with context.write rather than as a generator: a generator left behind by a cancelled call is closed
        # later, in another task, and would give back its slot late.
        async def handle(request: Any, context: Any) -> None:
            async with self._through(Call(method, True, request, context, metadata)):
                responses = behavior(request, context)
                async with aclosing(responses):
                    async for response in responses:
                        await context.write(response)

        return handle

    @asynccontextmanager
    async def _through(self, call: Call) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for stage in self._stages:
                await stack.enter_async_context(stage(call))
            yield

    @asynccontextmanager
    async def _request_id(self, call: Call) -> AsyncIterator[None]:
        # A mutation's body may carry the id the caller wants to find in the audit; else the header's, else a new one.
        given = getattr(call.request, "request_id", "") or call.metadata.get(REQUEST_ID_KEY, "")
        call.request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(rpc=call.method.path, request_id=call.request_id)
        call.context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        yield

    @asynccontextmanager
    async def _measure(self, call: Call) -> AsyncIterator[None]:
        continue_trace(call.metadata)
        started = time.perf_counter()
        with self._telemetry.span(
            call.method.path.lstrip("/"),
            SpanKind.SERVER,
            **{"rpc.system": "grpc", "apaise.request_id": call.request_id},
        ) as span:
            try:
                yield
            except asyncio.CancelledError:
                call.code = grpc.StatusCode.CANCELLED
                raise
            finally:
                span.set_attribute("rpc.grpc.status_code", call.code.value[0])
                if call.code is not grpc.StatusCode.OK:
                    span.set_status(StatusCode.ERROR)
                self._telemetry.rpc_duration.record(
                    time.perf_counter() - started,
                    {"side": "server", "method": call.method.path, "code": call.code.name},
                )

    @asynccontextmanager
    async def _errors(self, call: Call) -> AsyncIterator[None]:
        try:
            yield
        except ApaiseError as error:
            await _abort(call, error)
        except grpc.aio.AbortError:
            call.code = call.context.code() or grpc.StatusCode.UNKNOWN
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not (self._admission.draining and call.streaming and task is not None):
                raise
            task.uncancel()
            await _abort(call, _draining())
        except Exception as error:
            error_id = new_id()
            _log.error("internal_error", error_id=error_id, exc_info=error)
            # The text of an unknown exception may quote anything: the caller gets an id to quote to the operator.
            await _abort(
                call,
                ApaiseError(
                    f"Internal error {error_id}. Give this id to the operator.", metadata={"error_id": error_id}
                ),
            )

    @asynccontextmanager
    async def _started(self, call: Call) -> AsyncIterator[None]:
        if self._admission.draining:
            raise _draining()
        if not self._admission.started:
            raise Unavailable(f"{self._service} is starting. Try again in a moment.")
        yield

    @asynccontextmanager
    async def _authenticate(self, call: Call) -> AsyncIterator[None]:
        scheme, _, token = call.metadata.get("authorization", "").partition(" ")
        entry = self._tokens.lookup(token.strip()) if scheme.lower() == "bearer" else None
        if entry is None:
            raise Unauthenticated("Send a token this mesh issued, as metadata `authorization: Bearer <token>`.")
        set_caller(Caller(entry.actor, entry.roles, entry.brands, call.request_id))
        structlog.contextvars.bind_contextvars(actor=entry.actor)
        if not entry.roles & call.method.roles:
            allowed = ", ".join(sorted(call.method.roles)) or "nobody"
            raise PermissionDenied(f"This call is for: {allowed}.", metadata={"roles": allowed})
        yield

    @asynccontextmanager
    async def _decoded(self, call: Call) -> AsyncIterator[None]:
        if isinstance(call.request, _Undecodable):
            raise InvalidArgument("The request is not a valid message of this method; texts must be UTF-8.")
        yield

    @asynccontextmanager
    async def _guard_brands(self, call: Call) -> AsyncIterator[None]:
        caller, seen = current_caller(), set()
        for name in _names(call.request, call.method.name_fields):
            brand = brand_of(name)
            if brand is None or brand == WILDCARD:
                continue
            if not caller.sees(brand):
                raise not_found(name)
            seen.add(brand)
        if len(seen) == 1:
            structlog.contextvars.bind_contextvars(brand=seen.pop())
        yield

    @asynccontextmanager
    async def _limit_time(self, call: Call) -> AsyncIterator[None]:
        given = call.context.time_remaining()
        if given is not None and given <= 0:
            raise DeadlineExceeded("The deadline had passed before the call was read. Allow more time.")
        limit = given if given is not None or call.streaming else self._default_deadline
        set_deadline(limit)
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                yield
        except TimeoutError:
            if not timer.expired():
                raise
            raise DeadlineExceeded("The deadline passed before the answer was ready. Allow more time.") from None

    @asynccontextmanager
    async def _limit_concurrency(self, call: Call) -> AsyncIterator[None]:
        admission, task = self._admission, asyncio.current_task()
        full = (
            admission.streams >= admission.max_streams
            if call.streaming
            else admission.unary >= admission.max_concurrency
        )
        if full:
            raise ResourceExhausted(f"{self._service} is serving as many calls as it can. Try again in a moment.")
        admission.streams += call.streaming
        admission.unary += not call.streaming
        if call.streaming and task is not None:
            admission.stream_tasks.add(task)
        try:
            yield
        finally:
            admission.streams -= call.streaming
            admission.unary -= not call.streaming
            if task is not None:
                admission.stream_tasks.discard(task)


class _Undecodable:
    """Stands for a request protobuf refused: gRPC itself would answer UNKNOWN, quoting the parser, and before auth."""


def _decoder(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if decode is None:
        return None

    def decoded(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return _Undecodable()

    return decoded


def _draining() -> Unavailable:
    return Unavailable("The service is shutting down. Try again in a moment.", reason=Reason.DRAINING)


async def _abort(call: Call, error: ApaiseError) -> None:
    status = status_of(error)
    call.code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    trailing = ((REQUEST_ID_KEY, call.request_id), (STATUS_METADATA_KEY, status.SerializeToString()))
    await call.context.abort(call.code, status.message, trailing)


def _text_metadata(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _find_method(path: str) -> MethodDescriptor | None:
    service, _, method = path.lstrip("/").partition("/")
    try:
        return descriptor_pool.Default().FindServiceByName(service).methods_by_name.get(method)
    except KeyError:
        return None


def _names(request: Any, fields: Sequence[str]) -> list[str]:
    if not isinstance(request, Message):
        return []
    found: list[str] = []
    for name in fields:
        value = getattr(request, name)
        found.extend([value] if isinstance(value, str) else value)
    return found
