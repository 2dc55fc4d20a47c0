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
from apaise_route.domain.model import Decision
from apaise_route.domain.reading import NoReader, Reader


class Meter(Protocol):
    """Counts decisions once they are committed."""

    def decided(self, decisions: Sequence[Decision]) -> None:
        """New decisions, of any brand."""
        ...


@dataclass(frozen=True, slots=True)
class Deps:
    """The database, the compiled charters, the meter, the clock, the brands' desks, what reads a text."""

    db: Database
    shelf: Shelf
    meter: Meter
    clock: Clock
    desks: Desks = field(default_factory=NoDesks)
    reader: Reader = field(default_factory=NoReader)

    def new_id(self) -> str:
        """A fresh, sortable id."""
        return new_id(self.clock)
