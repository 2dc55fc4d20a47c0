"""What a mesh must keep to itself: passwords, keys, and one bearer token per role. Made once, kept."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from apaise_cli.errors import CliError
from apaise_cli.home import Home, write_private

if TYPE_CHECKING:
    from apaise_kit.runtime.auth import TokenEntry

ROLES: Final = ("operator", "moderator", "lead", "ml_engineer", "legal", "service")
_NAMES: Final = ("postgres_postgres", "postgres_apaise", "author")


def ensure(home: Home) -> None:
    """Make what is missing. What exists is never changed: another password would lock the mesh out of its own data.

    Raises:
        CliError: when the file of secrets is there and unreadable.
    """
    known = home.secrets
    if not known and (home.run / "secrets.json").exists():
        raise CliError(
            f"{home.run}/secrets.json cannot be read.", "Restore it, or start with an empty home.", code="HOME"
        )
    missing = {name: secrets.token_hex(24) for name in _NAMES if name not in known}
    if missing:
        home.write_json("secrets.json", {**known, **missing})
    if not home.ray_token.exists():
        write_private(home.ray_token, secrets.token_hex(32))
    _ensure_tokens(home)


def _ensure_tokens(home: Home) -> None:
    from apaise_kit.runtime.auth import issue_token, write_tokens

    missing = [role for role in ROLES if not (home.tokens / role).exists()]
    if not missing and home.tokens_file.exists():
        return
    others = _added_by_hand(home)
    for role in missing:
        write_private(home.tokens / role, issue_token() + "\n")
    grants = {(home.tokens / role).read_text(encoding="utf-8").strip(): (role, [role], ["*"]) for role in ROLES}
    write_tokens(home.tokens_file, grants, others)


def _added_by_hand(home: Home) -> list[TokenEntry]:
    """The callers of the tokens file that are not the mesh's own roles."""
    from apaise_kit.runtime.auth import read_tokens

    if not home.tokens_file.exists():
        return []
    try:
        return [entry for entry in read_tokens(home.tokens_file) if entry.actor not in ROLES]
    except (OSError, ValueError) as error:
        raise CliError(
            f"{home.tokens_file} cannot be read.", "Mend it, or move it away to begin with new tokens.", code="HOME"
        ) from error
