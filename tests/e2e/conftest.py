"""One real mesh for the whole folder: PostgreSQL, Ray Serve, MLflow, the house model and the four services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "mlops/samples"

# What the gate lets through is tried first, on as many messages as can be.
SETTINGS = {"APAISE_CANARY_SHARE": "0.5"}


@dataclass(frozen=True)
class Mesh:
    """A mesh that is up, used as people use it: through `apaise`, or by address and token."""

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """`apaise …`."""
        command = [sys.executable, "-m", "apaise_cli", *arguments]
        environment = {**os.environ, "APAISE_HOME": str(self.home), **self.settings}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)

    def json(self, *arguments: str, timeout: float = 300) -> dict[str, Any]:
        """`apaise … --json`, which must succeed and print one JSON document and nothing else."""
        done = self.run(*arguments, "--json", timeout=timeout)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def address(self, service: str) -> str:
        """host:port of a service."""
        ports = json.loads((self.home / "run/mesh.json").read_text())["ports"]
        return f"127.0.0.1:{ports[service]}"

    def token(self, role: str) -> str:
        """The bearer token of a role."""
        return (self.home / "tokens" / role).read_text().strip()


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    up = Mesh(tmp_path_factory.mktemp("mesh"), SETTINGS)
    try:
        up.json("up", "--detach", timeout=400)
        yield up
    finally:
        done = up.run("down")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
