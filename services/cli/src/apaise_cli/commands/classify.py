"""`apaise classify`: what a text is understood to be, for one brand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from apaise_cli.commands.arguments import Brand, here
from apaise_cli.errors import CliError, Refused
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from rich.console import RenderableType

_BATCH = 100
_EXPLAINED = 20
_SHOWN = 0.05


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel="Messages")(classify)


def classify(
    ctx: typer.Context,
    texts: Annotated[
        list[str], typer.Argument(metavar="TEXT…", help="Texts to read; - reads lines from standard input.")
    ],
    brand: Brand,
    language: Annotated[str, typer.Option(help="Their language (ISO 639-1), if known.")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Show the words behind each label that holds.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Read texts with a brand's culture. Nothing is kept of them.

    Example: `apaise classify --brand demo-esport --json "gg ez noob, uninstall"`
    """
    screen, home = here(ctx)
    lines = [line.rstrip("\n") for line in sys.stdin] if texts == ["-"] else texts
    if not lines:
        raise CliError("There is nothing to read.", "Give a text, or lines on standard input.", code="EMPTY")
    results = asyncio.run(_read(home, brand, lines, language, explain))
    document = {"assessments": results}
    screen.result(
        document, *[part for text, result in zip(lines, results, strict=True) for part in _shown(text, result)]
    )
    failed = sum("error" in result for result in results)
    if failed:
        raise Refused(f"{failed} of {len(results)} texts could not be read.", document)


async def _read(home: Home, brand: str, texts: Sequence[str], language: str, explain: bool) -> list[dict[str, Any]]:
    from apaise.classify.v1 import classify_service_pb2 as pb
    from apaise.classify.v1 import classify_service_pb2_grpc as rpc
    from apaise_cli import documents
    from apaise_cli.remote import connect, explain_failure
    from apaise_kit.runtime.status import failure_of_status

    results: list[dict[str, Any]] = []
    name = brand if brand.startswith("brands/") else f"brands/{brand}"
    async with connect(home, "classify", "operator") as channel:
        stub = rpc.ClassifyServiceStub(channel)
        size = _EXPLAINED if explain else _BATCH
        for start in range(0, len(texts), size):
            part = texts[start : start + size]
            inputs = [pb.Input(brand=name, text=text, language=language, explain=explain) for text in part]
            answer = await stub.BatchClassify(pb.BatchClassifyRequest(inputs=inputs))
            for result in answer.results:
                failure = failure_of_status(result.status)
                results.append(
                    explain_failure(failure).document() if failure else documents.of_assessment(result.assessment)
                )
    return results


def _shown(text: str, result: dict[str, Any]) -> list[RenderableType]:
    if "error" in result:
        return [Text(text, "bold"), f"  {result['error']['message']}"]
    labels = Text("  ")
    for label, score in result["labels"].items():
        if score["holds"] or score["probability"] >= _SHOWN:
            style = "bold" if score["holds"] else "yellow" if score["verdict"] == "UNSURE" else "dim"
            labels.append(f"{label} {score['probability']:.2f}  ", style)
    words = [Text(f"  {span['label']}: « {text[span['start'] : span['end']]} »") for span in result.get("spans", ())]
    provenance = result["provenance"]
    read_by = f"  read by {provenance['adapter']}" + (" (fallback)" if result["fallback"] else "")
    return [Text(text, "bold"), labels, *words, Text(read_by, "dim")]
