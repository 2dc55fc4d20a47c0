"""`apaise replay`: a recorded event through ingest, and what became of every message."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apaise_cli.errors import CliError, Refused
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag, Screen

if TYPE_CHECKING:
    from apaise_cli.replay.recording import BrokenLine, Entry


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel="Messages")(replay)


def replay(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="JSON lines, one message each.", exists=True, dir_okay=False, readable=True)
    ],
    brand: Annotated[
        str | None, typer.Option("--brand", help="Send everything as this brand's, whatever the lines say.")
    ] = None,
    speed: Annotated[str, typer.Option(help="1 as recorded, N times faster, or max.")] = "max",
    same_ids: Annotated[
        bool, typer.Option("--same-ids", help="Keep the recorded ids: what ingest already has is a redelivery.")
    ] = False,
    keep_times: Annotated[
        bool, typer.Option("--keep-times", help="Keep the recorded times instead of moving them to now.")
    ] = False,
    repeat: Annotated[int, typer.Option(help="Send the whole recording this many times.", min=1)] = 1,
    patience: Annotated[
        float, typer.Option(help="Seconds without progress after which what is missing is lost.", min=1)
    ] = 60,
    as_json: JsonFlag = False,
) -> None:
    """Send a recorded event through ingest and follow every decision.

    Each replay is a new event: fresh ids, times moved to now. Exit code 1 when a message was lost, decided twice or
    refused, or a line of the file is broken (the others go through).

    Example: `apaise replay mlops/samples/event.jsonl --speed max --json`
    """
    from apaise_cli.replay.recording import BrokenLine, Entry, read

    screen: Screen = ctx.obj
    factor = parse_speed(speed)
    lines = list(read(file, brand))
    entries = [line for line in lines if isinstance(line, Entry)]
    broken = [line for line in lines if isinstance(line, BrokenLine)]
    for line in broken:
        screen.note(f"{file.name}, {line}")
    if not entries:
        raise CliError(
            f"{file.name} holds no message.", "One JSON object per line; see apaise replay --help.", code="EMPTY"
        )
    passes = _passes(entries, repeat, factor, same_ids, keep_times)
    report = asyncio.run(_run(screen, passes, factor, patience))
    _conclude(screen, report, broken)


def parse_speed(text: str) -> float | None:
    """`max` is None; `4`, `x4`, `×4` and `4x` are 4.

    Raises:
        typer.BadParameter: for anything else.
    """
    if text == "max":
        return None
    try:
        factor = float(text.strip("xX×"))
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise typer.BadParameter("say 1, another number of times faster, or max", param_hint="--speed")
    return factor


def _passes(
    entries: Sequence[Entry], repeat: int, speed: float | None, same_ids: bool, keep_times: bool
) -> list[list[Entry]]:
    """The recording as it is sent, once per pass: fresh ids and, each when its turn comes, present times."""
    from apaise_cli.replay.recording import due, moved, renamed

    length = timedelta(seconds=due(entries, speed)[-1])
    now, replay_id = datetime.now(UTC), secrets.token_hex(4)
    passes = []
    for number in range(repeat):
        prepared = list(entries) if same_ids else renamed(entries, f"-r{replay_id}{number:x}")
        passes.append(prepared if keep_times else moved(prepared, now + number * length, speed))
    return passes


async def _run(
    screen: Screen, passes: Sequence[Sequence[Entry]], speed: float | None, patience: float
) -> dict[str, Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from apaise_cli.remote import connect
    from apaise_cli.replay.run import Options, Replay

    home = Home.from_environment()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    total = sum(len(entries) for entries in passes)
    async with connect(home, "ingest", "operator") as ingest, connect(home, "route", "operator") as route:
        with Progress(*columns, console=screen.err, transient=True, disable=not screen.err.is_terminal) as progress:
            sent, decided = progress.add_task("sent", total=total), progress.add_task("decided", total=total)

            def show(n_sent: int, n_decided: int) -> None:
                progress.update(sent, completed=n_sent)
                progress.update(decided, completed=n_decided)

            tally = await Replay(ingest, route, Options(speed, patience), show).run(passes)
    return tally.report()


def _conclude(screen: Screen, report: dict[str, Any], broken: Sequence[BrokenLine]) -> None:
    document = {**report, "broken_lines": [{"line": line.number, "problem": line.problem} for line in broken]}
    screen.result(document, *_lines(report))
    wrong = [f"{report[key]} {key}" for key in ("lost", "duplicated", "refused") if report[key]]
    if broken:
        wrong.append(f"{len(broken)} broken lines")
    if wrong:
        raise Refused(f"Not everything went through: {', '.join(wrong)}.", document)


def _lines(report: dict[str, Any]) -> list[str]:
    def figures(key: str) -> str:
        return ", ".join(f"{name.lower()} {count}" for name, count in report[key].items()) or "none"

    lines = [
        f"{report['sent']} sent, {report['decided']} decided, {report['lost']} lost, "
        f"{report['duplicated']} duplicated, {report['refused']} refused, {report['provisional']} provisional",
        f"{report['msgs_per_s']} messages/s; accepted to decided: p50 {report['p50_ms']} ms, p99 {report['p99_ms']} ms",
        f"visibility: {figures('visibility')}",
        f"queues: {figures('queue')}",
    ]
    return lines + ([f"refusals: {figures('refusals')}"] if report["refusals"] else [])
