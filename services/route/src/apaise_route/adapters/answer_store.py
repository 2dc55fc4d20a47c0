"""Approved answers and what they answer. Every function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Text, and_, bindparam, cast, delete, exists, func, not_, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.runtime.db import Vector
from apaise_route.adapters.tables import answer_examples, answers, messages
from apaise_route.domain.answers import Answer, AnswerOrigin, AnswerState, Example

Key = tuple[str, str]
_OWN: Final = tuple(column.name for column in answers.columns if column.name not in ("id", "wording"))
_ACTIVE: Final = and_(not_(answers.c.retired), answers.c.approve_actor != "")
_SAME: Final = and_(answer_examples.c.brand == answers.c.brand, answer_examples.c.answer == answers.c.id)


class Stale(NamedTuple):
    """An example whose vector another encoder made, and its text."""

    answer: str
    question: str
    message: str
    text: str


def _written(vector: Sequence[float]) -> str:
    return f"[{','.join(map(repr, vector))}]"


# -- one


async def ensure(conn: AsyncConnection, answer: Answer) -> None:
    """Write an answer unless it is there: whoever comes second finds it."""
    await conn.execute(insert(answers).values(_row(answer)).on_conflict_do_nothing())


async def lock_answer(conn: AsyncConnection, key: Key) -> Answer | None:
    """One answer, locked until the end of the transaction, or None."""
    await conn.execute(select(answers.c.id).where(answers.c.brand == key[0], answers.c.id == key[1]).with_for_update())
    return (await read_answers(conn, [key])).get(key)


async def read_answers(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, Answer]:
    """Answers by brand and id."""
    if not keys:
        return {}
    e = answer_examples.c
    given: dict[Key, list[Example]] = {}
    query = select(e.brand, e.answer, e.question, e.message, e.author_key, e.approved).where(
        tuple_(e.brand, e.answer).in_(keys)
    )
    for row in await conn.execute(query.order_by(e.question, e.message)):
        given.setdefault((row.brand, row.answer), []).append(
            Example(row.question, row.message, row.author_key, row.approved)
        )
    found = await conn.execute(select(answers).where(tuple_(answers.c.brand, answers.c.id).in_(keys)))
    return {
        (row["brand"], row["id"]): _answer(row, given.get((row["brand"], row["id"]), ())) for row in found.mappings()
    }


async def save_answer(
    conn: AsyncConnection, answer: Answer, vectors: Mapping[Example, Sequence[float]], encoder: str
) -> None:
    """Write an answer that is there; `vectors` has those of the examples that are new or changed."""
    c = answers.c
    await conn.execute(update(answers).where(c.brand == answer.brand, c.id == answer.id).values(_row(answer)))
    rows = [
        {
            "brand": answer.brand,
            "answer": answer.id,
            "question": one.question,
            "message": one.message,
            "author_key": one.author_key,
            "approved": one.approved,
            "encoder": encoder,
            "vector": _written(vector),
        }
        for one, vector in vectors.items()
    ]
    if rows:
        new = insert(answer_examples)
        await conn.execute(
            new.on_conflict_do_update(
                index_elements=["brand", "answer", "question", "message"],
                set_={name: new.excluded[name] for name in ("approved", "encoder", "vector")},
            ),
            rows,
        )


async def approve_examples(conn: AsyncConnection, answer: Answer) -> None:
    """Approve everything an answer answers."""
    e = answer_examples.c
    await conn.execute(
        update(answer_examples).where(e.brand == answer.brand, e.answer == answer.id).values(approved=True)
    )


async def forget_message(conn: AsyncConnection, brand: str, message: str) -> None:
    """A message that is gone is nobody's example."""
    e = answer_examples.c
    await conn.execute(delete(answer_examples).where(e.brand == brand, e.message == message))


def _row(answer: Answer) -> dict[str, Any]:
    return {"id": answer.id, "wording": answer.text, **{name: getattr(answer, name) for name in _OWN}}


def _answer(row: Mapping[Any, Any], examples: Iterable[Example]) -> Answer:
    values = {name: row[name] for name in _OWN} | {"origin": AnswerOrigin(row["origin"])}
    return Answer(**values, text=row["wording"], examples=tuple(examples))


# -- many


async def page_of_answers(
    conn: AsyncConnection,
    brand: str,
    state: AnswerState | None,
    language: str,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Answer]:
    """Answers of a brand, the newest first, before a position (create time, id)."""
    c = answers.c
    query = select(c.brand, c.id).where(c.brand == brand)
    if state is not None:
        query = query.where(_in_state(state))
    if language:
        query = query.where(c.language == language)
    if before is not None:
        query = query.where(tuple_(c.create_time, c.id) < tuple_(*before))
    page = [
        (row.brand, row.id)
        for row in await conn.execute(query.order_by(c.create_time.desc(), c.id.desc()).limit(limit))
    ]
    found = await read_answers(conn, page)
    return [found[key] for key in page]


def _in_state(state: AnswerState) -> Any:
    waiting = exists().where(_SAME, not_(answer_examples.c.approved))
    return {
        AnswerState.PROPOSED: and_(not_(answers.c.retired), or_(answers.c.approve_actor == "", waiting)),
        AnswerState.ACTIVE: _ACTIVE,
        AnswerState.RETIRED: answers.c.retired,
    }[state]


def _speaking(brand: str, language: str) -> Any:
    """The examples drafts are taken by."""
    return and_(_SAME, answers.c.brand == brand, answers.c.language == language, _ACTIVE, answer_examples.c.approved)


async def any_active(conn: AsyncConnection, brand: str, language: str) -> bool:
    """Whether the brand has anything to say in a language."""
    return bool(await conn.scalar(select(exists().where(_speaking(brand, language)))))


async def nearest(
    conn: AsyncConnection, brand: str, language: str, vector: Sequence[float], encoder: str, limit: int
) -> list[tuple[Answer, float]]:
    """Active answers by the cosine of a unit vector and their nearest example's, by the same encoder; nearest first."""
    given = cast(bindparam("given", _written(vector)), Vector)
    distance = func.min(answer_examples.c.vector.op("<=>")(given)).label("distance")
    query = (
        select(answers.c.id, distance)
        .where(_speaking(brand, language), answer_examples.c.encoder == encoder)
        .group_by(answers.c.id)
        .order_by(distance, answers.c.id)
        .limit(limit)
    )
    near = {(brand, row.id): 1.0 - float(row.distance) for row in await conn.execute(query)}
    found = await read_answers(conn, list(near))
    return [(found[key], similarity) for key, similarity in near.items()]


# -- another encoder


async def stale_examples(conn: AsyncConnection, brand: str, language: str, encoder: str, limit: int) -> list[Stale]:
    """Examples drafts are taken by whose vector another encoder made."""
    e, m = answer_examples.c, messages.c
    said = (
        select(m.text)
        .where(m.brand == e.brand, m.message == e.message)
        .order_by(m.edit_revision.desc())
        .limit(1)
        .scalar_subquery()
    )
    text = func.coalesce(func.nullif(e.question, ""), said, cast("", Text)).label("text")
    query = select(e.answer, e.question, e.message, text).where(_speaking(brand, language), e.encoder != encoder)
    return [Stale(*row) for row in await conn.execute(query.limit(limit))]


async def renew(conn: AsyncConnection, brand: str, rows: Sequence[tuple[Stale, Sequence[float]]], encoder: str) -> None:
    """Give examples their vectors by this encoder."""
    e = answer_examples.c
    statement = (
        update(answer_examples)
        .where(e.brand == brand, e.answer == bindparam("a"), e.question == bindparam("q"), e.message == bindparam("m"))
        .values(encoder=encoder, vector=bindparam("v"))
    )
    await conn.execute(
        statement,
        [{"a": one.answer, "q": one.question, "m": one.message, "v": _written(vector)} for one, vector in rows],
    )
