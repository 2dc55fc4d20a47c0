"""Killing a part of the mesh without warning, and knowing when all of it is back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psutil
import psycopg

from apaise_cli.home import Home
from apaise_cli.mesh import lifecycle, sweep
from apaise_cli.mesh.supervisor import Supervisor

REPLICA: Final = "replica"
_REPLICA_TITLE: Final = "ray::ServeReplica:apaise"


def pids(home: Home, part: str) -> frozenset[int]:
    """The processes a part is: one for what the supervisor runs, one or more for the replicas of Ray Serve."""
    if part == REPLICA:
        return frozenset(each.pid for each in sweep.find(home, "ray") if _title(each).startswith(_REPLICA_TITLE))
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
