"""`apaise archive …` against a service that answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import stat
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from apaise.route.v1 import archive_service_pb2 as pb
from apaise.route.v1 import archive_service_pb2_grpc as rpc
from apaise.route.v1 import decision_pb2
from apaise_cli.main import run
from apaise_kit.core.errors import not_found
from apaise_kit.runtime.server import Service
from apaise_kit.testing import running

Context = grpc.aio.ServicerContext[Any, Any]
CONTENT = {f"brands/demo/exhibits/e{n}": f'{{"text": "canari {n}"}}'.encode() for n in range(3)}


class Archive(rpc.ArchiveServiceServicer):
    """Three exhibits in pages of two at most; `tampered` changes what it gives out."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.tampered = False

    def _exhibit(self, name: str) -> pb.Exhibit:
        digest = hashlib.sha256(CONTENT[name]).hexdigest()
        return pb.Exhibit(name=name, clause="loi", digest=digest, visibility=decision_pb2.VISIBILITY_HIDE)

    async def ListExhibits(self, request: pb.ListExhibitsRequest, context: Context) -> pb.ListExhibitsResponse:
        self.asked.append(request)
        start, size = int(request.page_token or 0), min(request.page_size, 2)
        names = list(CONTENT)[start : start + size]
        token = str(start + size) if start + size < len(CONTENT) else ""
        return pb.ListExhibitsResponse(exhibits=map(self._exhibit, names), next_page_token=token)

    async def GetExhibit(self, request: pb.GetExhibitRequest, context: Context) -> pb.GetExhibitResponse:
        if request.name not in CONTENT:
            raise not_found(request.name)
        content = CONTENT[request.name] + (b" " if self.tampered else b"")
        return pb.GetExhibitResponse(exhibit=self._exhibit(request.name), content=content)


@pytest.fixture
async def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Archive]:
    made = Archive()
    service = Service(rpc.add_ArchiveServiceServicer_to_server, made, "apaise.route.v1.ArchiveService")
    async with running(service) as server:
        monkeypatch.setenv("APAISE_HOME", str(tmp_path))
        monkeypatch.setenv("APAISE_TOKEN", server.token(roles=("legal",)))
        monkeypatch.setenv("APAISE_ROUTE_ADDRESS", server.address)
        yield made


async def apaise(*arguments: str) -> int:
    return await asyncio.to_thread(run, ["archive", *arguments])


async def test_a_list_has_no_content(archive: Archive, capfd: pytest.CaptureFixture[str]) -> None:
    assert await apaise("list", "--brand", "demo", "--limit", "3") == 0
    out = capfd.readouterr().out
    assert "brands/demo/exhibits/e2" in out
    assert "canari" not in out
    assert [(request.parent, request.page_size) for request in archive.asked] == [
        ("brands/demo", 3),
        ("brands/demo", 1),
    ]


@pytest.mark.parametrize("ids", [[], ["e1"]])
async def test_an_export_can_be_checked_with_sha256sum(
    archive: Archive, tmp_path: Path, ids: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dossier.zip"
    assert await apaise("export", str(file), *ids, "--brand", "demo", "--json") == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zipfile.ZipFile(file) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    for line in parts.pop("SHA256SUMS").decode().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256(parts[name]).hexdigest() == digest
    manifest = json.loads(parts.pop("manifest.json"))
    wanted = ids or ["e0", "e1", "e2"]
    assert parts == {f"exhibits/{each}.json": CONTENT[f"brands/demo/exhibits/{each}"] for each in wanted}
    assert [each["name"].rpartition("/")[2] for each in manifest] == wanted
    assert json.loads(capfd.readouterr().out)["exhibits"] == manifest


async def test_what_cannot_be_exported_leaves_no_file(
    archive: Archive, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dossier.zip"
    assert await apaise("export", str(file), "nothing", "--brand", "demo") == 1
    assert await apaise("export", str(file), "e1") == 2
    archive.tampered = True
    assert await apaise("export", str(file), "--brand", "demo") == 1
    assert "SHA-256 differs" in capfd.readouterr().err
    assert not file.exists()


async def test_a_file_that_exists_is_not_overwritten(
    archive: Archive, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dossier.zip"
    file.write_text("mine")
    assert await apaise("export", str(file), "--brand", "demo") == 1
    assert file.read_text() == "mine"
    assert "cannot be made" in capfd.readouterr().err
