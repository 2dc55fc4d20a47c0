"""`apaise draft`: a first wording of a reply."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from apaise_cli.commands.answer import call, show_answer
from apaise_cli.commands.arguments import here, named
from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import answer_service_pb2 as answers_pb
    from apaise.route.v1 import reply_service_pb2 as pb


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel="Messages")(draft)


def draft(
    ctx: typer.Context,
    message: Annotated[str, typer.Argument(help="The message: its full name, or its id with --brand.")],
    brand: Annotated[str | None, typer.Option("--brand", "-b", help="The brand's id.")] = None,
    posture: Annotated[str, typer.Option(help="reassure, explain, solve, apologise or light_humour.")] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the draft as it is for the brand's answers.")] = False,
    edited: Annotated[str, typer.Option("--keep-as", help="Keep this instead: the draft as you edited it.")] = "",
    question: Annotated[
        list[str] | None, typer.Option("--question", "-q", help="With --keep…: what is asked, in your own words.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """A draft of a reply, from the brand's approved answers or a scenario, for a person to send; nothing is sent.

    What you keep of it is proposed to a lead as an answer for the like (`apaise answer list --state proposed`).

    Example: `apaise draft 01k… --brand demo-retail --posture apologise`
    """
    from apaise.route.v1 import reply_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    request = pb.DraftReplyRequest(message=named(message, brand, "messages"), posture=posture)
    found = asyncio.run(_ask(home, request))
    note = pb.DraftNote.Name(found.note).removeprefix("DRAFT_NOTE_").replace("_", " ").lower() if found.note else ""
    if keep or edited:
        show_answer(ctx, _keep(home, request.message, found, edited, question or []))
        return
    source = found.answer and f"{found.answer}, {found.similarity:.3f} near"
    shown = [Text(found.text or "No draft.")] + [Text(f"({said})") for said in (source, note) if said]
    screen.result(documents.of(found), *shown)


def _keep(
    home: Home, message: str, found: pb.DraftReplyResponse, edited: str, questions: Sequence[str]
) -> answers_pb.Answer:
    from apaise.route.v1 import answer_service_pb2 as answers_pb

    if not found.text and not edited:
        raise CliError("There is no draft to keep.", 'Write one: --keep-as "…".', code="NO_DRAFT")
    request = answers_pb.KeepReplyRequest(
        message=message,
        text=edited or found.text,
        scenario=found.scenario,
        answer=found.answer,
        questions=questions,
        language=found.language,
        request_id=secrets.token_hex(13),
    )
    return call(home, "moderator", lambda stub: stub.KeepReply(request)).answer


async def _ask(home: Home, request: pb.DraftReplyRequest) -> pb.DraftReplyResponse:
    from apaise.route.v1 import reply_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "moderator") as channel:
        return await rpc.ReplyServiceStub(channel).DraftReply(request)
