"""The real trainer (local Ray, torch, PEFT) and the real registry (MLflow on SQLite), over a random tiny house."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from apaise.train.v1 import train_service_pb2 as pb
from apaise_kit.core.errors import Unavailable
from apaise_train.adapters.mlflow import MlflowRegistry
from apaise_train.adapters.ray import RayTrainer
from apaise_train.adapters.shelf import FsspecShelf
from apaise_train.domain.examples import Manifest, ManifestRow
from apaise_train.domain.jobs import Broken, HouseSource, Job, Outcome, Progress, Row
from apaise_train.domain.runs import Run, RunState
from apaise_train.runner import Limits
from apaise_train.testing import examples, outcome, tiny_house
from mlops.base.adapter import digest_folder, read_adapter

from .conftest import mesh_on
from .test_runs import create

if TYPE_CHECKING:
    from .conftest import Mesh

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CANARY = "canari"
MANIFEST = Manifest("acme", (ManifestRow("review-1", "0" * 64, True, 1.0),), ())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> HouseSource:
    return tiny_house(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def trainer() -> Iterator[RayTrainer]:
    made = RayTrainer("", cpus=0.5)
    yield made
    asyncio.run(made.close())


@pytest.fixture
async def mesh(dsn: str, tmp_path: Path, source: HouseSource, trainer: RayTrainer) -> AsyncIterator[Mesh]:
    artifacts = tmp_path / "artifacts"
    registry = MlflowRegistry(f"sqlite:///{tmp_path}/mlflow.db", str(artifacts))
    async with mesh_on(dsn, artifacts, trainer, registry) as mesh:
        mesh.limits = Limits(house=source, safety=False)
        await mesh.start()
        yield mesh


def holding(folder: Path, content: bytes) -> list[Path]:
    """Files under a folder that hold these bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]


def manifest_in(file: str) -> Manifest:
    return Manifest.from_json(json.loads(Path(file).read_text()))


def job(source: HouseSource, count: int = 60) -> Job:
    rows = tuple(Row(each.text, each.remove) for each in examples(count))
    return Job("acme", "r1-real", 5, NOW, rows[:-20], rows[-20:], house=source)


async def test_a_brand_learns_and_everything_is_in_mlflow_but_its_texts(mesh: Mesh, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    await mesh.teach([replace(each, text=f"{each.text} {CANARY}") for each in examples(120)])
    async with asyncio.timeout(150):
        run = await create(mesh)
        async for moved in mesh.stub().FollowTrainingRun(pb.FollowTrainingRunRequest(name=run.name)):
            run = moved.training_run
    assert run.state == pb.RunState.RUN_STATE_PROMOTED, run

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("apaise/acme")
    assert experiment is not None
    assert run.mlflow_run.startswith(f"{experiment.experiment_id}/")
    tracked = client.get_run(run.mlflow_run.rpartition("/")[2])
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["manifest_digest"] == run.manifest_digest
    assert len(client.get_metric_history(tracked.info.run_id, "validation_auc")) > 1
    counts = [point.step for point in client.get_metric_history(tracked.info.run_id, "learning_curve_auc")]
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    assert 0.5 * run.n_corrections < counts[-1] < run.n_corrections
    assert any(reason.startswith("Learning curve") for reason in run.gate.reasons)
    logged = {
        found.path
        for folder in ("", "adapter", "plots")
        for found in client.list_artifacts(tracked.info.run_id, folder)
    }
    assert {
        "manifest.json",
        "card.md",
        "adapter/adapter_config.json",
        "adapter/heads.safetensors",
        "plots/learning_curve.png",
        "plots/reliability.png",
    } <= logged
    manifest = manifest_in(client.download_artifacts(tracked.info.run_id, "manifest.json", str(tmp_path)))
    assert (manifest.digest, len(manifest.train)) == (run.manifest_digest, run.n_corrections)
    for alias in ("champion", "candidate"):
        assert str(client.get_model_version_by_alias("apaise-acme", alias).version) == run.model_version

    revision = run.adapter.rpartition("/")[2]
    (folder,) = (mesh.artifacts / "adapters/acme").iterdir()
    assert read_adapter(folder).manifest.revision == revision
    assert folder.name == f"{revision}-{digest_folder(folder)[:12]}"
    assert not holding(tmp_path, CANARY.encode())


async def test_a_cancelled_task_is_killed_and_the_next_one_runs(trainer: RayTrainer, source: HouseSource) -> None:
    long = job(source, 240)
    stream = trainer.train(long)
    async for update in stream:
        assert isinstance(update, Progress)
        if update.fraction > 0.1:
            break
    await stream.aclose()
    *_, last = [update async for update in trainer.train(job(source))]
    assert isinstance(last, Outcome)


async def test_a_job_that_cannot_be_done_says_why(trainer: RayTrainer, source: HouseSource, tmp_path: Path) -> None:
    foreign = replace(source, weights=tiny_house(tmp_path, seed=3).weights)
    *_, last = [update async for update in trainer.train(replace(job(source), house=foreign))]
    assert last == Broken("ADAPTER_WRONG_ENCODER")


async def test_a_ray_that_is_not_there_is_unavailable_at_once(source: HouseSource) -> None:
    import ray

    if ray.is_initialized():
        ray.shutdown()
    away = RayTrainer("127.0.0.1:9")
    with pytest.raises(Unavailable):
        await anext(away.train(job(source)))


@pytest.fixture
def registry(tmp_path: Path) -> MlflowRegistry:
    return MlflowRegistry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path))


def run_of(number: int = 1, **changes: Any) -> Run:
    made = Run(
        "acme", f"run{number}", number, 1, RunState.EVALUATING, 0, 30, 20, "digest", 1, "lea", NOW, revision="r1"
    )
    return replace(made, **changes)


async def test_publishing_again_makes_no_second_version(registry: MlflowRegistry, source: HouseSource) -> None:
    run, made = run_of(), outcome(job(source))
    tracked = await registry.begin(run)
    assert await registry.publish(run, tracked, made, "card", MANIFEST) == "1"
    assert await registry.publish(run, tracked, made, "card", MANIFEST) == "1"
    second = await registry.begin(run_of(2))
    assert await registry.publish(run_of(2), second, made, "card", MANIFEST) == "2"


async def test_what_each_competitor_keeps_of_the_safety_suite_is_a_metric(
    registry: MlflowRegistry, source: HouseSource, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    suite = {"goes": (True, False), "candidate": (True, True), "house": (True, False)}
    tracked = await registry.begin(run_of())
    await registry.publish(run_of(), tracked, outcome(job(source), suite=suite), "card", MANIFEST)
    metrics = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(tracked.run).data.metrics
    assert {name: value for name, value in metrics.items() if name.startswith("safety")} == {
        "safety_goes_candidate": 1.0,
        "safety_stays_candidate": 1.0,
        "safety_goes_house": 1.0,
        "safety_stays_house": 0.0,
    }


async def test_another_attempt_closes_the_first(registry: MlflowRegistry, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    first = await registry.begin(run_of())
    second = await registry.begin(run_of(mlflow_experiment=first.experiment, mlflow_run=first.run))
    assert second.run != first.run
    assert MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(first.run).info.status == "FAILED"


async def test_the_champion_can_be_none_from_the_start(registry: MlflowRegistry, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    await registry.begin(run_of())
    await registry.set_champion("acme", None)
    await registry.set_champion("never-trained", None)
    models = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_registered_models()
    assert not any(model.aliases for model in models)


async def test_a_registry_that_is_away_is_unavailable(tmp_path: Path) -> None:
    away = MlflowRegistry("postgresql+psycopg://nobody@127.0.0.1:1/none", str(tmp_path))
    with pytest.raises(Unavailable):
        await away.begin(run_of())


async def test_the_shelf_keeps_folders_whole_and_never_overwrites(tmp_path: Path) -> None:
    shelf = FsspecShelf(str(tmp_path / "with a space"))
    files = {"a.json": b"1", "b.safetensors": b"2"}
    uri = await shelf.put("r1", "acme", "0123456789abcdef", files)
    assert uri.startswith("file:///")
    assert await shelf.put("r1", "acme", "0123456789abcdef", {"a.json": b"other"}) == uri
    assert await shelf.get(uri) == files
    with pytest.raises(Unavailable):
        await shelf.get("file:///nowhere/at/all")
    remote = FsspecShelf("memory://shelf")
    assert await remote.get(await remote.put("r1", "acme", "0123456789abcdef", files)) == files
