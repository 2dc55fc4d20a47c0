"""Progress on stderr, and a run in MLflow: at `$APAISE_MLFLOW_URI`, else in a store of its own. Never any text."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def say(text: str) -> None:
    """A line of progress; stdout is kept for the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def log_run(
    work: Path,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    losses: Sequence[tuple[int, float]],
    artefacts: Sequence[Path],
) -> str:
    """Log one house training; returns the run id."""
    import mlflow

    mlflow.set_tracking_uri(os.environ.get("APAISE_MLFLOW_URI") or f"sqlite:///{work / 'mlflow.db'}")
    if mlflow.get_experiment_by_name("house") is None:
        local = None if os.environ.get("APAISE_MLFLOW_URI") else (work / "artefacts").as_uri()
        mlflow.create_experiment("house", artifact_location=local)
    mlflow.set_experiment("house")
    with mlflow.start_run(run_name="house-train") as run:
        mlflow.log_params(dict(parameters))
        mlflow.log_metrics(dict(metrics))
        for step, loss in losses:
            mlflow.log_metric("loss", loss, step=step)
        for path in artefacts:
            mlflow.log_artifact(str(path))
        return str(run.info.run_id)
