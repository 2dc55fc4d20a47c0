"""The errors a use case raises. They know a machine-readable reason and nothing of gRPC.

A message goes to the caller as it is: it says what to do, never holds a message's text, a person's name or a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, NamedTuple


class Reason(StrEnum):
    """The values of `apaise.type.v1.ErrorReason` without their prefix; a test holds the two lists equal."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    ROLE_MISSING = "ROLE_MISSING"
    NOT_FOUND = "NOT_FOUND"
    INVALID_FIELD = "INVALID_FIELD"
    EMPTY_MESSAGE = "EMPTY_MESSAGE"
    TEXT_TOO_LONG = "TEXT_TOO_LONG"
    BATCH_TOO_LARGE = "BATCH_TOO_LARGE"
    TIME_AHEAD = "TIME_AHEAD"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    CLAIMED_BY_OTHER = "CLAIMED_BY_OTHER"
    WRONG_STATE = "WRONG_STATE"
    OVERLOADED = "OVERLOADED"
    BAD_CURSOR = "BAD_CURSOR"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    CHARTER_INVALID = "CHARTER_INVALID"
    ADAPTER_CORRUPT = "ADAPTER_CORRUPT"
    ADAPTER_WRONG_ENCODER = "ADAPTER_WRONG_ENCODER"
    ADAPTER_WRONG_SHAPE = "ADAPTER_WRONG_SHAPE"
    TOO_FEW_CORRECTIONS = "TOO_FEW_CORRECTIONS"
    RUN_IN_PROGRESS = "RUN_IN_PROGRESS"
    GATE_REFUSED = "GATE_REFUSED"
    DEPENDENCY_UNAVAILABLE = "DEPENDENCY_UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"
    DRAINING = "DRAINING"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    MESSAGE_GONE = "MESSAGE_GONE"


class Violation(NamedTuple):
    """One field that is wrong, and what would be accepted."""

    field: str
    description: str


class ApaiseError(Exception):
    """A refusal with a reason. Raise one of the subclasses: the subclass decides the kind (and so the gRPC status)."""

    default_reason: ClassVar[Reason] = Reason.INTERNAL
    default_retry_after: ClassVar[timedelta | None] = None

    def __init__(
        self,
        message: str,
        *,
        reason: Reason | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        """Build a refusal.

        Args:
            message: what happened and the way out; safe to show to the caller.
            reason: the machine-readable reason, when the kind's default is not precise enough.
            metadata: facts about the refusal (limits, digests, counts): never text or a person's id.
            violations: the fields that are wrong, for InvalidArgument.
            retry_after: how long to wait before trying again, when trying again can help.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after if retry_after is not None else self.default_retry_after


class InvalidArgument(ApaiseError):
    """The request is wrong whatever the state of the system."""

    default_reason = Reason.INVALID_FIELD


class NotFound(ApaiseError):
    """The thing does not exist, or the caller does not see its brand. Raise it through `not_found`."""

    default_reason = Reason.NOT_FOUND


class AlreadyExists(ApaiseError):
    """The thing exists with other content."""

    default_reason = Reason.ALREADY_EXISTS


class FailedPrecondition(ApaiseError):
    """The thing is not in a state that allows the call; trying again does not help until the state is changed."""

    default_reason = Reason.WRONG_STATE


class Aborted(ApaiseError):
    """Someone else changed the thing meanwhile: read it again, then decide again."""

    default_reason = Reason.ETAG_MISMATCH


class OutOfRange(ApaiseError):
    """A position outside what is kept."""

    default_reason = Reason.CURSOR_EXPIRED


class ResourceExhausted(ApaiseError):
    """Too much at once; it helps to come back after `retry_after`."""

    default_reason = Reason.OVERLOADED
    default_retry_after = timedelta(seconds=1)


class PermissionDenied(ApaiseError):
    """The caller is known, its role may not do this."""

    default_reason = Reason.ROLE_MISSING


class Unauthenticated(ApaiseError):
    """No token, or one nobody issued."""

    default_reason = Reason.UNAUTHENTICATED


class Unavailable(ApaiseError):
    """Something needed does not answer; it helps to come back after `retry_after`."""

    default_reason = Reason.DEPENDENCY_UNAVAILABLE
    default_retry_after = timedelta(seconds=1)


class DeadlineExceeded(ApaiseError):
    """The caller's time is over."""

    default_reason = Reason.DEADLINE_EXCEEDED


def invalid_field(field: str, description: str, reason: Reason = Reason.INVALID_FIELD) -> InvalidArgument:
    """One wrong field, as an error to raise.

    Args:
        field: path of the field in the request, as the .proto names it.
        description: what is accepted.
        reason: a more precise reason, when there is one.
    """
    return InvalidArgument(f"{field}: {description}", reason=reason, violations=(Violation(field, description),))


def not_found(name: str) -> NotFound:
    """The one refusal for a missing thing and for another brand's thing: the two must read the same."""
    name = name[:200]  # it came from the caller, and the answer travels in headers of limited size
    return NotFound(
        f"{name} does not exist, or this token does not see its brand. Check the name and the token's brands.",
        metadata={"resource": name},
    )
