"""What became of every message of a replay. No network, no clock: told what happened, it counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Fate:
    accepted_at: float | None = None
    duplicate: bool = False
    decisions: set[str] = field(default_factory=set)
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One automatic decision as it came in. `at` is in seconds on the clock of `accepted`."""

    name: str
    message: str
    edit_revision: int
    at: float
    visibility: str
    queue: str
    provisional: bool


@dataclass(slots=True)
class Tally:
    """Counts messages by (name, edit revision). Decisions may arrive before the acknowledgement they belong to."""

    sent: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    visibilities: Counter[str] = field(default_factory=Counter)
    queues: Counter[str] = field(default_factory=Counter)
    provisional: int = 0
    redelivered: int = 0
    first_sent: float | None = None
    last_decided: float | None = None
    _fates: dict[tuple[str, int], _Fate] = field(default_factory=dict)
    _early: dict[tuple[str, int], list[Seen]] = field(default_factory=dict)
    _latencies: list[float] = field(default_factory=list)

    def accepted(self, message: str, edit_revision: int, at: float, duplicate: bool) -> None:
        """Ingest has acknowledged a message at `at`; `duplicate` when it already had it."""
        key = (message, edit_revision)
        self.redelivered += duplicate
        fate = self._fates.setdefault(key, _Fate())
        if fate.accepted_at is None:
            fate.accepted_at, fate.duplicate = at, duplicate
        for seen in self._early.pop(key, ()):
            self._count(fate, seen)

    def refused(self, reason: str) -> None:
        """Ingest would not have a message."""
        self.refusals[reason] += 1

    def decided(self, seen: Seen) -> None:
        """An automatic decision has come; of messages that are not ours it is kept aside."""
        fate = self._fates.get((seen.message, seen.edit_revision))
        if fate is None:
            self._early.setdefault((seen.message, seen.edit_revision), []).append(seen)
        else:
            self._count(fate, seen)

    def found(self, message: str, edit_revision: int, decisions: Iterable[str]) -> None:
        """Asked, route named the automatic decisions this message revision has."""
        self._fates[(message, edit_revision)].decisions.update(decisions)

    def _count(self, fate: _Fate, seen: Seen) -> None:
        fate.decisions.add(seen.name)  # by name: a stream that resumes may say the same one again
        if fate.timed:
            return
        fate.timed = True
        self.provisional += seen.provisional
        self.visibilities[seen.visibility] += 1
        self.queues[seen.queue] += 1
        self.last_decided = max(seen.at, self.last_decided or seen.at)
        if fate.accepted_at is not None and not fate.duplicate:
            self._latencies.append(max(0.0, seen.at - fate.accepted_at))

    @property
    def undecided(self) -> list[tuple[str, int]]:
        """Accepted message revisions without a decision so far."""
        return [key for key, fate in self._fates.items() if not fate.decisions]

    @property
    def awaited(self) -> bool:
        """Whether a decision may still come on the stream: those of messages ingest already had came before."""
        return any(not fate.decisions and not fate.duplicate for fate in self._fates.values())

    @property
    def decided_so_far(self) -> int:
        """How many message revisions have a decision."""
        return sum(bool(fate.decisions) for fate in self._fates.values())

    def report(self) -> dict[str, Any]:
        """The figures. Times are in milliseconds from acceptance to decision; null when nothing was measured."""
        seconds = (self.last_decided or 0.0) - (self.first_sent or 0.0)
        return {
            "sent": self.sent,
            "decided": self.decided_so_far,
            "lost": len(self.undecided),
            "duplicated": sum(len(fate.decisions) > 1 for fate in self._fates.values()),
            "refused": self.refusals.total(),
            "provisional": self.provisional,
            "redelivered": self.redelivered,
            "msgs_per_s": round(len(self._latencies) / seconds, 1) if self._latencies and seconds > 0 else 0.0,
            "p50_ms": quantile_ms(self._latencies, 0.50),
            "p99_ms": quantile_ms(self._latencies, 0.99),
            "seconds": round(max(0.0, seconds), 2),
            "visibility": dict(self.visibilities.most_common()),
            "queue": dict(self.queues.most_common()),
            "refusals": dict(self.refusals.most_common()),
        }


def quantile_ms(seconds: list[float], share: float) -> float | None:
    """The nearest-rank quantile, in milliseconds."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return round(1000 * ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1)
