"""The loop that takes runs from QUEUED to their end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import ApaiseError, FailedPrecondition, Reason
from apaise_kit.core.names import TRAINING_RUN
from apaise_kit.runtime.db import Database
from apaise_kit.runtime.logs import get_logger
from apaise_train.adapters import store
from apaise_train.domain import gate
from apaise_train.domain.card import model_card
from apaise_train.domain.curve import curve_words
from apaise_train.domain.examples import Example, Manifest, ManifestRow, fold, text_sha256
from apaise_train.domain.gate import GateReport, Rival
from apaise_train.domain.jobs import Broken, HouseSource, Job, Judged, Outcome, Progress, Row
from apaise_train.domain.ports import Registry, Shelf, Tracked, Trainer
from apaise_train.domain.runs import (
    GATE_ACTOR,
    WORKING,
    LedgerKind,
    Revision,
    Run,
    RunState,
    champions,
    revision_id,
)
from apaise_train.domain.safety import suite_of, with_safety
from apaise_train.domain.trust import Doubt, Judgement
from apaise_train.promoter import TRANSIENT, Promoter, enter
from apaise_train.trials import begin_canary

MAX_ATTEMPTS: Final = 6
_POLL_SECONDS: Final = 1.0
_REPORT_SECONDS: Final = 0.25
_log = get_logger(__name__)


class _Stopped(Exception):
    """The run is no longer ours to work on: someone cancelled it."""


@dataclass(frozen=True)
class Collaborators:
    """What the runner works with."""

    trainer: Trainer
    registry: Registry
    shelf: Shelf
    promoter: Promoter


@dataclass(frozen=True)
class Limits:
    """How much at once, how long, with what.

    `safety`: the gate reads the house's safety suite; only a house of random weights has no use for it.
    `canary_share`: of the messages, read by what the gate let through before it is promoted; 0 promotes at once.
    """

    runs: int = 1
    timeout: float = 1800.0
    threads: int = 1
    house: HouseSource = field(default_factory=HouseSource)
    retry: float = 5.0
    canary_share: float = 0.0
    safety: bool = True


@dataclass(frozen=True)
class _Material:
    """A run's rows, and the champion they are judged against."""

    manifest: Manifest
    train: tuple[Row, ...]
    holdout: tuple[Row, ...]
    champion: Revision | None
    unseen: tuple[int, ...]


class Runner:
    """Works on runs, oldest first, so many at once.

    Everything it needs is in the database: one that starts finds the runs another left half-way and sends them again
    from their manifest. A run that keeps failing for want of something is given up after `MAX_ATTEMPTS`.
    """

    def __init__(self, db: Database, others: Collaborators, limits: Limits | None = None) -> None:
        self._db = db
        self._others = others
        self._limits = limits or Limits()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """There is a new run."""
        self._nudged.set()

    def stop(self, run: str) -> None:
        """Stop working on a run, at once; its row says why."""
        if task := self._tasks.get(run):
            task.cancel()

    async def run(self) -> None:
        """For ever: start what is due."""
        with acting_as(system_caller("train")):
            try:
                while True:
                    await self._start_due()
                    await self._pause()
            finally:
                await self._end_all()

    async def _start_due(self) -> None:
        try:
            async with self._db.read() as conn:
                due = await store.due_runs(conn, self._db.clock.now())
        except ApaiseError as error:
            _log.warning("runs_not_read", reason=error.reason.value)
            return
        for run in due:
            if len(self._tasks) >= self._limits.runs:
                return
            if run.id not in self._tasks:
                task = asyncio.create_task(self._work(run), name=f"run-{run.id}")
                self._tasks[run.id] = task
                task.add_done_callback(partial(self._forget, run.id))

    def _forget(self, run: str, _: asyncio.Task[None]) -> None:
        self._tasks.pop(run, None)
        self._nudged.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._nudged.wait()
        except TimeoutError:
            return
        self._nudged.clear()

    async def _end_all(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, run: Run) -> None:
        tracked: Tracked | None = None
        try:
            run = await self._move(run, {"failure": None}, attempted=True)
            tracked = await self._others.registry.begin(run)
            run = await self._move(run, {"mlflow_experiment": tracked.experiment, "mlflow_run": tracked.run})
            async with self._db.read() as conn:
                material = await self._material(conn, run)
            outcome = await self._train(run, material)
            await self._conclude(run, tracked, material, outcome)
        except _Stopped:
            await self._close(tracked, "KILLED")
        except asyncio.CancelledError:
            await asyncio.shield(self._close(tracked, "KILLED"))
            raise
        except ApaiseError as error:
            await self._failed(run, error)
            await self._close(tracked, "FAILED")
        except Exception:
            _log.exception("run_broke", run=run.id)
            await self._failed(run, FailedPrecondition("The run broke.", reason=Reason.INTERNAL))
            await self._close(tracked, "FAILED")

    async def _material(self, conn: Any, run: Run) -> _Material:
        manifest = await store.manifest_of(conn, run.id)
        wanted = [*manifest.train, *manifest.holdout]
        found = await store.examples_by_review(conn, run.brand, [row.review for row in wanted])
        line = champions(await store.read_ledger(conn, run.brand))
        champion = await store.find_revision(conn, run.brand, line[-1]) if line[-1] else None
        seen: set[str] = set()
        if champion is not None:
            learnt = (await store.manifest_of(conn, champion.run)).train
            theirs = await store.examples_by_review(conn, run.brand, [row.review for row in learnt])
            # A text blanked since can no longer be told from its copies; by its review it still can.
            seen = {fold(each.text) for each in theirs.values()} | {row.review for row in learnt}
        holdout = _rows(manifest.holdout, found)
        unseen = tuple(
            at
            for at, (row, text) in enumerate(zip(manifest.holdout, holdout, strict=True))
            if row.review not in seen and fold(text.text) not in seen
        )
        return _Material(manifest, _rows(manifest.train, found), holdout, champion, unseen)

    async def _train(self, run: Run, material: _Material) -> Outcome:
        champion = material.champion
        job = Job(
            brand=run.brand,
            revision=revision_id(run.number, run.manifest_digest),
            seed=material.manifest.seed,
            created=run.create_time,
            train=material.train,
            holdout=material.holdout,
            champion=await self._others.shelf.get(champion.artifact_uri) if champion else None,
            house=self._limits.house,
            threads=self._limits.threads,
            safety=self._limits.safety,
        )
        try:
            async with asyncio.timeout(self._limits.timeout):
                return await self._followed(run, job)
        except TimeoutError:
            raise FailedPrecondition("Training took too long.", reason=Reason.DEADLINE_EXCEEDED) from None

    async def _followed(self, run: Run, job: Job) -> Outcome:
        clock = asyncio.get_running_loop()
        told, before = 0.0, RunState.QUEUED
        async with aclosing(self._others.trainer.train(job)) as updates:
            async for update in updates:
                if isinstance(update, Outcome):
                    return update
                if isinstance(update, Broken):
                    raise FailedPrecondition("The run cannot be done.", reason=Reason(update.reason))
                state = _state(update)
                if state is not before or clock.time() - told >= _REPORT_SECONDS:
                    await self._move(run, {"state": state, "progress": round(update.fraction, 3)})
                    told, before = clock.time(), state
        raise FailedPrecondition("Training ended without a result.", reason=Reason.INTERNAL)

    async def _conclude(self, run: Run, tracked: Tracked, material: _Material, outcome: Outcome) -> None:
        """Judge, publish, then write the verdict, its ledger line and what follows from it in one transaction."""
        revision = revision_id(run.number, run.manifest_digest)
        report = self._judge(revision, material, outcome)
        run = await self._move(run, {"state": RunState.EVALUATING, "progress": 0.9, "revision": revision})
        uri = await self._others.shelf.put(revision, run.brand, outcome.digest, outcome.files)
        card = model_card(run, outcome, report)
        version = await self._others.registry.publish(run, tracked, outcome, card, material.manifest)
        kept = Revision(run.brand, revision, run.id, uri, outcome.digest, outcome.encoder, version, report.promoted)
        await self._write_verdict(run, kept, report)
        tags = {"apaise.gate": "promoted" if report.promoted else "refused", "apaise.revision": revision}
        await self._close(tracked, "FINISHED", tags)
        self._others.promoter.nudge()

    def _judge(self, revision: str, material: _Material, outcome: Outcome) -> GateReport:
        # Rows learnt from count too, each read by a candidate that had not seen it: a holdout alone is small.
        learnt = len(material.train)
        truth = [row.remove for row in (*material.train, *material.holdout)]
        candidate = _both(outcome.out_of_fold, outcome.candidate)
        house = _both(outcome.house_taught, outcome.house)
        rivals = [Rival(gate.HOUSE, "house", house, tuple(range(len(truth))))]
        if material.champion is not None and outcome.champion is not None:
            champion = replace(outcome.champion, scores=(0.0,) * learnt + outcome.champion.scores)
            rows = tuple(learnt + row for row in material.unseen)
            rivals.append(Rival(gate.CHAMPION, material.champion.id, champion, rows))
        report = with_safety(gate.judge(truth, revision, candidate, rivals), suite_of(outcome.suite))
        aside = Judgement({review: Doubt(doubt) for review, doubt in material.manifest.aside}, {}).words()
        said = tuple(word for word in (curve_words(outcome.learning_curve), aside) if word)
        return replace(report, reasons=(*report.reasons, *said))

    async def _write_verdict(self, run: Run, revision: Revision, report: GateReport) -> None:
        async with self._db.write() as tx:
            await store.lock_brand(tx.conn, run.brand)
            values: dict[str, Any] = {"gate": report, "model_version": revision.model_version, "progress": 0.0}
            share = self._limits.canary_share
            if report.promoted and share:
                values |= {"state": RunState.CANARY, "end_time": tx.now, "progress": 1.0}
            elif report.promoted:
                values |= {"state": RunState.PROMOTING}
            else:
                values |= {"state": RunState.REFUSED, "end_time": tx.now, "progress": 1.0}
            if await store.move_run(tx.conn, run.id, WORKING, values) is None:
                raise _Stopped
            await store.add_revision(tx.conn, revision, tx.now)
            reason = " ".join(report.reasons)
            if report.promoted and share:
                kind = LedgerKind.CANARY
                await begin_canary(tx, run.brand, revision.id, run.id, share, reason)
            else:
                kind = LedgerKind.PROMOTED if report.promoted else LedgerKind.REFUSED
                await enter(tx, run.brand, kind, revision.id, reason, actor=GATE_ACTOR, run=run.id)
            tx.record("run.judged", TRAINING_RUN.format(run.brand, run.id), run.brand, {"kind": kind.value})

    async def _move(self, run: Run, values: dict[str, Any], attempted: bool = False) -> Run:
        async with self._db.write() as tx:
            moved = await store.move_run(tx.conn, run.id, WORKING, values, attempted)
        if moved is None:
            raise _Stopped
        return moved

    async def _failed(self, run: Run, error: ApaiseError) -> None:
        """Back to the queue for a while when trying again can help, else the end."""
        again = isinstance(error, TRANSIENT) and run.attempts < MAX_ATTEMPTS
        _log.warning("run_failed", run=run.id, reason=error.reason.value, again=again, attempts=run.attempts)
        try:
            async with self._db.write() as tx:
                wait = timedelta(seconds=self._limits.retry * 2 ** max(0, run.attempts - 1))
                values: dict[str, Any] = {"state": RunState.QUEUED, "progress": 0.0, "due_time": tx.now + wait}
                if not again:
                    values = {"state": RunState.FAILED, "end_time": tx.now}
                    tx.record("run.failed", TRAINING_RUN.format(run.brand, run.id), run.brand)
                await store.move_run(tx.conn, run.id, WORKING, {**values, "failure": error.reason.value})
        except ApaiseError as unavailable:
            # The row says it is under way: whoever looks next, this process or another, takes it up again.
            _log.warning("run_not_moved", run=run.id, reason=unavailable.reason.value)

    async def _close(self, tracked: Tracked | None, status: str, tags: dict[str, str] | None = None) -> None:
        if tracked is None:
            return
        try:
            await self._others.registry.finish(tracked, status, tags or {})
        except ApaiseError as error:
            _log.info("tracked_run_left_open", reason=error.reason.value)


def _state(progress: Progress) -> RunState:
    return RunState.EVALUATING if progress.evaluating else RunState.TRAINING


def _rows(wanted: tuple[ManifestRow, ...], found: dict[str, Example]) -> tuple[Row, ...]:
    """The manifest's rows with their texts.

    Raises:
        FailedPrecondition: (MESSAGE_GONE) a text was blanked since: this snapshot can no longer be learnt from.
    """
    rows: list[Row] = []
    for row in wanted:
        example = found.get(row.review)
        if example is None or text_sha256(example.text) != row.text_sha256:
            raise FailedPrecondition(
                "A message of this snapshot was blanked. Start another run.", reason=Reason.MESSAGE_GONE
            )
        rows.append(Row(example.text, row.remove, example.labels, row.weight))
    return tuple(rows)


def _both(learnt: Judged, held: Judged) -> Judged:
    """One reader's scores of the rows learnt from, then of those held out."""
    return Judged(learnt.scores + held.scores, held.threshold)
