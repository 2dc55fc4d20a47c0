"""Keeping, checking and activating charters."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.core import cursor
from apaise_kit.core.errors import Aborted, FailedPrecondition, InvalidArgument, Reason, Violation, not_found
from apaise_kit.core.names import CHARTER
from apaise_route.adapters import store
from apaise_route.adapters.charter_yaml import DEFAULT_VERSION, as_fields, default_source, digest, read_charter
from apaise_route.adapters.store import InForce, StoredCharter
from apaise_route.app.deps import Deps
from apaise_route.app.paging import page_limit
from apaise_route.domain.charter import Problem, Severity
from apaise_route.domain.model import HOUSE_CHARTERS

ACTIVE: Final = "active"
_LARGEST_PAGE: Final = 10  # a text has up to 256 KiB and a gRPC message 4 MiB
_NEVER_CHANGED: Final = InForce(0, 0)


@dataclass(frozen=True, slots=True)
class CharterView:
    """One version as callers see it: `etag` is the brand's, it changes with each activation."""

    name: str
    source: str
    digest: str
    active: bool
    create_actor: str
    create_time: datetime | None
    etag: str


async def lint_charter(source: str) -> list[Problem]:
    """The problems of a text, by line; keeps nothing."""
    return (await asyncio.to_thread(read_charter, source)).problems


async def create_charter(deps: Deps, brand: str, source: str) -> tuple[CharterView, list[Problem]]:
    """Keep a new version, or find the one that has this text already; its warnings beside it.

    Raises:
        InvalidArgument: (CHARTER_INVALID) with each problem's line.
    """
    read = await asyncio.to_thread(read_charter, source)
    if read.errors or read.charter is None:
        raise InvalidArgument(
            f"The charter does not compile: {len(read.errors)} problem(s); mend them by line and send it again.",
            reason=Reason.CHARTER_INVALID,
            violations=[Violation(*pair) for pair in as_fields(read.errors)],
        )
    warnings = [problem for problem in read.problems if problem.severity is Severity.WARNING]
    async with deps.db.write() as tx:
        await store.lock_brand_charters(tx.conn, brand)
        current = (await store.in_force(tx.conn, [brand])).get(brand, _NEVER_CHANGED)
        kept = await store.charter_with_digest(tx.conn, brand, digest(source))
        if kept is None:
            version = await store.newest_version(tx.conn, brand) + 1
            kept = StoredCharter(brand, version, source, digest(source), tx.caller.actor, tx.now)
            await store.add_charter(tx.conn, kept)
            tx.record("charter.created", CHARTER.format(brand, str(version)), brand, {"digest": kept.digest})
    return _view(kept, current), warnings


async def get_charter(deps: Deps, brand: str, version: str) -> CharterView:
    """One version, or the one in force for "active".

    Raises:
        NotFound: there is no such version.
    """
    async with deps.db.read() as conn:
        current = (await store.in_force(conn, [brand])).get(brand, _NEVER_CHANGED)
        if version == ACTIVE and current.version == 0:
            return _default(current)
        wanted = current.version if version == ACTIVE else version_number(version)
        stored = await store.read_charter(conn, brand, wanted)
    if stored is None:
        raise not_found(f"brands/{brand}/charters/{version}")
    return _view(stored, current)


async def list_charters(deps: Deps, brand: str, page_size: int, page_token: str) -> tuple[list[CharterView], str]:
    """A page of a brand's versions, newest first.

    Raises:
        InvalidArgument: the page size or token is wrong.
    """
    limit, scope = min(page_limit(page_size), _LARGEST_PAGE), f"charters {brand}"
    position = cursor.decode(page_token, scope)
    async with deps.db.read() as conn:
        current = (await store.in_force(conn, [brand])).get(brand, _NEVER_CHANGED)
        before = int(position["version"]) if position else None
        found = await store.page_of_charters(conn, brand, before, limit + 1)
    page = found[:limit]
    token = cursor.encode({"version": page[-1].version}, scope) if len(found) > limit else ""
    return [_view(stored, current) for stored in page], token


async def activate_charter(deps: Deps, brand: str, version: str, etag: str) -> CharterView:
    """Put a version in force for every message decided from now on; the one in force already stays so.

    Raises:
        NotFound: there is no such version.
        Aborted: another one was put in force since the etag was read.
    """
    async with deps.db.write() as tx:
        await store.lock_brand_charters(tx.conn, brand)
        stored = await store.read_charter(tx.conn, brand, version_number(version))
        if stored is None:
            raise not_found(f"brands/{brand}/charters/{version}")
        current = (await store.in_force(tx.conn, [brand])).get(brand, _NEVER_CHANGED)
        if etag and etag != _etag(current):
            raise Aborted("Another charter was put in force meanwhile. Read the active one, then decide again.")
        if current.version != stored.version:
            current = InForce(stored.version, current.generation + 1, current.version)
            await store.set_in_force(tx.conn, brand, current)
            tx.record("charter.activated", CHARTER.format(brand, version), brand, {"generation": current.generation})
    return _view(stored, current)


async def rollback_charter(deps: Deps, brand: str, etag: str) -> CharterView:
    """Put the version in force again that was before the present one; the default charter when there was none.

    Raises:
        FailedPrecondition: the brand never had another charter than the default one.
        Aborted: another one was put in force since the etag was read.
    """
    async with deps.db.write() as tx:
        await store.lock_brand_charters(tx.conn, brand)
        current = (await store.in_force(tx.conn, [brand])).get(brand, _NEVER_CHANGED)
        if current.generation == 0:
            raise FailedPrecondition("This brand lives by the default charter: there is nothing to go back to.")
        if etag and etag != _etag(current):
            raise Aborted("Another charter was put in force meanwhile. Read the active one, then decide again.")
        current = InForce(current.previous, current.generation + 1, current.version)
        await store.set_in_force(tx.conn, brand, current)
        view = await _active(tx.conn, brand, current)
        tx.record("charter.rolled_back", view.name, brand, {"generation": current.generation})
    return view


async def _active(conn: AsyncConnection, brand: str, current: InForce) -> CharterView:
    """The version in force, the default one included."""
    stored = await store.read_charter(conn, brand, current.version) if current.version else None
    return _view(stored, current) if stored else _default(current)


def version_number(version: str) -> int:
    """The number of a version as callers write it; 0 for what is none."""
    # A version that is not a small number is one that does not exist.
    return int(version) if version.isascii() and version.isdigit() and len(version) < 9 else 0


def _etag(current: InForce) -> str:
    return str(current.generation)


def _view(stored: StoredCharter, current: InForce) -> CharterView:
    return CharterView(
        name=CHARTER.format(stored.brand, str(stored.version)),
        source=stored.source,
        digest=stored.digest,
        active=stored.version == current.version,
        create_actor=stored.create_actor,
        create_time=stored.create_time,
        etag=_etag(current),
    )


def _default(current: InForce) -> CharterView:
    source = default_source()
    name = f"{HOUSE_CHARTERS}/charters/{DEFAULT_VERSION}"
    return CharterView(name, source, digest(source), True, "apaise", None, _etag(current))
