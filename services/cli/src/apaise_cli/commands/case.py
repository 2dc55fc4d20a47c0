"""`apaise case …`: a hand-off to another team, from the message to the reply its author reads."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from apaise_cli.commands.arguments import choice, clock, here, named, short
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import case_service_pb2 as pb
    from apaise.route.v1 import case_service_pb2_grpc as rpc

BrandOption = Annotated[
    str | None, typer.Option("--brand", "-b", help="The brand's id; without it, all the token sees.")
]
CaseArgument = Annotated[str, typer.Argument(help="The case: its full name, or its id with --brand.")]
Etag = Annotated[str, typer.Option(help="The etag as last read: refuse if someone changed the case since.")]

group = typer.Typer(
    help="Hand-offs: list, show, open, assign, answer, note, return, report, close, reopen.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add this group."""
    app.add_typer(group, name="case", rich_help_panel="Messages")


@asynccontextmanager
async def _service(home: Home) -> AsyncIterator[rpc.CaseServiceAsyncStub]:
    from apaise.route.v1 import case_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "moderator") as channel:
        yield rpc.CaseServiceStub(channel)


@group.command("list")
def list_cases(
    ctx: typer.Context,
    brand: BrandOption = None,
    team: Annotated[str | None, typer.Option(help="Only this team's: care, legal, sales…")] = None,
    state: Annotated[
        str | None, typer.Option(help="open, assigned, answered, returned or closed; all but closed if not given.")
    ] = None,
    late: Annotated[bool, typer.Option("--late", help="Only those whose time passed.")] = False,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List cases, the first due first.

    Example: `apaise case list --brand demo-retail --team care`
    """
    from apaise.route.v1 import case_service_pb2 as pb
    from apaise.route.v1 import decision_pb2
    from apaise_cli import documents

    screen, home = here(ctx)
    request = pb.ListCasesRequest(
        parent=f"brands/{brand or '-'}",
        team=choice(decision_pb2.Queue, "QUEUE_", team, "--team"),
        state=choice(pb.CaseState, "CASE_STATE_", state, "--state"),
        late=late,
    )
    found = asyncio.run(_list(home, request, limit))
    screen.result({"cases": [documents.of(case) for case in found]}, _table(found) if found else "No such case.")


async def _list(home: Home, request: pb.ListCasesRequest, limit: int) -> list[pb.Case]:
    found: list[pb.Case] = []
    async with _service(home) as cases:
        while True:
            request.page_size = min(limit - len(found), 500)
            page = await cases.ListCases(request)
            found += page.cases
            request.page_token = page.next_page_token
            if not page.next_page_token or len(found) >= limit:
                return found


@group.command()
def show(ctx: typer.Context, case: CaseArgument, brand: BrandOption = None, as_json: JsonFlag = False) -> None:
    """A case with its message, its history, and where a reply may go.

    Example: `apaise case show 01k… --brand demo-retail`
    """
    from apaise.route.v1 import case_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)

    async def read() -> pb.GetCaseResponse:
        async with _service(home) as cases:
            return await cases.GetCase(pb.GetCaseRequest(name=named(case, brand, "cases")))

    view = asyncio.run(read())
    screen.result(documents.of(view), _table([view.case]), Text(view.message.text), _history(view), _legs(view))


@group.command("open")
def open_case(
    ctx: typer.Context,
    message: Annotated[str, typer.Argument(help="The message: its full name, or its id with --brand.")],
    brand: BrandOption = None,
    team: Annotated[str | None, typer.Option(help="Whose it is; the decision's queue if not given.")] = None,
    tension: Annotated[
        str | None, typer.Option(help="calm, tense or crisis; as the message reads if not given.")
    ] = None,
    note: Annotated[str, typer.Option(help="A first internal note.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Open a case from a message; a message has one open case at a time.

    Example: `apaise case open 01k… --brand demo-retail --team care --note "second parcel lost"`
    """
    from apaise.route.v1 import case_service_pb2 as pb
    from apaise.route.v1 import decision_pb2

    request = pb.OpenCaseRequest(
        message=named(message, brand, "messages"),
        team=choice(decision_pb2.Queue, "QUEUE_", team, "--team"),
        tension=choice(pb.Tension, "TENSION_", tension, "--tension"),
        note=note,
        request_id=secrets.token_hex(13),
    )
    _send(ctx, "OpenCase", request)


@group.command()
def assign(
    ctx: typer.Context,
    case: CaseArgument,
    assignee: Annotated[str, typer.Option("--to", help="The person, as the team calls them: a pseudonym.")] = "",
    team: Annotated[str | None, typer.Option(help="Another team.")] = None,
    brand: BrandOption = None,
    etag: Etag = "",
    as_json: JsonFlag = False,
) -> None:
    """Give a case to a team or a person.

    Example: `apaise case assign 01k… --brand demo-retail --to cleo`
    """
    from apaise.route.v1 import decision_pb2

    found = choice(decision_pb2.Queue, "QUEUE_", team, "--team")
    _move(ctx, "AssignCase", case, brand, team=found, assignee=assignee, etag=etag)


@group.command()
def note(
    ctx: typer.Context,
    case: CaseArgument,
    text: Annotated[str, typer.Argument(help="The note. It never leaves the mesh.")],
    brand: BrandOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Add an internal note.

    Example: `apaise case note 01k… "she called yesterday" --brand demo-retail`
    """
    _move(ctx, "AddCaseNote", case, brand, text=text)


@group.command()
def answer(
    ctx: typer.Context,
    case: CaseArgument,
    text: Annotated[str, typer.Argument(help="The team's answer.")],
    private: Annotated[bool, typer.Option("--private", help="It may only go back in private.")] = False,
    brand: BrandOption = None,
    etag: Etag = "",
    as_json: JsonFlag = False,
) -> None:
    """The team's answer; `return` brings it to the author.

    Example: `apaise case answer 01k… "Votre colis repart demain." --brand demo-retail`
    """
    from apaise.type.v1 import message_pb2

    audience = message_pb2.AUDIENCE_PRIVATE if private else message_pb2.AUDIENCE_UNSPECIFIED
    _move(ctx, "AnswerCase", case, brand, text=text, audience=audience, etag=etag)


@group.command("return")
def return_case(
    ctx: typer.Context,
    case: CaseArgument,
    private: Annotated[bool, typer.Option("--private/--public", help="Where the author reads it.")] = False,
    text: Annotated[str, typer.Option(help="Other words than the team's last answer.")] = "",
    brand: BrandOption = None,
    etag: Etag = "",
    as_json: JsonFlag = False,
) -> None:
    """Send the answer back to its author, where the platform allows it.

    Example: `apaise case return 01k… --public --brand demo-retail`
    """
    from apaise.type.v1 import message_pb2

    audience = message_pb2.AUDIENCE_PRIVATE if private else message_pb2.AUDIENCE_PUBLIC
    _move(ctx, "ReturnCase", case, brand, text=text, audience=audience, etag=etag)


@group.command()
def report(
    ctx: typer.Context,
    case: CaseArgument,
    outcome: Annotated[str, typer.Argument(help="applied, refused or too_late.")],
    external_id: Annotated[str, typer.Option(help="The platform's id of the reply.")] = "",
    detail: Annotated[str, typer.Option(help="Why, as a code without personal data.")] = "",
    brand: BrandOption = None,
    as_json: JsonFlag = False,
) -> None:
    """What became of a reply on the platform, when no tool reports it.

    Example: `apaise case report 01k… applied --brand demo-retail`
    """
    from apaise.route.v1 import decision_pb2

    found = choice(decision_pb2.ActionState, "ACTION_STATE_", outcome, "outcome")
    _move(ctx, "ReportCaseReply", case, brand, outcome=found, external_id=external_id, detail=detail)


@group.command()
def close(
    ctx: typer.Context,
    case: CaseArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Needed when the author has no reply.")] = "",
    brand: BrandOption = None,
    etag: Etag = "",
    as_json: JsonFlag = False,
) -> None:
    """Close a case.

    Example: `apaise case close 01k… --brand demo-retail --reason "provocation: we stay silent"`
    """
    _move(ctx, "CloseCase", case, brand, reason=reason, etag=etag)


@group.command()
def reopen(
    ctx: typer.Context,
    case: CaseArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why.")] = "",
    brand: BrandOption = None,
    etag: Etag = "",
    as_json: JsonFlag = False,
) -> None:
    """Open a returned or closed case again.

    Example: `apaise case reopen 01k… --brand demo-retail --reason "she writes again"`
    """
    _move(ctx, "ReopenCase", case, brand, reason=reason, etag=etag)


def _move(ctx: typer.Context, method: str, case: str, brand: str | None, **fields: Any) -> None:
    from apaise.route.v1 import case_service_pb2 as pb

    request = getattr(pb, f"{method}Request")
    _send(ctx, method, request(name=named(case, brand, "cases"), request_id=secrets.token_hex(13), **fields))


def _send(ctx: typer.Context, method: str, request: Any) -> None:
    from apaise_cli import documents

    screen, home = here(ctx)

    async def call() -> pb.Case:
        async with _service(home) as cases:
            moved: pb.Case = (await getattr(cases, method)(request)).case
            return moved

    moved = asyncio.run(call())
    screen.result({"case": documents.of(moved)}, _table([moved]))


def _table(cases: list[pb.Case]) -> Table:
    from apaise.route.v1 import case_service_pb2 as pb
    from apaise.route.v1 import decision_pb2

    shown = Table(box=None, padding=(0, 2))
    for heading in ("case", "team", "who", "state", "tension", "due", "late"):
        shown.add_column(heading, no_wrap=True)
    for case in cases:
        shown.add_row(
            Text(case.name if len(cases) == 1 else short(case.name)),
            _word(decision_pb2.Queue.Name(case.team), "QUEUE_"),
            Text(case.assignee or "-"),
            _word(pb.CaseState.Name(case.state), "CASE_STATE_") + (" (reply on its way)" if case.reply_pending else ""),
            _word(pb.Tension.Name(case.tension), "TENSION_"),
            clock(case.due_time),
            "late" if case.late else "",
        )
    return shown


def _history(view: pb.GetCaseResponse) -> Table:
    from apaise.route.v1 import case_service_pb2 as pb

    shown = Table(box=None, padding=(0, 2))
    for heading in ("when", "what", "who", ""):
        shown.add_column(heading, no_wrap=heading != "")
    for entry in view.entries:
        shown.add_row(
            clock(entry.create_time),
            _word(pb.CaseEntryKind.Name(entry.kind), "CASE_ENTRY_KIND_"),
            Text(entry.actor),
            Text(entry.text or entry.assignee or entry.detail),
        )
    return shown


def _legs(view: pb.GetCaseResponse) -> Table:
    from apaise.route.v1 import case_service_pb2 as pb
    from apaise.type.v1 import message_pb2

    shown = Table(box=None, padding=(0, 2))
    for heading in ("reply", "may it", "why"):
        shown.add_column(heading)
    for leg in view.legs:
        shown.add_row(
            _word(message_pb2.Audience.Name(leg.audience), "AUDIENCE_"),
            _word(pb.LegVerdict.Name(leg.verdict), "LEG_VERDICT_"),
            Text(" / ".join(leg.explanation[language] for language in ("fr", "en"))),
        )
    return shown


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).replace("UNSPECIFIED", "-").lower()
