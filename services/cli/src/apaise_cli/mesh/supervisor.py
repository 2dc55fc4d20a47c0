"""The supervisor (supervisord) of one mesh: its configuration, its start, and speaking to it over its unix socket."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

from apaise_cli.errors import CliError
from apaise_cli.home import Home, write_private
from apaise_cli.mesh.plan import Process
from apaise_cli.mesh.sweep import TAG

_CONFIGURATION: Final = """\
[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
nodaemon=true
identifier=apaise
logfile={log}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile={run}/supervisord.pid
{user}
"""
# startretries: for ever. A process that dies within a second waits one second more each time.
_PROGRAM: Final = """
[program:{name}]
command={command}
autostart=false
autorestart=true
startsecs=1
startretries=1000000000
stopsignal={signal}
stopwaitsecs={seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


@dataclass(frozen=True)
class ProcessInfo:
    """What the supervisor knows of a process. `pid` is 0 when it does not run; `since` is Unix seconds."""

    name: str
    state: str
    pid: int
    since: float
    note: str

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.state in ("RUNNING", "STARTING")


class Supervisor:
    """Speaks to the supervisor of a home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def boot(self, processes: Iterable[Process]) -> None:
        """Start supervisord with these processes, none of them started yet, and wait until it answers.

        Raises:
            CliError: when it does not come up.
        """
        configuration = self._home.run / "supervisord.conf"
        write_private(configuration, _configuration(self._home, processes))
        self._home.supervisor_socket.unlink(missing_ok=True)
        with (self._home.log / "supervisord.err").open("wb") as errors:
            daemon = subprocess.Popen(
                [sys.executable, "-P", "-m", "supervisor.supervisord", "-n", "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # the terminal's Ctrl-C is for us, who then stop it in order
                env={**os.environ, TAG: str(self._home.path)},
            )
        deadline = time.monotonic() + 20
        while not self.alive():
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise CliError(
                    "The supervisor did not start.", f"Read {self._home.log}/supervisord.err.", code="SUPERVISOR"
                )
            time.sleep(0.05)

    def alive(self) -> bool:
        """Whether it answers."""
        if not self._home.supervisor_socket.exists():
            return False
        try:
            self._rpc().getState()
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def processes(self) -> dict[str, ProcessInfo]:
        """What it runs, by name; {} when it is not there."""
        if not self._home.supervisor_socket.exists():
            return {}
        try:
            found = cast(list[dict[str, Any]], self._rpc().getAllProcessInfo())
        except (OSError, xmlrpc.client.Error):
            return {}
        return {f["name"]: ProcessInfo(f["name"], f["statename"], f["pid"], f["start"], f["spawnerr"]) for f in found}

    def start(self, name: str) -> None:
        """Start a process unless it runs; does not wait."""
        self._tolerantly("startProcess", name, "ALREADY_STARTED")

    def stop(self, name: str) -> None:
        """Ask a process to stop unless it is stopped; does not wait."""
        self._tolerantly("stopProcess", name, "NOT_RUNNING")

    def shut_down(self) -> None:
        """Ask it to stop everything and leave."""
        try:
            self._rpc().shutdown()
        except (OSError, xmlrpc.client.Error):
            return  # it has left already

    def pid(self) -> int:
        """Its own pid; 0 when it is not there."""
        try:
            return cast(int, self._rpc().getPID())
        except (OSError, xmlrpc.client.Error):
            return 0

    def _tolerantly(self, method: str, name: str, fault: str) -> None:
        try:
            getattr(self._rpc(), method)(name, False)
        except xmlrpc.client.Fault as error:
            if fault not in error.faultString:
                raise CliError(f"The supervisor refused {name}: {error.faultString}.", code="SUPERVISOR") from error
        except OSError as error:
            raise CliError(
                "The supervisor of this mesh has gone.", "Run: apaise down, then apaise up.", code="SUPERVISOR"
            ) from error

    def _rpc(self) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self._home.supervisor_socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor


def _configuration(home: Home, processes: Iterable[Process]) -> str:
    # supervisord warns about running as root unless it is told that this is meant.
    user = "user=root" if os.geteuid() == 0 else ""
    head = _CONFIGURATION.format(
        socket=_escaped(home.supervisor_socket), log=_escaped(home.log), run=_escaped(home.run), user=user
    )
    return head + "".join(_program(home, process) for process in processes)


def _program(home: Home, process: Process) -> str:
    launch = [sys.executable, "-P", "-m", "apaise_cli.mesh.launch", str(home.path), process.name]
    return _PROGRAM.format(
        name=process.name,
        command=_escaped(shlex.join(launch)),
        signal=process.stop_signal,
        seconds=process.stop_seconds,
        log=_escaped(home.log),
    )


def _escaped(text: object) -> str:
    return str(text).replace("%", "%%")
