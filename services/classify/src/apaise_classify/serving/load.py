"""From a URI to an adapter in memory: fetched once into a cache named by digest, and believed only when it checks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

import fsspec

from apaise_classify.domain.adapters import Revision
from apaise_kit.core.errors import Unavailable
from mlops.base.adapter import FILES, MAX_BYTES, AdapterFiles, AdapterRefused, digest_folder, wrong_encoder

# Where adapters may come from. Chained and web protocols are left out: a URI comes from a caller.
PROTOCOLS: Final = frozenset({"file", "s3", "gs", "gcs", "az", "abfs"})


def load_adapter(revision: Revision, encoder: str, cache: Path, read: Callable[[Path], AdapterFiles]) -> AdapterFiles:
    """Fetch, check and read a revision; blocking.

    Args:
        revision: what should be there.
        encoder: digest of the encoder being served.
        cache: folder for fetched adapters.
        read: reads a folder whose digest is the one wanted, and checks that it fits.

    Raises:
        AdapterRefused: it must not serve: ADAPTER_CORRUPT, ADAPTER_WRONG_ENCODER or ADAPTER_WRONG_SHAPE.
        Unavailable: the store does not answer; trying again may help.
    """
    if revision.encoder != encoder:
        raise wrong_encoder(revision.encoder, encoder)
    files = read(_fetched(revision, cache))
    manifest = files.manifest
    if manifest.encoder_digest != encoder:
        raise wrong_encoder(manifest.encoder_digest, encoder)
    if (manifest.brand, manifest.revision) != (revision.brand, revision.id):
        raise AdapterRefused("The adapter's manifest names another brand or revision.")
    return files


def _fetched(revision: Revision, cache: Path) -> Path:
    """The cached folder, its digest checked each time: a disk may have rotted since."""
    target = cache / "adapters" / revision.digest
    if target.is_dir():
        try:
            if digest_folder(target) == revision.digest:
                return target
        except AdapterRefused:
            pass
        shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=target.parent))
    try:
        _copy(revision.artifact_uri, work)
        if digest_folder(work) != revision.digest:
            raise AdapterRefused("The adapter's files are not the ones its digest names.")
        return _moved(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _moved(work: Path, target: Path) -> Path:
    try:
        work.rename(target)
    except OSError:  # another replica of this machine was faster
        if not target.is_dir():
            raise Unavailable("The adapter cache cannot be written. Check the disk.") from None
    return target


def _copy(uri: str, work: Path) -> None:
    protocol = uri.partition("://")[0] if "://" in uri else "file"
    if protocol not in PROTOCOLS or "::" in uri:
        raise AdapterRefused(f"An artifact URI starts with one of: {', '.join(sorted(PROTOCOLS))}.")
    try:
        filesystem, root = fsspec.core.url_to_fs(uri)
        entries = filesystem.ls(root, detail=True)
        names = sorted(PurePosixPath(entry["name"]).name for entry in entries)
        if names != sorted(FILES) or sum(int(entry["size"] or 0) for entry in entries) > MAX_BYTES:
            raise AdapterRefused(f"An adapter is exactly these files: {', '.join(FILES)}.")
        for entry in entries:
            filesystem.get_file(entry["name"], str(work / PurePosixPath(entry["name"]).name))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        raise AdapterRefused("There is no readable adapter at this URI.") from None
    except (OSError, ImportError, ValueError):
        raise Unavailable("The artefact store does not answer. Check it, then try again.") from None
