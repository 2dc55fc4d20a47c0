"""Examples, runs, revisions, ledger and wishes, in PostgreSQL. Every function takes its caller's connection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Select, Subquery, and_, case, delete, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.runtime.db import lock_key
from apaise_train.adapters.tables import (
    canaries,
    corrections,
    cursors,
    examples,
    ledger,
    precedent_moves,
    revisions,
    runs,
    wishes,
)
from apaise_train.domain.corrections import Correction
from apaise_train.domain.examples import Example, Manifest
from apaise_train.domain.gate import GateReport, Score
from apaise_train.domain.policy import Standing
from apaise_train.domain.runs import ACTIVE, WORKING, Canary, LedgerEntry, LedgerKind, Revision, Run, RunState, Wish

REVIEWS: Final = "reviews"
# Not a stream: the encoder whose vectors classify's precedents are.
ENCODER: Final = "precedents-encoder"


# ---- examples


async def read_cursor(conn: AsyncConnection, stream: str = REVIEWS) -> str:
    """Where a stream was left; "" before the first."""
    return await conn.scalar(select(cursors.c.cursor).where(cursors.c.stream == stream)) or ""


async def save_cursor(conn: AsyncConnection, cursor: str, stream: str = REVIEWS) -> None:
    """Remember where a stream was left."""
    row = insert(cursors).values(stream=stream, cursor=cursor)
    await conn.execute(row.on_conflict_do_update(index_elements=["stream"], set_={"cursor": cursor}))


async def add_example(conn: AsyncConnection, example: Example) -> bool:
    """Keep an example; False when it is there already."""
    row = insert(examples).values(**asdict(example), withdrawn=False).on_conflict_do_nothing()
    return (await conn.execute(row.returning(examples.c.review))).one_or_none() is not None


async def withdraw(conn: AsyncConnection, brand: str, review: str) -> bool:
    """An undone review teaches no more; False when it never did."""
    mine = (examples.c.brand == brand, examples.c.review == review)
    return (await conn.execute(update(examples).where(*mine).values(withdrawn=True))).rowcount == 1


async def blank(conn: AsyncConnection, brand: str, message: str) -> None:
    """Forget a message's text."""
    mine = (examples.c.brand == brand, examples.c.message == message)
    await conn.execute(update(examples).where(*mine).values(text="", withdrawn=True))


async def add_correction(conn: AsyncConnection, correction: Correction) -> None:
    """Keep the record of a review; the same again changes nothing."""
    await conn.execute(insert(corrections).values(**asdict(correction)).on_conflict_do_nothing())


async def message_of(conn: AsyncConnection, brand: str, review: str) -> str | None:
    """The message an example is about."""
    query = select(examples.c.message).where(examples.c.brand == brand, examples.c.review == review)
    return (await conn.execute(query)).scalar_one_or_none()


async def speaking(conn: AsyncConnection, brand: str, message: str) -> str | None:
    """The review that counts of a message now: the newest that was not taken back, unless it was set aside."""
    query = select(case((examples.c.doubt.is_(None), examples.c.review))).where(
        examples.c.brand == brand, examples.c.message == message, examples.c.withdrawn.is_(False)
    )
    return (await conn.execute(query.order_by(examples.c.sequence.desc()).limit(1))).scalar_one_or_none()


async def owe_precedent(conn: AsyncConnection, brand: str, before: str | None, after: str | None) -> None:
    """Have a message's review speak instead of another; nothing when it is the same."""
    if before == after:
        return
    moves = [(before, False), (after, True)]
    rows = [{"brand": brand, "review": review, "put": put} for review, put in moves if review is not None]
    await conn.execute(insert(precedent_moves), rows)


async def set_aside(conn: AsyncConnection, brand: str, doubts: Mapping[str, str]) -> None:
    """Write down which reviews do not teach and why, all others teach again; precedents follow."""
    query = select(examples.c.review, examples.c.doubt).where(
        examples.c.brand == brand, examples.c.withdrawn.is_(False), examples.c.text != ""
    )
    before = {row.review: row.doubt for row in await conn.execute(query)}
    for review in (review for review, doubt in before.items() if doubt != doubts.get(review)):
        mine = (examples.c.brand == brand, examples.c.review == review)
        message = (await conn.execute(select(examples.c.message).where(*mine))).scalar_one()
        spoke = await speaking(conn, brand, message)
        await conn.execute(update(examples).where(*mine).values(doubt=doubts.get(review)))
        await owe_precedent(conn, brand, spoke, await speaking(conn, brand, message))


async def doubts_of(conn: AsyncConnection, brand: str) -> dict[str, str]:
    """The reviews set aside, and why."""
    mine = (examples.c.brand == brand, examples.c.withdrawn.is_(False), examples.c.doubt.is_not(None))
    return {
        row.review: row.doubt for row in await conn.execute(select(examples.c.review, examples.c.doubt).where(*mine))
    }


async def owe_all_precedents(conn: AsyncConnection, per_brand: int) -> None:
    """Have what counts now speak again, the newest `per_brand` of each brand."""
    counts = (
        select(examples.c.brand, examples.c.review, examples.c.sequence, examples.c.doubt)
        .where(examples.c.withdrawn.is_(False))
        .ext(distinct_on(examples.c.brand, examples.c.message))
        .order_by(examples.c.brand, examples.c.message, examples.c.sequence.desc())
        .subquery()
    )
    place = func.row_number().over(partition_by=counts.c.brand, order_by=counts.c.sequence.desc())
    ranked = select(counts, place.label("place")).where(counts.c.doubt.is_(None)).subquery()
    newest = select(ranked.c.brand, ranked.c.review, true()).where(ranked.c.place <= per_brand)
    await conn.execute(insert(precedent_moves).from_select(["brand", "review", "put"], newest))


async def owed_precedents(conn: AsyncConnection, limit: int) -> list[Move]:
    """The oldest moves classify does not have yet."""
    rows = await conn.execute(select(precedent_moves).order_by(precedent_moves.c.sequence).limit(limit))
    return [Move(row.sequence, row.brand, row.review, row.put) for row in rows]


async def moved_precedents(conn: AsyncConnection, moves: Sequence[Move]) -> None:
    """Classify has these."""
    done = precedent_moves.c.sequence.in_([move.sequence for move in moves])
    await conn.execute(delete(precedent_moves).where(done))


class Move(NamedTuple):
    """A review that begins (`put`) or ceases to speak as a precedent."""

    sequence: int
    brand: str
    review: str
    put: bool


async def current_examples(conn: AsyncConnection, brand: str) -> list[Example]:
    """What counts now: of each message, the newest review that was not taken back."""
    newest = (
        select(examples)
        .where(examples.c.brand == brand, examples.c.withdrawn.is_(False))
        .ext(distinct_on(examples.c.message))
        .order_by(examples.c.message, examples.c.sequence.desc())
    )
    rows = sorted(await conn.execute(newest), key=lambda row: row.sequence)
    return [_example(row) for row in rows]


async def examples_by_review(conn: AsyncConnection, brand: str, reviews: Collection[str]) -> dict[str, Example]:
    """Examples of a manifest, by review, whether or not they still count."""
    rows = await conn.execute(select(examples).where(examples.c.brand == brand, examples.c.review.in_(reviews)))
    return {row.review: _example(row) for row in rows}


def _example(row: Row[Any]) -> Example:
    return Example(
        row.review,
        row.brand,
        row.message,
        row.author_key,
        row.edit_revision,
        row.text,
        row.remove,
        row.labels,
        row.weight,
        row.review_time,
        row.published_time,
        row.actor,
        row.model_remove,
        row.danger,
        row.audit,
        row.private,
    )


async def standings(conn: AsyncConnection) -> list[Standing]:
    """Every brand that has examples, the one that has waited longest first."""
    last = select(runs.c.brand, func.max(runs.c.create_time).label("time")).group_by(runs.c.brand).subquery()
    since = or_(last.c.time.is_(None), examples.c.review_time > last.c.time)
    counts = (
        select(
            examples.c.brand,
            last.c.time,
            func.count(examples.c.message.distinct()).label("reviews"),
            func.count(examples.c.message.distinct()).filter(since).label("new"),
        )
        .outerjoin(last, last.c.brand == examples.c.brand)
        .where(examples.c.withdrawn.is_(False), examples.c.doubt.is_(None))
        .group_by(examples.c.brand, last.c.time)
        .order_by(last.c.time.asc().nulls_first(), examples.c.brand)
    )
    audits = {row.brand: row for row in await conn.execute(_audits(last))}
    found = []
    for row in await conn.execute(counts):
        seen = audits.get(row.brand)
        figures = (seen.audits, seen.audits_wrong, seen.before, seen.before_wrong) if seen else (0, 0, 0, 0)
        found.append(Standing(row.brand, row.reviews, row.new, row.time, *figures))
    return found


def _audits(last: Subquery) -> Select[Any]:
    """By brand, audit items and wrong ones since its last run and before it."""
    c = corrections.c
    since, wrong = c.review_time > last.c.time, c.visibility_before != c.visibility_after
    return (
        select(
            c.brand,
            func.count().filter(since).label("audits"),
            func.count().filter(since, wrong).label("audits_wrong"),
            func.count().filter(~since).label("before"),
            func.count().filter(~since, wrong).label("before_wrong"),
        )
        .join(last, last.c.brand == c.brand)
        .where(c.reason == "AUDIT", c.resolution.in_(("CONFIRM", "CORRECT")))
        .group_by(c.brand)
    )


# ---- runs


async def lock_brand(conn: AsyncConnection, brand: str) -> None:
    """One change at a time of a brand's runs, ledger and wish; held until the transaction ends."""
    await conn.execute(select(func.pg_advisory_xact_lock(lock_key(f"train/{brand}"))))


async def add_run(conn: AsyncConnection, run: Run, manifest: Manifest, request_id: str | None) -> None:
    """Keep a new run."""
    values = {
        "id": run.id,
        "brand": run.brand,
        "number": run.number,
        "version": run.version,
        "request_id": request_id,
        "state": run.state,
        "progress": run.progress,
        "n_corrections": run.n_corrections,
        "n_holdout": run.n_holdout,
        "manifest": manifest.as_json(),
        "manifest_digest": run.manifest_digest,
        "attempts": 0,
        "due_time": run.create_time,
        "create_actor": run.create_actor,
        "create_time": run.create_time,
    }
    await conn.execute(insert(runs).values(values))


async def last_number(conn: AsyncConnection, brand: str) -> int:
    """Number of the brand's last run, 0 before the first."""
    return await conn.scalar(select(func.max(runs.c.number)).where(runs.c.brand == brand)) or 0


async def active_run(conn: AsyncConnection, brand: str) -> Run | None:
    """The brand's run that has not ended."""
    query = select(runs).where(runs.c.brand == brand, runs.c.state.in_(ACTIVE))
    row = (await conn.execute(query)).one_or_none()
    return _run(row) if row else None


async def run_of_request(conn: AsyncConnection, brand: str, request_id: str) -> Run | None:
    """The run this request made before."""
    row = (await conn.execute(select(runs).where(runs.c.brand == brand, runs.c.request_id == request_id))).one_or_none()
    return _run(row) if row else None


async def find_run(conn: AsyncConnection, brand: str, run: str) -> Run | None:
    """One run."""
    row = (await conn.execute(select(runs).where(runs.c.brand == brand, runs.c.id == run))).one_or_none()
    return _run(row) if row else None


async def list_runs(conn: AsyncConnection, brand: str, before: int | None, limit: int) -> list[Run]:
    """A brand's runs, newest first, numbered below `before`."""
    query = select(runs).where(runs.c.brand == brand).order_by(runs.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(runs.c.number < before)
    return [_run(row) for row in await conn.execute(query)]


async def due_runs(conn: AsyncConnection, now: datetime) -> list[Run]:
    """Runs waiting for work, oldest first; those left half-way by a process that died are among them."""
    query = select(runs).where(runs.c.state.in_(WORKING), runs.c.due_time <= now)
    return [_run(row) for row in await conn.execute(query.order_by(runs.c.due_time, runs.c.id))]


async def manifest_of(conn: AsyncConnection, run: str) -> Manifest:
    """The snapshot a run works on."""
    return Manifest.from_json((await conn.execute(select(runs.c.manifest).where(runs.c.id == run))).scalar_one())


async def move_run(
    conn: AsyncConnection, run: str, among: Collection[RunState], values: dict[str, Any], attempted: bool = False
) -> Run | None:
    """Change a run that is in one of these states; None when it no longer is."""
    changed = {**values, "version": runs.c.version + 1}
    if attempted:
        changed["attempts"] = runs.c.attempts + 1
    if isinstance(report := changed.get("gate"), GateReport):
        changed["gate"] = asdict(report)
    statement = update(runs).where(runs.c.id == run, runs.c.state.in_(among)).values(changed).returning(runs)
    row = (await conn.execute(statement)).one_or_none()
    return _run(row) if row else None


def _run(row: Row[Any]) -> Run:
    return Run(
        brand=row.brand,
        id=row.id,
        number=row.number,
        version=row.version,
        state=RunState(row.state),
        progress=row.progress,
        n_corrections=row.n_corrections,
        n_holdout=row.n_holdout,
        manifest_digest=row.manifest_digest,
        attempts=row.attempts,
        create_actor=row.create_actor,
        create_time=row.create_time,
        end_time=row.end_time,
        revision=row.revision,
        mlflow_experiment=row.mlflow_experiment,
        mlflow_run=row.mlflow_run,
        model_version=row.model_version,
        gate=_report(row.gate) if row.gate else None,
        failure=row.failure,
        canary_standing=row.canary_standing,
    )


def _report(stored: dict[str, Any]) -> GateReport:
    scores = tuple(Score(**score) for score in stored["scores"])
    return GateReport(stored["promoted"], tuple(stored["reasons"]), scores)


# ---- revisions, ledger, wishes


async def add_revision(conn: AsyncConnection, revision: Revision, now: datetime) -> None:
    """Keep a trained revision."""
    await conn.execute(insert(revisions).values(**asdict(revision), create_time=now))


async def find_revision(conn: AsyncConnection, brand: str, revision: str) -> Revision | None:
    """One revision."""
    query = select(revisions).where(revisions.c.brand == brand, revisions.c.id == revision)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        return None
    return Revision(
        row.brand, row.id, row.run, row.artifact_uri, row.digest, row.encoder, row.model_version, row.passed
    )


async def append(conn: AsyncConnection, entry: LedgerEntry) -> None:
    """Write a line of the ledger; its sequence must be the next (under `lock_brand`)."""
    await conn.execute(insert(ledger).values(**asdict(entry)))


async def read_ledger(conn: AsyncConnection, brand: str) -> list[LedgerEntry]:
    """A brand's whole ledger, oldest first."""
    rows = await conn.execute(select(ledger).where(ledger.c.brand == brand).order_by(ledger.c.sequence))
    return [_entry(row) for row in rows]


async def list_ledger(conn: AsyncConnection, brand: str, before: int | None, limit: int) -> list[LedgerEntry]:
    """A page of a brand's ledger, newest first."""
    query = select(ledger).where(ledger.c.brand == brand).order_by(ledger.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(ledger.c.sequence < before)
    return [_entry(row) for row in await conn.execute(query)]


def _entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(
        row.brand,
        row.sequence,
        LedgerKind(row.kind),
        row.revision,
        row.previous,
        row.actor,
        row.time,
        row.reason,
        row.run,
    )


async def find_wish(conn: AsyncConnection, brand: str) -> Wish | None:
    """What should serve a brand; None when nothing was ever promoted."""
    row = (await conn.execute(select(wishes).where(wishes.c.brand == brand))).one_or_none()
    return Wish(**row._mapping) if row else None


async def save_wish(conn: AsyncConnection, wish: Wish) -> None:
    """Replace what should serve a brand."""
    row = insert(wishes).values(**asdict(wish))
    changed = {name: row.excluded[name] for name in ("revision", "entry", "alias_owed", "serving_owed")}
    await conn.execute(row.on_conflict_do_update(index_elements=["brand"], set_=changed))


async def owing_brands(conn: AsyncConnection) -> Sequence[str]:
    """Brands whose wish is not yet so."""
    query = select(wishes.c.brand).where(or_(wishes.c.alias_owed, wishes.c.serving_owed)).order_by(wishes.c.brand)
    return list((await conn.execute(query)).scalars())


async def settle_step(conn: AsyncConnection, wish: Wish, step: str) -> bool:
    """A step is done: `alias_owed` or `serving_owed`. False when another wish has come since."""
    mine = (wishes.c.brand == wish.brand, wishes.c.entry == wish.entry)
    return (await conn.execute(update(wishes).where(*mine).values({step: False}))).rowcount == 1


# ---- canaries


async def find_canary(conn: AsyncConnection, brand: str) -> Canary | None:
    """A brand's canary, also one that has ended; None when there never was any."""
    row = (await conn.execute(select(canaries).where(canaries.c.brand == brand))).one_or_none()
    return Canary(**row._mapping) if row else None


async def busy_canaries(conn: AsyncConnection) -> list[Canary]:
    """Those that read, and those whose end serving has not been told."""
    query = select(canaries).where(or_(canaries.c.owed, canaries.c.revision.is_not(None)))
    return [Canary(**row._mapping) for row in await conn.execute(query.order_by(canaries.c.brand))]


async def save_canary(conn: AsyncConnection, canary: Canary) -> None:
    """Replace a brand's canary."""
    row = insert(canaries).values(**asdict(canary))
    changed = {name: row.excluded[name] for name in ("revision", "run", "share", "entry", "start_time", "owed")}
    await conn.execute(row.on_conflict_do_update(index_elements=["brand"], set_=changed))


async def told_canary(conn: AsyncConnection, canary: Canary) -> None:
    """Serving knows of it; nothing when another has come since."""
    mine = (canaries.c.brand == canary.brand, canaries.c.entry == canary.entry)
    await conn.execute(update(canaries).where(*mine).values(owed=False))


async def audited(conn: AsyncConnection, brand: str, adapter: str, since: datetime) -> list[bool]:
    """Of what a revision read since then and chance had a person look at: whether the machine was wrong, in order.

    An item that somebody else is asked to look at counts once they have, by their word: it is the blind one.
    """
    undone = select(corrections.c.undoes).where(corrections.c.brand == brand, corrections.c.undoes.is_not(None))
    query = select(corrections.c.visibility_before, corrections.c.visibility_after).where(
        corrections.c.brand == brand,
        corrections.c.adapter == adapter,
        corrections.c.review_time >= since,
        or_(
            and_(corrections.c.reason == "AUDIT", ~corrections.c.second_look),
            corrections.c.reason == "SECOND_LOOK",
        ),
        corrections.c.resolution.in_(("CONFIRM", "CORRECT")),
        corrections.c.review.not_in(undone),
    )
    rows = await conn.execute(query.order_by(corrections.c.review_time, corrections.c.review))
    return [row.visibility_before != row.visibility_after for row in rows]
