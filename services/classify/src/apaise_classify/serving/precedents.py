"""Precedents as a replica holds them: a matrix a brand, and which rows of it speak for a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apaise_classify.domain.ports import PrecedentSet, ReplicaStore
from apaise_classify.domain.precedents import MAX_CITED, Precedent, revision_of
from apaise_classify.domain.reading import NO_PRECEDENTS, Cited
from apaise_classify.serving.edition import Traces
from apaise_kit.core.names import REVIEW

# The least cosine at which two messages say the same. Calibrated on our own corpus for the house encoder that ships,
# by `python -m apaise_classify.calibration`; docs/learning.md has the figures.
NEARNESS: Final = 0.975


@dataclass(frozen=True)
class _Held:
    """A brand's set: row i of `matrix` [m, H] is the vector of precedent i; `private` [m]."""

    generation: int
    precedents: Sequence[Precedent]
    matrix: Traces
    private: NDArray[np.bool_]

    @classmethod
    def of(cls, given: PrecedentSet) -> _Held:
        count = len(given.precedents)
        matrix = np.frombuffer(given.vectors, "<f4").reshape(count, -1) if count else np.empty((0, 0), np.float32)
        private = np.array([one.private for one in given.precedents], dtype=np.bool_)
        return cls(given.generation, given.precedents, matrix, private)


class Precedents:
    """All brands' sets. `refresh` belongs to one task; `cite` to any thread: a set is replaced, never changed."""

    def __init__(self, nearness: float = NEARNESS) -> None:
        """No precedent yet. `nearness` is the least cosine at which one speaks; above 1 none ever does."""
        self._nearness = nearness
        self._held: Mapping[str, _Held] = MappingProxyType({})

    async def refresh(self, store: ReplicaStore, encoder: str) -> None:
        """Take over what changed since the last time.

        Raises:
            Unavailable: the store is away; what is held goes on serving.
        """
        known = {brand: held.generation for brand, held in self._held.items()}
        changed = await store.changed_precedents(encoder, known)
        if changed:
            self._held = MappingProxyType({**self._held, **{one.brand: _Held.of(one) for one in changed}})

    def cite(self, brand: str, trace: Traces, private: bool) -> tuple[tuple[Cited, ...], str]:
        """The brand's precedents that speak for a text of this unit vector [H], nearest first, and the set's revision.

        What was written in private speaks for nothing public.
        """
        held = self._held.get(brand)
        if held is None or not held.precedents:
            return (), NO_PRECEDENTS
        cosines = held.matrix @ trace
        if not private:
            cosines = np.where(held.private, -1.0, cosines)
        near = np.flatnonzero(cosines >= self._nearness)
        nearest = near[np.argsort(-cosines[near], kind="stable")][:MAX_CITED]
        cited = (
            Cited(REVIEW.format(brand, one.id), min(1.0, round(float(cosine), 3)), dict(one.labels))
            for one, cosine in ((held.precedents[at], cosines[at]) for at in nearest)
        )
        return tuple(cited), revision_of(held.generation)
