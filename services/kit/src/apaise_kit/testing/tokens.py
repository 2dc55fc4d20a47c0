"""Tokens for tests."""

from collections.abc import Iterable
from pathlib import Path

import yaml

from apaise_kit.runtime.auth import TokenEntry, issue_token, token_hash


def tokens(
    path: Path, actor: str = "tester", roles: Iterable[str] = ("operator",), brands: Iterable[str] = ("*",)
) -> str:
    """Add a token to the file at `path` (made when absent) and give the token."""
    token = issue_token()
    entry = TokenEntry(sha256=token_hash(token), actor=actor, roles=frozenset(roles), brands=frozenset(brands))
    content = yaml.safe_load(path.read_text()) if path.exists() else {"tokens": []}
    content["tokens"].append(
        {"sha256": entry.sha256, "actor": actor, "roles": sorted(entry.roles), "brands": sorted(entry.brands)}
    )
    path.write_text(yaml.safe_dump(content))
    return token


class MemoryTokens:
    """Tokens kept in memory, issued on demand."""

    def __init__(self) -> None:
        """No token yet."""
        self._entries: dict[str, TokenEntry] = {}

    def issue(self, actor: str, roles: Iterable[str], brands: Iterable[str]) -> str:
        """A new token for this actor."""
        token = issue_token()
        self._entries[token] = TokenEntry(
            sha256=token_hash(token), actor=actor, roles=frozenset(roles), brands=frozenset(brands)
        )
        return token

    def lookup(self, token: str) -> TokenEntry | None:
        """The entry of a token, or None."""
        return self._entries.get(token)
