"""A cache of model folders: each is complete or absent, and concurrent builders wait for one another."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

_CHUNK = 1 << 22


def cache_dir() -> Path:
    """`$APAISE_CACHE`, else `~/.cache/apaise`."""
    configured = os.environ.get("APAISE_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "apaise"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def combined_digest(parts: Iterable[str]) -> str:
    """SHA-256 over strings, each terminated, so that moving a boundary changes the digest."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def build_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """Return `target`, filled by `fill(temporary folder)` and renamed into place if it did not exist.

    A builder killed half-way leaves only a temporary folder, which the next builder removes: it holds the lock, so
    nobody else is writing.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        if target.is_dir():
            return target
        for leftover in target.parent.glob(f".{target.name}.building-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.building-", dir=target.parent))
        try:
            fill(work)
            _make_readable(work)
            work.rename(target)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    return target


def _make_readable(folder: Path) -> None:
    """Temporary folders and safetensors files are private by default; a cache may serve several users."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
