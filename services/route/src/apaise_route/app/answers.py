"""A brand's approved answers: adding, keeping what was replied, approving, retiring, finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from apaise_kit.core import cursor
from apaise_kit.core.caller import current_caller
from apaise_kit.core.errors import FailedPrecondition, invalid_field, not_found
from apaise_kit.core.names import ANSWER
from apaise_kit.runtime.db import Transaction
from apaise_route.adapters import answer_store, case_store, store
from apaise_route.adapters.answer_store import Key
from apaise_route.adapters.scenarios import scenarios
from apaise_route.app.deps import Deps
from apaise_route.app.paging import page_limit
from apaise_route.app.replying import Owed, owed_a_reply
from apaise_route.domain.answers import (
    MOST_FOUND,
    Answer,
    AnswerOrigin,
    AnswerState,
    Example,
    Found,
    check_answer,
    check_questions,
    posture_of,
    with_examples,
)
from apaise_route.domain.model import Audience
from apaise_route.domain.personal import names_author
from apaise_route.domain.quoting import quotes
from apaise_route.domain.replies import PERSON_FIRST

CHANGED: Final = "answer.changed"
_BATCH: Final = 500


# -- growing


async def add_answer(deps: Deps, answer: Answer, questions: Sequence[str]) -> Answer:
    """Add an answer, or questions to the one that says the same: at once for a lead, else as a proposal.

    Raises:
        InvalidArgument: something is wrong with it, there is no question, or it holds personal data.
        FailedPrecondition: it answers as much as one can already.
        Unavailable: classify or the database does not answer.
    """
    if not questions:
        raise invalid_field("answer.questions", "must hold at least one: it is found by what people ask")
    if answer.own_contacts and not _leads():
        raise invalid_field("answer.own_contacts", "is for a lead to say")
    check_answer(answer, questions)
    examples = {Example(question, approved=_leads()): question for question in questions}
    return await _keep(deps, answer, examples, restated=True)


async def keep_reply(
    deps: Deps, key: Key, text: str, scenario: str, cited: str, questions: Sequence[str], language: str
) -> Answer:
    """Keep the reply a person made, of a scenario, of an answer (its id) or of nothing, to a message.

    Raises:
        InvalidArgument: it holds personal data, names the author or repeats what is private; or the message is private
            and there is no question.
        NotFound: the message or the answer does not exist.
        FailedPrecondition: the message is gone, or its author is in distress.
        Unavailable: classify or the database does not answer.
    """
    async with deps.db.read() as conn:
        owed = await owed_a_reply(deps, conn, key)
        author = owed.stored.message.author
        heard = await case_store.private_texts_of(conn, key[0], author.author_key) if author.author_key else []
        source = (await answer_store.read_answers(conn, [(key[0], cited)])).get((key[0], cited)) if cited else None
    if cited and source is None:
        raise not_found(ANSWER.format(key[0], cited))
    _check_keepable(owed, text, questions, heard)
    answer = _made_of(owed, language or owed.language, text, scenario, source)
    check_answer(answer, ())
    check_questions("questions", questions)
    examples = {Example(question, approved=_leads()): question for question in questions}
    if owed.asked.audience is Audience.PUBLIC and owed.asked.text.strip():
        examples[Example(message=key[1], author_key=author.author_key, approved=_leads())] = owed.asked.text
    return await _keep(deps, answer, examples, restated=False, of=key)


def _check_keepable(owed: Owed, text: str, questions: Sequence[str], heard: Sequence[str]) -> None:
    reading = owed.asked.assessment
    if reading is not None and any(reading.says(label) for label in PERSON_FIRST):
        raise FailedPrecondition("What was said to someone in distress is for them alone: it answers nobody else.")
    private = owed.asked.audience is Audience.PRIVATE
    if not questions and (private or not owed.asked.text.strip()):
        raise invalid_field("questions", "is needed: say in your own words what is asked")
    in_private = [*heard, *([owed.asked.text] if private else [])]
    for field, said in (("text", text), *((f"questions[{n}]", question) for n, question in enumerate(questions))):
        if any(quotes(said, source) for source in in_private):
            raise invalid_field(field, "repeats what was written in private: say it in your own words")
        if names_author(said, owed.stored.message.author):
            raise invalid_field(field, "names the author of the message: take that out, an answer is for everyone")


def _made_of(owed: Owed, spoken: str, text: str, scenario: str, source: Answer | None) -> Answer:
    answer = Answer(owed.decision.brand, spoken, text)
    if source is not None:
        origin = AnswerOrigin.ACCEPTED if source.text == text else AnswerOrigin.EDITED
        return replace(
            answer, intent=source.intent, posture=source.posture, own_contacts=source.own_contacts, origin=origin
        )
    intent, posture = posture_of(scenario, owed.asked)
    return replace(answer, intent=intent, posture=posture, origin=_origin(text, scenario, intent, posture))


def _origin(text: str, scenario: str, intent: str, posture: str) -> AnswerOrigin:
    if not scenario:
        return AnswerOrigin.WRITTEN
    drafts = scenarios().get(intent, {}).get(posture)
    if drafts is None:
        raise invalid_field("scenario", "is none of the house's: leave it out when the draft came from elsewhere")
    return AnswerOrigin.ACCEPTED if text in drafts.values() else AnswerOrigin.EDITED


def _leads() -> bool:
    return "lead" in current_caller().roles


async def _keep(
    deps: Deps, given: Answer, examples: dict[Example, str], *, restated: bool, of: Key | None = None
) -> Answer:
    """Keep an answer and what it answers; `restated`: a lead says anew whom one that is there already is for."""
    made = await deps.reader.embed(list(examples.values()))
    vectors = dict(zip(examples, made.values, strict=True))
    async with deps.db.write() as tx:
        if of is not None:
            # Once more, and locked: a message that goes meanwhile takes its example along.
            await store.lock_threads(tx.conn, [of])
            await owed_a_reply(deps, tx.conn, of)
        new = replace(given, create_actor=tx.caller.actor, create_time=tx.now, version=0)
        await answer_store.ensure(tx.conn, new)
        old = await _locked(tx, (given.brand, given.id))
        grown = with_examples(old, examples) or old
        answer = _allowed(tx, grown, given if restated else grown)
        if answer == old:
            return old
        added = {one: vectors[one] for one in answer.examples if one not in old.examples}
        answer = replace(answer, version=old.version + 1)
        await answer_store.save_answer(tx.conn, answer, added, made.encoder)
        _tell(tx, answer)
        return answer


def _allowed(tx: Transaction, answer: Answer, given: Answer) -> Answer:
    """A lead's word approves, and says anew whom it is for; anyone else's makes a proposal of what was retired."""
    if not _leads():
        return replace(answer, retired=False, approve_actor="", approve_time=None) if answer.retired else answer
    wanted = replace(answer, intent=given.intent, posture=given.posture, own_contacts=given.own_contacts, retired=False)
    if wanted == answer and answer.approve_actor:
        return answer
    return replace(wanted, approve_actor=tx.caller.actor, approve_time=tx.now)


async def _locked(tx: Transaction, key: Key) -> Answer:
    found = await answer_store.lock_answer(tx.conn, key)
    if found is None:
        raise not_found(ANSWER.format(*key))
    return found


def _tell(tx: Transaction, answer: Answer) -> None:
    tx.record(CHANGED, answer.name, answer.brand, {"state": answer.state.name, "version": answer.version})


async def approve_answer(deps: Deps, key: Key, etag: str) -> Answer:
    """Approve an answer and everything proposed for it.

    Raises:
        NotFound: it does not exist.
        Aborted: it has changed since it was read.
        FailedPrecondition: it is retired.
    """
    async with deps.db.write() as tx:
        old = await _locked(tx, key)
        old.check_etag(etag)
        if old.retired:
            raise FailedPrecondition(f"{old.name} is retired. Add it again.")
        examples = tuple(replace(one, approved=True) for one in old.examples)
        if old.approve_actor and examples == old.examples:
            return old
        approved = replace(old, approve_actor=tx.caller.actor, approve_time=tx.now)
        answer = replace(approved, examples=examples, version=old.version + 1)
        await answer_store.save_answer(tx.conn, answer, {}, "")
        await answer_store.approve_examples(tx.conn, answer)
        _tell(tx, answer)
        return answer


async def retire_answer(deps: Deps, key: Key) -> Answer:
    """Take an answer out; one that is out stays so.

    Raises:
        NotFound: it does not exist.
    """
    async with deps.db.write() as tx:
        old = await _locked(tx, key)
        if old.retired:
            return old
        answer = replace(old, retired=True, version=old.version + 1)
        await answer_store.save_answer(tx.conn, answer, {}, "")
        _tell(tx, answer)
        return answer


# -- reading


async def list_answers(
    deps: Deps, brand: str, state: AnswerState | None, language: str, page_size: int, page_token: str
) -> tuple[list[Answer], str]:
    """A page of a brand's answers, the newest first.

    Raises:
        InvalidArgument: the page size or token is wrong.
    """
    limit, scope = page_limit(page_size), f"answers {brand} {state} {language}"
    position = cursor.decode(page_token, scope)
    before = (datetime.fromisoformat(str(position["time"])), str(position["id"])) if position else None
    async with deps.db.read() as conn:
        found = await answer_store.page_of_answers(conn, brand, state, language, before, limit + 1)
    page, token = found[:limit], ""
    if len(found) > limit and page[-1].create_time is not None:
        token = cursor.encode({"time": page[-1].create_time.isoformat(), "id": page[-1].id}, scope)
    return page, token


async def find_answers(deps: Deps, brand: str, text: str, language: str, most: int = MOST_FOUND) -> list[Found]:
    """The brand's active answers nearest to a text, whatever their distance.

    Raises:
        Unavailable: classify or the database does not answer.
    """
    async with deps.db.read() as conn:
        spoken = language or (await deps.shelf.one_in_force(conn, brand)).charter.language
        if not await answer_store.any_active(conn, brand, spoken):
            return []
    made = await deps.reader.embed([text])
    await _renew(deps, brand, spoken, made.encoder)
    async with deps.db.read() as conn:
        near = await answer_store.nearest(conn, brand, spoken, made.values[0], made.encoder, most)
    return [Found(answer, round(similarity, 3)) for answer, similarity in near]


async def _renew(deps: Deps, brand: str, language: str, encoder: str) -> None:
    """Make again what another encoder made: after the house model was changed, once."""
    async with deps.db.read() as conn:
        stale = await answer_store.stale_examples(conn, brand, language, encoder, _BATCH)
    said = [one for one in stale if one.text.strip()]
    if not said:
        return
    made = await deps.reader.embed([one.text for one in said])
    async with deps.db.write() as tx:
        await answer_store.renew(tx.conn, brand, list(zip(said, made.values, strict=True)), made.encoder)
