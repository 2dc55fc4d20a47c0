"""`apaise preflight`: what would become of a text, asked before it is posted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from apaise_cli.commands.arguments import Brand, choice, here
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import preflight_service_pb2 as pb


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel="Messages")(preflight)


def preflight(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="What someone is about to post.")],
    brand: Brand,
    language: Annotated[str, typer.Option(help="Its language, fr or en.")] = "",
    kind: Annotated[str | None, typer.Option(help="live_chat, comment, forum…; a comment if not given.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """What would become of a text, why, and up to two ways to say it that would show. Nothing is stored.

    Example: `apaise preflight "rendez l'argent bande de voleurs" --brand demo-retail`
    """
    from apaise.route.v1 import preflight_service_pb2 as pb
    from apaise.type.v1 import message_pb2
    from apaise_cli import documents

    screen, home = here(ctx)
    found = choice(message_pb2.ChannelKind, "CHANNEL_KIND_", kind, "--kind")
    request = pb.PreflightMessageRequest(parent=f"brands/{brand}", text=text, language=language, kind=found)
    answer = asyncio.run(_ask(home, request))
    marked = Text(text)
    for span in answer.spans:
        marked.stylize("bold red", span.start, span.end)
    ways = [Text(f"  - {way}") for way in answer.proposals]
    screen.result(
        documents.of(answer), marked, Text(answer.explanation), *([Text("It would show as:"), *ways] if ways else [])
    )


async def _ask(home: Home, request: pb.PreflightMessageRequest) -> pb.PreflightMessageResponse:
    from apaise.route.v1 import preflight_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "moderator") as channel:
        return await rpc.PreflightServiceStub(channel).PreflightMessage(request)
