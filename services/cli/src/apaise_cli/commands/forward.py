"""`apaise forward`: good messages worth bringing forward."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from apaise_cli.commands.arguments import Brand, here
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import forward_service_pb2 as pb


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel="Messages")(forward)


def forward(
    ctx: typer.Context,
    brand: Brand,
    hours: Annotated[float, typer.Option(help="Of the last so many hours.", min=0.01)] = 24,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1, max=100)] = 10,
    as_json: JsonFlag = False,
) -> None:
    """Good questions, ideas, constructive criticism and ambassadors among what shows, with the reason for each.

    Example: `apaise forward --brand demo-retail --hours 3`
    """
    from apaise_cli import documents

    screen, home = here(ctx)
    found = asyncio.run(_read(home, brand, timedelta(hours=hours), limit))
    screen.result(documents.of(found), _table(found) if found.forwards else "Nothing to bring forward.")


async def _read(home: Home, brand: str, span: timedelta, limit: int) -> pb.ListForwardResponse:
    from apaise.route.v1 import forward_service_pb2 as pb
    from apaise.route.v1 import forward_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    request = pb.ListForwardRequest(parent=f"brands/{brand}", page_size=limit)
    request.start_time.FromDatetime(datetime.now(UTC) - span)
    async with connect(home, "route", "moderator") as channel:
        return await rpc.ForwardServiceStub(channel).ListForward(request)


def _table(found: pb.ListForwardResponse) -> Table:
    shown = Table(box=None, padding=(0, 2))
    for heading in ("sure", "why", "text"):
        shown.add_column(heading, no_wrap=heading == "sure")
    for one in found.forwards:
        why = " / ".join(one.explanation[language] for language in ("fr", "en"))
        shown.add_row(f"{one.score:.2f}", Text(why), Text(one.message.text))
    return shown
