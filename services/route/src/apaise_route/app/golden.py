"""Golden items: what leads put in, who is given them, what becomes of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.core import cursor
from apaise_kit.core.errors import FailedPrecondition, Reason, invalid_field, not_found
from apaise_kit.core.ids import id_at
from apaise_kit.core.names import GOLDEN_ITEM, MESSAGE, REVIEW_ITEM
from apaise_kit.runtime.db import Transaction
from apaise_route.adapters import golden_store, store
from apaise_route.app.deps import Deps
from apaise_route.app.paging import fitting, page_limit
from apaise_route.domain.golden import (
    GoldenAnswer,
    GoldenItem,
    Tally,
    copy_for,
    draw_from,
    is_drawn,
    is_right,
    least_between,
    machine_decision,
    opened_beside,
    thread_of_copy,
)
from apaise_route.domain.harm import expected_harm
from apaise_route.domain.model import (
    Decision,
    Message,
    Queue,
    Resolution,
    Review,
    ReviewItem,
    ReviewReason,
    Visibility,
)
from apaise_route.domain.thread import Thread

_ANSWERS: Final = (Resolution.CONFIRM, Resolution.CORRECT)
_NOBODY: Final = Tally(0, 0)


@dataclass(frozen=True, slots=True)
class GoldenView:
    """A golden item, its message, and how it was answered."""

    golden: GoldenItem
    message: Message
    tally: Tally


async def add_golden_item(deps: Deps, brand: str, message: str, right: Visibility) -> GoldenView:
    """Put a message whose right answer is known among what reviewers see. The same again changes nothing.

    Raises:
        NotFound: the message was never decided.
        InvalidArgument: the answer is none: KEEP, HIDE or DELETE are.
        FailedPrecondition: it waits for review, is gone, or is golden with the other answer.
    """
    if right not in (Visibility.KEEP, Visibility.HIDE, Visibility.DELETE):
        raise invalid_field("golden_item.visibility", "must be KEEP, HIDE or DELETE: a hold is no answer")
    async with deps.db.write() as tx:
        thread = await store.lock_thread(tx.conn, (brand, message))
        if not thread.decisions:
            raise not_found(MESSAGE.format(brand, message))
        known = await golden_store.of_message(tx.conn, brand, message)
        if known is None:
            known = await _new(deps, tx, thread, right)
            await golden_store.add(tx.conn, known)
            tx.record("golden_item.added", GOLDEN_ITEM.format(brand, known.id), brand)
        elif not is_right(right, known.visibility):
            raise FailedPrecondition("It is golden with the other answer. Agree on one; withdraw it to change it.")
        return (await _views(tx.conn, [known]))[0]


async def _new(deps: Deps, tx: Transaction, thread: Thread, right: Visibility) -> GoldenItem:
    decision = machine_decision(thread)
    if decision is None:
        raise FailedPrecondition("The message is gone: nothing is left to review.", reason=Reason.MESSAGE_GONE)
    if thread.item is not None:
        raise FailedPrecondition("The message waits for review. Resolve its item first.")
    reason, probability = await _why(deps, tx, decision)
    ruling, key = decision.ruling, (thread.brand, thread.message, decision.edit_revision)
    stored = (await store.read_texts(tx.conn, [key]))[key]
    # Counted anew: decisions of earlier releases do not carry it.
    harm = expected_harm(stored.assessment, stored.channel, ruling.visibility) if stored.channel else ruling.harm
    return GoldenItem(
        brand=thread.brand,
        id=deps.new_id(),
        message=thread.message,
        edit_revision=decision.edit_revision,
        sequence=decision.sequence,
        visibility=right,
        clause=ruling.clause,
        reason=reason,
        sampling_probability=probability,
        queue=ruling.queue or Queue.MODERATOR,
        priority=ruling.priority,
        harm=harm,
        decide_time=decision.create_time,
        create_actor=tx.caller.actor,
        create_time=tx.now,
    )


async def _why(deps: Deps, tx: Transaction, decision: Decision) -> tuple[ReviewReason, float]:
    """Why a message like this one is in a queue: as it was, or drawn at random where that is done."""
    was = await store.read_item(tx.conn, decision.brand, decision.review_item)
    if was is not None and was.reason is not ReviewReason.SECOND_OPINION:
        return was.reason, was.sampling_probability
    share = (await deps.shelf.one_in_force(tx.conn, decision.brand)).charter.audit_share
    return (ReviewReason.AUDIT, share) if was is None and share > 0 else (ReviewReason.CLAUSE, 1.0)


async def list_golden_items(deps: Deps, brand: str, page_size: int, page_token: str) -> tuple[list[GoldenView], str]:
    """A page of a brand's golden items, newest first, withdrawn ones among them.

    Raises:
        InvalidArgument: the page size or token is wrong.
    """
    limit, scope = page_limit(page_size), f"golden {brand}"
    position = cursor.decode(page_token, scope)
    before = str(position["id"]) if position else None
    async with deps.db.read() as conn:
        found = await golden_store.page(conn, brand, before, limit + 1)
        views = await _views(conn, found[:limit])
    page = views[: fitting([view.message for view in views])]
    return page, cursor.encode({"id": page[-1].golden.id}, scope) if len(found) > len(page) else ""


async def withdraw_golden_item(deps: Deps, brand: str, golden_id: str) -> GoldenView:
    """End a golden item: nobody is given it any more, and its answers no longer count. One that is ended stays so.

    Raises:
        NotFound: it does not exist.
    """
    async with deps.db.write() as tx:
        if await golden_store.withdraw(tx.conn, (brand, golden_id), tx.now):
            tx.record("golden_item.withdrawn", GOLDEN_ITEM.format(brand, golden_id), brand)
        found = await golden_store.read(tx.conn, (brand, golden_id))
        if found is None:
            raise not_found(GOLDEN_ITEM.format(brand, golden_id))
        return (await _views(tx.conn, [found]))[0]


async def _views(conn: AsyncConnection, found: Sequence[GoldenItem]) -> list[GoldenView]:
    texts = await store.read_texts(conn, [(g.brand, g.message, g.edit_revision) for g in found])
    counts = await golden_store.tallies(conn, [(g.brand, g.id) for g in found])
    return [
        GoldenView(g, texts[g.brand, g.message, g.edit_revision].message, counts.get((g.brand, g.id), _NOBODY))
        for g in found
    ]


# -- the reviewer's side


async def thread_of(tx: Transaction, item: ReviewItem, thread: Thread) -> Thread:
    """A copy's thread, made of its message's."""
    golden = await golden_store.of_copy(tx.conn, item)
    answers = await golden_store.answers(tx.conn, item.brand, item.id)
    return thread_of_copy(thread, item, golden, answers)


async def keep_answer(tx: Transaction, thread: Thread, review: Review) -> ReviewItem:
    """Keep an answer, or its undo: apart from reviews and decisions, so that it moves and teaches nothing."""
    item = thread.touched[review.review_item]
    golden = await golden_store.of_copy(tx.conn, item)
    answered = review.resolution in _ANSWERS
    right = is_right(review.visibility_after, golden.visibility) if answered else None
    decision = thread.added[-1] if thread.added else None
    await golden_store.add_answer(tx.conn, GoldenAnswer(review, golden.id, right, decision))
    await store.put_item(tx.conn, item)
    tx.record("golden_item.answered", REVIEW_ITEM.format(item.brand, item.id), item.brand)
    return item


async def last_answer(tx: Transaction, item: ReviewItem) -> Review | None:
    """The last resolution of a copy."""
    last = golden_store.last_resolution(await golden_store.answers(tx.conn, item.brand, item.id))
    return last.review if last else None


async def deal(deps: Deps, tx: Transaction, done: ReviewItem) -> None:
    """Perhaps give whoever just resolved an item a golden one, in its place."""
    actor, share = tx.caller.actor, deps.golden_share
    if not is_drawn(share, draw_from(deps.new_id())) or not await golden_store.alone(tx.conn, done.brand, actor):
        return
    least = least_between(share)
    if await golden_store.resolved_since_last(tx.conn, done.brand, actor, least) < least:
        return
    await golden_store.end_asked(tx.conn, done.brand, actor)
    chosen = await golden_store.candidate(tx.conn, done, actor, deps.new_id())
    if chosen is None:
        return
    key = (chosen.brand, chosen.message, chosen.sequence)
    decision = (await store.read_decisions(tx.conn, [key]))[key]
    opened = opened_beside(done, tx.now, draw_from(deps.new_id()))
    copy = copy_for(chosen, decision, actor, opened, id_at(opened))
    await store.put_item(tx.conn, copy)
    await golden_store.add_deal(tx.conn, chosen, copy, tx.now)
    tx.record("golden_item.dealt", GOLDEN_ITEM.format(chosen.brand, chosen.id), chosen.brand)
