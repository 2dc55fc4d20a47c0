"""Deciding, reading decisions, following them, and hearing what platforms made of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from apaise_kit.core import cursor
from apaise_kit.core.caller import current_caller
from apaise_kit.core.errors import ApaiseError, InvalidArgument, Reason, not_found
from apaise_kit.runtime.db import Transaction
from apaise_route.adapters import answer_store, case_store, charter_store, store
from apaise_route.app import cases
from apaise_route.app.archive import archive_decided
from apaise_route.app.deps import Deps
from apaise_route.app.paging import Follower, page_limit
from apaise_route.app.shadows import count_shadows
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.model import Decision, Ground, Outcome, RouteInput, Visibility, decision_name
from apaise_route.domain.thread import Thread

MAX_BATCH: Final = 500
DECIDED: Final = "decision.made"
REPORTED: Final = "outcome.reported"

Entry = RouteInput | ApaiseError
Answer = Decision | ApaiseError


async def batch_route(deps: Deps, entries: Sequence[Entry]) -> list[Answer]:
    """Decide a batch in one transaction; each entry gets its decision or its own refusal, in order.

    Raises:
        InvalidArgument: the batch is empty or over the limit.
        Unavailable: the database does not answer; the whole batch may be sent again.
    """
    if not 0 < len(entries) <= MAX_BATCH:
        raise InvalidArgument(
            f"inputs: 1 to {MAX_BATCH} messages; split the batch",
            reason=Reason.BATCH_TOO_LARGE if entries else Reason.INVALID_FIELD,
            metadata={"limit": str(MAX_BATCH)},
        )
    caller = current_caller()
    answers: list[Answer] = [e if isinstance(e, ApaiseError) else not_found(e.message.name) for e in entries]
    routable = [(i, e) for i, e in enumerate(entries) if isinstance(e, RouteInput) and caller.sees(e.message.brand)]
    if not routable:
        return answers
    async with deps.db.write() as tx:
        keys = dict.fromkeys((e.message.brand, e.message.id) for _, e in routable)
        locked = await store.lock_threads(tx.conn, keys)
        threads = {key: locked[key] for key in keys}  # announced in the order they came
        brands = sorted({e.message.brand for _, e in routable})
        charters = await _charters(deps, tx, brands)
        spent = await Spending.read(tx, charters)
        decided = []
        # Older revisions first, so that a batch holding two of them decides both.
        for index, entry in sorted(routable, key=lambda pair: pair[1].message.edit_revision):
            message = entry.message
            thread, before = threads[message.brand, message.id], len(threads[message.brand, message.id].added)
            decision = thread.route(entry, charters[message.brand], tx.now, deps.new_id, spent.of(entry))
            answers[index] = decision
            if len(thread.added) > before and not message.gone:
                spent.add(decision)
                decided.append((entry, decision))
        await save(tx, list(threads.values()))
        await archive_decided(deps, tx, decided, charters)
        await cases.open_owed(deps, tx, [decision for thread in threads.values() for decision in thread.added])
        await count_shadows(deps, tx, decided, brands)
    deps.meter.decided([decision for thread in threads.values() for decision in thread.added])
    return answers


async def _charters(deps: Deps, tx: Transaction, brands: Sequence[str]) -> dict[str, CompiledCharter]:
    """The charters in force, with the words added while an event runs."""
    charters = await deps.shelf.in_force(tx.conn, brands)
    live = await charter_store.live_lists(tx.conn, brands, tx.now)
    return {brand: charter.with_words(live.get(brand, {})) for brand, charter in charters.items()}


class Spending:
    """What the machine took down lately by channel, for the quotas. Concurrent batches do not see each other's."""

    def __init__(self, counts: dict[tuple[timedelta, str, str], int], charters: Mapping[str, CompiledCharter]) -> None:
        """`counts` by time looked back, brand and channel."""
        self._counts = counts
        self._charters = charters

    @classmethod
    async def read(cls, tx: Transaction, charters: Mapping[str, CompiledCharter]) -> Spending:
        """Count what was taken down within each quota's time; nothing is read where there is no quota."""
        times: dict[timedelta, set[str]] = {}
        for brand, compiled in charters.items():
            for quota in compiled.charter.quotas():
                times.setdefault(quota.per, set()).add(brand)
        counts: dict[tuple[timedelta, str, str], int] = {}
        for per, brands in times.items():
            found = await charter_store.taken_down(tx.conn, sorted(brands), tx.now - per)
            counts |= {(per, *place): number for place, number in found.items()}
        return cls(counts, charters)

    def of(self, entry: RouteInput) -> int:
        """What is spent of the quota in force for a message."""
        quota = self._charters[entry.message.brand].charter.here(entry.channel, entry.message).quota
        return self._counts.get((quota.per, entry.message.brand, entry.message.channel), 0) if quota else 0

    def add(self, decision: Decision) -> None:
        """Count what was just decided."""
        if decision.ruling.visibility <= Visibility.HOLD or decision.ruling.ground is Ground.ILLEGAL:
            return
        for quota in {quota.per for quota in self._charters[decision.brand].charter.quotas()}:
            key = (quota, decision.brand, decision.channel)
            self._counts[key] = self._counts.get(key, 0) + 1


async def save(tx: Transaction, threads: Sequence[Thread]) -> None:
    """Write what threads grew by and announce every new decision."""
    await store.save_threads(tx.conn, threads, tx.now)
    for thread in threads:
        if thread.blanked:
            await case_store.blank_texts(tx.conn, thread.brand, thread.message)
            await answer_store.forget_message(tx.conn, thread.brand, thread.message)
        for decision in thread.added:
            tx.record(DECIDED, decision.name, decision.brand, {"cause": decision.cause.name})


async def get_decision(deps: Deps, key: store.DecisionKey) -> Decision:
    """One decision.

    Raises:
        NotFound: it does not exist.
    """
    async with deps.db.read() as conn:
        found = await store.read_decisions(conn, [key])
    if key not in found:
        raise not_found(decision_name(*key))
    return found[key]


async def list_decisions(
    deps: Deps, brand: str, message: str | None, page_size: int, page_token: str
) -> tuple[list[Decision], str]:
    """A page of a message's sequence, or of a brand's decisions when `message` is None; newest first.

    Raises:
        NotFound: the message was never decided.
        InvalidArgument: the page size or token is wrong.
    """
    limit, scope = page_limit(page_size), f"decisions {brand}/{message or '-'}"
    position = cursor.decode(page_token, scope)
    async with deps.db.read() as conn:
        if message is not None:
            before = int(position["sequence"]) if position else None
            found = await store.page_of_message(conn, (brand, message), before, limit + 1)
        else:
            found = await store.page_of_brand(conn, brand, _position(position), limit + 1)
    if message is not None and not found and not position:
        raise not_found(f"brands/{brand}/messages/{message}")
    page, more = found[:limit], len(found) > limit
    return page, cursor.encode(_after(page[-1]), scope) if more else ""


def _position(values: dict[str, str | int]) -> tuple[datetime, str, int] | None:
    if not values:
        return None
    return datetime.fromisoformat(str(values["time"])), str(values["message"]), int(values["sequence"])


def _after(decision: Decision) -> dict[str, str | int]:
    return {
        "time": decision.create_time.isoformat(),
        "message": decision.message,
        "sequence": decision.sequence,
    }


async def follow_decisions(deps: Deps, brand: str, token: str) -> AsyncGenerator[tuple[Decision | None, str]]:
    """Every decision in commit order with the cursor after it; first of all, None with the cursor of the start.

    Raises:
        NotFound: the caller does not see the brand.
        OutOfRange: the cursor is older than what is kept.
    """
    follower = Follower(deps.db, DECIDED, brand)
    start = await follower.start(token)
    yield None, follower.cursor(start)
    async for events in follower.batches(start):
        keys = [_key_of(event.resource) for event in events]
        async with deps.db.read() as conn:
            found = await store.read_decisions(conn, keys)
        for event, key in zip(events, keys, strict=True):
            yield found[key], follower.cursor(event.sequence)


def _key_of(resource: str) -> store.DecisionKey:
    _, brand, _, message, _, sequence = resource.split("/")
    return brand, message, int(sequence)


async def report_outcome(deps: Deps, key: store.DecisionKey, outcome: Outcome) -> Decision:
    """Keep what the publishing tool reports, each state once.

    Raises:
        NotFound: the decision does not exist.
    """
    async with deps.db.write() as tx:
        if key not in await store.read_decisions(tx.conn, [key]):
            raise not_found(decision_name(*key))
        if await store.add_outcome(tx.conn, key, outcome, tx.caller.actor):
            tx.record(REPORTED, decision_name(*key), key[0], {"state": outcome.state.name})
        return (await store.read_decisions(tx.conn, [key]))[key]
