"""What the pump needs of the two services behind it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NewType, Protocol

from apaise_ingest.domain import Owed
from apaise_kit.core.errors import ApaiseError


class Assessment(Protocol):
    """What classify understood. Ingest hands it on and never looks inside."""


Absence = NewType("Absence", str)
"""Why there is none: UNAVAILABLE, TOO_LATE, DEAD_LETTER or NO_TEXT."""

UNAVAILABLE = Absence("UNAVAILABLE")
TOO_LATE = Absence("TOO_LATE")
DEAD_LETTER = Absence("DEAD_LETTER")
NO_TEXT = Absence("NO_TEXT")


class Classifier(Protocol):
    """Reads messages."""

    async def read(self, rows: Sequence[Owed], timeout: timedelta) -> list[Assessment | ApaiseError]:
        """One answer a row, in order.

        Raises:
            ApaiseError: when the whole call was refused or not answered in time.
        """
        ...


class Router(Protocol):
    """Decides messages."""

    async def decide(self, rows: Sequence[tuple[Owed, Assessment | Absence]]) -> list[ApaiseError | None]:
        """One answer a row, in order: None when it is decided.

        Raises:
            ApaiseError: when the whole call was refused or not answered in time.
        """
        ...
