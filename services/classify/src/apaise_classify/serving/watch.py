"""What a replica counts of its canaries and of what reads beside them; nothing of brands without one."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from apaise_classify.domain.adapters import Wish, brand_of_lane
from apaise_classify.domain.arms import BUCKETS, Arm, Arms, Counted, bucket


@dataclass
class _Tally:
    reads: int = 0
    failures: int = 0
    times: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def arm(self) -> Arm:
        return Arm(self.reads, self.failures, tuple(self.times))


@dataclass
class _Pair:
    generation: int
    canary: _Tally = field(default_factory=_Tally)
    champion: _Tally = field(default_factory=_Tally)


class Watch:
    """Counts by canary. Safe to use from many threads; of a fixed size a canary."""

    def __init__(self) -> None:
        self._pairs: dict[str, _Pair] = {}
        self._lock = threading.Lock()

    def read(self, wish: Wish, canary: bool, seconds: float | None = None) -> None:
        """A row was read by the canary or beside it, in `seconds` when it was read afresh."""
        with self._lock:
            tally = self._tally(wish, canary)
            tally.reads += 1
            if seconds is not None:
                tally.times[bucket(seconds)] += 1

    def failed(self, wish: Wish, canary: bool) -> None:
        """A row could not be read by the canary, or by what reads beside it."""
        with self._lock:
            tally = self._tally(wish, canary)
            tally.reads += 1
            tally.failures += 1

    def counted(self, wishes: Iterable[Wish]) -> list[Counted]:
        """Both arms of each of these canaries that has read, or failed to; others are forgotten."""
        with self._lock:
            now = {brand_of_lane(wish.brand): wish.generation for wish in wishes}
            self._pairs = {brand: pair for brand, pair in self._pairs.items() if now.get(brand) == pair.generation}
            return [
                Counted(brand, pair.generation, Arms(pair.canary.arm(), pair.champion.arm()))
                for brand, pair in self._pairs.items()
            ]

    def _tally(self, wish: Wish, canary: bool) -> _Tally:
        brand = brand_of_lane(wish.brand)
        pair = self._pairs.get(brand)
        if pair is None or pair.generation != wish.generation:
            pair = self._pairs[brand] = _Pair(wish.generation)
        return pair.canary if canary else pair.champion
