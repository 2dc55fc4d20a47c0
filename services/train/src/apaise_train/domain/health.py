"""Is the canary ill? Not whether it decides well, which reviews tell, but whether it fails or is slow.

Failures harm nobody (what a canary cannot read is read as the rest of its brand is) but a revision that fails is not
one to wait a hundred reviews for. Times are compared on messages read afresh alone: a new revision finds nothing in the
cache. Its nine in ten are held against the champion's nineteen in twenty, so that one slow batch at the start, which
all messages of an arm may share, is no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIN_FAILURES: Final = 5
MORE_FAILURES: Final = 0.02
MIN_TIMED: Final = 200
SLOWER: Final = 2.0
SLOWER_BY: Final = 0.025
"""Seconds: twice as long as very little is very little."""


@dataclass(frozen=True, slots=True)
class Arm:
    """How one side has read since the canary began.

    Attributes:
        reads: messages it was given.
        failures: those of them it could not read.
        timed: messages read afresh.
        p90: seconds within which nine in ten of these were read.
        p95: seconds within which nineteen in twenty were.
    """

    reads: int = 0
    failures: int = 0
    timed: int = 0
    p90: float = 0.0
    p95: float = 0.0


@dataclass(frozen=True, slots=True)
class Health:
    """Both arms of the trial of a revision."""

    revision: str
    canary: Arm
    champion: Arm


def illness(health: Health) -> str | None:
    """Why the canary must end at once, in a sentence for people; None when it need not."""
    ours, theirs = health.canary, health.champion
    if ours.failures >= MIN_FAILURES and _rate(ours) - _rate(theirs) > MORE_FAILURES:
        return (
            f"The canary fails: it could not read {ours.failures} of {ours.reads} messages, "
            f"the champion {theirs.failures} of {theirs.reads}."
        )
    enough = min(ours.timed, theirs.timed) >= MIN_TIMED
    if enough and ours.p90 > SLOWER * theirs.p95 and ours.p90 - theirs.p95 > SLOWER_BY:
        return (
            f"The canary is slow: one in ten of its {ours.timed} messages takes over {ours.p90 * 1000:.0f} ms, "
            f"one in twenty of the champion's {theirs.timed} over {theirs.p95 * 1000:.0f} ms."
        )
    return None


def _rate(arm: Arm) -> float:
    return arm.failures / arm.reads if arm.reads else 0.0
