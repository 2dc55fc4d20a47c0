"""`apaise bench`: figures of this machine, as ratios of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apaise_cli.screen import JsonFlag, Screen

group = typer.Typer(name="bench", help="Figures of this machine, side by side.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group."""
    app.add_typer(group, rich_help_panel="Models")


@group.callback()
def bench() -> None:
    """Measure on this machine. Ratios from one run compare; absolute times move from run to run."""


@group.command()
def serving(
    ctx: typer.Context,
    brands: Annotated[int, typer.Option(help="Brands mixed in every batch.", min=1, max=1000)] = 64,
    seconds: Annotated[float, typer.Option(help="Time given to each measure.", min=2)] = 30,
    scale: Annotated[bool, typer.Option("--scale", help="Also by the number of brands, in this process.")] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Also Ray Serve's own multiplexing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """The engine and ClassifyService with many brands mixed, beside the bare encoder and PEFT's mixed batches.

    Starts what it needs in .apaise/bench and stops it at the end. The load generator runs on the same cores.

    Example: `apaise bench serving --brands 64 --seconds 30 --json`
    """
    from apaise_cli.bench.serving import measure, tables

    screen: Screen = ctx.obj
    document = measure(screen, brands, seconds, scale=scale, peers=peers)
    screen.result(document, *tables(document))


@group.command()
def swap(
    ctx: typer.Context,
    swaps: Annotated[int, typer.Option(help="Activations, one after the other.", min=1)] = 200,
    replicas: Annotated[int, typer.Option(help="Replicas that all have to flip.", min=1, max=8)] = 1,
    brands: Annotated[int, typer.Option(help="Brands among which they happen.", min=1)] = 16,
    as_json: JsonFlag = False,
) -> None:
    """Swap adapters under half load and compare every answer with what its revision answers when it is alone.

    An answer is torn when it is not within ε of the revision it names; ε is how far company alone moves a score.

    Example: `apaise bench swap --swaps 200 --json`
    """
    from apaise_cli.bench.swapping import measure, shown

    screen: Screen = ctx.obj
    document = measure(screen, swaps, replicas, brands)
    screen.result(document, shown(document))


@group.command()
def pipeline(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option(help="Time given to each of the two first measures.", min=1)] = 12,
    repeat: Annotated[int, typer.Option(help="How often the sample event is replayed.", min=1)] = 3,
    as_json: JsonFlag = False,
) -> None:
    """The encoder alone, then ClassifyService, then the whole mesh from acceptance to decision, on the same texts.

    Starts a mesh of its own (in .apaise/bench) and stops it at the end. The load generator runs on the same cores.

    Example: `apaise bench pipeline --json`
    """
    from apaise_cli.bench.pipeline import measure, shown

    screen: Screen = ctx.obj
    document = measure(screen, seconds, repeat)
    screen.result(document, shown(document))


@group.command()
def route(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option(help="Time given to each measure.", min=1)] = 8,
    batch: Annotated[bool, typer.Option(help="Also BatchRoute over PostgreSQL, with its commits.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Deciding by a charter of 60 clauses: alone on one core, and through BatchRoute, beside the CEL program alone.

    Starts PostgreSQL and route (in .apaise/bench) and stops them at the end. The load generator runs on the same cores.

    Example: `apaise bench route --json`
    """
    from apaise_cli.bench.routing import measure, shown

    screen: Screen = ctx.obj
    document = measure(screen, seconds, batch=batch)
    screen.result(document, shown(document))


@group.command()
def training(
    ctx: typer.Context,
    corrections: Annotated[Path | None, typer.Option(help='JSON lines {"text", "remove"} to learn from.')] = None,
    holdout: Annotated[Path | None, typer.Option(help="Others, to measure the AUC on.")] = None,
    seeds: Annotated[int, typer.Option(help="How often each trainer learns.", min=1)] = 3,
    as_json: JsonFlag = False,
) -> None:
    """A brand's fine-tune beside transformers' Trainer with PEFT: same base, shape, rows, epochs, batches and type.

    Without files, the sample brand demo-esport. A speed-up counts only while the AUC is not more than 0.005 lower.

    Example: `apaise bench training --corrections may.jsonl --holdout june.jsonl --json`
    """
    from apaise_cli.bench.training import measure, shown

    screen: Screen = ctx.obj
    document = measure(screen, corrections, holdout, seeds)
    screen.result(document, shown(document))


@group.command()
def loop(
    ctx: typer.Context,
    corrections: Annotated[int, typer.Option(help="Corrections the adapter learns from.", min=60)] = 500,
    seconds: Annotated[float, typer.Option(help="Time given to half load without training.", min=5)] = 40,
    as_json: JsonFlag = False,
) -> None:
    """From a correction to its near-copy, from 500 corrections to their adapter, and the p99 of serving meanwhile.

    Starts a mesh of its own (in .apaise/bench) and stops it at the end. The load generator runs on the same cores.

    Example: `apaise bench loop --json`
    """
    from apaise_cli.bench.loop import measure, shown

    screen: Screen = ctx.obj
    document = measure(screen, corrections, seconds)
    screen.result(document, shown(document))
