"""When a brand is trained without anybody asking: enough has been said, or it has waited, or the machine is off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from apaise_train.domain.examples import MIN_EXAMPLES


@dataclass(frozen=True, slots=True)
class Policy:
    """When a run is due.

    Attributes:
        reviews: new ones since the last run that make one due; 0 leaves everything to people.
        waited: after this long any `few` new reviews make one due.
        few: new reviews below which neither time nor drift makes one due.
        drift: share of audit items by which the machine must be wrong oftener since the last run than before it.
        gap: least time between the starts of two runs of a brand: its quota.
    """

    reviews: int = 0
    waited: timedelta = timedelta(days=7)
    few: int = 20
    drift: float = 0.1
    gap: timedelta = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Standing:
    """A brand as the policy sees it.

    Attributes:
        reviews: that would teach now.
        new: of these, those since the last run.
        last_run: when it was asked for, None before the first.
        audits, audits_wrong: audit items since the last run, and those of them in which the machine was wrong.
        before, before_wrong: the same before it.
    """

    brand: str
    reviews: int
    new: int
    last_run: datetime | None
    audits: int = 0
    audits_wrong: int = 0
    before: int = 0
    before_wrong: int = 0


# Audit items on either side below which a difference of shares is noise.
MIN_AUDITS = 50


def due(standing: Standing, policy: Policy, now: datetime) -> str | None:
    """Why a run is due, in a word for the audit log (`count`, `time`, `drift`), or None."""
    if not policy.reviews or standing.reviews < MIN_EXAMPLES:
        return None
    if standing.last_run is not None and now - standing.last_run < policy.gap:
        return None
    if standing.new >= policy.reviews:
        return "count"
    if standing.last_run is None or standing.new < policy.few:
        return None
    if now - standing.last_run >= policy.waited:
        return "time"
    return "drift" if _drifted(standing, policy.drift) else None


def _drifted(standing: Standing, by: float) -> bool:
    if min(standing.audits, standing.before) < MIN_AUDITS:
        return False
    return standing.audits_wrong / standing.audits - standing.before_wrong / standing.before >= by
