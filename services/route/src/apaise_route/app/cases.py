"""Cases: open, assign, note, answer, bring back, report, close, reopen, list, follow, and what runs late."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.core import cursor
from apaise_kit.core.caller import current_caller
from apaise_kit.core.errors import AlreadyExists, FailedPrecondition, Reason, invalid_field, not_found
from apaise_kit.core.names import CASE, MESSAGE
from apaise_kit.runtime.db import Transaction
from apaise_route.adapters import case_store, store
from apaise_route.adapters.case_store import CaseFilter, Key
from apaise_route.adapters.platform_rules import platform_rules
from apaise_route.adapters.store import StoredText
from apaise_route.app.deps import Deps
from apaise_route.app.paging import Follower, page_limit
from apaise_route.domain.cases import (
    Case,
    CaseFile,
    CaseState,
    Entry,
    EntryKind,
    Tension,
    check_case_etag,
    due_time,
    tension_of,
)
from apaise_route.domain.model import (
    ActionState,
    Audience,
    Channel,
    ChannelKind,
    Decision,
    Message,
    Moderation,
    Queue,
)
from apaise_route.domain.platforms import LegVerdict, PlatformRule, Situation, age_of, quotas_of, rule_for
from apaise_route.domain.quoting import quotes

CHANGED: Final = "case.changed"
REPLY_REQUESTED: Final = "reply.requested"
# What a desk is told. Answers and notes are not: it wrote the first, and the second never leave.
TOLD: Final = {
    EntryKind.OPENED: "case.opened",
    EntryKind.ASSIGNED: "case.assigned",
    EntryKind.REPLY: REPLY_REQUESTED,
    EntryKind.OUTCOME: "case.reported",
    EntryKind.LATE: "case.late",
    EntryKind.CLOSED: "case.closed",
    EntryKind.REOPENED: "case.reopened",
}
_BATCH: Final = 100
Move = Callable[[CaseFile, Transaction], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case with what a person needs to work on it; `legs` are the rules for a public and a private reply now."""

    case: Case
    message: Message
    decision: Decision
    entries: Sequence[Entry]
    legs: Sequence[PlatformRule]


# -- opening


async def open_case(deps: Deps, brand: str, message: str, team: Queue, tension: Tension | None, note: str) -> Case:
    """Open a case from a message, or find the one that is open.

    Raises:
        NotFound: the message was never decided.
        FailedPrecondition: (MESSAGE_GONE) it was deleted or erased.
    """
    async with deps.db.write() as tx:
        found = await case_store.open_case_of(tx.conn, brand, message)
        if found is not None:
            return found
        decision, stored = await _decided(tx, brand, message)
        opened = await _opened(deps, tx, decision, stored, team, tension, note)
        # Somebody else may have been a moment faster.
        return opened or await case_store.open_case_of(tx.conn, brand, message) or _missing(brand, message)


async def open_owed(deps: Deps, tx: Transaction, decided: Sequence[Decision]) -> None:
    """Open cases for decisions whose queue the brand's desk takes by itself, in the decisions' own transaction."""
    owed = [d for d in decided if d.automated and d.ruling.queue and d.ruling.queue in deps.desks.of(d.brand).opens]
    if not owed:
        return
    texts = await store.read_texts(tx.conn, [(d.brand, d.message, d.edit_revision) for d in owed])
    for decision in owed:
        stored = texts[decision.brand, decision.message, decision.edit_revision]
        if not stored.message.gone:
            await _opened(deps, tx, decision, stored, decision.ruling.queue, None, "")


async def _decided(tx: Transaction, brand: str, message: str) -> tuple[Decision, StoredText]:
    newest = await store.page_of_message(tx.conn, (brand, message), None, 1)
    if not newest:
        _missing(brand, message)
    key = (brand, message, newest[0].edit_revision)
    return newest[0], _present((await store.read_texts(tx.conn, [key]))[key])


def _missing(brand: str, message: str) -> Case:
    raise not_found(MESSAGE.format(brand, message))


def _present(stored: StoredText) -> StoredText:
    if stored.message.gone:
        raise FailedPrecondition("The message is gone: nobody is left to answer.", reason=Reason.MESSAGE_GONE)
    return stored


async def _opened(
    deps: Deps,
    tx: Transaction,
    decision: Decision,
    stored: StoredText,
    team: Queue,
    tension: Tension | None,
    note: str,
) -> Case | None:
    """A new case with its first entries; None when the message has one already."""
    case = _new_case(deps, tx, decision, stored, team, tension)
    if not await case_store.add_case(tx.conn, case):
        return None
    file = CaseFile(case)
    file.open(note, tx.caller.actor, tx.now)
    return await save(deps, tx, file)


def _new_case(
    deps: Deps, tx: Transaction, decision: Decision, stored: StoredText, team: Queue, tension: Tension | None
) -> Case:
    team = team or decision.ruling.queue or Queue.CARE
    tension = tension or tension_of(decision.ruling, stored.assessment)
    place = _place(stored, decision)
    promised = decision.ruling.due_time if team is decision.ruling.queue else None
    return Case(
        brand=decision.brand,
        id=deps.new_id(),
        message=decision.message,
        edit_revision=decision.edit_revision,
        author_key=stored.message.author.author_key,
        channel=place.id,
        platform=place.platform,
        kind=place.kind,
        audience=place.audience,
        team=team,
        tension=tension,
        due_time=due_time(stored.message.origin, place.kind, tension, promised, deps.desks.of(decision.brand).delays),
        open_actor=tx.caller.actor,
        open_time=tx.now,
    )


def _place(stored: StoredText, decision: Decision) -> Channel:
    # Rows of releases that kept no channel: what is not known to be public is treated as private.
    unknown = Channel(decision.brand, decision.channel, ChannelKind.PRIVATE_MESSAGE, Audience.PRIVATE, Moderation.POST)
    return stored.channel or unknown


# -- moving


async def assign_case(deps: Deps, key: Key, team: Queue, assignee: str, etag: str, request_id: str) -> Case:
    """Give a case to a team (NONE: the one it has) and a person.

    Raises:
        NotFound, Aborted, FailedPrecondition, AlreadyExists: as every move.
    """

    async def move(file: CaseFile, tx: Transaction) -> None:
        file.assign(team, assignee, tx.caller.actor, tx.now)

    return await _move(deps, key, etag, request_id, ["assign", int(team), assignee], move)


async def note_case(deps: Deps, key: Key, text: str, request_id: str) -> Case:
    """Add an internal note.

    Raises:
        NotFound, FailedPrecondition, AlreadyExists: as every move.
    """

    async def move(file: CaseFile, tx: Transaction) -> None:
        await _message_of(tx, file.case)
        file.note(text, tx.caller.actor, tx.now)

    return await _move(deps, key, "", request_id, ["note", text], move)


async def answer_case(deps: Deps, key: Key, text: str, audience: Audience | None, etag: str, request_id: str) -> Case:
    """Keep the team's answer.

    Raises:
        NotFound, Aborted, FailedPrecondition, AlreadyExists: as every move.
    """

    async def move(file: CaseFile, tx: Transaction) -> None:
        await _message_of(tx, file.case)
        file.answer(text, audience, tx.caller.actor, tx.now)

    return await _move(deps, key, etag, request_id, ["answer", text, int(audience or 0)], move)


async def return_case(deps: Deps, key: Key, text: str, audience: Audience, etag: str, request_id: str) -> Case:
    """Send a reply towards its author: the text, or the team's last answer when it is empty.

    Raises:
        InvalidArgument: there is neither text nor answer.
        FailedPrecondition: the platform forbids it (`rule` in metadata), it would make something private public, it
            quotes a note, or the message is gone.
        NotFound, Aborted, AlreadyExists: as every move.
    """

    async def move(file: CaseFile, tx: Transaction) -> None:
        stored = await _message_of(tx, file.case)
        entries = await case_store.read_entries(tx.conn, key)
        said = text or _last_answer(entries)
        _keep_inside(said, audience, entries, await _said_in_private(tx, file.case))
        rule = rule_for(platform_rules(), audience, await _situation(deps, tx.conn, file.case, stored.message))
        if rule.verdict is LegVerdict.DENIED:
            raise FailedPrecondition(f"{file.case.name}: {rule.explanation['en']}", metadata={"rule": rule.id})
        file.reply(said, audience, rule.id, tx.caller.actor, tx.now)

    return await _move(deps, key, etag, request_id, ["return", text, int(audience)], move)


async def reply_at_once(
    deps: Deps, tx: Transaction, decision: Decision, stored: StoredText, text: str, note: str
) -> bool:
    """Open a case and send its reply to whoever could read the message.

    Returns:
        False, and nothing is done, where the platform does not plainly allow it, the reply would repeat what is
        private, or the message has or had a case: people are on it.
    """
    case = _new_case(deps, tx, decision, stored, Queue.NONE, None)
    rule = rule_for(platform_rules(), case.audience, await _situation(deps, tx.conn, case, stored.message))
    public = case.audience is Audience.PUBLIC
    if public and any(quotes(text, said) for said in await _said_in_private(tx, case)):
        return False
    if rule.verdict is not LegVerdict.ALLOWED or await case_store.any_case_of(tx.conn, case.brand, case.message):
        return False
    if not await case_store.add_case(tx.conn, case):
        return False
    file = CaseFile(case)
    file.open(note, tx.caller.actor, tx.now)
    file.answer(text, case.audience, tx.caller.actor, tx.now)
    file.reply(text, case.audience, rule.id, tx.caller.actor, tx.now)
    await save(deps, tx, file)
    return True


def _last_answer(entries: Sequence[Entry]) -> str:
    answers = [entry.text for entry in entries if entry.kind is EntryKind.ANSWER]
    if not answers:
        raise invalid_field("text", "is needed: the team has not answered")
    return answers[-1]


async def _said_in_private(tx: Transaction, case: Case) -> list[str]:
    return await case_store.private_texts_of(tx.conn, case.brand, case.author_key) if case.author_key else []


def _keep_inside(said: str, audience: Audience, entries: Sequence[Entry], in_private: Sequence[str]) -> None:
    """Refuse a reply that repeats a note, or in public what was meant or written in private."""
    if any(quotes(said, entry.text) for entry in entries if entry.kind is EntryKind.NOTE):
        raise FailedPrecondition("The reply repeats an internal note. Say it otherwise.")
    if audience is Audience.PRIVATE:
        return
    answers = [e.text for e in entries if e.kind is EntryKind.ANSWER and e.audience is Audience.PRIVATE]
    if said in answers or any(quotes(said, text) for text in (*answers, *in_private)):
        raise FailedPrecondition("The reply repeats in public what is private. Send it in private, or say less.")


async def report_reply(
    deps: Deps, key: Key, outcome: ActionState, external_id: str, detail: str, request_id: str
) -> Case:
    """Keep what became of the reply on the platform.

    Raises:
        NotFound, FailedPrecondition, AlreadyExists: as every move.
    """

    reported: list[Case] = []  # stays empty when the same request comes again

    async def move(file: CaseFile, tx: Transaction) -> None:
        file.report(outcome, external_id, detail, tx.caller.actor, tx.now)
        reported.append(file.case)

    case = await _move(deps, key, "", request_id, ["report", int(outcome), external_id, detail], move)
    deps.meter.returned(reported)
    return case


async def close_case(deps: Deps, key: Key, reason: str, etag: str, request_id: str) -> Case:
    """End a case.

    Raises:
        NotFound, Aborted, FailedPrecondition, AlreadyExists: as every move.
    """

    async def move(file: CaseFile, tx: Transaction) -> None:
        file.close(reason, tx.caller.actor, tx.now)

    return await _move(deps, key, etag, request_id, ["close", reason], move)


async def reopen_case(deps: Deps, key: Key, reason: str, etag: str, request_id: str) -> Case:
    """Begin a case again, its clock counted from now.

    Raises:
        FailedPrecondition: it is not over, its message is gone, or another case of the message is open.
        NotFound, Aborted, AlreadyExists: as every move.
    """

    async def move(file: CaseFile, tx: Transaction) -> None:
        case = file.case
        await _message_of(tx, case)
        other = await case_store.open_case_of(tx.conn, case.brand, case.message)
        if other is not None and other.id != case.id:
            raise FailedPrecondition("Another case of this message is open. Go on there.")
        due = due_time(tx.now, case.kind, case.tension, None, deps.desks.of(case.brand).delays)
        file.reopen(reason, due, tx.caller.actor, tx.now)

    return await _move(deps, key, etag, request_id, ["reopen", reason], move)


async def _move(deps: Deps, key: Key, etag: str, request_id: str, said: Sequence[str | int], move: Move) -> Case:
    """Lock, move, save. The same request again finds the case as it is now.

    Raises:
        NotFound: the case does not exist.
        Aborted: it changed since the etag was read.
        FailedPrecondition: its state does not allow the move.
        AlreadyExists: (REQUEST_ID_REUSED) this request id did something else to it.
    """
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    async with deps.db.write() as tx:
        case = await case_store.lock_case(tx.conn, key)
        if case is None:
            raise not_found(CASE.format(*key))
        done = await case_store.entry_of_request(tx.conn, key, request_id)
        if done is not None:
            return _again(case, done, digest)
        check_case_etag(case, etag)
        file = CaseFile(case)
        await move(file, tx)
        file.remember_request(request_id, digest)
        return await save(deps, tx, file)


def _again(case: Case, done: Entry, digest: str) -> Case:
    if done.request_digest != digest:
        raise AlreadyExists(
            "This request_id did something else to this case. Send a fresh one.", reason=Reason.REQUEST_ID_REUSED
        )
    return case


async def save(deps: Deps, tx: Transaction, file: CaseFile) -> Case:
    """Write a moved case, announce what is new, and owe the desk its webhooks, all in one transaction."""
    case = file.case = replace(file.case, version=file.case.version + 1)
    await case_store.save_case(tx.conn, case, file.added)
    for entry in file.added:
        tx.record(CHANGED, case.name, case.brand, {"entry": entry.number, "kind": entry.kind.name})
    desk = deps.desks.of(case.brand)
    owed = [
        (case, entry.number, TOLD[entry.kind])
        for entry in file.added
        if entry.kind in TOLD and (desk.reply_url if entry.kind is EntryKind.REPLY else desk.url)
    ]
    await case_store.add_deliveries(tx.conn, owed, tx.now)
    return case


async def _message_of(tx: Transaction, case: Case) -> StoredText:
    key = (case.brand, case.message, case.edit_revision)
    return _present((await store.read_texts(tx.conn, [key]))[key])


async def run_late(deps: Deps) -> int:
    """Mark the cases whose time has passed, up to a batch of them; how many."""
    async with deps.db.write() as tx:
        found = await case_store.overdue_cases(tx.conn, tx.now, _BATCH)
        for case in found:
            file = CaseFile(case)
            file.run_late(tx.caller.actor, tx.now)
            await save(deps, tx, file)
    return len(found)


# -- reading


async def get_case(deps: Deps, key: Key) -> CaseView:
    """One case, its message as it is kept now, its history and where a reply may go.

    Raises:
        NotFound: it does not exist.
    """
    async with deps.db.read() as conn:
        case = await case_store.read_case(conn, key)
        if case is None:
            raise not_found(CASE.format(*key))
        text_key = (case.brand, case.message, case.edit_revision)
        message = (await store.read_texts(conn, [text_key]))[text_key].message
        (decision,) = await store.page_of_message(conn, (case.brand, case.message), None, 1)
        at = await _situation(deps, conn, case, message)
        legs = [rule_for(platform_rules(), audience, at) for audience in Audience]
        return CaseView(case, message, decision, await case_store.read_entries(conn, key), legs)


async def _situation(deps: Deps, conn: AsyncConnection, case: Case, message: Message) -> Situation:
    now, quotas = deps.clock.now(), quotas_of(platform_rules(), case.platform)
    return Situation(
        platform=case.platform,
        kind=case.kind,
        audience=case.audience,
        age=age_of(message.origin, now),
        follows=message.author.follows_page,
        answered_in_private=await case_store.private_reply_to(conn, case.brand, case.message),
        sent=await case_store.replies_sent(conn, case.brand, quotas, now),
    )


async def list_cases(
    deps: Deps, brand: str, team: Queue | None, state: CaseState | None, late: bool, page_size: int, page_token: str
) -> tuple[list[Case], str]:
    """A page of cases, the first due first; `brand` may be "-".

    Raises:
        InvalidArgument: the page size or token is wrong.
    """
    limit, scope = page_limit(page_size), f"cases {brand} {team} {state} {late}"
    position = cursor.decode(page_token, scope)
    after = (datetime.fromisoformat(str(position["due"])), str(position["id"])) if position else None
    wanted = CaseFilter(current_caller().visible(brand), team, state, late)
    async with deps.db.read() as conn:
        found = await case_store.page_of_cases(conn, wanted, after, limit + 1)
    page, token = found[:limit], ""
    if len(found) > limit:
        token = cursor.encode({"due": page[-1].due_time.isoformat(), "id": page[-1].id}, scope)
    return page, token


async def follow_cases(
    deps: Deps, brand: str, token: str
) -> AsyncGenerator[tuple[tuple[Case, Entry, Message] | None, str]]:
    """Every change in commit order with the cursor after it; first of all, None with the cursor of the start.

    Raises:
        NotFound: the caller does not see the brand.
        OutOfRange: the cursor is older than what is kept.
    """
    follower = Follower(deps.db, CHANGED, brand)
    start = await follower.start(token)
    yield None, follower.cursor(start)
    async for events in follower.batches(start):
        keys = [(event.brand, event.resource.rpartition("/")[2], int(event.payload["entry"])) for event in events]
        async with deps.db.read() as conn:
            cases = await case_store.read_cases(conn, list({key[:2] for key in keys}))
            entries = await case_store.read_some_entries(conn, keys)
            texts = await store.read_texts(conn, [(c.brand, c.message, c.edit_revision) for c in cases.values()])
        for event, key in zip(events, keys, strict=True):
            case = cases[key[:2]]
            message = texts[case.brand, case.message, case.edit_revision].message
            yield (case, entries[key], message), follower.cursor(event.sequence)
