"""Exit codes, the help of every command, and what the command line costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from apaise_cli.main import app, run


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("APAISE_HOME", str(tmp_path / "home"))
    for name in ("APAISE_TOKEN", "APAISE_CLASSIFY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def command_lines(group: Any, above: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Every command, those of groups within groups too."""
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from command_lines(command, (*above, name))
        else:
            yield [*above, name]


@pytest.mark.parametrize("line", list(command_lines(get_command(app))), ids=" ".join)
def test_every_command_has_help_with_an_example(line: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*line, "--help"]) == 0
    assert f"Example: apaise {' '.join(line)}" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(
    "line",
    [
        ["nonsense"],
        ["replay"],
        ["classify", "hello"],
        ["replay", __file__, "--speed", "quick"],
        ["up", "--only", "nonsense"],
        ["review", "claim"],
        ["rollback", "-b", "b", "-r", "why", "--to", "r1", "--house"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(line: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 2
    assert capfd.readouterr().out == ""
    assert run([*line, "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "USAGE"


def test_no_mesh_is_exit_code_1_and_says_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["classify", "--brand", "b", "hello"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "apaise up" in err
    assert run(["classify", "--brand", "b", "hello", "--json"]) == 1
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "NO_MESH"


def test_the_status_of_nothing_is_a_document_and_exit_code_1(
    empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["status", "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert document["ready"] is False
    assert {process["state"] for process in document["processes"]} == {"stopped"}
    assert not empty_home.exists()


def test_taking_down_nothing_is_fine(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["down", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["swept"] == 0


def test_the_doctor_changes_nothing(empty_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor", "--json"])
    document = json.loads(capfd.readouterr().out)
    assert code == (0 if document["ok"] else 1)
    assert {"python", "cpu", "home", "mesh"} <= {check["name"] for check in document["checks"]}
    assert all(check["ok"] or check["way_out"] for check in document["checks"])
    assert not empty_home.exists()


def test_a_fault_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("apaise_cli.mesh.lifecycle.status", lambda home: 1 / 0)
    assert run(["status", "--json"]) == 1
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["code"] == "INTERNAL"
    assert "Traceback" not in err


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from apaise_cli.main import run; run(['--help']);"
        "heavy = {'torch', 'ray', 'mlflow', 'transformers', 'grpc', 'sqlalchemy', 'psycopg', 'mlops'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
