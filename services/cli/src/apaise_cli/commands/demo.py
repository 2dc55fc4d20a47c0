"""`apaise demo`: a sample live event through a real mesh, and two brands learning from corrections."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apaise_cli.errors import Refused
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag, Screen

if TYPE_CHECKING:
    from apaise_cli.demo.story import More


Keep = Annotated[
    bool | None,
    typer.Option("--keep/--stop", help="Leave the mesh running at the end. Default: on a terminal, yes."),
]


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel="The mesh")(demo)
    app.command(rich_help_panel="The mesh")(tour)


def demo(
    ctx: typer.Context,
    keep: Keep = None,
    as_json: JsonFlag = False,
) -> None:
    """Start a mesh of its own (in .apaise/demo), play a live event, and let two brands learn from their moderators.

    Takes about five minutes on two cores. Starts from nothing each time.

    Example: `apaise demo --stop`
    """
    _play(ctx.obj, keep, None, 7)


def tour(ctx: typer.Context, keep: Keep = None, as_json: JsonFlag = False) -> None:
    """The demo, then one correction at once, a careless team refused, a rollback, a canary, the evening's report.

    Takes about eight minutes on two cores. Starts from nothing each time.

    Example: `apaise tour --stop`
    """
    from apaise_cli.demo.tour import go_on

    _play(ctx.obj, keep, go_on, 11)


def _play(screen: Screen, keep: bool | None, more: More | None, steps: int) -> None:
    from apaise_cli.demo.story import tell

    out = screen.err if screen.as_json else screen.out
    home = Home(Path(os.environ.get("APAISE_HOME") or ".apaise").expanduser().resolve() / "demo")
    began = time.monotonic()
    stays = False
    try:
        out.rule(f"[bold]1/{steps}  The mesh: PostgreSQL, Ray Serve, MLflow and four services", align="left")
        _start_afresh(home, screen)
        report = asyncio.run(tell(home, out, more))
        stays = sys.stdout.isatty() if keep is None else keep
    finally:
        if not stays:
            _stop(home, screen)
    flipped = min((len(flips) for flips in report.flips.values()), default=0)
    document = {"seconds": round(time.monotonic() - began, 1), **asdict(report)}
    screen.result(document, *_closing(home, stays, time.monotonic() - began))
    if report.event["lost"] or report.event["duplicated"] or report.traffic["failed"] or not flipped:
        raise Refused("The demo did not go as it should; the figures above say where.", document)


def _start_afresh(home: Home, screen: Screen) -> None:
    from apaise_cli.mesh import lifecycle, plan, seed
    from apaise_cli.mesh.show import LiveProgress, table

    _stop(home, screen)
    shutil.rmtree(home.path, ignore_errors=True)
    with LiveProgress(screen.err, plan.PROCESSES) as progress:
        lifecycle.up(home, plan.PROCESSES, progress, patience=600)
    seed.sample_brands(home, plan.PROCESSES, screen.note)
    if not screen.as_json:
        screen.out.print(table(lifecycle.status(home)))


def _stop(home: Home, screen: Screen) -> None:
    from apaise_cli.mesh import lifecycle, plan
    from apaise_cli.mesh.show import LiveProgress

    with LiveProgress(screen.err, plan.PROCESSES, first="") as progress:
        lifecycle.down(home, progress)


def _closing(home: Home, stays: bool, seconds: float) -> list[str]:
    lines = ["", f"That was {seconds / 60:.1f} minutes."]
    if not stays:
        return [*lines, "The demo's mesh is stopped. Yours: make up"]
    relative = os.path.relpath(home.path)
    return [
        *lines,
        f"The mesh is still up; MLflow's page is at http://127.0.0.1:{home.ports['mlflow']}. Go on with it:",
        f"  export APAISE_HOME={relative}; export PATH=$PWD/.venv/bin:$PATH",
        "  apaise ledger --brand demo-esport",
        "  apaise review list --brand demo-retail",
        '  apaise classify --brand demo-kids "gg ez noob, uninstall"',
        "  apaise down",
    ]
