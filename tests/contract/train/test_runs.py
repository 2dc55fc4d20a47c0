"""Runs from request to verdict, over gRPC."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
import pytest
from sqlalchemy import text

from apaise.train.v1 import train_service_pb2 as pb
from apaise_kit.core.errors import Unavailable
from apaise_kit.runtime.status import failure_of
from apaise_train.domain.jobs import Broken, Job, Update
from apaise_train.runner import MAX_ATTEMPTS, Limits
from apaise_train.testing import example, examples, outcome

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Mesh

S = pb.RunState
PARENT = "brands/acme"


async def create(mesh: Mesh, request_id: str = "") -> pb.TrainingRun:
    request = pb.CreateTrainingRunRequest(parent=PARENT, request_id=request_id)
    return (await mesh.stub().CreateTrainingRun(request)).training_run


async def end_of(mesh: Mesh, run: pb.TrainingRun) -> tuple[pb.TrainingRun, list[int]]:
    """The run at its end, and the states it went through."""
    states: list[int] = []
    async with asyncio.timeout(20):
        async for moved in mesh.stub().FollowTrainingRun(pb.FollowTrainingRunRequest(name=run.name)):
            if not states or states[-1] != moved.training_run.state:
                states.append(moved.training_run.state)
            run = moved.training_run
    return run, states


async def test_a_good_candidate_is_promoted(mesh: Mesh) -> None:
    await mesh.teach(examples(100))
    run = await create(mesh)
    assert (run.state, run.n_corrections, run.n_holdout) == (S.RUN_STATE_QUEUED, 70, 30)
    assert run.create_actor == "lea"
    run, states = await end_of(mesh, run)
    assert states[-1] == S.RUN_STATE_PROMOTED
    assert states == sorted(states)
    assert run.gate.promoted
    assert {score.who for score in run.gate.scores} == {"candidate", "house"}
    assert run.mlflow_url.startswith("http://mlflow.example/#/experiments/1/runs/")
    assert run.model_version == "1"
    assert run.HasField("end_time")
    revision = run.adapter.rpartition("/")[2]
    assert mesh.serving.serving == {"acme": revision}
    assert mesh.registry.champion == {"acme": "1"}
    assert list(mesh.registry.opened.values()) == ["FINISHED"]
    ledger = await mesh.stub().ListLedger(pb.ListLedgerRequest(parent=PARENT))
    (entry,) = ledger.entries
    assert (entry.kind, entry.actor, entry.adapter, entry.previous) == (1, "apaise", run.adapter, "")
    assert entry.training_run == run.name


async def test_a_worse_candidate_is_refused_and_the_ledger_says_so(mesh: Mesh) -> None:
    mesh.trainer.result = lambda job: outcome(job, good=False)
    await mesh.teach(examples(100))
    run, states = await end_of(mesh, await create(mesh))
    assert states[-1] == S.RUN_STATE_REFUSED
    assert run.gate.reasons
    assert mesh.serving.calls == []
    (entry,) = (await mesh.stub().ListLedger(pb.ListLedgerRequest(parent=PARENT))).entries
    assert entry.kind == pb.LedgerKind.LEDGER_KIND_REFUSED


async def test_too_few_corrections_says_how_many_are_missing(mesh: Mesh) -> None:
    await mesh.teach(examples(33))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(mesh)
    failure = failure_of(refused.value)
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (failure.reason, failure.metadata["missing"]) == ("TOO_FEW_CORRECTIONS", "7")


async def test_one_run_per_brand_and_the_same_request_gets_the_same_run(mesh: Mesh) -> None:
    mesh.trainer.hold = asyncio.Event()
    await mesh.teach(examples(60))
    await mesh.teach(examples(60, brand="other"))
    run = await create(mesh, "once")
    assert (await create(mesh, "once")).name == run.name
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(mesh, "twice")
    assert failure_of(refused.value).reason == "RUN_IN_PROGRESS"
    other = await mesh.stub().CreateTrainingRun(pb.CreateTrainingRunRequest(parent="brands/other"))
    assert other.training_run.name.startswith("brands/other/")
    mesh.trainer.hold.set()
    await end_of(mesh, run)
    assert (await create(mesh, "once")).name == run.name


async def test_racing_requests_make_one_run(mesh: Mesh) -> None:
    mesh.trainer.hold = asyncio.Event()
    await mesh.teach(examples(60))
    results = await asyncio.gather(*(create(mesh, f"r{n}") for n in range(6)), return_exceptions=True)
    assert sum(isinstance(result, pb.TrainingRun) for result in results) == 1
    mesh.trainer.hold.set()


async def test_what_was_refused_or_promoted_is_the_newest_example_of_each_message(mesh: Mesh) -> None:
    rows = examples(60)
    await mesh.teach(rows)
    again = example(100, not rows[3].remove, text=rows[3].text, message=rows[3].message)
    await mesh.teach([again])
    await end_of(mesh, await create(mesh))
    (job,) = mesh.trainer.jobs
    taught = {row.text: row.remove for row in (*job.train, *job.holdout)}
    assert len(taught) == 60
    assert taught[rows[3].text] is not rows[3].remove


async def test_a_run_can_be_cancelled_and_the_task_stops(mesh: Mesh) -> None:
    mesh.trainer.hold = asyncio.Event()
    await mesh.teach(examples(60))
    run = await create(mesh)
    stub = mesh.stub()
    async for moved in stub.FollowTrainingRun(pb.FollowTrainingRunRequest(name=run.name)):
        if moved.training_run.state == S.RUN_STATE_TRAINING:
            break
    cancelled = (await stub.CancelTrainingRun(pb.CancelTrainingRunRequest(name=run.name))).training_run
    assert cancelled.state == S.RUN_STATE_CANCELLED
    again = (await stub.CancelTrainingRun(pb.CancelTrainingRunRequest(name=run.name))).training_run
    assert again == cancelled

    async def stopped() -> bool:
        return mesh.trainer.stopped == 1 and "RUNNING" not in mesh.registry.opened.values()

    await until(stopped)
    assert list(mesh.registry.opened.values()) == ["KILLED"]
    assert (await create(mesh)).name != run.name


async def test_a_run_that_ended_cannot_be_cancelled(mesh: Mesh) -> None:
    await mesh.teach(examples(100))
    run, _ = await end_of(mesh, await create(mesh))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await mesh.stub().CancelTrainingRun(pb.CancelTrainingRunRequest(name=run.name))
    assert failure_of(refused.value).reason == "WRONG_STATE"


async def test_machines_away_for_a_while_are_waited_for(mesh: Mesh) -> None:
    mesh.trainer.failures = [Unavailable("away"), Unavailable("away")]
    await mesh.teach(examples(100))
    run, states = await end_of(mesh, await create(mesh))
    assert run.state == S.RUN_STATE_PROMOTED
    assert run.failure == ""
    assert len(mesh.trainer.jobs) == 3
    assert mesh.trainer.jobs[0] == mesh.trainer.jobs[2]
    assert S.RUN_STATE_FAILED not in states


async def test_machines_away_for_good_end_the_run(mesh: Mesh) -> None:
    mesh.trainer.failures = [Unavailable("away") for _ in range(MAX_ATTEMPTS)]
    await mesh.teach(examples(100))
    run, _ = await end_of(mesh, await create(mesh))
    assert (run.state, run.failure) == (S.RUN_STATE_FAILED, "DEPENDENCY_UNAVAILABLE")
    assert set(mesh.registry.opened.values()) == {"FAILED"}


async def test_mlflow_away_lets_the_run_wait(mesh: Mesh) -> None:
    mesh.registry.down = Unavailable("away")
    await mesh.teach(examples(100))
    run = await create(mesh)
    await asyncio.sleep(0.05)
    mesh.registry.down = None
    run, _ = await end_of(mesh, run)
    assert run.state == S.RUN_STATE_PROMOTED


async def test_a_broken_job_fails_with_its_reason(mesh: Mesh) -> None:
    mesh.trainer.result = lambda job: Broken("ADAPTER_WRONG_ENCODER")
    await mesh.teach(examples(100))
    run, _ = await end_of(mesh, await create(mesh))
    assert (run.state, run.failure) == (S.RUN_STATE_FAILED, "ADAPTER_WRONG_ENCODER")


async def test_an_exception_of_ours_fails_the_run_as_internal(mesh: Mesh) -> None:
    def broken(job: Job) -> Update:
        raise ZeroDivisionError

    mesh.trainer.result = broken
    await mesh.teach(examples(100))
    run, _ = await end_of(mesh, await create(mesh))
    assert (run.state, run.failure) == (S.RUN_STATE_FAILED, "INTERNAL")
    assert len(mesh.trainer.jobs) == 1


async def test_a_run_that_takes_too_long_fails_and_is_stopped(mesh: Mesh) -> None:
    await mesh.stop()
    mesh.trainer.hold, mesh.limits = asyncio.Event(), Limits(timeout=0.1)
    await mesh.start()
    await mesh.teach(examples(60))
    run, _ = await end_of(mesh, await create(mesh))
    assert (run.state, run.failure) == (S.RUN_STATE_FAILED, "DEADLINE_EXCEEDED")
    assert mesh.trainer.stopped == 1


async def test_a_restart_takes_the_run_up_from_its_manifest(mesh: Mesh) -> None:
    mesh.trainer.hold = asyncio.Event()
    await mesh.teach(examples(100))
    run = await create(mesh)
    async for moved in mesh.stub().FollowTrainingRun(pb.FollowTrainingRunRequest(name=run.name)):
        if moved.training_run.state == S.RUN_STATE_TRAINING:
            break
    await mesh.stop()
    # What is learnt meanwhile does not enter the snapshot.
    await mesh.teach([example(200 + n, True) for n in range(10)])
    mesh.trainer.hold.set()
    await mesh.start()
    run, _ = await end_of(mesh, run)
    assert run.state == S.RUN_STATE_PROMOTED
    first, second = mesh.trainer.jobs
    assert first == second


async def test_a_text_blanked_since_ends_the_run(mesh: Mesh) -> None:
    await mesh.stop()
    await mesh.teach(examples(100))
    await mesh.start()
    mesh.trainer.failures = [Unavailable("away")]
    mesh.reviews.blank("acme", "message-0007")
    run = await create(mesh)
    run, _ = await end_of(mesh, run)
    # Either the blanking came before the snapshot, which then leaves it out, or after, and the run says so.
    if run.state == S.RUN_STATE_FAILED:
        assert run.failure == "MESSAGE_GONE"
    else:
        assert all(row.text != "7" for job in mesh.trainer.jobs for row in job.train)


async def test_runs_are_listed_newest_first_page_by_page(mesh: Mesh) -> None:
    await mesh.teach(examples(100))
    made = []
    for _ in range(3):
        run, _ = await end_of(mesh, await create(mesh))
        made.append(run.name)
    stub = mesh.stub()
    first = await stub.ListTrainingRuns(pb.ListTrainingRunsRequest(parent=PARENT, page_size=2))
    second = await stub.ListTrainingRuns(
        pb.ListTrainingRunsRequest(parent=PARENT, page_size=2, page_token=first.next_page_token)
    )
    assert [run.name for run in (*first.training_runs, *second.training_runs)] == made[::-1]
    assert second.next_page_token == ""


async def test_a_second_run_is_judged_against_the_champion_on_new_reviews_only(mesh: Mesh) -> None:
    await mesh.teach(examples(100))
    await end_of(mesh, await create(mesh))
    run, _ = await end_of(mesh, await create(mesh))
    # Nothing new was reviewed: all held-out rows were held out before, so the champion has not learnt from them.
    assert {score.who for score in run.gate.scores} == {"candidate", "house", "champion"}
    assert mesh.trainer.jobs[1].champion == {"apaise.json": mesh.trainer.jobs[0].revision.encode()}


async def test_no_text_in_events_manifests_or_cards(mesh: Mesh) -> None:
    rows = [example(n, n % 2 == 0, text=f"zq canari xj {chr(97 + n % 26)}{n}") for n in range(100)]
    await mesh.teach(rows)
    await end_of(mesh, await create(mesh))
    assert "canari" not in "".join(mesh.registry.cards)
    async with mesh.db.read() as conn:
        for table in ("events", "runs", "ledger", "revisions", "wishes", "cursors"):
            for row in await conn.execute(text(f"select * from {table}")):
                assert "canari" not in str(row)
    with suppress(asyncio.CancelledError):
        assert await mesh.db.verify_chain() > 0
