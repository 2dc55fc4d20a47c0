"""Adapters' files in a folder or any store fsspec knows."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from apaise_kit.core.errors import Unavailable


class FsspecShelf:
    """`<root>/adapters/<brand>/<revision>-<digest>/`: the path names the content, so nothing is ever overwritten."""

    def __init__(self, root: str) -> None:
        """`root` is a folder or a URI."""
        self._root = root

    async def put(self, revision: str, brand: str, digest: str, files: Mapping[str, bytes]) -> str:
        """See `Shelf.put`."""
        return await asyncio.to_thread(self._put, f"adapters/{brand}/{revision}-{digest[:12]}", files)

    async def get(self, uri: str) -> dict[str, bytes]:
        """See `Shelf.get`."""
        return await asyncio.to_thread(self._get, uri)

    def _put(self, name: str, files: Mapping[str, bytes]) -> str:
        from fsspec.core import url_to_fs

        try:
            system, root = url_to_fs(self._root)
            target = f"{root.rstrip('/')}/{name}"
            if "file" in _protocols(system.protocol):
                return _put_locally(Path(target), files)
            if not system.exists(target):
                # Object stores have no rename: readers check the digest, and the URI is told only once all is there.
                system.pipe({f"{target}/{file}": content for file, content in files.items()})
            return str(system.unstrip_protocol(target))
        except OSError as error:
            raise _unavailable() from error

    def _get(self, uri: str) -> dict[str, bytes]:
        from fsspec.core import url_to_fs

        try:
            system, path = url_to_fs(uri)
            return {file.rpartition("/")[2]: system.cat_file(file) for file in system.ls(path, detail=False)}
        except OSError as error:
            raise _unavailable() from error


def _put_locally(target: Path, files: Mapping[str, bytes]) -> str:
    target = target.absolute()
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            for file, content in files.items():
                (work / file).write_bytes(content)
            work.chmod(0o755)
            os.rename(work, target)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    return f"file://{target}"


def _protocols(protocol: str | tuple[str, ...]) -> tuple[str, ...]:
    return (protocol,) if isinstance(protocol, str) else protocol


def _unavailable() -> Unavailable:
    return Unavailable("The store of adapters cannot be read or written. Check APAISE_ARTIFACTS.")
