"""What use cases need, wired once by `bootstrap`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from apaise_kit.core.clock import Clock
from apaise_kit.core.ids import new_id
from apaise_kit.runtime.db import Database
from apaise_route.adapters.shelf import Shelf
from apaise_route.domain.model import Decision


class Meter(Protocol):
    """Counts decisions once they are committed."""

    def decided(self, decisions: Sequence[Decision]) -> None:
        """New decisions, of any brand."""
        ...


@dataclass(frozen=True, slots=True)
class Deps:
    """The database, the compiled charters, the meter, the clock."""

    db: Database
    shelf: Shelf
    meter: Meter
    clock: Clock

    def new_id(self) -> str:
        """A fresh, sortable id."""
        return new_id(self.clock)
