"""Runs, versions and aliases in MLflow, through its client API only: no global state, no server needed."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from apaise_kit.core.errors import Unavailable
from apaise_kit.runtime.logs import get_logger
from apaise_train.domain.examples import Manifest
from apaise_train.domain.jobs import Outcome
from apaise_train.domain.ports import Tracked
from apaise_train.domain.runs import Run
from apaise_train.domain.safety import suite_of

CANDIDATE: Final = "candidate"
CHAMPION: Final = "champion"
ADAPTER_FOLDER: Final = "adapter"
_ABSENT: Final = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
T = TypeVar("T")
_log = get_logger(__name__)


class MlflowRegistry:
    """See `Registry`. Calls of MLflow's client block: each runs in a thread."""

    def __init__(self, uri: str, artifacts: str) -> None:
        """`uri` is the tracking and registry store; `artifacts` where artefacts go when that store is a database."""
        self._uri = uri
        self._artifacts = artifacts
        self._client: Any = None
        self._lock = asyncio.Lock()

    async def begin(self, run: Run) -> Tracked:
        """See `Registry.begin`."""
        return await self._call(lambda client: self._begin(client, run))

    async def publish(self, run: Run, tracked: Tracked, outcome: Outcome, card: str, manifest: Manifest) -> str:
        """See `Registry.publish`."""
        return await self._call(lambda client: _publish(client, run, tracked, outcome, card, manifest))

    async def finish(self, tracked: Tracked, status: str, tags: Mapping[str, str]) -> None:
        """See `Registry.finish`."""
        await self._call(lambda client: _finish(client, tracked, status, tags))

    async def set_champion(self, brand: str, version: str | None) -> None:
        """See `Registry.set_champion`."""
        await self._call(lambda client: _set_champion(client, model_name(brand), version))

    async def _call(self, work: Callable[[Any], T]) -> T:
        async with self._lock:  # the client is one session to one database
            return await asyncio.to_thread(self._guarded, work)

    def _guarded(self, work: Callable[[Any], T]) -> T:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            if self._client is None:
                self._client = _client(self._uri)
            return work(self._client)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            _log.warning("mlflow_failed", error=error, code=getattr(error, "error_code", None))
            raise Unavailable("MLflow does not answer. What serves keeps serving; try again in a moment.") from None

    def _begin(self, client: Any, run: Run) -> Tracked:
        if run.mlflow_run:
            _finish(client, Tracked(run.mlflow_experiment or "", run.mlflow_run), "FAILED", {"apaise.retried": "true"})
        experiment = self._experiment(client, f"apaise/{run.brand}")
        tags = {
            "apaise.brand": run.brand,
            "apaise.run": run.id,
            "apaise.manifest": run.manifest_digest,
            "mlflow.source.name": "apaise train",
        }
        opened = client.create_run(experiment, run_name=f"{run.brand}-{run.number}", tags=tags)
        return Tracked(experiment, opened.info.run_id)

    def _experiment(self, client: Any, name: str) -> str:
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        remote = self._uri.startswith(("http://", "https://"))
        where = None if remote else f"{_as_uri(self._artifacts)}/mlflow/{name.rpartition('/')[2]}"
        return str(client.create_experiment(name, artifact_location=where))


def model_name(brand: str) -> str:
    """The registered model of a brand."""
    return f"apaise-{brand}"


def _client(uri: str) -> Any:
    import logging

    from mlflow.tracking import MlflowClient

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).absolute().parent.mkdir(parents=True, exist_ok=True)
    elif uri.startswith("postgresql"):
        _answering(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _answering(uri: str) -> None:
    """Ask the database once: MLflow itself would ask for minutes before it says that nobody is there."""
    from sqlalchemy import NullPool, create_engine

    engine = create_engine(uri, poolclass=NullPool, hide_parameters=True, connect_args={"connect_timeout": 5})
    engine.connect().close()


def _publish(client: Any, run: Run, tracked: Tracked, outcome: Outcome, card: str, manifest: Manifest) -> str:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    metrics = [
        Metric(name, value, now, epoch)
        for epoch, point in enumerate(outcome.curve, start=1)
        for name, value in point.items()
    ]
    metrics += [Metric("learning_curve_auc", point.auc, now, point.corrections) for point in outcome.learning_curve]
    metrics += [Metric(name, value, now, 0) for name, value in {**outcome.metrics, **_suite(outcome)}.items()]
    params = {**outcome.params, "n_corrections": run.n_corrections, "n_holdout": run.n_holdout}
    params |= {"manifest_digest": run.manifest_digest, "encoder": outcome.encoder, "adapter_digest": outcome.digest}
    client.log_batch(tracked.run, metrics=metrics, params=[Param(key, str(value)) for key, value in params.items()])
    with tempfile.TemporaryDirectory() as folder:
        _write_artefacts(Path(folder), outcome, card)
        content = json.dumps(manifest.as_json(), sort_keys=True, separators=(",", ":"))
        (Path(folder) / "manifest.json").write_text(content, encoding="utf-8")
        client.log_artifacts(tracked.run, folder)
    source = f"{client.get_run(tracked.run).info.artifact_uri}/{ADAPTER_FOLDER}"
    return _register(client, run, tracked, source, card)


def _suite(outcome: Outcome) -> dict[str, float]:
    """Shares of the safety suite each competitor keeps."""
    safety = suite_of(outcome.suite)
    if safety is None:
        return {}
    sides = (safety.candidate, *safety.rivals)
    return {f"safety_{side}_{one.who}": getattr(one, side) for one in sides for side in ("goes", "stays")}


def _write_artefacts(folder: Path, outcome: Outcome, card: str) -> None:
    for subfolder, files in ((ADAPTER_FOLDER, outcome.files), ("plots", outcome.plots)):
        (folder / subfolder).mkdir()
        for name, content in files.items():
            (folder / subfolder / name).write_bytes(content)
    (folder / "card.md").write_text(card, encoding="utf-8")


def _register(client: Any, run: Run, tracked: Tracked, source: str, card: str) -> str:
    from mlflow.exceptions import MlflowException

    name = model_name(run.brand)
    try:
        client.create_registered_model(name, description=f"What the moderators of {run.brand} taught Apaise.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name='{name}' and run_id='{tracked.run}'")
    if known:
        version = str(known[0].version)
    else:
        tags = {"apaise.revision": run.revision or "", "apaise.manifest": run.manifest_digest}
        version = str(client.create_model_version(name, source, tracked.run, tags=tags, description=card).version)
    client.set_registered_model_alias(name, CANDIDATE, version)
    return version


def _finish(client: Any, tracked: Tracked, status: str, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        client.set_tag(tracked.run, key, value)
    client.set_terminated(tracked.run, status)


def _set_champion(client: Any, name: str, version: str | None) -> None:
    from mlflow.exceptions import MlflowException

    if version is not None:
        client.set_registered_model_alias(name, CHAMPION, version)
        return
    try:
        client.delete_registered_model_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise


def _as_uri(root: str) -> str:
    return root.rstrip("/") if "://" in root else f"file://{Path(root).absolute()}"
