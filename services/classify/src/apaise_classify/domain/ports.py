"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from apaise_classify.domain.adapters import Adapter, Report, Revision, Settlement, Wish
from apaise_classify.domain.arms import Arms, Counted
from apaise_classify.domain.precedents import Precedent
from apaise_classify.domain.reading import Reading, Row, Vectors


class Reader(Protocol):
    """The replicas, as one: whatever runs them, the same suite holds."""

    async def read(self, rows: Sequence[Row]) -> list[Reading]:
        """Read rows of mixed brands, in order, each by one revision entirely.

        Raises:
            ResourceExhausted: more is waiting than can be read in time.
            Unavailable: no replica answers.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """House vectors, in order.

        Raises:
            ResourceExhausted, Unavailable: as `read`.
        """
        ...

    async def trace(self, texts: Sequence[str]) -> Vectors:
        """Vectors of the last layer all brands share, in order: what precedents are found by.

        Raises:
            ResourceExhausted, Unavailable: as `read`.
        """
        ...

    async def nudge(self) -> None:
        """Tell replicas that wishes or precedents changed. Best effort: they look by themselves every second."""
        ...

    async def alive(self) -> bool:
        """Whether a replica answers now."""
        ...


class Place(NamedTuple):
    """Where a list stopped: creation time (microseconds since the epoch) and revision of the last adapter shown."""

    created: int
    revision: str


class AdapterStore(Protocol):
    """Revisions and wishes, as callers see them."""

    async def wish(self, revision: Revision, request_id: str) -> Wish:
        """Register a revision and wish for it, in one transaction; the wish already there if it is this one.

        Raises:
            AlreadyExists: the id names other content.
        """
        ...

    async def wish_back(self, brand: str, revision: str | None, request_id: str) -> Wish:
        """Wish for a revision that served before, or for the house.

        Raises:
            NotFound: there is no such revision.
            FailedPrecondition: (WRONG_STATE) it never served.
        """
        ...

    async def settle(self, brand: str, generation: int) -> Settlement:
        """Conclude on a wish from the replicas' reports, and write the conclusion once.

        A failed wish goes back to what served before, under a new generation.

        Raises:
            Aborted: a later wish took its place.
        """
        ...

    async def set_canary(self, brand: str, revision: Revision | None, share: float, request_id: str) -> int:
        """Have a revision read a share of a brand's messages, or none; the canary's generation.

        The same again changes nothing.
        """
        ...

    async def canary_settlement(self, brand: str, generation: int) -> Settlement:
        """What the replicas made of a canary.

        Raises:
            Aborted: another canary, or none, took its place.
        """
        ...

    async def canary(self, brand: str) -> tuple[Wish, Arms] | None:
        """A brand's canary and how it fares, by what every replica has counted since it began; None without one."""
        ...

    async def unsettled(self) -> list[Wish]:
        """Wishes nobody has concluded on, of all brands: a caller may have died waiting."""
        ...

    async def get(self, brand: str, revision: str) -> Adapter:
        """One revision.

        Raises:
            NotFound: there is none.
        """
        ...

    async def page(self, brand: str, limit: int, after: Place | None) -> list[Adapter]:
        """A brand's revisions, newest first, at most `limit`, after a place."""
        ...


class PrecedentStore(Protocol):
    """Precedents, as callers see them. A brand's set has a generation, which grows with each change."""

    async def put(self, brand: str, rows: Sequence[tuple[Precedent, Sequence[float]]], encoder: str) -> int:
        """Keep precedents with their vectors of that encoder, replacing those of the same id; the set's generation.

        Beyond as many as a brand may have, the oldest reviews give way.
        """
        ...

    async def take_back(self, brand: str, ids: Sequence[str]) -> int:
        """Forget precedents; the set's generation."""
        ...


@dataclass(frozen=True)
class PrecedentSet:
    """A brand's precedents at a generation; `vectors` are float32, little-endian, one after the other."""

    brand: str
    generation: int
    precedents: tuple[Precedent, ...]
    vectors: bytes


class ReplicaStore(Protocol):
    """Wishes, reports and precedents, as a replica sees them."""

    async def changed_precedents(self, encoder: str, known: Mapping[str, int]) -> list[PrecedentSet]:
        """The sets whose generation is not the one known (0 for a brand not known), with that encoder's vectors."""
        ...

    async def wishes(self) -> list[Wish]:
        """Every brand's wish, and every canary's."""
        ...

    async def count(self, replica: str, counted: Sequence[Counted]) -> None:
        """Write what this replica has counted of canaries; a canary that is no more is passed over."""
        ...

    async def report(self, replica: str, encoder: str, changed: Sequence[Report]) -> None:
        """Say that this replica lives, and what changed since it last said so."""
        ...
