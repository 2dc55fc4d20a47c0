"""The file of tokens."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from apaise.type.v1 import access_pb2
from apaise_kit.runtime.auth import ROLES, TokenFile, issue_token, token_hash, write_tokens
from apaise_kit.testing import tokens


def test_roles_are_those_of_the_contract() -> None:
    contract = {name.removeprefix("ROLE_").lower() for name in access_pb2.Role.DESCRIPTOR.values_by_name} - {
        "unspecified"
    }
    assert contract == ROLES


def test_a_token_is_found_and_never_stored(tmp_path: Path) -> None:
    path, token = tmp_path / "tokens.yaml", issue_token()
    write_tokens(path, {token: ("lea", ["moderator", "lead"], ["acme"])})
    entry = TokenFile(path).lookup(token)
    assert entry is not None
    assert entry.actor == "lea"
    assert entry.roles == {"moderator", "lead"}
    assert entry.brands == {"acme"}
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("guess", ["", "x", "apaise_"])
def test_an_unknown_token_is_nobody(tmp_path: Path, guess: str) -> None:
    path = tmp_path / "tokens.yaml"
    token = tokens(path)
    file = TokenFile(path)
    assert file.lookup(guess) is None
    assert file.lookup(token_hash(token)) is None  # the hash, read from the file, opens nothing
    assert file.lookup(token + " ") is None


def test_a_change_is_seen_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    first = tokens(path, "first")
    file = TokenFile(path)
    second = tokens(path, "second")
    assert file.lookup(first) is not None
    assert file.lookup(second) is not None
    write_tokens(path, {second: ("second", ["lead"], ["*"])})
    assert file.lookup(first) is None  # revoked
    found = file.lookup(second)
    assert found is not None
    assert found.roles == {"lead"}


@pytest.mark.parametrize("broken", ["", "tokens: [", "tokens: 3", "[]", "tokens:\n- sha256: zz\n  actor: a\n"])
def test_a_broken_or_vanished_file_locks_nobody_out(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "tokens.yaml"
    token = tokens(path)
    file = TokenFile(path)
    path.write_text(broken)
    assert file.lookup(token) is not None
    path.unlink()
    assert file.lookup(token) is not None
    other = tokens(path)
    assert file.lookup(other) is not None
    assert file.lookup(token) is None


def test_a_broken_file_at_start_is_refused_without_quoting_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text("tokens: [{sha256: not-a-hash, actor: 'Jean Canari', roles: [moderator], brands: []}]")
    with pytest.raises(ValueError, match=r"is not a file of tokens") as caught:
        TokenFile(path)
    assert "Canari" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        TokenFile(tmp_path / "absent.yaml")
    with pytest.raises(ValueError, match="APAISE_TOKENS_FILE"):
        TokenFile(None)


@pytest.mark.parametrize(("actor", "roles"), [("lea", ["god"]), ("lea", []), ("Léa Dupont", ["lead"]), ("", ["lead"])])
def test_a_grant_must_make_sense(tmp_path: Path, actor: str, roles: list[str]) -> None:
    with pytest.raises(ValidationError):
        write_tokens(tmp_path / "tokens.yaml", {issue_token(): (actor, roles, ["*"])})
    assert os.listdir(tmp_path) == []


def test_tokens_do_not_repeat() -> None:
    assert len({issue_token() for _ in range(100)}) == 100
