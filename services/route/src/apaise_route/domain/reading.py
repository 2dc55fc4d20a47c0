"""What reads a text that is not a message yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from apaise_kit.core.errors import Unavailable
from apaise_route.domain.model import Assessment
from apaise_route.domain.rephrase import Passage

Reading = tuple[Assessment, list[Passage]]


class Vectors(NamedTuple):
    """Unit vectors, and the digest of the encoder that made them: those of another do not compare."""

    values: Sequence[Sequence[float]]
    encoder: str


class Reader(Protocol):
    """Reads texts with a brand's model."""

    async def read(
        self, brand: str, texts: Sequence[str], language: str, *, private: bool, explain: bool
    ) -> list[Reading]:
        """Each text's assessment and, when asked for, the passages that counted.

        Raises:
            Unavailable: nothing answers.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """The house encoder's vectors of 1 to 500 texts, in order.

        Raises:
            Unavailable: nothing answers.
        """
        ...


class NoReader:
    """No classify was wired."""

    async def read(
        self, brand: str, texts: Sequence[str], language: str, *, private: bool, explain: bool
    ) -> list[Reading]:
        """Refuses."""
        raise Unavailable("This route knows no classify: nothing can be read.")

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Refuses."""
        raise Unavailable("This route knows no classify: nothing can be read.")
