"""What can be asked of train, one function each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from apaise_kit.core.errors import FailedPrecondition, Reason, Unavailable, invalid_field, not_found
from apaise_kit.core.ids import new_id
from apaise_kit.core.names import ADAPTER, BRAND, TRAINING_RUN
from apaise_kit.runtime.db import Database, Transaction
from apaise_train.adapters import store
from apaise_train.domain.examples import Manifest, snapshot
from apaise_train.domain.ports import Goldens
from apaise_train.domain.runs import MOVES, WORKING, LedgerEntry, LedgerKind, Run, RunState, champions
from apaise_train.domain.trust import Tally, judge_corrections
from apaise_train.promoter import Promoter, enter
from apaise_train.runner import Runner
from apaise_train.trials import end_canary

MAX_REASON: Final = 500
_FOLLOW_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Train:
    """What the use cases work with; `golden` are the reviewers whose word is taken as right."""

    db: Database
    runner: Runner
    promoter: Promoter
    goldens: Goldens
    golden: frozenset[str] = frozenset()


async def create_run(train: Train, brand: str, request_id: str) -> Run:
    """Freeze what the brand's reviews teach now and queue a run on it.

    Raises:
        FailedPrecondition: TOO_FEW_CORRECTIONS, RUN_IN_PROGRESS.
        Unavailable: nobody tells how sure reviewers are; ask again.
    """
    tallies = await train.goldens.of(brand)
    async with train.db.write() as tx:
        await store.lock_brand(tx.conn, brand)
        if request_id and (known := await store.run_of_request(tx.conn, brand, request_id)):
            return known
        if active := await store.active_run(tx.conn, brand):
            name = TRAINING_RUN.format(brand, active.id)
            raise FailedPrecondition(
                "The brand has a training run under way. Wait for it or cancel it.",
                reason=Reason.RUN_IN_PROGRESS,
                metadata={"training_run": name},
            )
        manifest = await _frozen(train, tx, brand, tallies)
        run = Run(
            brand=brand,
            id=new_id(train.db.clock),
            number=await store.last_number(tx.conn, brand) + 1,
            version=1,
            state=RunState.QUEUED,
            progress=0.0,
            n_corrections=len(manifest.train),
            n_holdout=len(manifest.holdout),
            manifest_digest=manifest.digest,
            attempts=0,
            create_actor=tx.caller.actor,
            create_time=tx.now,
        )
        await store.add_run(tx.conn, run, manifest, request_id or None)
        payload = {"manifest": manifest.digest, "request": _token(request_id)}
        tx.record("run.created", TRAINING_RUN.format(brand, run.id), brand, payload)
    train.runner.nudge()
    return run


async def _frozen(train: Train, tx: Transaction, brand: str, tallies: Mapping[str, Tally]) -> Manifest:
    """What the brand's reviews teach now, less what is set aside, each weighed by who said it."""
    current = await store.current_examples(tx.conn, brand)
    judgement = judge_corrections(current, train.golden, tallies)
    await store.set_aside(tx.conn, brand, judgement.doubts)
    teaching = [
        replace(example, weight=example.weight * judgement.trust.get(example.actor, 1.0))
        for example in current
        if example.review not in judgement.doubts
    ]
    manifest = snapshot(brand, teaching)
    return replace(manifest, aside=tuple(sorted((review, str(doubt)) for review, doubt in judgement.doubts.items())))


async def get_run(train: Train, brand: str, run: str) -> Run:
    """One run.

    Raises:
        NotFound: no such run.
    """
    async with train.db.read() as conn:
        found = await store.find_run(conn, brand, run)
    if found is None:
        raise not_found(TRAINING_RUN.format(brand, run))
    return found


async def list_runs(train: Train, brand: str, before: int | None, limit: int) -> list[Run]:
    """A brand's runs, newest first."""
    async with train.db.read() as conn:
        return await store.list_runs(conn, brand, before, limit)


async def cancel_run(train: Train, brand: str, run: str, request_id: str) -> Run:
    """Stop a run; one already cancelled is given back as it is.

    Raises:
        NotFound: no such run.
        FailedPrecondition: it has ended otherwise, or is being promoted: roll that back instead.
    """
    name = TRAINING_RUN.format(brand, run)
    found = await get_run(train, brand, run)
    if found.state is RunState.CANCELLED:
        return found
    async with train.db.write() as tx:
        cancelled = await store.move_run(
            tx.conn, run, WORKING, {"state": RunState.CANCELLED, "end_time": tx.now, "failure": None}
        )
        if cancelled is None:
            raise FailedPrecondition(
                "The run has ended or is being promoted. To undo a promotion, roll it back.",
                metadata={"resource": name},
            )
        tx.record("run.cancelled", name, brand, {"request": _token(request_id)})
    train.runner.stop(run)
    return cancelled


async def follow_run(train: Train, brand: str, run: str) -> AsyncIterator[Run]:
    """The run now, and each time it moves, until it has ended.

    Raises:
        NotFound: no such run.
    """
    seen = 0
    while True:
        found = await get_run(train, brand, run)
        if found.version != seen:
            seen = found.version
            yield found
        if found.ended:
            return
        await asyncio.sleep(_FOLLOW_SECONDS)


async def promote(train: Train, brand: str, revision: str, reason: str, force: bool, request_id: str) -> LedgerEntry:
    """Make a revision the champion; the one that is already is given back, and anything still owed to it is done.

    Raises:
        NotFound: no such revision.
        FailedPrecondition: GATE_REFUSED without `force`; ADAPTER_… when serving refuses it (the one before serves on).
        Unavailable: MLflow or classify does not answer: the ledger has it, and it is carried out when they do.
    """
    _check_reason(reason)
    async with train.db.write() as tx:
        await store.lock_brand(tx.conn, brand)
        found = await store.find_revision(tx.conn, brand, revision)
        if found is None:
            raise not_found(ADAPTER.format(brand, revision))
        lines = await store.read_ledger(tx.conn, brand)
        if champions(lines)[-1] == revision:
            entry = next(line for line in reversed(lines) if line.kind in MOVES)
        else:
            if not found.passed and not force:
                raise FailedPrecondition(
                    "The gate refused this revision. Read the run's report; promote it with force if you know better.",
                    reason=Reason.GATE_REFUSED,
                    metadata={"training_run": TRAINING_RUN.format(brand, found.run)},
                )
            await _overtake(tx, brand)
            await end_canary(tx, brand, "Someone promoted a revision.")
            entry = await enter(tx, brand, LedgerKind.PROMOTED, revision, reason, run=found.run)
            tx.record("champion.asked", ADAPTER.format(brand, revision), brand, {"request": _token(request_id)})
    await _carried_out(train, brand)
    return entry


async def roll_back(
    train: Train, brand: str, revision: str | None, house: bool, reason: str, request_id: str
) -> LedgerEntry:
    """Go back to an earlier champion, to the one before (`revision` None), or to the house model.

    Raises:
        NotFound: no such revision.
        FailedPrecondition: (WRONG_STATE) it was never the champion, or nothing was promoted yet.
        Unavailable: classify does not answer: the ledger has it, and it is carried out when it does.
    """
    _check_reason(reason)
    if house and revision is not None:
        raise invalid_field("adapter", "is not given together with `house`")
    async with train.db.write() as tx:
        await store.lock_brand(tx.conn, brand)
        if revision is not None and await store.find_revision(tx.conn, brand, revision) is None:
            raise not_found(ADAPTER.format(brand, revision))
        lines = await store.read_ledger(tx.conn, brand)
        target = None if house else _target(champions(lines), lines, revision)
        await end_canary(tx, brand, "Someone rolled back.")
        entry = await enter(tx, brand, LedgerKind.ROLLED_BACK, target, reason)
        await _overtake(tx, brand)
        tx.record("champion.asked", BRAND.format(brand), brand, {"request": _token(request_id)})
    try:
        await _carried_out(train, brand)
    except Unavailable:
        async with train.db.read() as conn:
            wish = await store.find_wish(conn, brand)
        if wish is None or wish.serving_owed:
            raise
        # Serving has gone back; MLflow's alias follows when MLflow answers.
    return entry


async def list_ledger(train: Train, brand: str, before: int | None, limit: int) -> list[LedgerEntry]:
    """A page of a brand's ledger, newest first."""
    async with train.db.read() as conn:
        return await store.list_ledger(conn, brand, before, limit)


def _target(line: list[str | None], lines: list[LedgerEntry], revision: str | None) -> str | None:
    if revision is not None:
        served = {entry.revision for entry in lines if entry.kind in MOVES}
        if revision not in served:
            raise FailedPrecondition("This revision was never the champion. Promote it instead.")
        return revision
    if len(line) < 2:
        raise FailedPrecondition("The house model serves this brand already: there is nothing to go back to.")
    return line[-2]


async def _overtake(tx: Transaction, brand: str) -> None:
    """A run whose promotion is under way ends here: another wish takes its place, its revision stays."""
    if run := await store.active_run(tx.conn, brand):
        values = {"state": RunState.CANCELLED, "end_time": tx.now}
        await store.move_run(tx.conn, run.id, [RunState.PROMOTING], values)


async def _carried_out(train: Train, brand: str) -> None:
    try:
        await train.promoter.settle(brand)
    except Unavailable as error:
        raise Unavailable(
            "The ledger has it; it is carried out by itself as soon as MLflow and classify answer.",
            reason=error.reason,
            metadata=error.metadata,
        ) from error


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON:
        raise invalid_field("reason", f"1 to {MAX_REASON} characters: the ledger keeps it")


def _token(request_id: str) -> str:
    """A caller's request id as the audit log can hold it."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in request_id[:64])
