"""What use cases need, wired once by `bootstrap`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from apaise_kit.core.clock import Clock
from apaise_kit.core.ids import new_id
from apaise_kit.runtime.db import Database
from apaise_route.adapters.desks import Desks, NoDesks
from apaise_route.adapters.shelf import Shelf
from apaise_route.domain.cases import Case
from apaise_route.domain.model import Decision, Review, ReviewItem
from apaise_route.domain.reading import NoReader, Reader


class Meter(Protocol):
    """Counts what is done once it is committed, of any brand."""

    def decided(self, decisions: Sequence[Decision]) -> None:
        """New decisions."""
        ...

    def reviewed(self, review: Review, item: ReviewItem, clause: str) -> None:
        """A resolution, or its undo, of an item; `clause` had decided before it."""
        ...

    def returned(self, cases: Sequence[Case]) -> None:
        """Cases about whose reply something was reported."""
        ...


@dataclass(frozen=True, slots=True)
class Deps:
    """The database, the compiled charters, the meter, the clock, the brands' desks, what reads a text.

    `second_looks`: share of resolved audit items that somebody else is asked to look at as well, blind.
    `golden_share`: share of what a reviewer resolves that is golden.
    """

    db: Database
    shelf: Shelf
    meter: Meter
    clock: Clock
    desks: Desks = field(default_factory=NoDesks)
    reader: Reader = field(default_factory=NoReader)
    second_looks: float = 0.0
    golden_share: float = 0.05

    def new_id(self) -> str:
        """A fresh, sortable id."""
        return new_id(self.clock)
