"""Telling desks by webhook what happens to their cases: at least once, signed, with the same key each time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from apaise_kit.runtime.logs import get_logger
from apaise_route.adapters import case_store, store
from apaise_route.adapters.case_store import Delivery, DeliveryState
from apaise_route.adapters.desks import Desk
from apaise_route.app import cases
from apaise_route.app.deps import Deps
from apaise_route.domain.cases import Case, CaseFile, Entry
from apaise_route.domain.model import Decision, Message
from apaise_route.domain.webhooks import next_attempt, sign

_BATCH: Final = 20
# Longer than the patience of one attempt: whoever died while sending is taken over.
_LEASE: Final = timedelta(seconds=60)
_log = get_logger(__name__)


class Post(Protocol):
    """Sends one webhook."""

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer, 0 when there was none."""
        ...


async def deliver(deps: Deps, post: Post) -> int:
    """Send the webhooks whose time has come, up to a batch of them; how many were tried."""
    async with deps.db.write() as tx:
        owed = await case_store.claim_deliveries(tx.conn, tx.now, tx.now + _LEASE, _BATCH)
    await asyncio.gather(*(_attempt(deps, post, delivery) for delivery in owed))
    return len(owed)


async def _attempt(deps: Deps, post: Post, delivery: Delivery) -> None:
    desk = deps.desks.of(delivery.brand)
    url = desk.reply_url if delivery.kind == cases.REPLY_REQUESTED else desk.url
    body = await _body(deps, delivery) if url else None
    if body is None:
        await _settle(deps, delivery, DeliveryState.DROPPED, 0, deps.clock.now())
        return
    status = await post(url, _headers(desk, delivery, deps.clock.now(), body), body)
    now = deps.clock.now()
    if 200 <= status < 300:
        await _settle(deps, delivery, DeliveryState.DELIVERED, status, now)
        return
    again = next_attempt(delivery.attempts, now)
    _log.warning("webhook_refused", kind=delivery.kind, status=status, attempts=delivery.attempts, final=again is None)
    await _settle(deps, delivery, DeliveryState.WAITING if again else DeliveryState.FAILED, status, again or now)


async def _settle(deps: Deps, delivery: Delivery, state: DeliveryState, status: int, next_time: datetime) -> None:
    async with deps.db.write() as tx:
        await case_store.settle_delivery(tx.conn, delivery, state, status, next_time)
        if state is not DeliveryState.FAILED:
            return
        case = await case_store.lock_case(tx.conn, (delivery.brand, delivery.case_id))
        if case is not None:
            file = CaseFile(case)
            file.undelivered(tx.caller.actor, tx.now)
            await cases.save(deps, tx, file)


def _headers(desk: Desk, delivery: Delivery, now: datetime, body: bytes) -> dict[str, str]:
    return {**sign(desk.key, delivery.key, now, body), "content-type": "application/json", "user-agent": "apaise"}


async def _body(deps: Deps, delivery: Delivery) -> bytes | None:
    """What the desk reads, made of what is kept now; None when the message is gone."""
    key = (delivery.brand, delivery.case_id)
    async with deps.db.read() as conn:
        case = (await case_store.read_cases(conn, [key]))[key]
        entry = (await case_store.read_some_entries(conn, [(*key, delivery.number)]))[(*key, delivery.number)]
        text_key = (case.brand, case.message, case.edit_revision)
        message = (await store.read_texts(conn, [text_key]))[text_key].message
        (decision,) = await store.page_of_message(conn, (case.brand, case.message), None, 1)
    if message.gone:
        return None
    document = _document(delivery, case, entry, message, decision)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _document(delivery: Delivery, case: Case, entry: Entry, message: Message, decision: Decision) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": delivery.kind,
        "id": delivery.key,
        "time": entry.create_time.isoformat(),
        "sequence": entry.number,
        "case": {
            "name": case.name,
            "state": case.state.name,
            "team": case.team.name,
            "assignee": case.assignee,
            "tension": case.tension.name,
            "due_time": case.due_time.isoformat(),
            "late": case.late,
            "etag": str(case.version),
        },
        "message": _message(case, message),
        "why": decision.ruling.explanation,
    }
    if delivery.kind == cases.REPLY_REQUESTED and entry.audience is not None:
        document["reply"] = {"text": entry.text, "audience": entry.audience.name, "rule": entry.rule}
    if entry.outcome is not None:
        document["outcome"] = {"state": entry.outcome.name, "external_id": entry.external_id, "detail": entry.detail}
    return document


def _message(case: Case, message: Message) -> dict[str, Any]:
    return {
        "name": message.name,
        "text": message.text,
        "language": message.language,
        "platform": case.platform,
        "channel": message.channel,
        "kind": case.kind.name,
        "audience": case.audience.name,
        "external_id": message.external_id,
        "thread": message.thread,
        "parent": message.parent,
        "permalink": message.permalink,
        "published_time": message.origin.isoformat(),
        "author": {"platform_id": message.author.platform_id, "display_name": message.author.display_name},
    }
