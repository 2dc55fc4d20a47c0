"""Where a command writes. With `--json`, stdout carries exactly one JSON document; everything else goes to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]


class Screen:
    """The two ways out of a command: the result (stdout) and everything else (stderr)."""

    def __init__(self, stdout: TextIO, *, as_json: bool) -> None:
        self._stdout = stdout
        self.as_json = as_json
        self.emitted = False
        self.err = Console(stderr=True, highlight=False)
        self.out = Console(file=stdout, highlight=False)
        if not self.out.is_terminal:
            self.out.width = 200  # a file or a pipe has no edge at which to cut a table

    def note(self, text: str) -> None:
        """Say something on the way: stderr, whatever the mode."""
        self.err.print(text, markup=False, soft_wrap=True)

    def result(self, document: Mapping[str, Any], *renderables: Any) -> None:
        """The result: the document with `--json`, otherwise what people read (text as it is, without markup)."""
        if self.as_json:
            self.emit(document)
            return
        for renderable in renderables:
            # A line of text stays one line, however long: people grep for it.
            self.out.print(renderable, markup=False, soft_wrap=isinstance(renderable, str))

    def emit(self, document: Mapping[str, Any] | list[Any]) -> None:
        """Write the one JSON document. A second one would break the rule, so it is a bug and says so."""
        if self.emitted:
            raise RuntimeError("a command writes one JSON document, not two")
        self.emitted = True
        self._stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        self._stdout.flush()


@contextlib.contextmanager
def open_screen(*, as_json: bool) -> Iterator[Screen]:
    """The screen of one command.

    With `--json` file descriptor 1 itself is turned to stderr for the time of the command, so that even a C library or
    a child process that prints cannot spoil the document.
    """
    if not as_json:
        yield Screen(sys.stdout, as_json=False)
        return
    sys.stdout.flush()
    document = os.dup(1)
    python_stdout = sys.stdout
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        with os.fdopen(os.dup(document), "w", encoding="utf-8") as stdout:
            yield Screen(stdout, as_json=True)
    finally:
        sys.stdout = python_stdout
        os.dup2(document, 1)
        os.close(document)
