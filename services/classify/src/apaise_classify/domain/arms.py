"""How a canary fares beside what reads the rest of its brand's messages: counts that can be added up."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

# Upper ends of the buckets times are counted in, seconds: from 1 ms to 36 s, each a quarter longer than the one before.
EDGES: Final = tuple(0.001 * 1.25**step for step in range(48))
BUCKETS: Final = len(EDGES) + 1


@dataclass(frozen=True, slots=True)
class Arm:
    """One side's rows: how many it was given, how many of them it could not read, and how long fresh ones took.

    `times` are counts by bucket; rows known from the cache and rows that failed are in none.
    """

    reads: int = 0
    failures: int = 0
    times: tuple[int, ...] = (0,) * BUCKETS

    @property
    def timed(self) -> int:
        """Rows in the buckets."""
        return sum(self.times)


class Arms(NamedTuple):
    """The canary's rows, and the brand's others."""

    canary: Arm = Arm()
    champion: Arm = Arm()


@dataclass(frozen=True, slots=True)
class Counted:
    """Both arms of a brand's canary of that generation, since it began, in one replica."""

    brand: str
    generation: int
    arms: Arms


def added(arms: Iterable[Arm]) -> Arm:
    """The sum."""
    found = list(arms)
    times = zip(*(arm.times for arm in found), strict=True)
    return Arm(
        sum(arm.reads for arm in found),
        sum(arm.failures for arm in found),
        tuple(map(sum, times)) if found else Arm().times,
    )


def bucket(seconds: float) -> int:
    """Where a time is counted."""
    return bisect_left(EDGES, seconds)


def percentile(times: Sequence[int], share: float) -> float:
    """Seconds within which that share of the counted rows was read: the upper end of a bucket, 0 without rows."""
    wanted, seen = math.ceil(share * sum(times)), 0
    for count, edge in zip(times, EDGES, strict=False):
        seen += count
        if wanted and seen >= wanted:
            return edge
    return EDGES[-1] if wanted else 0.0
