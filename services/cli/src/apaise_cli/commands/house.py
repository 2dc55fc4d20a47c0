"""`apaise house export`: the house encoder as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apaise_cli.commands.arguments import here
from apaise_cli.errors import CliError
from apaise_cli.screen import JsonFlag

group = typer.Typer(help="The house model: what answers for a brand that has no adapter yet.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group."""
    app.add_typer(group, name="house", rich_help_panel="Models")


@group.callback()
def _group() -> None:
    """Keeps `house export` a subcommand although it is alone."""


@group.command()
def export(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write it; must not exist, or be empty.")],
    as_json: JsonFlag = False,
) -> None:
    """Write the house encoder as a Hugging Face folder: PEFT on it gives what the mesh serves. Needs no mesh.

    Example: `apaise house export ./house-encoder`
    """
    screen, _ = here(ctx)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CliError(f"{folder} is not empty.", "Name a new folder.", code="EXISTS")
    try:
        from mlops.house import build_house, export_house
    except ImportError as error:
        raise CliError("The house model is not installed.", "Install apaise-mlops.", code="NOT_INSTALLED") from error
    with screen.err.status("building the house encoder"):
        house = build_house()
        written = export_house(folder, house)
    document = {
        "folder": str(written),
        "encoder": house.encoder_digest,
        "revision": house.revision,
        "labels": list(house.labels),
    }
    screen.result(document, f"{written}: house revision {house.revision}, encoder {house.encoder_digest[:12]}")
