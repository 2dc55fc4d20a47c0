"""`apaise eval`: what the house model, or a brand's adapter, is worth on any labelled file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from apaise_cli.commands.arguments import here
from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag, Screen

if TYPE_CHECKING:
    from mlops.eval import Examples
    from mlops.house.reader import Reader

_KEYS = ("n", "auc", "accuracy", "macro_f1", "positive_recall", "negative_recall", "ece")


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("eval", rich_help_panel="Models")(evaluate)


def evaluate(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, TSV or JSON lines; .gz is read too.")],
    text_column: Annotated[str, typer.Option(help="The column with the texts.")],
    label_column: Annotated[str, typer.Option(help="The column with what is true of them.")],
    positive: Annotated[str, typer.Option(help="The value of that column, as text, that counts as YES.")],
    score: Annotated[str, typer.Option(metavar="LABEL", help="Which label to examine, `hate` for example.")],
    group_column: Annotated[str | None, typer.Option(help="Figures by each value of this column as well.")] = None,
    brand: Annotated[
        str | None, typer.Option("--brand", "-b", help="With this brand's adapter (needs its mesh).")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="With the adapter in this folder (needs no mesh).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Examine the model on a labelled file, in this process. Yes/no at the shipped threshold, never fitted on the file.

    Example: `apaise eval tests.csv --text-column text --label-column gold --positive hateful --score hate --json`
    """
    screen, home = here(ctx)
    examples = _examples(file, text_column, label_column, positive, group_column)
    reader = _reader(screen, home, score, brand, adapter)
    document = _report(screen, reader, examples, score)
    screen.result(document, *_shown(document, examples, score))


def _examples(file: Path, text: str, label: str, positive: str, group: str | None) -> Examples:
    from mlops.eval import Columns, FileProblem, read_examples

    try:
        return read_examples(file, Columns(text, label, positive, group))
    except FileProblem as problem:
        raise CliError(problem.message, problem.way_out, code="BAD_FILE") from problem


def _reader(screen: Screen, home: Home, label: str, brand: str | None, adapter: Path | None) -> Reader:
    try:
        from mlops.house import build_house
        from mlops.house.reader import adapter_reader, house_reader
    except ImportError as error:
        raise CliError("The house model is not installed.", "Install apaise-mlops.", code="NOT_INSTALLED") from error
    with screen.err.status("loading the model"):
        house = build_house()
        folder = adapter or (asyncio.run(_serving(home, brand)) if brand else None)
        reader = adapter_reader(house, folder) if folder else house_reader(house)
    if label not in reader.labels:
        raise CliError(f"There is no label {label!r}.", f"There are: {', '.join(reader.labels)}.", code="UNKNOWN_LABEL")
    return reader


async def _serving(home: Home, brand: str) -> Path | None:
    """The folder of the adapter that serves a brand; None when the house does."""
    from apaise.classify.v1 import classify_service_pb2 as pb
    from apaise.classify.v1 import classify_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "classify", "operator") as channel:
        stub = rpc.ClassifyServiceStub(channel)
        token, parent = "", f"brands/{brand.removeprefix('brands/')}"
        while True:
            page = await stub.ListAdapters(pb.ListAdaptersRequest(parent=parent, page_token=token))
            for one in page.adapters:
                if one.state == pb.ADAPTER_STATE_ACTIVE:
                    return _folder(one.artifact_uri)
            token = page.next_page_token
            if not token:
                return None


def _folder(uri: str) -> Path:
    if not uri.startswith(("file://", "/")):
        raise CliError("The adapter's files are not on this machine.", "Copy them, then use --adapter.", code="REMOTE")
    return Path(uri.removeprefix("file://"))


def _report(screen: Screen, reader: Reader, examples: Examples, label: str) -> dict[str, Any]:
    import numpy as np
    from rich.progress import Progress

    from mlops.eval.figures import report

    with Progress(console=screen.err, transient=True) as bar:
        task = bar.add_task(f"reading {len(examples.texts)} texts", total=len(examples.texts))
        scores = reader.probabilities(examples.texts, lambda done, _: bar.update(task, completed=done))
    column = scores[:, reader.labels.index(label)]
    return report(column, np.array(examples.truth), reader.thresholds[label].decision, examples.groups)


def _shown(document: dict[str, Any], examples: Examples, label: str) -> list[Any]:
    table = Table(box=None, padding=(0, 2))
    for heading in ("", *(key.replace("_", " ") for key in _KEYS)):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row(label, *_cells(document))
    for name, figures in document["groups"].items():
        table.add_row(name or "(empty)", *_cells(figures))
    notes = [f"Yes from {document['threshold']:.3f} up, as shipped."]
    if examples.skipped:
        notes.append(f"{examples.skipped} rows without a text or a label were left out.")
    return [table, *notes]


def _cells(figures: dict[str, Any]) -> list[str]:
    return [str(figures["n"])] + ["—" if figures[key] is None else f"{figures[key]:.3f}" for key in _KEYS[1:]]
