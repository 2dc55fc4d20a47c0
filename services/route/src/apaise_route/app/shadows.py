"""What another charter would decide: over the latest messages (diff), or beside the one in force (shadow)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from apaise_kit.core.errors import InvalidArgument, Reason, Violation, invalid_field, not_found
from apaise_kit.core.names import CHARTER
from apaise_kit.runtime.db import Transaction
from apaise_route.adapters import charter_store, store
from apaise_route.adapters.charter_store import StoredShadow
from apaise_route.adapters.charter_yaml import as_fields, compile_charter, read_charter
from apaise_route.app.charters import version_number
from apaise_route.app.deps import Deps
from apaise_route.domain.charter import CompiledCharter, Problem
from apaise_route.domain.decide import decide
from apaise_route.domain.model import Decision, RouteInput
from apaise_route.domain.replay import Change, Difference, change_of, compare
from apaise_route.domain.thread import draw_of

MAX_REPLAYED: Final = 5000
_REPLAYED: Final = 1000


@dataclass(frozen=True, slots=True)
class DiffView:
    """What would change, against which charter, and the warnings of the text."""

    charter: str
    difference: Difference
    warnings: list[Problem]


@dataclass(frozen=True, slots=True)
class ShadowView:
    """A shadow and what it has counted."""

    charter: str
    start_time: datetime
    counts: Mapping[Change, int]


async def diff_charter(deps: Deps, brand: str, source: str, wanted: int) -> DiffView:
    """What a text would change among the latest `wanted` messages (0 means 1000); keeps nothing.

    Raises:
        InvalidArgument: (CHARTER_INVALID) with each problem's line, or the number is not 0 to 5000.
    """
    if not 0 <= wanted <= MAX_REPLAYED:
        raise invalid_field("messages", f"must be 1 to {MAX_REPLAYED}, or 0 for {_REPLAYED}")
    read = await asyncio.to_thread(read_charter, source)
    if read.errors:
        raise InvalidArgument(
            f"The charter does not compile: {len(read.errors)} problem(s); mend them by line and send it again.",
            reason=Reason.CHARTER_INVALID,
            violations=[Violation(*pair) for pair in as_fields(read.errors)],
        )
    async with deps.db.read() as conn:
        before = await deps.shelf.one_in_force(conn, brand)
        live = (await charter_store.live_lists(conn, [brand], deps.clock.now())).get(brand, {})
        entries = await charter_store.latest(conn, brand, wanted or _REPLAYED)
    after = await asyncio.to_thread(compile_charter, source, "the text given")
    pair = before.with_words(live), after.with_words(live)
    return DiffView(before.name, await asyncio.to_thread(compare, entries, *pair, deps.clock.now()), read.problems)


async def start_shadow(deps: Deps, brand: str, version: str) -> ShadowView:
    """Have a version decide beside the one in force from the next message on; the same one goes on as it was.

    Raises:
        NotFound: there is no such version.
    """
    async with deps.db.write() as tx:
        await store.lock_brand_charters(tx.conn, brand)
        stored = await store.read_charter(tx.conn, brand, version_number(version))
        if stored is None:
            raise not_found(f"brands/{brand}/charters/{version}")
        shadow = (await charter_store.shadows(tx.conn, [brand])).get(brand)
        if shadow is None or shadow.version != stored.version:
            shadow = StoredShadow(brand, stored.version, tx.now)
            await charter_store.set_shadow(tx.conn, shadow)
            tx.record("shadow.started", CHARTER.format(brand, version), brand)
        return _view(shadow, await charter_store.tallies(tx.conn, brand))


async def get_shadow(deps: Deps, brand: str) -> ShadowView:
    """A brand's shadow and what it has counted.

    Raises:
        NotFound: there is none.
    """
    async with deps.db.read() as conn:
        shadow = (await charter_store.shadows(conn, [brand])).get(brand)
        if shadow is None:
            raise not_found(f"brands/{brand}/shadow")
        return _view(shadow, await charter_store.tallies(conn, brand))


async def stop_shadow(deps: Deps, brand: str) -> None:
    """End a brand's shadow, if it has one."""
    async with deps.db.write() as tx:
        await store.lock_brand_charters(tx.conn, brand)
        shadow = (await charter_store.shadows(tx.conn, [brand])).get(brand)
        if shadow is not None:
            await charter_store.drop_shadow(tx.conn, brand)
            tx.record("shadow.stopped", CHARTER.format(brand, str(shadow.version)), brand)


def _view(shadow: StoredShadow, counts: Mapping[Change, int]) -> ShadowView:
    return ShadowView(CHARTER.format(shadow.brand, str(shadow.version)), shadow.start_time, counts)


async def count_shadows(
    deps: Deps, tx: Transaction, decided: Iterable[tuple[RouteInput, Decision]], brands: Sequence[str]
) -> None:
    """Decide what was just decided by the shadows as well, and count."""
    shadows = await charter_store.shadows(tx.conn, brands)
    if not shadows:
        return
    charters = {b: await deps.shelf.version(tx.conn, b, shadow.version) for b, shadow in shadows.items()}
    counted: dict[str, Counter[Change]] = {brand: Counter() for brand in sorted(charters)}
    for entry, decision in decided:
        if entry.message.brand in charters:
            change = _shadowed(entry, decision, charters[entry.message.brand], tx.now)
            counted[entry.message.brand][change] += 1
    for brand, counts in counted.items():
        if counts:
            await charter_store.add_tallies(tx.conn, brand, counts)


def _shadowed(entry: RouteInput, decision: Decision, charter: CompiledCharter, now: datetime) -> Change:
    message = entry.message
    draw = draw_of(message.brand, message.id, message.edit_revision)
    return change_of(decision.ruling, decide(entry, charter, now, draw).ruling)
