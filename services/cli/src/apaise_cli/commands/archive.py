"""`apaise archive …`: what was found illegal, kept as evidence, for whoever answers to the authorities."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from apaise_cli.commands.arguments import here, named, short
from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import archive_service_pb2 as pb
    from apaise.route.v1 import archive_service_pb2_grpc as rpc

BrandOption = Annotated[
    str | None, typer.Option("--brand", "-b", help="The brand's id; without it, all the token sees.")
]

group = typer.Typer(help="What was found illegal, kept as evidence: list, export.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group."""
    app.add_typer(group, name="archive", rich_help_panel="Messages")


@asynccontextmanager
async def _service(home: Home) -> AsyncIterator[rpc.ArchiveServiceAsyncStub]:
    from apaise.route.v1 import archive_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "legal") as channel:
        yield rpc.ArchiveServiceStub(channel)


@group.command("list")
def list_exhibits(
    ctx: typer.Context,
    brand: BrandOption = None,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List what is archived, newest first, without anybody's words.

    Example: `apaise archive list --brand demo-retail`
    """
    from apaise_cli import documents

    screen, home = here(ctx)

    async def read() -> list[pb.Exhibit]:
        async with _service(home) as archive:
            return [exhibit async for exhibit in _pages(archive, brand, limit)]

    found = asyncio.run(read())
    screen.result(
        {"exhibits": [documents.of(exhibit) for exhibit in found]}, _table(found) if found else "Nothing is archived."
    )


@group.command()
def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The ZIP file to make; it must not exist.")],
    exhibit: Annotated[
        list[str] | None, typer.Argument(help="Only these exhibits: full names, or ids with --brand.")
    ] = None,
    brand: BrandOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write exhibits to a ZIP file for the authorities: each as it was archived, a manifest, and SHA256SUMS.

    The digest of every exhibit is checked first. Whoever exports is recorded beside each exhibit.

    Example: `apaise archive export dossier.zip --brand demo-retail 01k…`
    """
    screen, home = here(ctx)
    names = [named(text, brand, "exhibits") for text in exhibit or ()]
    found = asyncio.run(_read(home, brand, names))
    if not found:
        raise CliError("There is nothing to export.", "apaise archive list shows what is archived.", code="NOT_FOUND")
    manifest = _write(file, found)
    screen.result(
        {"file": str(file), "exhibits": manifest},
        f"{len(found)} exhibits in {file}. Check it anywhere: unzip, then sha256sum -c SHA256SUMS.",
    )


async def _read(home: Home, brand: str | None, names: Sequence[str]) -> list[pb.GetExhibitResponse]:
    from apaise.route.v1 import archive_service_pb2 as pb

    async with _service(home) as archive:
        wanted = names or [exhibit.name async for exhibit in _pages(archive, brand, 1_000_000)]
        return [_intact(await archive.GetExhibit(pb.GetExhibitRequest(name=name))) for name in wanted]


def _intact(found: pb.GetExhibitResponse) -> pb.GetExhibitResponse:
    if hashlib.sha256(found.content).hexdigest() != found.exhibit.digest:
        raise CliError(
            f"{found.exhibit.name} is not what was archived: its SHA-256 differs.",
            "Somebody has changed the database: keep it as it is and look at its events.",
            code="TAMPERED",
        )
    return found


async def _pages(archive: rpc.ArchiveServiceAsyncStub, brand: str | None, limit: int) -> AsyncIterator[pb.Exhibit]:
    from apaise.route.v1 import archive_service_pb2 as pb

    request, left = pb.ListExhibitsRequest(parent=f"brands/{brand or '-'}"), limit
    while left > 0:
        request.page_size = min(left, 500)
        page = await archive.ListExhibits(request)
        for exhibit in page.exhibits:
            yield exhibit
        left -= len(page.exhibits)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return


def _write(file: Path, found: Sequence[pb.GetExhibitResponse]) -> list[dict[str, Any]]:
    """The ZIP file, readable by its owner alone, and its manifest."""
    from apaise_cli import documents

    paths = [f"exhibits/{short(each.exhibit.name)}.json" for each in found]
    manifest = [{"file": path, **documents.of(each.exhibit)} for path, each in zip(paths, found, strict=True)]
    parts = dict(zip(paths, (each.content for each in found), strict=True))
    parts["manifest.json"] = json.dumps(manifest, ensure_ascii=False, indent=1).encode()
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in parts.items())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in {**parts, "SHA256SUMS": sums.encode()}.items():
            archive.writestr(path, content)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CliError(f"{file} cannot be made: {error.strerror}.", "Name another file.", code="FILE") from error
    with os.fdopen(descriptor, "wb") as out:
        out.write(packed.getvalue())
    return manifest


def _table(found: Sequence[pb.Exhibit]) -> Table:
    from apaise.route.v1 import decision_pb2

    shown = Table(box=None, padding=(0, 2))
    for heading in ("exhibit", "when", "clause", "by", "now", "sha-256"):
        shown.add_column(heading, no_wrap=True)
    for each in found:
        when = each.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
        now = decision_pb2.Visibility.Name(each.visibility).removeprefix("VISIBILITY_").lower()
        shown.add_row(Text(each.name), when, Text(each.clause), Text(each.actor), now, each.digest[:16])
    return shown
