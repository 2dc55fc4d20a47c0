"""Replies without a person, where a charter gives that leave: from approved answers, by the return leg of a case."""

from __future__ import annotations

from apaise_kit.core.errors import ApaiseError, FailedPrecondition, NotFound
from apaise_kit.runtime.logs import get_logger
from apaise_route.adapters import case_store, store
from apaise_route.app.cases import reply_at_once
from apaise_route.app.decisions import DECIDED
from apaise_route.app.deps import Deps
from apaise_route.app.replies import approved_draft, would_show
from apaise_route.app.replying import Owed, owed_a_reply
from apaise_route.domain.alone import may_reply_alone
from apaise_route.domain.answers import LEAD_ALONE
from apaise_route.domain.replies import Draft

_log = get_logger(__name__)


async def reply_alone(deps: Deps) -> None:
    """Answer what is decided from now on, where charters let it; never ends by itself.

    What is decided while nobody listens, or while hours are closed or a quota is spent, waits for a person.

    Raises:
        Unavailable: the database does not answer.
    """
    async for events in deps.db.follow(await deps.db.last_sequence(), (DECIDED,), poll=1.0):
        async with deps.db.read() as conn:
            charters = await deps.shelf.in_force(conn, {event.brand for event in events})
        for event in events:
            if charters[event.brand].charter.replies.intents:
                await _try(deps, event.brand, event.resource.split("/")[3])


async def _try(deps: Deps, brand: str, message: str) -> None:
    try:
        await reply_to(deps, brand, message)
    except ApaiseError as error:
        _log.warning("reply_left_to_a_person", reason=error.reason.value)


async def reply_to(deps: Deps, brand: str, message: str) -> bool:
    """Answer one message, if its charter, the brand's answers and the platform let it; whether it was.

    Raises:
        Unavailable: classify or the database does not answer.
    """
    owed = await _owed(deps, (brand, message))
    if owed is None or not may_reply_alone(owed.charter.charter, owed.asked, owed.decision, deps.clock.now()):
        return False
    found = await approved_draft(deps, owed, owed.decision.ruling.reply_posture, LEAD_ALONE)
    if found is None or not await would_show(deps, owed, found):
        return False
    return await _send(deps, owed, found)


async def _owed(deps: Deps, key: tuple[str, str]) -> Owed | None:
    async with deps.db.read() as conn:
        try:
            owed = await owed_a_reply(deps, conn, key)
        except (NotFound, FailedPrecondition):
            return None
    return owed if owed.stored.channel is not None else None


async def _send(deps: Deps, owed: Owed, found: Draft) -> bool:
    brand, quota = owed.decision.brand, owed.charter.charter.replies.quota
    async with deps.db.write() as tx:
        # One at a time by brand, so that the quota counts them all.
        await store.lock_brand_charters(tx.conn, brand)
        await store.lock_threads(tx.conn, [(brand, owed.decision.message)])
        again = await owed_a_reply(deps, tx.conn, (brand, owed.decision.message))
        if again.decision.sequence != owed.decision.sequence or again.charter is not owed.charter:
            return False
        if await case_store.replies_by(tx.conn, brand, tx.caller.actor, tx.now - quota.per) >= quota.actions:
            return False
        note = f"Sent without a person, as the charter lets it: {found.answer}, {found.similarity:.3f} near."
        return await reply_at_once(deps, tx, owed.decision, owed.stored, found.text, note)
