"""Between ApaiseError and google.rpc.Status, both ways: the one place that knows both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from apaise_kit.core import errors
from apaise_kit.core.errors import ApaiseError, Reason, Violation

DOMAIN: Final = "apaise"
STATUS_METADATA_KEY: Final = "grpc-status-details-bin"

_CODES: Final[dict[type[ApaiseError], grpc.StatusCode]] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    ApaiseError: grpc.StatusCode.INTERNAL,
}
_KINDS: Final = {code: kind for kind, code in _CODES.items()}
_BY_NUMBER: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}


def code_of(error: ApaiseError) -> grpc.StatusCode:
    """The status code of an error: that of the nearest class in its MRO."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)


def status_ok() -> status_pb2.Status:
    """The status of an item that went through."""
    return status_pb2.Status(code=code_pb2.OK)


def status_of(error: ApaiseError) -> status_pb2.Status:
    """The status of a refused call or batch item: ErrorInfo, then BadRequest and RetryInfo where they apply."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=error.metadata)
    ]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=name, description=description)
            for name, description in error.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(error.retry_after)
        details.append(retry)
    return status_pb2.Status(code=code_of(error).value[0], message=error.message, details=[_packed(d) for d in details])


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


@dataclass(frozen=True, slots=True)
class Failure:
    """What another service's refusal says, readable by a person and by a program.

    `reason` is "" when the refusal did not come from Apaise (a proxy, the transport).
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after: timedelta | None = None

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in _TRANSIENT

    def as_error(self) -> ApaiseError:
        """The same refusal as an error to raise, for a service that hands it on to its own caller."""
        kind = _KINDS.get(self.code, errors.Unavailable if self.transient else ApaiseError)
        try:
            reason = Reason(self.reason)
        except ValueError:
            reason = kind.default_reason
        return kind(
            self.message if self.reason else _TRANSPORT_TEXT,
            reason=reason,
            metadata=self.metadata,
            violations=self.violations,
            retry_after=self.retry_after,
        )


_TRANSIENT: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)
_TRANSPORT_TEXT: Final = "A service this one depends on did not answer. Try again in a moment."


def failure_of_status(status: status_pb2.Status) -> Failure | None:
    """Read a per-item status; None when it says OK."""
    if status.code == code_pb2.OK:
        return None
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    found = {detail.TypeName() for detail in status.details for kind in (info, request, retry) if detail.Unpack(kind)}
    return Failure(
        code=_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN),
        message=status.message,
        reason=info.reason if info.domain == DOMAIN else "",
        metadata=dict(info.metadata) if info.domain == DOMAIN else {},
        violations=tuple(Violation(v.field, v.description) for v in request.field_violations),
        retry_after=retry.retry_delay.ToTimedelta() if retry.DESCRIPTOR.full_name in found else None,
    )


def failure_of(error: grpc.aio.AioRpcError) -> Failure:
    """Read what a failed call says. A refusal without details (transport, proxy) keeps its code and text."""
    trailing: Iterable[tuple[str, str | bytes]] = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == STATUS_METADATA_KEY and isinstance(value, bytes):
            failure = failure_of_status(status_pb2.Status.FromString(value))
            if failure is not None:
                return failure
    return Failure(code=error.code(), message=error.details() or "")
