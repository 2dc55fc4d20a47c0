"""The review queue: list, claim, release, resolve, undo, follow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Final

from apaise_kit.core import cursor
from apaise_kit.core.caller import current_caller
from apaise_kit.core.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    Reason,
    invalid_field,
    not_found,
)
from apaise_kit.core.labels import LABEL_SET
from apaise_kit.core.names import REVIEW_ITEM, WILDCARD
from apaise_kit.runtime.db import Transaction
from apaise_route.adapters import golden_store, store
from apaise_route.adapters.store import ItemFilter, ItemView
from apaise_route.app import golden
from apaise_route.app.archive import archive_named
from apaise_route.app.decisions import save
from apaise_route.app.deps import Deps
from apaise_route.app.paging import Follower, fitting, page_limit
from apaise_route.domain.charter import Charter
from apaise_route.domain.model import (
    Audience,
    Correction,
    Decision,
    Message,
    Opinion,
    Queue,
    Resolution,
    Review,
    ReviewItem,
    ReviewReason,
    ReviewState,
    Visibility,
)
from apaise_route.domain.thread import Thread, check_claim, check_etag, claimed_by_other, closed, draw_of

REVIEWED: Final = "review.made"
_SHORTEST: Final = timedelta(seconds=10)
_LONGEST: Final = timedelta(hours=1)
_USUAL: Final = timedelta(minutes=5)
_CLUSTER: Final = 200
_WAITING: Final = (ReviewState.OPEN, ReviewState.CLAIMED)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a resolution, or its undo, left behind."""

    item: ItemView
    review: Review
    decision: Decision


async def list_items(
    deps: Deps,
    brand: str,
    queue: Queue | None,
    state: ReviewState | None,
    reason: ReviewReason | None,
    page_size: int,
    page_token: str,
) -> tuple[list[ItemView], str]:
    """A page of items, most urgent first; `brand` may be "-".

    Raises:
        InvalidArgument: the page size or token is wrong.
    """
    limit, scope = page_limit(page_size), f"items {brand} {queue} {state} {reason}"
    position = cursor.decode(page_token, scope)
    after = (int(position["urgency"]), int(position["due"]), str(position["id"])) if position else None
    caller = current_caller()
    wanted = ItemFilter(caller.visible(brand), caller.actor, queue, (state,) if state else _WAITING, reason)
    async with deps.db.read() as conn:
        found = await store.page_of_items(conn, wanted, after, deps.clock.now(), limit + 1)
    page, token = found[: fitting([view.message for view, _ in found[:limit]])], ""
    if len(found) > len(page):
        urgency, due, item_id = page[-1][1]
        token = cursor.encode({"urgency": urgency, "due": due, "id": item_id}, scope)
    return [view for view, _ in page], token


async def get_item(deps: Deps, brand: str, item_id: str) -> tuple[ItemView, int]:
    """One item, and how many other waiting ones say the same.

    Raises:
        NotFound: it does not exist.
    """
    async with deps.db.read() as conn:
        item = await store.read_item(conn, brand, item_id)
        # A golden item is its one reader's alone.
        if item is None or item.for_actor not in ("", current_caller().actor):
            raise not_found(REVIEW_ITEM.format(brand, item_id))
        # Nothing is settled with a golden item, so nothing is promised either.
        same = [] if item.for_actor else await store.waiting_duplicates(conn, brand, item_id, _CLUSTER)
        return await store.view_item(conn, item), len(same)


async def claim_item(deps: Deps, brand: str, item_id: str, lease: timedelta | None, queue: Queue | None) -> ItemView:
    """Take an item for a while; "-" is the most urgent open one. Claiming one's own extends the lease.

    Raises:
        NotFound: it does not exist, or nothing is open.
        FailedPrecondition: someone else holds it, or nobody waits for it any more.
    """
    length = _USUAL if lease is None else lease
    if not _SHORTEST <= length <= _LONGEST:
        raise invalid_field("lease", "must be 10 seconds to 1 hour")
    async with deps.db.write() as tx:
        item = await _claimed(tx, brand, item_id, length, queue)
        tx.record("review_item.claimed", REVIEW_ITEM.format(item.brand, item.id), item.brand, {"version": item.version})
        return await store.view_item(tx.conn, item)


async def _claimed(tx: Transaction, brand: str, item_id: str, length: timedelta, queue: Queue | None) -> ReviewItem:
    until, actor = tx.now + length, tx.caller.actor
    if item_id == WILDCARD:
        wanted = ItemFilter(tx.caller.visible(brand), actor, queue, (ReviewState.OPEN,))
        item = await store.claim_most_urgent(tx.conn, wanted, actor, until, tx.now)
        if item is None:
            raise not_found(f"brands/{brand}/reviewItems/{WILDCARD}")
        return item
    item = await store.claim_item(tx.conn, brand, item_id, actor, until, tx.now)
    if item is not None:
        return item
    found = await _existing(tx, brand, item_id)
    if found.waiting and found.asked_by == actor:
        raise FailedPrecondition("You have looked at this one: somebody else is asked now.")
    raise claimed_by_other(found) if found.waiting else await _refused(tx, found)


async def _existing(tx: Transaction, brand: str, item_id: str) -> ReviewItem:
    return _seen(tx, await store.read_item(tx.conn, brand, item_id), REVIEW_ITEM.format(brand, item_id))


def _seen(tx: Transaction, item: ReviewItem | None, name: str) -> ReviewItem:
    """An item that is there for the caller: another's copy of a golden item is not."""
    if item is None or item.for_actor not in ("", tx.caller.actor):
        raise not_found(name)
    return item


async def _locked(tx: Transaction, brand: str, item_id: str) -> tuple[ReviewItem, Thread]:
    """An item and the thread it is about, locked."""
    item = await _existing(tx, brand, item_id)
    thread = await store.lock_thread(tx.conn, (brand, item.message))
    item = await store.lock_item(tx.conn, brand, item_id) or item
    return item, await golden.thread_of(tx, item, thread) if item.for_actor else thread


async def _refused(tx: Transaction, item: ReviewItem) -> FailedPrecondition:
    """Why an item nobody waits for cannot be worked on."""
    texts = await store.read_texts(tx.conn, [(item.brand, item.message, item.edit_revision)])
    if item.state is ReviewState.WITHDRAWN and any(stored.message.gone for stored in texts.values()):
        return FailedPrecondition("The message is gone: nothing is left to review.", reason=Reason.MESSAGE_GONE)
    return closed(item)


async def release_item(deps: Deps, brand: str, item_id: str, etag: str) -> ItemView:
    """Give a claimed item back.

    Raises:
        NotFound, Aborted, FailedPrecondition: as `resolve`.
    """
    async with deps.db.write() as tx:
        return await _freed(tx, await _held(tx, brand, item_id, etag), "review_item.released")


async def ask_second_opinion(
    deps: Deps, brand: str, item_id: str, etag: str, leaning: Visibility | None = None
) -> ItemView:
    """Give a claimed item back for anybody else, and keep what one leans to, to compare it with theirs.

    Raises:
        NotFound, Aborted, FailedPrecondition: as `resolve`.
        InvalidArgument: one leans to none of KEEP, HIDE, DELETE.
    """
    if leaning not in (None, Visibility.KEEP, Visibility.HIDE, Visibility.DELETE):
        raise invalid_field("leaning", "must be KEEP, HIDE or DELETE, or left out")
    async with deps.db.write() as tx:
        item = await _held(tx, brand, item_id, etag)
        asked = replace(item, reason=ReviewReason.SECOND_OPINION, asked_by=tx.caller.actor)
        view = await _freed(tx, asked, "review_item.second_opinion")
        if leaning is not None and not item.for_actor:  # nobody else ever answers a copy of a golden item
            clause = view.decision.ruling.clause
            opinion = Opinion(brand, deps.new_id(), item.id, item.message, tx.caller.actor, leaning, clause, tx.now)
            await store.add_opinion(tx.conn, opinion)
        return view


async def _held(tx: Transaction, brand: str, item_id: str, etag: str) -> ReviewItem:
    item = _seen(tx, await store.lock_item(tx.conn, brand, item_id), REVIEW_ITEM.format(brand, item_id))
    if not item.waiting:
        raise await _refused(tx, item)
    check_claim(item, tx.caller.actor, etag, tx.now, etag_required=False)
    return item


async def _freed(tx: Transaction, item: ReviewItem, kind: str) -> ItemView:
    free = replace(item, state=ReviewState.OPEN, claim_actor="", lease_expire_time=None, version=item.version + 1)
    await store.put_item(tx.conn, free)
    tx.record(kind, REVIEW_ITEM.format(item.brand, item.id), item.brand, {"version": free.version})
    return await store.view_item(tx.conn, free)


async def resolve_item(
    deps: Deps,
    brand: str,
    item_id: str,
    etag: str,
    resolution: Resolution,
    correction: Correction | None,
    request_id: str,
) -> Resolved:
    """Confirm, correct or skip a claimed item; the same request again gets the same answer.

    Raises:
        NotFound: the item does not exist.
        InvalidArgument: resolution and correction do not fit, or a label or clause is unknown.
        Aborted: the item changed since the etag was read.
        FailedPrecondition: the caller does not hold its lease, or it is closed.
        AlreadyExists: (REQUEST_ID_REUSED) this request id resolved something else.
    """
    _check_resolution(resolution, correction)
    request_digest = _digest(brand, item_id, resolution, correction)
    async with deps.db.write() as tx:
        item, thread = await _locked(tx, brand, item_id)
        done = await _done(tx, item, request_id)
        if done is not None:
            return await _again(tx, done, request_digest)
        if not item.waiting:
            raise await _refused(tx, item)
        check_claim(item, tx.caller.actor, etag, tx.now)
        charter = await deps.shelf.one_in_force(tx.conn, brand)
        _check_clause(correction, charter.charter)
        key = (brand, item.message, item.edit_revision)
        stored = (await store.read_texts(tx.conn, [key]))[key]
        clause = _deciding(thread)
        said = resolution, correction, stored.assessment, charter
        review = thread.resolve(item, *said, tx.caller.actor, tx.now, deps.new_id)
        again = thread.item is None and _drawn_again(item, resolution, deps.second_looks)
        if again:
            thread.look_again(item, tx.caller.actor, deps.second_looks, tx.now, deps.new_id)
        review = replace(review, second_look=again, request_id=request_id, request_digest=request_digest)
        resolved = await _keep(tx, thread, review)
        if not item.for_actor:
            await golden.deal(deps, tx, resolved.item.item)
        if correction is not None and review.decision_sequence and not item.for_actor:
            decision = thread.decisions[review.decision_sequence - 1]
            await archive_named(deps, tx, stored, decision, correction, charter.charter)
    _count(deps, thread, review, item, clause)
    return resolved


async def _done(tx: Transaction, item: ReviewItem, request_id: str) -> Review | None:
    """What this person made of this request before, if they did."""
    find = golden_store.answer_of_request if item.for_actor else store.review_of_request
    return await find(tx.conn, item.brand, tx.caller.actor, request_id)


async def _keep(tx: Transaction, thread: Thread, review: Review) -> Resolved:
    """Write what a person did. An answer to a golden item decides nothing and is announced to nobody."""
    item = thread.touched[review.review_item]
    if item.for_actor:
        await golden.keep_answer(tx, thread, review)
        view = await store.view_item(tx.conn, item)
        return Resolved(view, review, view.decision)
    await save(tx, [thread])
    return await _announce(tx, review, item)


def _count(deps: Deps, thread: Thread, review: Review, item: ReviewItem, clause: str) -> None:
    if not item.for_actor:
        deps.meter.decided(thread.added)
        deps.meter.reviewed(review, item, clause)


def _deciding(thread: Thread, before: int = 0) -> str:
    """The clause of the decision before a sequence, or of the one that holds."""
    return thread.decisions[before - 2 if before else -1].ruling.clause


def _drawn_again(item: ReviewItem, resolution: Resolution, share: float) -> bool:
    """Whether somebody else is to look as well: by chance alone, whatever read the message and whatever was said."""
    looked = item.reason is ReviewReason.AUDIT and resolution is not Resolution.SKIP
    return looked and draw_of(item.brand, item.id, item.edit_revision) < share


@dataclass(frozen=True, slots=True)
class Cluster:
    """What was resolved together: the item, its duplicates, and how many of those were left to others."""

    first: Resolved
    duplicates: Sequence[Review]
    left: int


async def resolve_duplicates(
    deps: Deps,
    brand: str,
    item_id: str,
    etag: str,
    resolution: Resolution,
    correction: Correction | None,
    request_id: str,
) -> Cluster:
    """Resolve a claimed item, then the waiting ones that say the same, each in its own transaction.

    Raises:
        InvalidArgument: SKIP, which says nothing about the others.
        NotFound, Aborted, FailedPrecondition, AlreadyExists: as `resolve`, for the item itself.
    """
    if resolution is Resolution.SKIP:
        raise invalid_field("resolution", "must be CONFIRM or CORRECT: a skip says nothing about duplicates")
    first = await resolve_item(deps, brand, item_id, etag, resolution, correction, request_id)
    # What somebody says of a golden item decides nothing, so nothing of the others either.
    golden_one = bool(first.item.item.for_actor)
    async with deps.db.read() as conn:
        ids = [] if golden_one else await store.waiting_duplicates(conn, brand, item_id, _CLUSTER)
    done: list[Review] = []
    for duplicate in ids:
        # Somebody holds it, or was faster: it is theirs.
        with suppress(FailedPrecondition, Aborted, NotFound):
            view = await claim_item(deps, brand, duplicate, None, None)
            version = str(view.item.version)
            done.append((await resolve_item(deps, brand, duplicate, version, resolution, correction, "")).review)
    return Cluster(first, done, len(ids) - len(done))


async def undo_resolution(deps: Deps, brand: str, item_id: str, etag: str) -> Resolved:
    """Take the last resolution of an item back.

    Raises:
        NotFound: the item does not exist.
        Aborted: the item changed since the etag was read.
        FailedPrecondition: the item is not resolved, or its message is gone.
    """
    async with deps.db.write() as tx:
        item, thread = await _locked(tx, brand, item_id)
        last = await (golden.last_answer(tx, item) if item.for_actor else store.last_review(tx.conn, item))
        if item.state is not ReviewState.RESOLVED or last is None:
            raise FailedPrecondition(
                f"{REVIEW_ITEM.format(brand, item_id)} is not resolved: there is nothing to undo.",
                metadata={"state": item.state.name},
            )
        check_etag(item, etag)
        charter = await deps.shelf.one_in_force(tx.conn, brand)
        clause = _deciding(thread, last.decision_sequence)
        review = thread.undo(item, last, charter, tx.caller.actor, tx.now, deps.new_id)
        resolved = await _keep(tx, thread, review)
    _count(deps, thread, review, item, clause)
    return resolved


async def _announce(tx: Transaction, review: Review, item: ReviewItem) -> Resolved:
    await store.add_review(tx.conn, review)
    tx.record(REVIEWED, review_name(review), review.brand, {"resolution": review.resolution.name})
    view = await store.view_item(tx.conn, item)
    return Resolved(view, review, view.decision)


async def _again(tx: Transaction, done: Review, request_digest: str) -> Resolved:
    if done.request_digest != request_digest:
        raise AlreadyExists(
            "This request_id was used for another resolution. Send a fresh one.", reason=Reason.REQUEST_ID_REUSED
        )
    item = await _existing(tx, done.brand, done.review_item)
    view = await store.view_item(tx.conn, item)
    key = (done.brand, done.message, done.decision_sequence)
    made = {} if item.for_actor else await store.read_decisions(tx.conn, [key])
    decision = made.get(key, view.decision)
    return Resolved(view, done, decision)


def _check_resolution(resolution: Resolution, correction: Correction | None) -> None:
    if resolution is Resolution.CORRECT and correction is None:
        raise invalid_field("correction", "say what is right instead, or send CONFIRM")
    if resolution is not Resolution.CORRECT and correction is not None:
        raise invalid_field("correction", "goes with CORRECT only")
    for label in correction.labels if correction else ():
        if label not in LABEL_SET:
            close = get_close_matches(label, LABEL_SET, n=1)
            hint = f"did you mean {close[0]}?" if close else "see the registry of labels"
            raise invalid_field("correction.labels", f"holds a label that does not exist; {hint}")


def _check_clause(correction: Correction | None, charter: Charter) -> None:
    ids = [clause.id for clause in charter.clauses]
    if correction is not None and correction.clause and correction.clause not in ids:
        close = get_close_matches(correction.clause, ids, n=1)
        hint = f"did you mean {close[0]}?" if close else "read the active charter"
        raise invalid_field("correction.clause", f"is not a clause of the charter in force; {hint}")


def _digest(brand: str, item_id: str, resolution: Resolution, correction: Correction | None) -> str:
    said = [int(correction.visibility), sorted(correction.labels.items()), correction.clause] if correction else None
    content = json.dumps([brand, item_id, int(resolution), said], separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def review_name(review: Review) -> str:
    """Resource name of a review."""
    return f"brands/{review.brand}/reviews/{review.id}"


async def follow_reviews(
    deps: Deps, brand: str, token: str
) -> AsyncGenerator[tuple[tuple[Review, Message, Audience] | None, str]]:
    """Every review in commit order with the cursor after it; first of all, None with the cursor of the start.

    A message that may not train comes without its text.

    Raises:
        NotFound: the caller does not see the brand.
        OutOfRange: the cursor is older than what is kept.
    """
    follower = Follower(deps.db, REVIEWED, brand)
    start = await follower.start(token)
    yield None, follower.cursor(start)
    async for events in follower.batches(start):
        keys = [(event.brand, event.resource.rpartition("/")[2]) for event in events]
        async with deps.db.read() as conn:
            found = await store.read_reviews(conn, keys)
            texts = await store.read_texts(conn, [(r.brand, r.message, r.edit_revision) for r in found.values()])
        for event, key in zip(events, keys, strict=True):
            review = found[key]
            stored = texts[review.brand, review.message, review.edit_revision]
            yield (review, _teachable(stored), stored.audience), follower.cursor(event.sequence)


def _teachable(stored: store.StoredText) -> Message:
    if stored.may_train:
        return stored.message
    silent = tuple(replace(attachment, alt_text="") for attachment in stored.message.attachments)
    return replace(stored.message, text="", attachments=silent)
