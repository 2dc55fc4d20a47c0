"""How much may wait: the door closes when what waits could no longer be decided in time."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Final

from apaise_ingest.domain import PATIENCE, Lane
from apaise_kit.core.errors import ResourceExhausted

_LEAST: Final = 128
"""Admitted whatever the measured speed: enough to keep the pump's workers at full batches."""
_SHARE_OF_PATIENCE: Final = 0.6
_SMOOTHING: Final = 0.3
_SHORTEST_WAIT: Final = timedelta(milliseconds=100)
_LONGEST_WAIT: Final = timedelta(seconds=5)


class Backlog:
    """Counts what waits, learns how fast it goes, and decides who may still come in.

    A lane admits what the pump can decide within a share of the lane's patience, at the speed measured while there was
    work, but never more than `most`. When a lane is full, only brands that hold more than their part of it are refused:
    one brand's raid does not close the door to the others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: Counter[tuple[Lane, str]] = Counter()
        self._totals: Counter[Lane] = Counter()
        self._per_second: float | None = None

    def refresh(self, waiting: dict[tuple[Lane, str], int]) -> None:
        """Take the journal's own count, which corrects everything estimated since the last one."""
        self._waiting = Counter(waiting)
        self._totals = Counter()
        for (lane, _), count in waiting.items():
            self._totals[lane] += count

    def learn(self, decided: int, elapsed: timedelta) -> None:
        """Note that this many were decided with an assessment in this time while there was always work."""
        speed = decided / elapsed.total_seconds()
        before = self._per_second
        self._per_second = speed if before is None else before + _SMOOTHING * (speed - before)

    def waiting(self, lane: Lane) -> int:
        """How many messages a lane owes a step."""
        return self._totals[lane]

    def limit(self, lane: Lane) -> int:
        """How many may wait in a lane."""
        if self._per_second is None:
            return _LEAST
        in_time = self._per_second * PATIENCE[lane].total_seconds() * _SHARE_OF_PATIENCE
        return max(_LEAST, min(self._most, int(in_time)))

    def admit(self, lane: Lane, brand: str) -> None:
        """Let one message in.

        Raises:
            ResourceExhausted: with how long to wait, when the lane is full and this brand holds its part of it.
        """
        limit, waiting = self.limit(lane), self._totals[lane]
        if waiting >= limit and self._waiting[lane, brand] >= self._part_of(lane, brand, limit):
            raise ResourceExhausted(
                "More messages are waiting than can be decided in time. Send this one again after the delay given.",
                metadata={"waiting": str(waiting), "limit": str(limit)},
                retry_after=self._wait(waiting - limit // 2),
            )
        self._waiting[lane, brand] += 1
        self._totals[lane] += 1

    def _part_of(self, lane: Lane, brand: str, limit: int) -> int:
        others = sum(1 for (each, other), count in self._waiting.items() if each is lane and count and other != brand)
        return limit // max(2, others + 1)

    def _wait(self, excess: int) -> timedelta:
        seconds = excess / self._per_second if self._per_second else 1.0
        return min(_LONGEST_WAIT, max(_SHORTEST_WAIT, timedelta(seconds=seconds)))
