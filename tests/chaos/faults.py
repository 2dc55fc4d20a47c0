"""Killing a part of the mesh without warning, and knowing when all of it is back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psutil
import psycopg

from apaise_cli.home import Home
from apaise_cli.mesh import lifecycle, postgres, sweep
from apaise_cli.mesh.supervisor import Supervisor

REPLICA: Final = "replica"
TRAINING: Final = "the worker that trains"
_TITLES: Final = {REPLICA: "ray::ServeReplica:apaise", TRAINING: "ray::train-"}


def pids(home: Home, part: str) -> frozenset[int]:
    """The processes a part is: one for what the supervisor runs, one or more for Ray's replicas and workers."""
    if part in _TITLES:
        return frozenset(each.pid for each in sweep.find(home, "ray") if _title(each).startswith(_TITLES[part]))
    known = Supervisor(home).processes().get(part)
    return frozenset({known.pid} if known is not None and known.pid else ())


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill(home: Home, part: str) -> frozenset[int]:
    """kill -9; which processes it was."""
    doomed = pids(home, part)
    assert doomed, f"there is no {part} to kill"
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    return doomed


def is_whole(home: Home) -> bool:
    """Whether every process of the mesh runs and itself says that it is ready."""
    return all(row.state == "RUNNING" and row.health.ready for row in lifecycle.status(home))


def is_back(home: Home, part: str, killed: frozenset[int]) -> bool:
    """Whether the mesh is whole again, with another process in the place of the killed one."""
    now = pids(home, part)
    return bool(now) and not now & killed and is_whole(home)


def wait_for(condition: Callable[[], bool], what: str, seconds: float, poll: float = 0.5) -> None:
    """Wait until it is so. A database that is being restarted is no answer.

    Raises:
        AssertionError: when it is not so in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        with suppress(psycopg.OperationalError):
            if condition():
                return
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(poll)


@contextmanager
def without_mlflow(home: Home) -> Iterator[None]:
    """MLflow is gone while the block lasts: its server is killed and its store lets nobody in, mid-sentence."""
    kill(home, "mlflow")
    _ask_postgres(home, "alter database mlflow allow_connections false")
    _ask_postgres(home, "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'mlflow'")
    try:
        yield
    finally:
        _ask_postgres(home, "alter database mlflow allow_connections true")


def _ask_postgres(home: Home, statement: str) -> None:
    url = postgres.dsn(home).replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        connection.execute(statement.encode())
