"""An `apaise` command that goes on while the mesh is being killed around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..e2e.conftest import Mesh


class Command:
    """A command under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def running(self) -> bool:
        """Whether it still goes on."""
        return self._process.poll() is None

    def result(self, timeout: float) -> tuple[int, dict[str, Any], str]:
        """Wait for its end: the exit code, the document on its stdout, what it said on stderr."""
        out, err = self._process.communicate(timeout=timeout)
        document: dict[str, Any] = json.loads(out) if out.strip() else {}
        return self._process.returncode, document, err[-3000:]


@contextmanager
def started(mesh: Mesh, *arguments: str) -> Iterator[Command]:
    """`apaise … --json` in the background; it does not outlive the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "apaise_cli", *arguments, "--json"],
        env={**os.environ, "APAISE_HOME": str(mesh.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Command(process)
        finally:
            process.kill()
