"""Logs: one JSON event a line on stderr, with fields, bound per request.

A log holds names of things, never a message's text, a person's name or a secret. Exceptions are the way such things
slip in (database drivers quote values, parsers quote their input), so an exception is written as its type and the code
locations it went through, never as its text, whoever logs it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_MAX_FRAMES = 25


def describe_exception(error: BaseException) -> list[dict[str, Any]]:
    """An exception and its causes, outermost first: type and frames (`file:line function`), never the text."""
    chain: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 8:
        frames = traceback.extract_tb(current.__traceback__)[-_MAX_FRAMES:]
        chain.append(
            {
                "type": f"{type(current).__module__}.{type(current).__qualname__}",
                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        if isinstance(current, BaseExceptionGroup):
            chain[-1]["members"] = [describe_exception(member) for member in current.exceptions[:8]]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _safe_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = describe_exception(error)
    for key, value in event.items():
        if isinstance(value, BaseException):  # log.error("x", error=e) must not quote it either
            event[key] = f"{type(value).__module__}.{type(value).__qualname__}"
    return event


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Also guards a library's own messages: an exception given as an argument is replaced by its type."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.args, tuple) and any(isinstance(a, BaseException) for a in record.args):
            record = logging.makeLogRecord(record.__dict__)  # other handlers keep the original
            arguments: tuple[object, ...] = record.args if isinstance(record.args, tuple) else ()
            record.args = tuple(type(a).__qualname__ if isinstance(a, BaseException) else a for a in arguments)
        return super().format(record)


def configure_logging(service: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's logging to `stream` (stderr) as JSON lines; call once, at start."""

    def add_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _safe_exception,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=lambda value: type(value).__qualname__),
            ],
            keep_exc_info=False,  # _safe_exception has said all there is to say
            keep_stack_info=False,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("alembic", "sqlalchemy", "opentelemetry"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of events: `log.info("journal_claimed", rows=12)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def quiet_loop_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log what asyncio finds unhandled without quoting it: its own message contains the exception's repr."""

    def handle(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        get_logger(__name__).error("unhandled_in_event_loop", exc_info=error if error is not None else False)

    loop.set_exception_handler(handle)
