"""When a team is there: due times of some queues only run in opening hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from apaise_route.domain.model import Queue

_HORIZON_DAYS = 400


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """Opening hours by weekday (0 is Monday) in one time zone; `closed` are days off; they bind these queues alone."""

    zone: ZoneInfo
    week: Mapping[int, Sequence[tuple[time, time]]]
    closed: frozenset[date] = frozenset()
    queues: frozenset[Queue] = frozenset()

    def is_open(self, at: datetime) -> bool:
        """Whether an aware instant falls into opening hours."""
        return any(start <= at < end for start, end in self._windows(at.astimezone(self.zone).date()))

    def due(self, origin: datetime, delay: timedelta) -> datetime:
        """The instant at which `delay` of opening time has passed since `origin`.

        Hours that never open within a year count as none: the delay then runs on the clock.
        """
        day, left = origin.astimezone(self.zone).date(), delay
        for number in range(_HORIZON_DAYS):
            for start, end in self._windows(day + timedelta(days=number)):
                begin = max(start, origin)
                if end - begin >= left:
                    return begin + left
                left -= max(end - begin, timedelta())
        return origin + delay

    def _windows(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        if day in self.closed:
            return
        for start, end in self.week.get(day.weekday(), ()):
            last = day + timedelta(days=1) if end == time.min else day
            # In UTC, because the difference of two local times ignores a change of clocks between them.
            yield self._instant(day, start), self._instant(last, end)

    def _instant(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, self.zone).astimezone(UTC)
