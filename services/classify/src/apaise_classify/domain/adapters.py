"""Which revision should read a brand, which one does, and how the two are brought together.

A brand's *wish* is a row with a generation: the revision that should serve, and whether the replicas have settled on
it. Replicas *report* how far they are with that generation. `settlement` says what the reports amount to; it is a pure
function of stored facts, so whoever looks first (the call that waits, or the background sweep after a crash) concludes
the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from apaise_kit.core.errors import ApaiseError, FailedPrecondition, Reason


class AdapterState(StrEnum):
    """Where a revision stands, seen from outside."""

    REGISTERED = "registered"
    LOADING = "loading"
    ACTIVE = "active"
    RETIRED = "retired"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a brand's adapter: its id is given once and names one content for ever."""

    brand: str
    id: str
    artifact_uri: str
    digest: str
    encoder: str


@dataclass(frozen=True, slots=True)
class Adapter:
    """A revision and where it stands. `failure` is a `Reason` when FAILED, else empty."""

    revision: Revision
    state: AdapterState
    failure: str
    generation: int
    create_time: datetime
    activate_time: datetime | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What should serve a brand: a revision, or the house when None.

    A canary is a wish too, for a lane beside the brand's own (`canary_lane`), with the share of messages it reads.
    """

    brand: str
    revision: Revision | None
    generation: int
    share: float = 0.0


_CANARY: Final = "/canary"
_SCALE: Final = 1 << 64
MAX_SHARE: Final = 0.5


def canary_lane(brand: str) -> str:
    """What a brand's canary is called where brands are; no brand has such a name."""
    return f"{brand}{_CANARY}"


def brand_of_lane(lane: str) -> str:
    """The brand a lane belongs to."""
    return lane.removesuffix(_CANARY)


def reads_by_canary(wish: Wish, text: str) -> bool:
    """Whether a canary reads this text: it depends on the text and the revision alone."""
    assert wish.revision is not None
    digest = hashlib.blake2b(f"{wish.revision.id}\0{text}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < wish.share * _SCALE


class Progress(StrEnum):
    """How far one replica is with a wish."""

    LOADING = "loading"
    ACTIVE = "active"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Report:
    """One replica about one brand: how far it is with this generation, why it failed, what serves meanwhile."""

    brand: str
    generation: int
    progress: Progress
    failure: str = ""
    serving: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the replicas made of a wish; `failure` is set when FAILED."""

    progress: Progress
    failure: str = ""


_PENDING: Final = Settlement(Progress.LOADING)


def settlement(generation: int, reports: Mapping[str, Report | None]) -> Settlement:
    """Conclude from the live replicas' reports on one brand.

    Served by one is served: the others follow by themselves. Failed needs every live replica to have tried, so that a
    replica with a full disk does not take a good revision from the others.

    Args:
        generation: the wish's.
        reports: by live replica; None for one that has not reported on this brand.
    """
    current = [report for report in reports.values() if report is not None and report.generation == generation]
    if any(report.progress is Progress.ACTIVE for report in current):
        return Settlement(Progress.ACTIVE)
    failures = [report for report in current if report.progress is Progress.FAILED]
    if failures and len(failures) == len(reports):
        return Settlement(Progress.FAILED, failures[0].failure)
    return _PENDING


_WAYS_OUT: Final[Mapping[str, str]] = {
    Reason.ADAPTER_CORRUPT: "Its files are missing, damaged or not what the digest says. Publish the revision again.",
    Reason.ADAPTER_WRONG_ENCODER: "It was trained on another encoder. Retrain it on the one being served.",
    Reason.ADAPTER_WRONG_SHAPE: "It has a rank, a module or a label that is not served. Retrain it with this mesh.",
    Reason.INTERNAL: "A fault of ours while loading it is in the replica's log.",
    Reason.DEPENDENCY_UNAVAILABLE: "Its files could not be fetched. Check the artefact store, then activate it again.",
}


def refusal(failure: str, metadata: Mapping[str, str]) -> ApaiseError:
    """The error for an activation the replicas refused: the reason, and that nothing changed."""
    reason = Reason(failure) if failure in _WAYS_OUT else Reason.INTERNAL
    message = f"The adapter was refused and what served before still serves. {_WAYS_OUT[reason]}"
    return FailedPrecondition(message, reason=reason, metadata=metadata)


def same_content(one: Revision, other: Revision) -> bool:
    """Whether two registrations of an id are the same adapter; where its files are may change."""
    return (one.digest, one.encoder) == (other.digest, other.encoder)
