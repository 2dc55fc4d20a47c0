"""Errors to google.rpc.Status and back."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from apaise_kit.core import errors
from apaise_kit.core.errors import ApaiseError, InvalidArgument, Reason, Unavailable, Violation, invalid_field
from apaise_kit.runtime.settings import KitSettings
from apaise_kit.runtime.status import Failure, failure_of, failure_of_status, status_of, status_ok

kinds = st.sampled_from(ApaiseError.__subclasses__())
words = st.text(max_size=30)


@given(
    kinds,
    words,
    st.sampled_from(list(Reason)),
    st.dictionaries(words, words, max_size=3),
    st.lists(st.builds(Violation, words, words), max_size=3),
    st.none() | st.integers(0, 10_000_000).map(lambda micros: timedelta(microseconds=micros)),
)
def test_an_error_survives_the_round_trip(
    kind: type[ApaiseError],
    message: str,
    reason: Reason,
    metadata: dict[str, str],
    violations: list[Violation],
    retry_after: timedelta | None,
) -> None:
    error = kind(message, reason=reason, metadata=metadata, violations=violations, retry_after=retry_after)
    failure = failure_of_status(status_pb2.Status.FromString(status_of(error).SerializeToString()))
    assert failure is not None
    back = failure.as_error()
    assert type(back) is kind
    assert (back.message, back.reason, back.metadata) == (message, reason, metadata)
    assert (back.violations, back.retry_after) == (tuple(violations), error.retry_after)


def test_ok_is_no_failure() -> None:
    assert failure_of_status(status_ok()) is None


def test_errors_that_pass_with_time_say_when_to_come_back() -> None:
    assert Unavailable("x").retry_after == timedelta(seconds=1)
    assert errors.ResourceExhausted("x", retry_after=timedelta(seconds=9)).retry_after == timedelta(seconds=9)
    assert InvalidArgument("x").retry_after is None


def test_a_wrong_field_names_itself_twice() -> None:
    error = invalid_field("page_size", "must be 0 to 500")
    assert error.message == "page_size: must be 0 to 500"
    assert error.violations == (Violation("page_size", "must be 0 to 500"),)


@pytest.mark.parametrize(
    ("code", "kind", "transient"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded, True),
        (grpc.StatusCode.CANCELLED, Unavailable, True),
        (grpc.StatusCode.UNIMPLEMENTED, ApaiseError, False),
    ],
)
def test_a_refusal_of_the_transport_keeps_its_code_but_not_its_text(
    code: grpc.StatusCode, kind: type[ApaiseError], transient: bool
) -> None:
    failure = failure_of(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "10.0.0.7 refused"))
    assert failure == Failure(code, "10.0.0.7 refused")
    assert failure.transient is transient
    error = failure.as_error()
    assert type(error) is kind
    assert "10.0.0.7" not in error.message  # an inner address is no business of our own caller


def test_a_reason_of_a_newer_release_does_not_break_an_older_client() -> None:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="SOMETHING_NEW", domain="apaise"))
    failure = failure_of_status(status_pb2.Status(code=9, message="do this", details=[info]))
    assert failure is not None
    assert failure.reason == "SOMETHING_NEW"
    assert failure.as_error().reason is Reason.WRONG_STATE


def test_another_domains_reason_is_not_taken_for_ours() -> None:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain="example.com"))
    failure = failure_of_status(status_pb2.Status(code=5, message="no", details=[info]))
    assert failure is not None
    assert failure.reason == ""


def test_settings_come_from_the_environment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APAISE_PORT", "4242")
    monkeypatch.setenv("APAISE_METRICS_PORT", "")
    monkeypatch.setenv("APAISE_DSN", "postgresql+psycopg://u:s3cret@db/apaise")
    settings = KitSettings()
    assert (settings.port, settings.metrics_port) == (4242, None)
    assert "s3cret" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
    monkeypatch.setenv("APAISE_PORT", "s3cret-pasted-in-the-wrong-place")
    with pytest.raises(ValidationError) as caught:
        KitSettings()
    assert "s3cret" not in str(caught.value)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in KitSettings.model_fields.values())
