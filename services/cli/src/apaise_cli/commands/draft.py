"""`apaise draft`: a first wording of a reply."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from apaise_cli.commands.arguments import here, named
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import reply_service_pb2 as pb


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel="Messages")(draft)


def draft(
    ctx: typer.Context,
    message: Annotated[str, typer.Argument(help="The message: its full name, or its id with --brand.")],
    brand: Annotated[str | None, typer.Option("--brand", "-b", help="The brand's id.")] = None,
    posture: Annotated[str, typer.Option(help="reassure, explain, solve, apologise or light_humour.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """A draft of a reply, for a person to word and send; nothing is sent.

    Example: `apaise draft 01k… --brand demo-retail --posture apologise`
    """
    from apaise.route.v1 import reply_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    request = pb.DraftReplyRequest(message=named(message, brand, "messages"), posture=posture)
    found = asyncio.run(_ask(home, request))
    note = pb.DraftNote.Name(found.note).removeprefix("DRAFT_NOTE_").replace("_", " ").lower() if found.note else ""
    shown = [Text(found.text or "No draft.")] + ([Text(f"({note})")] if note else [])
    screen.result(documents.of(found), *shown)


async def _ask(home: Home, request: pb.DraftReplyRequest) -> pb.DraftReplyResponse:
    from apaise.route.v1 import reply_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "moderator") as channel:
        return await rpc.ReplyServiceStub(channel).DraftReply(request)
