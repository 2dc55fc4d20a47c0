"""Finding what a mesh left running, and ending it, without ever touching another home's."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

from apaise_cli.home import Home

# Every process of a mesh carries its home and, below the supervisor, its name in the mesh.
TAG: Final = "APAISE_MESH"
PROCESS_TAG: Final = "APAISE_MESH_PROCESS"


def find(home: Home, process: str | None = None) -> list[psutil.Process]:
    """Processes of this home (of one mesh process, if named), without the caller and its ancestors."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [p for p in psutil.process_iter() if p.pid not in spared and _belongs(p, home, process)]


def _belongs(candidate: psutil.Process, home: Home, process: str | None) -> bool:
    try:
        if candidate.status() == psutil.STATUS_ZOMBIE:
            return False
        environment = candidate.environ()
        if environment.get(TAG) == str(home.path):
            return process is None or environment.get(PROCESS_TAG) == process
        # PostgreSQL and Ray's workers write their titles over their environment: known by where they live.
        name = candidate.name()
        if name.startswith("postgres"):
            return process in (None, "postgres") and Path(candidate.cwd()) == home.pgdata
        if name.startswith("ray::"):
            return process in (None, "ray") and any(_within(f.path, home.ray_temp) for f in candidate.open_files())
    except (psutil.Error, OSError):
        pass  # gone meanwhile, or not ours to look at
    return False


def _within(path: str, folder: Path) -> bool:
    return Path(path).is_relative_to(folder)


def end(processes: Iterable[psutil.Process], patience: float = 8.0) -> int:
    """End them: politely, then, after `patience` seconds, not. Returns how many there were."""
    doomed = list(processes)
    for process in doomed:
        _signal(process, signal.SIGINT if _is_postgres(process) else signal.SIGTERM)
    _, stubborn = psutil.wait_procs(doomed, timeout=patience)
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=5)
    return len(doomed)


def _is_postgres(process: psutil.Process) -> bool:
    # SIGTERM makes PostgreSQL wait for its clients to leave; SIGINT is its fast, clean stop.
    try:
        return process.name().startswith("postgres")
    except psutil.Error:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)
