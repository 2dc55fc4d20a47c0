"""The archive of what is illegal: filled in the transaction that decides, read by the legal role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from apaise_kit.core import cursor
from apaise_kit.core.caller import current_caller
from apaise_kit.core.errors import not_found
from apaise_kit.core.names import EXHIBIT
from apaise_kit.runtime.db import Transaction
from apaise_route.adapters import archive as store
from apaise_route.adapters.store import StoredText
from apaise_route.app.deps import Deps
from apaise_route.app.paging import page_limit
from apaise_route.domain.archive import Exhibit, Standing, exhibit_of, illegal_clauses, names_illegal, unlawful
from apaise_route.domain.charter import Charter, CompiledCharter
from apaise_route.domain.model import Correction, Decision, RouteInput

ARCHIVED: Final = "exhibit.archived"
READ: Final = "exhibit.read"


async def archive_decided(
    deps: Deps,
    tx: Transaction,
    decided: Iterable[tuple[RouteInput, Decision]],
    charters: Mapping[str, CompiledCharter],
) -> None:
    """Archive what an illegal clause found among new decisions, whatever became of it."""
    illegal = {brand: illegal_clauses(compiled.charter) for brand, compiled in charters.items()}
    found = [
        exhibit_of(entry.message, entry.channel, entry.assessment, decision, clause, deps.new_id)
        for entry, decision in decided
        if (clause := unlawful(decision, illegal[decision.brand]))
    ]
    await _add(tx, found)


async def archive_named(
    deps: Deps, tx: Transaction, stored: StoredText, decision: Decision, said: Correction, charter: Charter
) -> None:
    """Archive a message when a person took it down by naming an illegal clause."""
    if names_illegal(said, charter):
        place = stored.message, stored.channel, stored.assessment
        await _add(tx, [exhibit_of(*place, decision, said.clause, deps.new_id)])


async def _add(tx: Transaction, found: list[Exhibit]) -> None:
    await store.add_exhibits(tx.conn, found)
    for exhibit in found:
        tx.record(ARCHIVED, exhibit.name, exhibit.brand, {"digest": exhibit.digest})


async def list_exhibits(deps: Deps, brand: str, page_size: int, page_token: str) -> tuple[list[Standing], str]:
    """A page of the archive, newest first; `brand` may be "-".

    Raises:
        InvalidArgument: the page size or token is wrong.
    """
    limit, scope = page_limit(page_size), f"exhibits {brand}"
    position = cursor.decode(page_token, scope)
    before = (datetime.fromisoformat(str(position["time"])), str(position["id"])) if position else None
    async with deps.db.read() as conn:
        found = await store.page_of_exhibits(conn, current_caller().visible(brand), before, limit + 1)
    page = found[:limit]
    if len(found) <= limit:
        return page, ""
    last = page[-1].exhibit
    return page, cursor.encode({"time": last.create_time.isoformat(), "id": last.id}, scope)


async def get_exhibit(deps: Deps, brand: str, exhibit_id: str) -> Standing:
    """One exhibit; that it was read, and by whom, is recorded.

    Raises:
        NotFound: it does not exist.
    """
    async with deps.db.write() as tx:
        found = await store.read_exhibit(tx.conn, brand, exhibit_id)
        if found is None:
            raise not_found(EXHIBIT.format(brand, exhibit_id))
        tx.record(READ, found.exhibit.name, brand, {"digest": found.exhibit.digest})
    return found
