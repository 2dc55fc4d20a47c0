"""APAISE_HOME: where a mesh keeps its state. Two homes are two meshes that never meet."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apaise_cli.errors import CliError


@dataclass(frozen=True)
class Home:
    """The folders and files of one mesh. Nothing is created by looking."""

    path: Path

    @classmethod
    def from_environment(cls) -> Home:
        """`APAISE_HOME`, or `./.apaise`."""
        return cls(Path(os.environ.get("APAISE_HOME") or ".apaise").expanduser().resolve())

    @property
    def run(self) -> Path:
        """Ports, secrets, the supervisor's configuration."""
        return self.path / "run"

    @property
    def log(self) -> Path:
        """One log per process."""
        return self.path / "log"

    @property
    def pgdata(self) -> Path:
        """PostgreSQL's own folder."""
        return self.path / "postgres"

    @property
    def artifacts(self) -> Path:
        """MLflow's artefacts."""
        return self.path / "mlflow"

    @property
    def tokens(self) -> Path:
        """One bearer token per role, and the file of their hashes."""
        return self.path / "tokens"

    @property
    def tokens_file(self) -> Path:
        """Hashes, actors, roles, brands: what services read."""
        return self.tokens / "tokens.yaml"

    @property
    def ray_token(self) -> Path:
        """Ray's own token: without it anyone who reaches its ports runs code."""
        return self.run / "ray_token"

    @property
    def short(self) -> Path:
        """A short folder for unix sockets and Ray's sessions: their paths may not pass 107 bytes, a home's may."""
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:10]
        return Path("/tmp") / f"apaise-{os.getuid()}-{digest}"

    @property
    def supervisor_socket(self) -> Path:
        """Where the supervisor is spoken to."""
        return self.short / "supervisor.sock"

    @property
    def ray_temp(self) -> Path:
        """Ray's sessions."""
        return self.short / "ray"

    @property
    def pg_sockets(self) -> Path:
        """PostgreSQL's unix socket."""
        return self.short / "pg"

    def prepare(self) -> None:
        """Make the folders, readable by their owner alone.

        Raises:
            CliError: when the home cannot be written, or someone else has taken the short folder's name.
        """
        try:
            for folder in (self.path, self.run, self.log, self.artifacts, self.tokens):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            self._prepare_short()
        except OSError as error:
            raise CliError(
                f"{error.filename or self.path} cannot be written ({error.strerror}).",
                "Point APAISE_HOME at a folder of yours.",
                code="HOME",
            ) from error

    def _prepare_short(self) -> None:
        # 0711: PostgreSQL, which may run as another user, must reach its socket folder; nobody may list.
        self.short.mkdir(mode=0o711, exist_ok=True)
        found = self.short.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise CliError(
                f"{self.short} belongs to someone else.", "Remove it, or use another APAISE_HOME.", code="HOME"
            )
        self.short.chmod(0o711)

    def read_json(self, name: str) -> dict[str, Any]:
        """A small file of `run/`; {} when it is not there or was cut short by a power failure."""
        try:
            content = json.loads((self.run / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a small file of `run/` atomically, readable by its owner alone."""
        write_private(self.run / name, json.dumps(content, indent=1))

    @property
    def ports(self) -> dict[str, int]:
        """Port by name, as chosen at the last `up`; {} before the first."""
        found = self.read_json("mesh.json").get("ports", {})
        return found if isinstance(found, dict) else {}

    @property
    def secrets(self) -> dict[str, str]:
        """Passwords and keys of this mesh, by name."""
        return self.read_json("secrets.json")


def write_private(path: Path, text: str) -> None:
    """Write a file atomically with mode 0600."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
