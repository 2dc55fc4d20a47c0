"""Bringing a mesh up, taking it down, saying how it is."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import psutil

from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.mesh import credentials, plan, ports, postgres, readiness, sweep
from apaise_cli.mesh.plan import Process
from apaise_cli.mesh.readiness import Health
from apaise_cli.mesh.supervisor import ProcessInfo, Supervisor

_POLL: Final = 0.3
# A process that has died this often before it was ever ready will not get better by waiting.
_MAX_DEATHS: Final = 6


class Progress(Protocol):
    """Shows how far a mesh is."""

    def update(self, name: str, state: str, detail: str = "") -> None:
        """`state` is waiting, starting, ready, stopping or stopped."""
        ...


@dataclass(frozen=True)
class Row:
    """One line of the status."""

    process: Process
    info: ProcessInfo | None
    health: Health
    port: int | None

    @property
    def state(self) -> str:
        """The supervisor's word, or `STOPPED`. It calls a process starting for a second, even one that answers."""
        if self.info is None:
            return "STOPPED"
        return "RUNNING" if self.info.running and self.health.ready else self.info.state

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "process": self.process.name,
            "state": self.state.lower(),
            "ready": self.health.ready,
            "health": self.health.answer,
            "pid": self.info.pid if self.info and self.info.running else None,
            "port": self.port,
        }


def status(home: Home) -> list[Row]:
    """Every process of the mesh: what the supervisor knows and what the process itself answers."""
    known = Supervisor(home).processes()
    running = tuple(p for p in plan.PROCESSES if p.name in known and known[p.name].running)
    answers = readiness.probe_all(home, running)
    return [
        Row(p, known.get(p.name), answers.get(p.name, Health(False, "not running")), home.ports.get(p.ports[0]))
        for p in plan.PROCESSES
    ]


def strays(home: Home) -> int:
    """How many processes of this home run without their supervisor."""
    return 0 if Supervisor(home).alive() else len(sweep.find(home))


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[None]:
    """One `up` or `down` at a time per home."""
    with (home.run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CliError(
                "This mesh is being started or stopped by another command.", "Wait for it to end.", code="BUSY"
            ) from None
        yield


def up(home: Home, processes: Sequence[Process], progress: Progress, patience: float) -> None:
    """Start what does not run yet and return once every process answers that it is ready.

    Raises:
        CliError: when one is not ready within `patience` seconds or keeps dying; what runs is left running.
    """
    home.prepare()
    with _alone(home):
        credentials.ensure(home)
        supervisor = Supervisor(home)
        if supervisor.alive() and not home.ports:
            _dismiss(supervisor)  # someone removed the home under a running mesh: what runs there has no data any more
        if not supervisor.alive():
            _boot(home, supervisor)
        _start_in_order(home, supervisor, processes, progress, time.monotonic() + patience)


def _boot(home: Home, supervisor: Supervisor) -> None:
    sweep.end(sweep.find(home))  # a supervisor killed with -9 leaves its children behind
    try:
        chosen = ports.choose(plan.port_names(), home.ports, seed=str(home.path))
    except OSError as error:
        raise CliError(f"No port is left: {error}.", "Stop something.", code="PORTS") from error
    home.write_json("mesh.json", {"ports": chosen})
    postgres.initialise(home)
    supervisor.boot(plan.PROCESSES)


def _start_in_order(
    home: Home, supervisor: Supervisor, processes: Sequence[Process], progress: Progress, deadline: float
) -> None:
    waiting, starting, ready = list(processes), dict[str, _Start](), set[str]()
    while waiting or starting:
        for process in [p for p in waiting if ready.issuperset(p.after)]:
            waiting.remove(process)
            starting[process.name] = _Start(process)
            supervisor.start(process.name)
        known = supervisor.processes()
        answers = readiness.probe_all(home, tuple(start.process for start in starting.values()))
        for name, answer in answers.items():
            if answer.ready:
                _when_ready(home, name)
                ready.add(name)
                del starting[name]
                progress.update(name, "ready", answer.answer)
            else:
                starting[name].look(known.get(name), home, progress, answer)
        if starting and time.monotonic() > deadline:
            raise _not_ready(home, next(iter(starting)), "is not ready in time")
        if waiting or starting:
            time.sleep(_POLL)


def _when_ready(home: Home, name: str) -> None:
    if name == "postgres":
        postgres.provision(home)


class _Start:
    """A process on its way: notices when it dies again and again."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._pids: set[int] = set()

    def look(self, info: ProcessInfo | None, home: Home, progress: Progress, answer: Health) -> None:
        """Note its present pid and show where it stands.

        Raises:
            CliError: when it has died too often.
        """
        if info is not None and info.pid:
            self._pids.add(info.pid)
        deaths = max(0, len(self._pids) - 1)
        progress.update(self.process.name, "starting", f"restarted {deaths}×" if deaths else answer.answer)
        if deaths >= _MAX_DEATHS:
            raise _not_ready(home, self.process.name, f"died {deaths} times while starting")


def _not_ready(home: Home, name: str, what: str) -> CliError:
    log = home.log / f"{name}.log"
    tail = _tail(log)
    return CliError(
        f"{name} {what}.", f"Its log: {log}", code="NOT_READY", details={"process": name, "log": str(log), "tail": tail}
    )


def _tail(log: Path, lines: int = 12) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def down(home: Home, progress: Progress) -> int:
    """Stop everything of this home, services before what they stand on. Returns how many stray processes were swept."""
    if not home.run.exists():
        return _sweep(home)
    with _alone(home):
        supervisor = Supervisor(home)
        if supervisor.alive():
            for stage in sorted({p.stage for p in plan.PROCESSES}, reverse=True):
                _stop(supervisor, [p for p in plan.PROCESSES if p.stage == stage], progress)
            _dismiss(supervisor)
        return _sweep(home)


def _sweep(home: Home) -> int:
    swept = sweep.end(sweep.find(home))
    shutil.rmtree(home.short, ignore_errors=True)
    return swept


def _stop(supervisor: Supervisor, processes: Sequence[Process], progress: Progress) -> None:
    known = supervisor.processes()
    doomed = [p for p in processes if p.name in known and known[p.name].state not in ("STOPPED", "EXITED", "FATAL")]
    for process in doomed:
        progress.update(process.name, "stopping")
        supervisor.stop(process.name)
    deadline = time.monotonic() + max((p.stop_seconds for p in doomed), default=0) + 10
    while doomed and time.monotonic() < deadline:
        known = supervisor.processes()
        for process in [p for p in doomed if p.name not in known or known[p.name].pid == 0]:
            doomed.remove(process)
            progress.update(process.name, "stopped")
        time.sleep(0.1)


def _dismiss(supervisor: Supervisor) -> None:
    pid = supervisor.pid()
    supervisor.shut_down()
    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).wait(timeout=60)


def watch(home: Home, say: Callable[[str], None], recover: Callable[[], None]) -> None:
    """Say each change of state until interrupted; `recover` is called when the supervisor itself has gone."""
    supervisor = Supervisor(home)
    before = supervisor.processes()
    while True:
        time.sleep(1)
        now = supervisor.processes()
        if not now:
            say("the supervisor has gone; starting again")
            recover()
            now = supervisor.processes()
        for name, info in now.items():
            was = before.get(name)
            if was is not None and (was.state, was.pid) != (info.state, info.pid):
                say(f"{name}: {info.state.lower()}" + (f" (pid {info.pid})" if info.pid else ""))
        before = now
