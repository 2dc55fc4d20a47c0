"""`apaise charter lint|diff|recheck|apply|shadow|rollback|show|words`: a brand's charter."""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
from collections.abc import Mapping
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
    from apaise.route.v1 import route_service_pb2 as route_pb

File = Annotated[Path, typer.Argument(help="The charter, YAML.", exists=True, dir_okay=False, readable=True)]
Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Charters, YAML.", exists=True, dir_okay=False, readable=True)
]

group = typer.Typer(
    help="A brand's charter: what it hides, holds, answers, and to whom it hands what.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add this group."""
    from apaise_cli.commands import words

    group.add_typer(words.group, name="words")
    app.add_typer(group, name="charter", rich_help_panel="Messages")


@group.command()
def lint(ctx: typer.Context, files: Files, as_json: JsonFlag = False) -> None:
    """Read charters and tell each problem as FILE:LINE: what, with a way out. Needs no mesh. Exit code 1 for errors.

    Example: `apaise charter lint charter.yaml`
    """
    screen, home = here(ctx)
    offline = importlib.util.find_spec("apaise_route") is not None
    problems = []
    for file in files:
        source = _read(file)
        found = _lint_here(source) if offline else asyncio.run(_lint_there(home, source))
        problems += [{"file": str(file), **problem} for problem in found]
    wrong = dict.fromkeys(problem["file"] for problem in problems if problem["severity"] == "ERROR")
    document = {"ok": not wrong, "files": [str(file) for file in files], "problems": problems}
    lines = [_problem_line(problem) for problem in problems]
    screen.result(document, *(lines or ["No problem found."]))
    if wrong:
        raise Refused(f"{len(wrong)} of {len(files)} not accepted; mend the errors by line.", document)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CliError(f"{file} is not UTF-8.", "Save it as UTF-8.", code="INVALID_FIELD") from error


def _problem_line(problem: Mapping[str, Any]) -> str:
    """`FILE:LINE: message`, as editors and compilers write it; what concerns the whole stands on line 1."""
    level = "warning: " if problem["severity"] == "WARNING" else ""
    return f"{problem['file']}:{problem['line'] or 1}: {level}{problem['message']}"


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
        screen.note(_problem_line({"file": file, **documents.of(warning)}))
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
def diff(
    ctx: typer.Context,
    file: File,
    brand: Brand,
    messages: Annotated[int, typer.Option(help="How many of the latest messages.", min=1, max=5000)] = 1000,
    as_json: JsonFlag = False,
) -> None:
    """Decide the latest messages again by a charter and tell what would change, by label and queue. Keeps nothing.

    Example: `apaise charter diff charter.yaml --brand demo-retail`
    """
    from apaise_cli import documents

    screen, home = here(ctx)
    found = asyncio.run(_diff(home, brand, _read(file), messages))
    for warning in found.warnings:
        screen.note(_problem_line({"file": file, **documents.of(warning)}))
    document = documents.of(found)
    screen.result(document, *_diff_lines(document))


async def _diff(home: Home, brand: str, source: str, messages: int) -> pb.DiffCharterResponse:
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise.route.v1 import charter_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "lead") as channel:
        request = pb.DiffCharterRequest(parent=f"brands/{brand}", source=source, messages=messages)
        return await rpc.CharterServiceStub(channel).DiffCharter(request)


def _diff_lines(document: Mapping[str, Any]) -> list[str]:
    lines = [f"{document['changed']} of the latest {document['compared']} messages would be decided otherwise."]
    lines += [_change_line(change) for change in document["changes"]]
    lines += [f"  label {x['label']}: {x['changed']} of {x['messages']} change" for x in document["labels"]]
    lines += [f"  queue {_nobody(x['queue'])}: {x['before']} before, {x['after']} after" for x in document["queues"]]
    lines += [f"  {x['message']}: {x['clause_before']} -> {x['clause_after']}" for x in document["examples"]]
    return lines


def _change_line(change: Mapping[str, Any]) -> str:
    before = f"{change['visibility_before']}, {_nobody(change['queue_before'])}"
    after = f"{change['visibility_after']}, {_nobody(change['queue_after'])}"
    return f"  {change['messages']:>6}  {before} -> {after}"


def _nobody(queue: str) -> str:
    return "no queue" if queue == "UNSPECIFIED" else queue.lower()


@group.command()
def recheck(
    ctx: typer.Context,
    brand: Brand,
    decisions: Annotated[int, typer.Option(help="How many of the machine's latest decisions.", min=1, max=5000)] = 1000,
    as_json: JsonFlag = False,
) -> None:
    """Make recorded decisions again from what was recorded: each must come out the same. Exit code 1 if one does not.

    Example: `apaise charter recheck --brand demo-retail`
    """
    from apaise_cli import documents

    screen, home = here(ctx)
    found = documents.of(asyncio.run(_recheck(home, brand, decisions)))
    left_out = f"; {found['left_out']} left out (gone, or their charter is)" if found["left_out"] else ""
    differ = [f"  {each['decision']}: {', '.join(each['fields'])}" for each in found["examples"]]
    screen.result(found, f"{found['checked']} made again, {found['different']} came out otherwise{left_out}.", *differ)
    if found["different"]:
        raise Refused("Decisions do not repeat: was a live word taken out since, or was the software changed?", found)


async def _recheck(home: Home, brand: str, decisions: int) -> route_pb.RecheckDecisionsResponse:
    from apaise.route.v1 import route_service_pb2 as route_pb
    from apaise.route.v1 import route_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "lead") as channel:
        request = route_pb.RecheckDecisionsRequest(parent=f"brands/{brand}", decisions=decisions)
        return await rpc.RouteServiceStub(channel).RecheckDecisions(request)


@group.command()
def shadow(
    ctx: typer.Context,
    brand: Brand,
    file: Annotated[Path | None, typer.Argument(help="The charter, YAML.", exists=True, dir_okay=False)] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the shadow and forget its counts.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Have a charter decide beside the one in force without acting; without a file, what it has decided otherwise.

    Example: `apaise charter shadow charter.yaml --brand demo-retail`
    """
    from apaise_cli import documents

    screen, home = here(ctx)
    if stop:
        asyncio.run(_stop_shadow(home, brand))
        screen.result({"shadow": None}, f"brands/{brand} has no shadow.")
        return
    found = documents.of(asyncio.run(_shadow(home, brand, _read(file) if file else None)))
    told = f"{found['charter']}: {found['changed']} of {found['compared']} messages decided otherwise."
    screen.result({"shadow": found}, told, *map(_change_line, found["changes"]))


async def _shadow(home: Home, brand: str, source: str | None) -> pb.Shadow:
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise.route.v1 import charter_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "lead") as channel:
        charters = rpc.CharterServiceStub(channel)
        if source is None:
            return (await charters.GetShadow(pb.GetShadowRequest(parent=f"brands/{brand}"))).shadow
        made = await charters.CreateCharter(
            pb.CreateCharterRequest(
                parent=f"brands/{brand}", charter=pb.Charter(source=source), request_id=secrets.token_hex(13)
            )
        )
        request = pb.StartShadowRequest(name=made.charter.name, request_id=secrets.token_hex(13))
        return (await charters.StartShadow(request)).shadow


async def _stop_shadow(home: Home, brand: str) -> None:
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise.route.v1 import charter_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "lead") as channel:
        request = pb.StopShadowRequest(parent=f"brands/{brand}", request_id=secrets.token_hex(13))
        await rpc.CharterServiceStub(channel).StopShadow(request)


@group.command()
def rollback(ctx: typer.Context, brand: Brand, as_json: JsonFlag = False) -> None:
    """Put the charter back in force that was before the present one.

    Example: `apaise charter rollback --brand demo-retail`
    """
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)

    async def back() -> pb.Charter:
        from apaise.route.v1 import charter_service_pb2_grpc as rpc
        from apaise_cli.remote import connect

        async with connect(home, "route", "lead") as channel:
            request = pb.RollbackCharterRequest(parent=f"brands/{brand}", request_id=secrets.token_hex(13))
            return (await rpc.CharterServiceStub(channel).RollbackCharter(request)).charter

    charter = asyncio.run(back())
    screen.result({"charter": documents.of(charter)}, f"{charter.name} is in force again.")


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
