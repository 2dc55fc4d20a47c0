"""Make the secrets that compose.yaml reads, in docker/secrets. Needs nothing but Python 3.

What exists is kept: another password would lock the mesh out of its own data, another author key would make every
author a new person. Delete a file, and what is derived from it, to have it made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import sys
from pathlib import Path

ROLES = ("operator", "moderator", "lead", "ml_engineer", "legal", "service")


def make(folder: Path) -> list[str]:
    """Make what is missing in `folder`; the names of the files made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    made: list[str] = []

    def keep(name: str, content: str) -> str:
        path = folder / name
        if not path.exists():
            # Readable inside the containers, where another user runs; on this side the folder lets nobody through.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
            path.chmod(0o444)
            made.append(name)
        return path.read_text(encoding="utf-8")

    keep("postgres_superuser", secrets.token_hex(24))
    password = keep("postgres_apaise", secrets.token_hex(24))
    keep("apaise_dsn", f"postgresql+psycopg://apaise:{password}@postgres:5432/apaise")
    keep("mlflow_dsn", f"postgresql+psycopg://apaise:{password}@postgres:5432/mlflow")
    keep("author_secret", secrets.token_hex(24))
    keep("ray_token", secrets.token_hex(32))
    tokens = {role: keep(f"token_{role}", f"apaise_{secrets.token_urlsafe(32)}") for role in ROLES}
    keep("tokens.yaml", _hashes(tokens))
    return made


def _hashes(tokens: dict[str, str]) -> str:
    """The file the services read: it holds hashes, never a token."""
    lines = ["tokens:"]
    for role, token in tokens.items():
        digest = hashlib.sha256(token.encode()).hexdigest()
        lines += [f"- sha256: {digest}", f"  actor: {role}", f"  roles: [{role}]", '  brands: ["*"]']
    return "\n".join(lines) + "\n"


def main() -> int:
    """Make the secrets and say which."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).with_name("secrets"))
    made = make(parser.parse_args().folder)
    sys.stdout.write(f"Made: {', '.join(made)}.\n" if made else "Everything was there; nothing was changed.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
