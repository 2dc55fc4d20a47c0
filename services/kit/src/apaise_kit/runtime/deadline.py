"""How long the caller still waits: known to the server, used by every client call made on its behalf."""

import time
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("apaise_deadline", default=None)


def set_deadline(seconds: float | None) -> None:
    """Note that the current task's caller waits this many seconds more (None: as long as it takes)."""
    _deadline.set(None if seconds is None else time.monotonic() + seconds)


def remaining_seconds() -> float | None:
    """Seconds the caller of the current request still waits, 0 when it no longer does, None when nobody waits."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())
