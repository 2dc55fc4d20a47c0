"""A clock that only moves when told to."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Starts at a fixed instant and stays there until advanced."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """`start` must be aware."""
        self._now = start

    def now(self) -> datetime:
        """The instant this clock is at."""
        return self._now

    def set(self, instant: datetime) -> None:
        """Jump to an instant (aware)."""
        self._now = instant

    def advance(self, **duration: float) -> datetime:
        """Move forward by `timedelta(**duration)` and give the new instant."""
        self._now += timedelta(**duration)
        return self._now
