"""`apaise up`, `down`, `status`, `doctor`: the embedded mesh."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from apaise_cli.errors import CliError, Refused
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag, Screen


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (up, down, status, doctor):
        app.command(rich_help_panel="The mesh")(command)


def up(
    ctx: typer.Context,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once everything is ready, and leave it running.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Start only this process and what it waits for (repeatable).")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until everything is ready.", min=1)] = 600,
    as_json: JsonFlag = False,
) -> None:
    """Start the mesh: PostgreSQL, Ray, MLflow and the services, restarted when they die.

    The first start of a home makes its database, one token per role, and the sample brands.

    Example: `apaise up --detach && apaise status`
    """
    from apaise_cli.mesh import lifecycle, plan, seed
    from apaise_cli.mesh.show import LiveProgress, addresses, table

    screen: Screen = ctx.obj
    home = Home.from_environment()
    processes = plan.select(only or [])

    def start() -> None:
        with LiveProgress(screen.err, processes) as progress:
            lifecycle.up(home, processes, progress, timeout)
        seed.sample_brands(home, processes, screen.note)

    signal.signal(signal.SIGTERM, _as_interrupt)
    began = time.monotonic()
    try:
        start()
    except KeyboardInterrupt:
        _take_down(home, screen)
        raise
    except CliError:
        if not detach:
            _take_down(home, screen)
        raise
    rows = lifecycle.status(home)
    document = {
        "home": str(home.path),
        "seconds": round(time.monotonic() - began, 1),
        "addresses": addresses(home),
        "processes": [row.document() for row in rows if row.process in processes],
    }
    screen.result(document, table([row for row in rows if row.process in processes]))
    if not detach:
        _stay(home, screen, start)


def _stay(home: Home, screen: Screen, restart: Callable[[], None]) -> None:
    from apaise_cli.mesh import lifecycle

    screen.note("Ctrl-C stops the mesh.")
    try:
        lifecycle.watch(home, screen.note, restart)
    except KeyboardInterrupt:
        _take_down(home, screen)


def _take_down(home: Home, screen: Screen) -> None:
    from apaise_cli.mesh import lifecycle, plan
    from apaise_cli.mesh.show import LiveProgress

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half a mesh behind
    with LiveProgress(screen.err, plan.PROCESSES, first="") as progress:
        lifecycle.down(home, progress)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def down(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Stop the mesh of this home and leave nothing running. Its data stays.

    Example: `apaise down`
    """
    from apaise_cli.mesh import lifecycle, plan
    from apaise_cli.mesh.show import LiveProgress

    screen: Screen = ctx.obj
    home = Home.from_environment()
    with LiveProgress(screen.err, plan.PROCESSES, first="") as progress:
        swept = lifecycle.down(home, progress)
    screen.result({"home": str(home.path), "running": 0, "swept": swept}, "The mesh is down.")


def status(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Say how each process of the mesh is. Exit code 1 unless all that should run are ready.

    Example: `apaise status --json`
    """
    from apaise_cli.mesh import lifecycle
    from apaise_cli.mesh.show import table

    screen: Screen = ctx.obj
    home = Home.from_environment()
    rows = lifecycle.status(home)
    started = [row for row in rows if row.info is not None and row.state != "STOPPED"]
    ready = bool(started) and all(row.health.ready for row in started)
    strays = lifecycle.strays(home)
    document = {
        "home": str(home.path),
        "ready": ready,
        "strays": strays,
        "processes": [row.document() for row in rows],
    }
    screen.result(document, table(rows))
    if strays:
        raise Refused(f"{strays} processes run without their supervisor (apaise up or apaise down mends it).", document)
    if not ready:
        raise Refused("Not everything is ready." if started else "The mesh is not running (apaise up).", document)


def doctor(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Look at this machine and at the mesh, and say what to do about what is wrong.

    Example: `apaise doctor`
    """
    from apaise_cli.mesh.doctor import examine

    screen: Screen = ctx.obj
    checks = examine(Home.from_environment())
    healthy = all(check.ok for check in checks)
    shown = Table(box=None, show_header=False, padding=(0, 2))
    for check in checks:
        mark = Text("ok", "green") if check.ok else Text("!!", "red")
        shown.add_row(mark, check.name, Text(check.detail), Text(check.way_out))
    document = {"ok": healthy, "checks": [check.document() for check in checks]}
    screen.result(document, shown)
    if not healthy:
        raise Refused("Something needs your attention.", document)
