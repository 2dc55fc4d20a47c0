"""Logs never quote what an exception carries, whoever logs it."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from apaise_kit.runtime.logs import configure_logging, get_logger, quiet_loop_errors
from apaise_kit.runtime.telemetry import Telemetry

CANARY = "appelez Jean-Michel Canari au 06 00 00 00 00"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("toy", stream=stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail() -> None:
    try:
        raise KeyError(CANARY)
    except KeyError as cause:
        raise ValueError(CANARY) from cause


def test_an_event_has_its_fields_and_what_is_bound(log: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="r1")
    get_logger("apaise.test").info("journal_claimed", rows=12)
    (line,) = lines(log)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "journal_claimed",
        "rows": 12,
        "request_id": "r1",
        "level": "info",
        "logger": "apaise.test",
        "service": "toy",
    }


@pytest.mark.parametrize("logger", ["structlog", "stdlib"])
def test_an_exception_is_its_type_and_place(log: io.StringIO, logger: str) -> None:
    target: Any = get_logger("x") if logger == "structlog" else logging.getLogger("some.library")
    try:
        fail()
    except ValueError:
        target.exception("it failed")
    (line,) = lines(log)
    assert "Canari" not in log.getvalue()
    assert [part["type"] for part in line["exception"]] == ["builtins.ValueError", "builtins.KeyError"]
    assert line["exception"][0]["frames"][-1].endswith(" fail")


def test_an_exception_given_as_a_field_or_argument_is_its_type(log: io.StringIO) -> None:
    get_logger("x").error("it failed", error=ValueError(CANARY))
    logging.getLogger("some.library").error("cannot do it: %s (%d)", ValueError(CANARY), 3)
    first, second = lines(log)
    assert first["error"] == "builtins.ValueError"
    assert second["event"] == "cannot do it: ValueError (3)"


def test_a_group_of_exceptions_lists_its_members(log: io.StringIO) -> None:
    try:
        raise ExceptionGroup(CANARY, [ValueError(CANARY), KeyError(CANARY)])
    except ExceptionGroup:
        get_logger("x").exception("group")
    (line,) = lines(log)
    assert "Canari" not in log.getvalue()
    assert [member[0]["type"] for member in line["exception"][0]["members"]] == [
        "builtins.ValueError",
        "builtins.KeyError",
    ]


async def test_a_forgotten_tasks_exception_is_not_quoted(log: io.StringIO) -> None:
    quiet_loop_errors(asyncio.get_running_loop())

    async def forgotten() -> None:
        raise ValueError(CANARY)

    task = asyncio.create_task(forgotten())
    await asyncio.wait({task})
    del task
    gc.collect()
    await asyncio.sleep(0)
    (line,) = lines(log)
    assert line["event"] == "unhandled_in_event_loop"
    assert line["exception"][0]["type"] == "builtins.ValueError"
    assert "Canari" not in log.getvalue()


def test_below_the_level_nothing_is_written(log: io.StringIO) -> None:
    get_logger("x").debug("detail")
    logging.getLogger("some.library").debug("detail")
    assert log.getvalue() == ""


def test_a_span_marks_an_exception_by_its_type_only() -> None:
    spans = InMemorySpanExporter()
    telemetry = Telemetry.create("toy", span_processor=SimpleSpanProcessor(spans))
    with pytest.raises(ValueError, match="Canari"), telemetry.span("work", rows=3):
        raise ValueError(CANARY)
    telemetry.close()
    (span,) = spans.get_finished_spans()
    assert dict(span.attributes or {}) == {"rows": 3, "error.type": "ValueError"}
    assert not span.status.is_ok
    assert "Canari" not in span.to_json()
