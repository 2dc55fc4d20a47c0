"""`apaise up`, `status` and `down` on the real engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from apaise_cli.home import Home
from apaise_cli.mesh import sweep


class Mesh:
    """A home, and the command run in it."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path.resolve())
        self.environment = {**os.environ, "APAISE_HOME": str(path)}

    def apaise(self, *arguments: str, timeout: float = 150) -> tuple[int, dict[str, Any]]:
        """Exit code and document of a command."""
        done = subprocess.run(
            [sys.executable, "-m", "apaise_cli", *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.stdout.count("\n") == 1, done.stderr
        return done.returncode, json.loads(done.stdout)

    def up(self, *only: str) -> dict[str, Any]:
        """Start these and what they wait for; the processes by name."""
        options = [part for name in only for part in ("--only", name)]
        code, document = self.apaise("up", "--detach", *options)
        assert code == 0, document
        return {process["process"]: process for process in document["processes"]}

    def process(self, name: str) -> dict[str, Any]:
        """One process as `status` tells it."""
        _, document = self.apaise("status")
        return next(process for process in document["processes"] if process["process"] == name)


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    made = Mesh(tmp_path / "one")
    yield made
    made.apaise("down")


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.2)


def test_up_then_down_leaves_nothing_running_and_up_again_finds_the_same_port(mesh: Mesh) -> None:
    first = mesh.up("postgres")["postgres"]
    assert (first["state"], first["ready"]) == ("running", True)
    assert mesh.apaise("status")[0] == 0
    code, document = mesh.apaise("down")
    assert (code, document["swept"]) == (0, 0)
    assert not sweep.find(mesh.home)
    assert not mesh.home.short.exists()
    assert mesh.apaise("status")[0] == 1
    again = mesh.up("postgres")["postgres"]
    assert again["port"] == first["port"]


def test_two_homes_side_by_side(mesh: Mesh, tmp_path: Path) -> None:
    other = Mesh(tmp_path / "two")
    try:
        ours, theirs = mesh.up("postgres")["postgres"], other.up("postgres")["postgres"]
        assert ours["port"] != theirs["port"]
        mesh.apaise("down")
        assert not sweep.find(mesh.home)
        assert other.process("postgres")["pid"] == theirs["pid"]
        assert other.process("postgres")["ready"]
    finally:
        other.apaise("down")
    assert not sweep.find(other.home)


def test_a_killed_postgres_comes_back_in_spite_of_its_stale_lock(mesh: Mesh) -> None:
    pid = mesh.up("postgres")["postgres"]["pid"]
    lock = mesh.home.pgdata / "postmaster.pid"
    os.kill(pid, signal.SIGKILL)
    # The number of the dead server now belongs to somebody else, which is what a lock file cannot know.
    content = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *content[1:]]) + "\n")
    wait_for(lambda: mesh.process("postgres")["pid"] not in (None, pid), "another process")
    wait_for(lambda: bool(mesh.process("postgres")["ready"]), "readiness")


def test_what_a_killed_supervisor_left_is_told_and_swept(mesh: Mesh) -> None:
    pid = mesh.up("postgres")["postgres"]["pid"]
    os.kill(int((mesh.home.run / "supervisord.pid").read_text()), signal.SIGKILL)
    code, document = mesh.apaise("status")
    assert code == 1
    assert document["strays"] > 0
    assert mesh.apaise("down")[1]["swept"] > 0
    assert not sweep.find(mesh.home)
    wait_for(lambda: not psutil.pid_exists(pid), "the end of postgres")


def test_ray_comes_back_after_kill_9_and_leaves_nothing(mesh: Mesh) -> None:
    pid = mesh.up("ray")["ray"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: mesh.process("ray")["pid"] not in (None, pid), "another head")
    wait_for(lambda: bool(mesh.process("ray")["ready"]), "readiness")
    mesh.apaise("down")
    assert not sweep.find(mesh.home)


def test_in_the_foreground_ctrl_c_takes_everything_down(mesh: Mesh) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "apaise_cli", "up", "--only", "postgres"],
        env=mesh.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell makes what it starts in the background deaf to Ctrl-C; this one must hear it wherever the tests run.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as foreground:
        assert foreground.stderr is not None
        wait_for(lambda: "Ctrl-C" in (foreground.stderr.readline() if foreground.stderr else ""), "the mesh")
        assert sweep.find(mesh.home)
        foreground.send_signal(signal.SIGINT)
        assert foreground.wait(timeout=60) == 0
    assert not sweep.find(mesh.home)


def test_a_second_command_on_the_same_home_is_told_to_wait(mesh: Mesh) -> None:
    import fcntl

    mesh.home.prepare()
    with (mesh.home.run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, document = mesh.apaise("up", "--detach", "--only", "postgres")
    assert code == 1
    assert document["error"]["code"] == "BUSY"
