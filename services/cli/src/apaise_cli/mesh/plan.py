"""What a mesh runs: the processes, their ports, what each waits for, how each is stopped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from apaise_cli.errors import CliError


@dataclass(frozen=True)
class Process:
    """One supervised process.

    Attributes:
        ports: names of its ports, the one people use first.
        after: processes that must be ready before this one is first started. Restarts do not wait: every service keeps
            trying until what it needs is back.
        stage: the order of stopping; higher stops first.
        service: full gRPC service name for the health check; empty for engines.
    """

    name: str
    what: str
    ports: tuple[str, ...]
    after: tuple[str, ...] = ()
    stage: int = 0
    service: str = ""
    stop_signal: str = "TERM"
    stop_seconds: int = 15


PROCESSES: Final = (
    Process("postgres", "PostgreSQL with pgvector", ("postgres",), stop_signal="INT", stop_seconds=25),
    Process(
        "ray",
        "Ray head: model replicas and training tasks",
        (
            "ray_gcs",
            "ray_node",
            "ray_objects",
            "ray_client",
            "ray_agent_http",
            "ray_agent_grpc",
            "ray_runtime_env",
            "ray_metrics",
            "ray_dashboard",
        ),
        after=("postgres",),
        stage=1,
        stop_seconds=6,  # with replicas alive it waits for them in vain; the sweep sees to the rest
    ),
    Process("mlflow", "MLflow: runs, registry, web page", ("mlflow",), after=("postgres",), stage=1),
    Process(
        "route",
        "charters, decisions, review, cases",
        ("route", "route_metrics", "route_webhook"),
        ("postgres",),
        2,
        "apaise.route.v1.RouteService",
    ),
    Process(
        "ingest",
        "the door and the journal",
        ("ingest", "ingest_metrics"),
        ("postgres",),
        3,
        "apaise.ingest.v1.IngestService",
    ),
    Process(
        "classify",
        "assessments, on Ray Serve",
        ("classify", "classify_metrics"),
        ("postgres", "ray"),
        2,
        "apaise.classify.v1.ClassifyService",
    ),
    # MLflow's tables are made by its server; two makers at once would collide.
    Process(
        "train",
        "fine-tunes, gate, ledger",
        ("train", "train_metrics"),
        ("postgres", "ray", "mlflow"),
        2,
        "apaise.train.v1.TrainService",
    ),
)
BY_NAME: Final = {process.name: process for process in PROCESSES}


def select(names: Iterable[str]) -> tuple[Process, ...]:
    """The named processes and what they wait for, in starting order; all of them when none is named.

    Raises:
        CliError: for a name nobody has.
    """
    wanted = set(names)
    unknown = sorted(wanted - BY_NAME.keys())
    if unknown:
        raise CliError(f"No process is called {', '.join(unknown)}.", f"There are: {', '.join(BY_NAME)}.", code="USAGE")
    for process in reversed(PROCESSES):
        if process.name in wanted:
            wanted.update(process.after)
    return tuple(p for p in PROCESSES if not wanted or p.name in wanted)


def port_names(processes: Iterable[Process] = PROCESSES) -> tuple[str, ...]:
    """Every port name of these processes."""
    return tuple(port for process in processes for port in process.ports)
