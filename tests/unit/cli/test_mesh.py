"""The pieces of the embedded mesh that need no engine: ports, plan, supervisor's configuration, sweeping, secrets."""

from __future__ import annotations

import configparser
import os
import shlex
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apaise_cli.errors import CliError
from apaise_cli.home import Home, write_private
from apaise_cli.mesh import credentials, engines, plan, ports, supervisor, sweep
from apaise_kit.runtime.auth import TokenFile, token_hash


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "a home")


@pytest.fixture
def ready_home(home: Home) -> Iterator[Home]:
    home.prepare()
    credentials.ensure(home)
    home.write_json("mesh.json", {"ports": {name: 20_000 + i for i, name in enumerate(plan.port_names())}})
    yield home
    home.short.rmdir()


# Ports


@given(st.sets(st.integers(ports.FIRST, ports.FIRST + 300)), st.text(max_size=8))
def test_ports_are_free_and_all_different(taken: set[int], seed: str) -> None:
    chosen = ports.choose(["a", "b", "c"], {}, seed, free=lambda port: port not in taken)
    assert len(set(chosen.values())) == 3
    assert not set(chosen.values()) & taken


def test_kept_ports_stay_and_only_a_taken_one_is_chosen_again() -> None:
    kept = {"a": 20_001, "b": 20_002}
    chosen = ports.choose(["a", "b", "c"], kept, "seed", free=lambda port: port != 20_002)
    assert chosen["a"] == 20_001
    assert chosen["b"] != 20_002
    assert len(set(chosen.values())) == 3


def test_two_homes_look_in_different_places() -> None:
    assert ports.choose(["a"], {}, "/one", lambda port: True) != ports.choose(["a"], {}, "/two", lambda port: True)


def test_no_port_left_is_an_error() -> None:
    with pytest.raises(OSError, match="no free port"):
        ports.choose(["a"], {}, "seed", free=lambda port: False)


def test_a_port_someone_listens_on_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)


# Plan


def test_a_process_brings_what_it_waits_for() -> None:
    assert [p.name for p in plan.select(["train"])] == ["postgres", "ray", "mlflow", "train"]
    assert plan.select([]) == plan.PROCESSES
    with pytest.raises(CliError, match="nonsense"):
        plan.select(["nonsense"])


def test_everything_waited_for_is_started_before_and_stopped_after() -> None:
    started: set[str] = set()
    for process in plan.PROCESSES:
        assert started.issuperset(process.after)
        assert all(plan.BY_NAME[name].stage < process.stage for name in process.after)
        started.add(process.name)


# Supervisor's configuration, command lines, environments


def test_the_configuration_reads_back_whatever_the_path(tmp_path: Path) -> None:
    odd = Home(tmp_path / '100% o\'clock; "x"')
    text = supervisor._configuration(odd, plan.PROCESSES)
    parser = configparser.RawConfigParser(inline_comment_prefixes=None)
    parser.read_string(text)
    for process in plan.PROCESSES:
        command = parser[f"program:{process.name}"]["command"].replace("%%", "%")
        assert shlex.split(command)[-2:] == [str(odd.path), process.name]
        assert parser[f"program:{process.name}"]["autorestart"] == "true"


def test_no_secret_is_on_a_command_line_or_in_the_configuration(ready_home: Home) -> None:
    secrets = [*ready_home.secrets.values(), (ready_home.tokens / "service").read_text().strip()]
    lines = [" ".join(engines.command(ready_home, process.name)) for process in plan.PROCESSES]
    shown = "\n".join([*lines, supervisor._configuration(ready_home, plan.PROCESSES)])
    assert not any(secret in shown for secret in secrets)


def test_each_process_gets_only_the_secrets_it_needs(ready_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "somebody-elses:6379")
    environments = {process.name: engines.environment(ready_home, process.name) for process in plan.PROCESSES}
    author, admin = ready_home.secrets["author"], ready_home.secrets["postgres_postgres"]
    assert [name for name, env in environments.items() if author in env.values()] == ["ingest"]
    assert not any(admin in value for env in environments.values() for value in env.values())
    assert [name for name, env in environments.items() if "RAY_AUTH_TOKEN_PATH" in env] == ["ray", "classify", "train"]
    for name, environment in environments.items():
        assert environment[sweep.TAG] == str(ready_home.path)
        assert environment[sweep.PROCESS_TAG] == name
        assert "RAY_ADDRESS" not in environment


# Secrets


def test_secrets_are_made_once_and_private(ready_home: Home) -> None:
    before = (ready_home.secrets, {role: (ready_home.tokens / role).read_text() for role in credentials.ROLES})
    credentials.ensure(ready_home)
    assert before == (ready_home.secrets, {role: (ready_home.tokens / role).read_text() for role in credentials.ROLES})
    private = [ready_home.run / "secrets.json", ready_home.ray_token, *ready_home.tokens.iterdir()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in private} == {0o600}


def test_each_role_has_a_token_services_accept(ready_home: Home) -> None:
    accepted = TokenFile(ready_home.tokens_file)
    for role in credentials.ROLES:
        entry = accepted.lookup((ready_home.tokens / role).read_text().strip())
        assert entry is not None
        assert (set(entry.roles), set(entry.brands)) == ({role}, {"*"})


def test_a_role_that_is_new_leaves_the_callers_somebody_added(ready_home: Home) -> None:
    entry = {"sha256": token_hash("theirs"), "actor": "ana", "roles": ["moderator"], "brands": ["b"]}
    file = yaml.safe_load(ready_home.tokens_file.read_text())
    ready_home.tokens_file.write_text(yaml.safe_dump({"tokens": [*file["tokens"], entry]}))
    old = (ready_home.tokens / "legal").read_text().strip()
    (ready_home.tokens / "legal").unlink()
    credentials.ensure(ready_home)
    accepted = TokenFile(ready_home.tokens_file)
    theirs = accepted.lookup("theirs")
    assert theirs is not None
    assert theirs.brands == {"b"}
    assert accepted.lookup((ready_home.tokens / "legal").read_text().strip()) is not None
    assert accepted.lookup(old) is None
    (ready_home.tokens / "legal").unlink()
    ready_home.tokens_file.write_text("tokens: {")
    with pytest.raises(CliError, match="cannot be read"):
        credentials.ensure(ready_home)
    assert not (ready_home.tokens / "legal").exists()


def test_unreadable_secrets_are_never_replaced(ready_home: Home) -> None:
    write_private(ready_home.run / "secrets.json", "{half")
    with pytest.raises(CliError, match=r"secrets\.json"):
        credentials.ensure(ready_home)


def test_a_home_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CliError, match="cannot be written"):
        Home(tmp_path / "file" / "home").prepare()


# Sweeping


@contextmanager
def child(
    home: Home, process: str, code: str = "import time; print(flush=True); time.sleep(60)"
) -> Iterator[psutil.Process]:
    tags = {sweep.TAG: str(home.path), sweep.PROCESS_TAG: process}
    started = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **tags}, stdout=subprocess.PIPE)
    try:
        assert started.stdout is not None
        started.stdout.readline()  # it runs, and has set its signals
        yield psutil.Process(started.pid)
    finally:
        started.kill()
        started.wait()
        if started.stdout:
            started.stdout.close()


def test_sweeping_finds_a_homes_processes_and_no_other_homes(tmp_path: Path) -> None:
    one, two = Home(tmp_path / "one"), Home(tmp_path / "two")
    with child(one, "route") as route, child(one, "ray") as ray, child(two, "route") as other:
        assert {p.pid for p in sweep.find(one)} == {route.pid, ray.pid}
        assert {p.pid for p in sweep.find(one, "route")} == {route.pid}
        assert sweep.end(sweep.find(one)) == 2
        assert not sweep.find(one)
        assert other.is_running()


def test_a_process_that_ignores_the_polite_way_is_killed(home: Home) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with child(home, "route", stubborn) as process:
        assert process.is_running()
        assert sweep.end(sweep.find(home), patience=0.3) == 1
        assert not sweep.find(home)


def test_sweeping_spares_the_caller(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; from pathlib import Path; from apaise_cli.home import Home; from apaise_cli.mesh import sweep;"
        "print(len(sweep.find(Home(Path(sys.argv[1])))))"
    )
    tags = {sweep.TAG: str(home.path), sweep.PROCESS_TAG: "route"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(home.path)],
        env={**os.environ, **tags},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "0"
