"""With --json stdout is one JSON document and nothing else, whatever else prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from apaise_cli.errors import CliError
from apaise_cli.screen import open_screen


def test_everything_but_the_document_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with open_screen(as_json=True) as screen:
        print("a library prints")
        os.write(1, b"a C library prints\n")
        subprocess.run([sys.executable, "-c", "print('a child prints')"], check=True)
        screen.note("a note")
        screen.result({"text": "été"}, "for people")
    out, err = capfd.readouterr()
    assert json.loads(out) == {"text": "été"}
    assert out.count("\n") == 1
    for said in ("a library prints", "a C library prints", "a child prints", "a note"):
        assert said in err
    assert "for people" not in out + err


def test_stdout_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    with open_screen(as_json=True) as screen:
        screen.emit({})
    print("after")
    assert capfd.readouterr().out == "{}\nafter\n"


def test_without_json_people_read_the_result(capfd: pytest.CaptureFixture[str]) -> None:
    with open_screen(as_json=False) as screen:
        screen.result({"n": 1}, "one [bold]thing[/bold]")
    assert capfd.readouterr().out == "one [bold]thing[/bold]\n"


def test_a_second_document_is_refused() -> None:
    with open_screen(as_json=True) as screen:
        screen.emit({"n": 1})
        with pytest.raises(RuntimeError, match="one JSON document"):
            screen.emit({"n": 2})


def test_an_error_is_one_line_for_people_and_a_document_for_programs() -> None:
    error = CliError("It is late.", "Come back.", code="LATE", reason="TOO_LATE", details={"hour": 23})
    assert error.line() == "It is late. [TOO_LATE] Come back."
    assert error.document() == {
        "error": {"code": "LATE", "reason": "TOO_LATE", "message": "It is late.", "way_out": "Come back.", "hour": 23}
    }
