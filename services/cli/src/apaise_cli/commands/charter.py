"""`apaise charter lint|apply|show`: a brand's charter."""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.syntax import Syntax

from apaise_cli.commands.arguments import Brand, here
from apaise_cli.errors import CliError, Refused
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import charter_service_pb2 as pb

File = Annotated[Path, typer.Argument(help="The charter, YAML.", exists=True, dir_okay=False, readable=True)]

group = typer.Typer(
    help="A brand's charter: what it hides, holds, answers, and to whom it hands what.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add this group."""
    app.add_typer(group, name="charter", rich_help_panel="Messages")


@group.command()
def lint(ctx: typer.Context, file: File, as_json: JsonFlag = False) -> None:
    """Read a charter and tell its problems, with their lines. Needs no mesh. Exit code 1 when it does not compile.

    Example: `apaise charter lint charter.yaml`
    """
    screen, home = here(ctx)
    source = _read(file)
    offline = importlib.util.find_spec("apaise_route") is not None
    problems = _lint_here(source) if offline else asyncio.run(_lint_there(home, source))
    errors = sum(problem["severity"] == "ERROR" for problem in problems)
    document = {"ok": errors == 0, "problems": problems}
    lines = [_problem_line(file, problem) for problem in problems]
    screen.result(document, *(lines or [f"{file}: it compiles."]))
    if errors:
        raise Refused(f"{file} does not compile: {errors} error{'s' if errors > 1 else ''}.", document)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CliError(f"{file} is not UTF-8.", "Save it as UTF-8.", code="INVALID_FIELD") from error


def _problem_line(file: Path, problem: dict[str, Any]) -> str:
    where = f"{file}:{problem['line']}" if problem["line"] else str(file)
    return f"{where}: {problem['severity'].lower()}: {problem['message']}"


def _lint_here(source: str) -> list[dict[str, Any]]:
    # Route's own reader, so that what compiles here compiles there.
    from apaise_route.adapters.charter_yaml import read_charter

    return [
        {"severity": problem.severity.name, "line": problem.line, "message": problem.message}
        for problem in read_charter(source).problems
    ]


async def _lint_there(home: Home, source: str) -> list[dict[str, Any]]:
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise.route.v1 import charter_service_pb2_grpc as rpc
    from apaise_cli import documents
    from apaise_cli.remote import connect

    async with connect(home, "route", "lead") as channel:
        request = pb.LintCharterRequest(parent="brands/-", source=source)
        answer = await rpc.CharterServiceStub(channel).LintCharter(request)
        return [documents.of(problem) for problem in answer.problems]


@group.command()
def apply(ctx: typer.Context, file: File, brand: Brand, as_json: JsonFlag = False) -> None:
    """Keep a charter as a new version and put it in force. The same text again is the same version.

    Example: `apaise charter apply charter.yaml --brand demo-retail`
    """
    from apaise_cli import documents

    screen, home = here(ctx)
    charter, warnings = asyncio.run(_apply(home, brand, _read(file)))
    for warning in warnings:
        screen.note(_problem_line(file, documents.of(warning)))
    document = {"charter": documents.of(charter), "warnings": [documents.of(warning) for warning in warnings]}
    screen.result(document, f"{charter.name} is in force.")


async def _apply(home: Home, brand: str, source: str) -> tuple[pb.Charter, list[pb.CharterProblem]]:
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise.route.v1 import charter_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "lead") as channel:
        charters = rpc.CharterServiceStub(channel)
        request = pb.CreateCharterRequest(
            parent=f"brands/{brand}", charter=pb.Charter(source=source), request_id=secrets.token_hex(13)
        )
        made = await charters.CreateCharter(request)
        activated = await charters.ActivateCharter(
            pb.ActivateCharterRequest(name=made.charter.name, request_id=secrets.token_hex(13))
        )
        return activated.charter, list(made.warnings)


@group.command()
def show(
    ctx: typer.Context,
    brand: Brand,
    version: Annotated[str, typer.Option(help="A version's number, or active.")] = "active",
    as_json: JsonFlag = False,
) -> None:
    """Show a brand's charter: the one in force, or a version.

    Example: `apaise charter show --brand demo-retail`
    """
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)

    async def get() -> pb.Charter:
        from apaise.route.v1 import charter_service_pb2_grpc as rpc
        from apaise_cli.remote import connect

        async with connect(home, "route", "lead") as channel:
            request = pb.GetCharterRequest(name=f"brands/{brand}/charters/{version}")
            return (await rpc.CharterServiceStub(channel).GetCharter(request)).charter

    charter = asyncio.run(get())
    screen.note(f"{charter.name}{' (in force)' if charter.active else ''}")
    source = Syntax(charter.source, "yaml", background_color="default") if screen.out.is_terminal else charter.source
    screen.result({"charter": documents.of(charter)}, source)
