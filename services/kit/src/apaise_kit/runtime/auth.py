"""Bearer tokens from a file. The file holds hashes only; the tokens themselves are shown once, when issued.

tokens:
  - sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    actor: moderator
    roles: [moderator]
    brands: ["*"]          # or a list of slugs
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from apaise_kit.runtime.logs import get_logger

ROLES: Final = frozenset({"service", "moderator", "lead", "ml_engineer", "operator", "legal"})
_log = get_logger(__name__)


class TokenEntry(BaseModel):
    """Who a token stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="SHA-256 of the token, hex."
    )
    actor: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@-]{1,64}$")] = Field(
        description="Name written beside everything done with this token; a pseudonym, not an address."
    )
    roles: frozenset[str] = Field(description="What the actor may do.")
    brands: frozenset[str] = Field(description='Slugs of the brands the actor sees, or "*" for all.')

    @field_validator("roles")
    @classmethod
    def _known_roles(cls, roles: frozenset[str]) -> frozenset[str]:
        if not roles or roles - ROLES:
            raise ValueError(f"roles are one or more of {', '.join(sorted(ROLES))}")
        return roles


class _TokenDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    tokens: tuple[TokenEntry, ...]


class Tokens(Protocol):
    """Finds who a token stands for. OIDC or mTLS would be another implementation of this."""

    def lookup(self, token: str) -> TokenEntry | None:
        """The entry of a token, or None for a token nobody issued."""
        ...


def issue_token() -> str:
    """A new token: 256 random bits, with a prefix that secret scanners can look for."""
    return f"apaise_{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> str:
    """What the file keeps of a token. Tokens have 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(token.encode()).hexdigest()


def write_tokens(
    path: Path,
    grants: Mapping[str, tuple[str, Iterable[str], Iterable[str]]],
    others: Iterable[TokenEntry] = (),
) -> None:
    """Write the file of hashes (mode 0600, atomically) from `{token: (actor, roles, brands)}` and `others` as they are.

    Raises:
        pydantic.ValidationError: for an unknown role or a malformed actor.
    """
    entries = [
        TokenEntry(sha256=token_hash(token), actor=actor, roles=frozenset(roles), brands=frozenset(brands))
        for token, (actor, roles, brands) in grants.items()
    ] + list(others)
    document = {
        "tokens": [
            {"sha256": e.sha256, "actor": e.actor, "roles": sorted(e.roles), "brands": sorted(e.brands)}
            for e in entries
        ]
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # created 0600
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump(document, file, sort_keys=False)
    os.replace(temporary, path)


def read_tokens(path: Path) -> tuple[TokenEntry, ...]:
    """What a file of hashes holds.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is not a file of tokens.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _TokenDocument.model_validate(content).tokens
    except (yaml.YAMLError, ValidationError) as error:
        raise ValueError(f"{path} is not a file of tokens ({type(error).__name__})") from None


class TokenFile:
    """A file of token hashes, read again when it changes.

    A file that becomes unreadable keeps the last good entries in force and is logged once per change: a typo must not
    lock everyone out, and must not let anyone in.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the file; `path` is the setting `tokens_file`.

        Raises:
            OSError: when it cannot be read.
            ValueError: when it is not a file of tokens, or not set.
        """
        if path is None:
            raise ValueError("set APAISE_TOKENS_FILE to the file of accepted tokens")
        self._path = path
        self._stamp = self._current_stamp()
        self._entries = self._read()

    def lookup(self, token: str) -> TokenEntry | None:
        """The entry of a token, or None."""
        self._refresh()
        digest = token_hash(token)
        entry = self._entries.get(digest)
        # The dictionary is keyed by a hash the caller cannot steer; compare_digest keeps the last step constant-time.
        return entry if entry is not None and hmac.compare_digest(entry.sha256, digest) else None

    def _refresh(self) -> None:
        try:
            stamp = self._current_stamp()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._entries = self._read()
        except (OSError, ValueError) as error:
            if not isinstance(error, FileNotFoundError) or self._stamp != (0, 0, 0):
                _log.error("tokens_file_unreadable", path=str(self._path), error=error)
            if isinstance(error, FileNotFoundError):
                self._stamp = (0, 0, 0)

    def _current_stamp(self) -> tuple[int, int, int]:
        status = os.stat(self._path)
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> dict[str, TokenEntry]:
        return {entry.sha256: entry for entry in read_tokens(self._path)}
