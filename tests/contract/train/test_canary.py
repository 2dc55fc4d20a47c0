"""A revision on trial: told to serving, judged on audit items alone, ended or promoted, each move in the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from apaise.train.v1 import train_service_pb2 as pb
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import FailedPrecondition, Reason, Unavailable
from apaise_train.adapters import store
from apaise_train.domain.corrections import Correction
from apaise_train.domain.health import Arm
from apaise_train.domain.sequential import MIN_REVIEWED
from apaise_train.runner import Limits
from apaise_train.testing import examples

from .conftest import mesh_on, until
from .test_promotions import ledger, roll_back
from .test_runs import PARENT, create, end_of

if TYPE_CHECKING:
    from .conftest import Mesh

S, K = pb.RunState, pb.LedgerKind


@pytest.fixture
async def mesh(dsn: str, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with mesh_on(dsn, tmp_path / "artifacts") as mesh:
        mesh.limits = Limits(retry=0.01, canary_share=0.2)
        await mesh.start()
        yield mesh


async def on_trial(mesh: Mesh) -> pb.TrainingRun:
    await mesh.teach(examples(100))
    run, states = await end_of(mesh, await create(mesh))
    assert states[-1] == S.RUN_STATE_CANARY
    return run


async def current(mesh: Mesh, run: pb.TrainingRun) -> pb.TrainingRun:
    return (await mesh.stub().GetTrainingRun(pb.GetTrainingRunRequest(name=run.name))).training_run


async def review(mesh: Mesh, adapter: str, count: int, wrong: int, start: int = 0, **changes: Any) -> None:
    """So many reviewed items of a revision, the first `wrong` of every block of ten corrected."""
    made = Correction(
        brand="acme",
        review="",
        message="m",
        edit_revision=1,
        resolution="CONFIRM",
        undoes=None,
        actor="lea",
        review_time=datetime.now(UTC) + timedelta(minutes=1),
        clause="",
        visibility_before="KEEP",
        visibility_after="KEEP",
        labels_before={},
        labels_after={"remove": False},
        reason="AUDIT",
        sampling_probability=0.02,
        encoder="e",
        adapter=adapter,
    )
    with acting_as(system_caller("test")):
        async with mesh.db.write() as tx:
            for number in range(start, start + count):
                bad = {"resolution": "CORRECT", "visibility_after": "HIDE"} if number % 10 < wrong else {}
                one = replace(made, **{"review": f"{adapter}-{number}", **bad, **changes})
                await store.add_correction(tx.conn, one)


def revision_of(run: pb.TrainingRun) -> str:
    return run.adapter.rpartition("/")[2]


async def test_a_new_revision_reads_its_share_and_the_champion_stays(mesh: Mesh) -> None:
    run = await on_trial(mesh)

    async def tried() -> bool:
        return mesh.serving.trials.get("acme") == (revision_of(run), 0.2)

    await until(tried)
    assert mesh.serving.serving == {}
    (entry,) = await ledger(mesh)
    assert (entry.kind, entry.adapter, entry.training_run) == (K.LEDGER_KIND_CANARY, run.adapter, run.name)


async def test_it_stays_on_trial_and_says_how_many_are_missing(mesh: Mesh) -> None:
    run = await on_trial(mesh)
    await review(mesh, revision_of(run), MIN_REVIEWED - 7, 10)
    await review(mesh, "house", 300, 0)

    async def said() -> bool:
        return (await current(mesh, run)).canary_standing.startswith("7 more reviewed items")

    await until(said)
    assert (await current(mesh, run)).state == S.RUN_STATE_CANARY
    assert len(await ledger(mesh)) == 1


async def test_a_worse_one_is_taken_back(mesh: Mesh) -> None:
    run = await on_trial(mesh)
    await review(mesh, "house", 150, 0)
    await review(mesh, revision_of(run), 150, 3)

    async def ended() -> bool:
        return mesh.serving.trials.get("acme", ()) is None

    await until(ended)
    assert (await current(mesh, run)).state == S.RUN_STATE_REFUSED
    last = (await ledger(mesh))[-1]
    assert (last.kind, last.adapter) == (K.LEDGER_KIND_CANARY_ENDED, run.adapter)
    assert last.reason == "The canary is worse: wrong in 45 of 150 reviewed items, the champion in 0 of 150."
    assert mesh.serving.serving == {}


async def test_a_better_one_becomes_champion(mesh: Mesh) -> None:
    run = await on_trial(mesh)
    await review(mesh, "house", 150, 3)
    await review(mesh, revision_of(run), 150, 0)

    async def serving() -> bool:
        return mesh.serving.serving.get("acme") == revision_of(run) and mesh.serving.trials.get("acme", ()) is None

    await until(serving)
    assert (await current(mesh, run)).state == S.RUN_STATE_PROMOTED
    assert [entry.kind for entry in await ledger(mesh)] == [K.LEDGER_KIND_CANARY, K.LEDGER_KIND_PROMOTED]


async def test_what_people_went_to_look_at_and_what_was_undone_judge_nothing(mesh: Mesh) -> None:
    run = await on_trial(mesh)
    await review(mesh, "house", 150, 0)
    await review(mesh, revision_of(run), 150, 10, reason="UNSURE")
    await review(mesh, revision_of(run), 1, 10, start=1000)
    await review(mesh, revision_of(run), 1, 0, start=2001, undoes=f"{revision_of(run)}-1000", resolution="UNDO")

    async def said() -> bool:
        return (await current(mesh, run)).canary_standing.startswith(f"{MIN_REVIEWED} more reviewed items")

    await until(said)


async def test_an_item_asked_about_twice_counts_once_by_the_blind_word(mesh: Mesh) -> None:
    run = await on_trial(mesh)
    canary = revision_of(run)
    await review(mesh, "house", 150, 0)
    # The first person saw nothing wrong with any; the second, who was not told, with each.
    await review(mesh, canary, 150, 0, second_look=True)

    async def none_yet() -> bool:
        return (await current(mesh, run)).canary_standing.startswith(f"{MIN_REVIEWED} more reviewed items")

    await until(none_yet)
    await review(mesh, canary, 110, 10, start=1000, reason="SECOND_LOOK")

    async def ended() -> bool:
        return (await current(mesh, run)).state == S.RUN_STATE_REFUSED

    await until(ended)
    assert "wrong in 110 of 110 reviewed items" in (await ledger(mesh))[-1].reason


async def test_a_rollback_ends_the_trial_at_once(mesh: Mesh) -> None:
    run = await on_trial(mesh)
    await roll_back(mesh, house=True)

    async def ended() -> bool:
        return mesh.serving.trials.get("acme", ()) is None

    await until(ended)
    assert (await current(mesh, run)).state == S.RUN_STATE_REFUSED
    kinds = [entry.kind for entry in await ledger(mesh)]
    assert kinds == [K.LEDGER_KIND_CANARY, K.LEDGER_KIND_CANARY_ENDED, K.LEDGER_KIND_ROLLED_BACK]


async def test_a_canary_was_never_champion(mesh: Mesh) -> None:
    run = await on_trial(mesh)
    with pytest.raises(Exception, match="never the champion"):
        await roll_back(mesh, adapter=run.adapter)
    promoted = await mesh.stub().PromoteRevision(pb.PromoteRevisionRequest(name=run.adapter, reason="in a hurry"))
    assert promoted.entry.previous == ""
    assert mesh.serving.serving == {"acme": revision_of(run)}


async def test_another_revision_takes_its_place(mesh: Mesh) -> None:
    first = await on_trial(mesh)
    await mesh.teach([replace(each, review=f"x{each.review}", message=f"x{each.message}") for each in examples(60)])
    second, _ = await end_of(mesh, await create(mesh))

    async def tried() -> bool:
        return mesh.serving.trials.get("acme") == (revision_of(second), 0.2)

    await until(tried)
    assert (await current(mesh, first)).state == S.RUN_STATE_REFUSED


async def test_one_that_fails_is_ended_at_once_whatever_reviews_say(mesh: Mesh) -> None:
    run = await on_trial(mesh)
    await review(mesh, "house", 150, 3)
    mesh.serving.arms = Arm(reads=40, failures=5), Arm(reads=160)

    async def ended() -> bool:
        return (await current(mesh, run)).state == S.RUN_STATE_REFUSED

    await until(ended)
    last = (await ledger(mesh))[-1]
    assert (last.kind, last.adapter, last.actor) == (K.LEDGER_KIND_CANARY_ENDED, run.adapter, "apaise")
    assert last.reason == "The canary fails: it could not read 5 of 40 messages, the champion 0 of 160."
    assert (await current(mesh, run)).canary_standing == last.reason

    async def told() -> bool:
        return mesh.serving.trials["acme"] is None

    await until(told)
    assert mesh.serving.serving == {}


async def test_one_that_is_slow_is_ended_too(mesh: Mesh) -> None:
    run = await on_trial(mesh)
    mesh.serving.arms = Arm(900, 0, 900, p90=0.5, p95=0.6), Arm(900, 0, 900, p90=0.1, p95=0.2)

    async def ended() -> bool:
        return (await current(mesh, run)).state == S.RUN_STATE_REFUSED

    await until(ended)
    assert (await ledger(mesh))[-1].reason.startswith("The canary is slow")


async def test_counts_of_another_revision_judge_nothing(mesh: Mesh) -> None:
    mesh.serving.counted = "r0-before"
    mesh.serving.arms = Arm(reads=40, failures=40), Arm(reads=160)
    run = await on_trial(mesh)
    await review(mesh, "house", 3, 0)

    async def looked() -> bool:
        return "the champion in 0 of 3" in (await current(mesh, run)).canary_standing

    await until(looked)
    assert (await current(mesh, run)).state == S.RUN_STATE_CANARY


async def test_one_that_serving_refuses_is_ended_and_the_ledger_says_why(mesh: Mesh) -> None:
    mesh.serving.down = Unavailable("away")
    run = await on_trial(mesh)
    mesh.serving.refuses[revision_of(run)] = FailedPrecondition("no", reason=Reason.ADAPTER_CORRUPT)
    mesh.serving.down = None

    async def ended() -> bool:
        return (await current(mesh, run)).state == S.RUN_STATE_REFUSED

    await until(ended)
    assert "ADAPTER_CORRUPT" in (await ledger(mesh))[-1].reason
    assert PARENT in run.name
