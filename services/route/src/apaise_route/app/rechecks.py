"""Recorded decisions made again: the same reading by the same charter must give the same ruling."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.core.errors import invalid_field
from apaise_kit.core.names import CHARTER
from apaise_route.adapters import charter_store, store
from apaise_route.adapters.charter_store import LiveWord
from apaise_route.adapters.store import StoredText
from apaise_route.app.charters import version_number
from apaise_route.app.deps import Deps
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.model import HOUSE_CHARTERS, Absence, Decision, RouteInput
from apaise_route.domain.replay import decide_again, differing

MOST: Final = 5000
_USUAL: Final = 1000
Pair = tuple[RouteInput, Decision]


@dataclass(frozen=True, slots=True)
class Recheck:
    """How many decisions were made again, how many could not be, and the fields of those that differ."""

    checked: int
    left_out: int
    different: Mapping[str, Sequence[str]] = field(default_factory=dict)


async def recheck_decisions(deps: Deps, brand: str, wanted: int) -> Recheck:
    """Make the machine's latest `wanted` decisions (0 means 1000) again; keeps nothing.

    Raises:
        InvalidArgument: the number is not 0 to 5000.
    """
    if not 0 <= wanted <= MOST:
        raise invalid_field("decisions", f"must be 1 to {MOST}, or 0 for {_USUAL}")
    async with deps.db.read() as conn:
        decisions = await store.latest_of_machine(conn, brand, wanted or _USUAL)
        texts = await store.read_texts(conn, [(d.brand, d.message, d.edit_revision) for d in decisions])
        charters = await _charters(deps, conn, brand, {decision.charter for decision in decisions})
        words = await charter_store.live_words_ever(conn, brand)
    found = [(_recorded(texts[d.brand, d.message, d.edit_revision], d), d) for d in decisions]
    pairs = [(e, d) for e, d in found if e is not None and charters[d.charter].digest == d.charter_digest]
    different = await asyncio.to_thread(_different, pairs, charters, words)
    return Recheck(len(pairs), len(decisions) - len(pairs), different)


async def _charters(deps: Deps, conn: AsyncConnection, brand: str, names: set[str]) -> dict[str, CompiledCharter]:
    """The charters of these names; the default one has no version of the brand."""
    house = f"{HOUSE_CHARTERS}/"
    numbers = {name: 0 if name.startswith(house) else version_number(CHARTER.parse(name).id) for name in names}
    return {name: await deps.shelf.version(conn, brand, number) for name, number in numbers.items()}


def _recorded(stored: StoredText, decision: Decision) -> RouteInput | None:
    """What was decided on; None when it is gone, or was kept by the first release without its channel."""
    if stored.message.gone or stored.channel is None:
        return None
    # An assessment that came later stands beside the message, but was not there for the first decision.
    assessment = stored.assessment if decision.absence is Absence.NONE else None
    return RouteInput(stored.message, stored.channel, assessment, decision.absence)


def _different(
    pairs: Sequence[Pair], charters: Mapping[str, CompiledCharter], words: Sequence[LiveWord]
) -> dict[str, tuple[str, ...]]:
    found = {}
    for entry, decision in pairs:
        charter = charters[decision.charter].with_words(charter_store.lists_at(words, decision.create_time))
        if names := differing(decision.ruling, decide_again(entry, decision, charter)):
            found[decision.name] = names
    return found
