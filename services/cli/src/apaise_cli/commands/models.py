"""`apaise train`, `models`, `promote`, `rollback`, `ledger`: a brand's adapters and how they came to be."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from apaise_cli.commands.arguments import Brand, Reason, here, named, short
from apaise_cli.errors import CliError, Refused
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag, Screen

if TYPE_CHECKING:
    from apaise.train.v1 import train_service_pb2 as pb


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (train, models, promote, rollback, ledger):
        app.command(rich_help_panel="Models")(command)


def train(
    ctx: typer.Context,
    brand: Annotated[str | None, typer.Option("--brand", "-b", help="Whose adapter.")] = None,
    corrections: Annotated[
        Path | None, typer.Option(help='Without a mesh: JSON lines {"text", "remove", "labels"?} to learn from.')
    ] = None,
    holdout: Annotated[Path | None, typer.Option(help="Without a mesh: later ones, only to measure.")] = None,
    many: Annotated[
        Path | None, typer.Option(help="Without a mesh: a folder with BRAND/corrections.jsonl and BRAND/holdout.jsonl.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fine-tune a brand's adapter on its resolved reviews, and show what the gate says. Exit code 1 unless promoted.

    With files no mesh is needed and nothing is deployed: the gate decides on out-of-fold scores of the corrections,
    the holdout is read afterwards, and the exit code is 0 whatever the gate says. `--many` goes on where it stopped.

    Example: `apaise train --brand demo-esport`

    Example: `apaise train --brand news --corrections may.jsonl --holdout june.jsonl --json`
    """
    from apaise_cli import documents
    from apaise_cli.offline import train_offline

    screen, home = here(ctx)
    if many or corrections or holdout:
        train_offline(screen, home, brand or "brand", corrections, holdout, many)
        return
    if not brand:
        raise CliError("Which brand?", "Add --brand NAME.", code="BRAND_MISSING")
    run = asyncio.run(_train(home, brand, screen))
    document = {"training_run": documents.of(run)}
    screen.result(document, *_run_lines(run))
    _judge(run, document)


async def _train(home: Home, brand: str, screen: Screen) -> pb.TrainingRun:
    from apaise.train.v1 import train_service_pb2 as pb
    from apaise.train.v1 import train_service_pb2_grpc as rpc
    from apaise_cli.following import follow_run
    from apaise_cli.remote import connect

    async with connect(home, "train", "ml_engineer") as channel:
        service = rpc.TrainServiceStub(channel)
        request = pb.CreateTrainingRunRequest(parent=f"brands/{brand}", request_id=secrets.token_hex(13))
        run = (await service.CreateTrainingRun(request)).training_run
        screen.note(f"{run.name} (it goes on when you leave)")
        return await follow_run(service, run, screen)


def _judge(run: pb.TrainingRun, document: dict[str, Any]) -> None:
    from apaise.train.v1 import train_service_pb2 as pb

    endings = {
        pb.RUN_STATE_REFUSED: "The gate refused the candidate; what served before still serves.",
        pb.RUN_STATE_FAILED: f"The run failed ({run.failure or 'no reason given'}); what served before still serves.",
        pb.RUN_STATE_CANCELLED: "The run was cancelled; what served before still serves.",
    }
    if run.state in endings:
        raise Refused(endings[run.state], document)


def _run_lines(run: pb.TrainingRun) -> list[Any]:
    from apaise.train.v1 import train_service_pb2 as pb

    lines: list[Any] = [
        f"{pb.RunState.Name(run.state).removeprefix('RUN_STATE_').lower()}: {short(run.adapter) or 'no adapter'}, "
        f"from {run.n_corrections} reviews, judged on {run.n_holdout}"
    ]
    if run.gate.scores:
        scores = Table(box=None, padding=(0, 2))
        for heading in ("", "revision", "AUC", "macro-F1", "accuracy"):
            scores.add_column(heading)
        for score in run.gate.scores:
            auc = f"{score.auc:.3f}" if score.HasField("auc") else "-"
            scores.add_row(score.who, short(score.adapter), auc, f"{score.macro_f1:.3f}", f"{score.accuracy:.3f}")
        lines.append(scores)
    lines += [f"gate: {reason}" for reason in run.gate.reasons]
    if run.canary_standing:
        lines.append(f"canary: {run.canary_standing}")
    return lines + ([f"MLflow: {run.mlflow_url}"] if run.mlflow_url else [])


def models(
    ctx: typer.Context,
    brand: Brand,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List a brand's adapters, newest first.

    Example: `apaise models --brand demo-esport`
    """
    from apaise.classify.v1 import classify_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    adapters = asyncio.run(_adapters(home, brand, limit))
    shown = Table(box=None, padding=(0, 2))
    for heading in ("revision", "state", "failure", "created", "encoder"):
        shown.add_column(heading, no_wrap=True)
    for adapter in adapters:
        state = pb.AdapterState.Name(adapter.state).removeprefix("ADAPTER_STATE_").lower()
        created = adapter.create_time.ToJsonString()
        shown.add_row(short(adapter.name), state, adapter.failure, created, adapter.encoder[:12])
    empty = "No adapter yet: the house model answers for this brand."
    screen.result({"adapters": [documents.of(adapter) for adapter in adapters]}, shown if adapters else empty)


async def _adapters(home: Home, brand: str, limit: int) -> list[Any]:
    from apaise.classify.v1 import classify_service_pb2 as pb
    from apaise.classify.v1 import classify_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "classify", "ml_engineer") as channel:
        service, found, token = rpc.ClassifyServiceStub(channel), list[Any](), ""
        while len(found) < limit:
            size = min(500, limit - len(found))
            page = await service.ListAdapters(
                pb.ListAdaptersRequest(parent=f"brands/{brand}", page_size=size, page_token=token)
            )
            found += page.adapters
            token = page.next_page_token
            if not token:
                break
        return found


def promote(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="The adapter's revision, or its full name.")],
    brand: Brand,
    reason: Reason,
    force: Annotated[bool, typer.Option("--force", help="Even though the gate refused it.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a trained revision the brand's champion.

    Example: `apaise promote r3 --brand demo-esport --reason "better on last week's live"`
    """
    from apaise.train.v1 import train_service_pb2 as pb

    request = pb.PromoteRevisionRequest(
        name=named(revision, brand, "adapters"), reason=reason, force=force, request_id=secrets.token_hex(13)
    )
    _change(ctx, request)


def rollback(
    ctx: typer.Context,
    brand: Brand,
    reason: Reason,
    to: Annotated[
        str | None, typer.Option("--to", help="The revision to go back to; the champion before if not given.")
    ] = None,
    house: Annotated[bool, typer.Option("--house", help="Go back to the house model.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Go back to an earlier revision, or to the house model.

    Example: `apaise rollback --brand demo-esport --reason "too lenient since noon"`
    """
    from apaise.train.v1 import train_service_pb2 as pb

    if to and house:
        raise CliError("--to and --house exclude each other.", code="USAGE")
    request = pb.RollbackRevisionRequest(
        parent=f"brands/{brand}",
        adapter=named(to, brand, "adapters") if to else "",
        house=house,
        reason=reason,
        request_id=secrets.token_hex(13),
    )
    _change(ctx, request)


def _change(ctx: typer.Context, request: pb.PromoteRevisionRequest | pb.RollbackRevisionRequest) -> None:
    from apaise.train.v1 import train_service_pb2 as pb
    from apaise.train.v1 import train_service_pb2_grpc as rpc
    from apaise_cli import documents
    from apaise_cli.remote import connect

    screen, home = here(ctx)

    async def change() -> pb.LedgerEntry:
        async with connect(home, "train", "ml_engineer") as channel:
            service = rpc.TrainServiceStub(channel)
            if isinstance(request, pb.PromoteRevisionRequest):
                return (await service.PromoteRevision(request)).entry
            return (await service.RollbackRevision(request)).entry

    entry = asyncio.run(change())
    serving = short(entry.adapter) or "the house model"
    screen.result(
        {"entry": documents.of(entry)}, f"{serving} serves; before it was {short(entry.previous) or 'the house model'}."
    )


def ledger(
    ctx: typer.Context,
    brand: Brand,
    limit: Annotated[int, typer.Option(help="At most this many lines.", min=1)] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Who promoted, refused and rolled back what, when and why, newest first.

    Example: `apaise ledger --brand demo-esport`
    """
    from apaise.train.v1 import train_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    entries = asyncio.run(_ledger(home, brand, limit))
    shown = Table(box=None, padding=(0, 2))
    for heading in ("#", "when", "what", "revision", "before", "who", "why"):
        shown.add_column(heading, no_wrap=heading != "why")
    for entry in entries:
        kind = pb.LedgerKind.Name(entry.kind).removeprefix("LEDGER_KIND_").lower().replace("_", " ")
        before, now = short(entry.previous) or "house", short(entry.adapter) or "house"
        shown.add_row(str(entry.sequence), entry.time.ToJsonString(), kind, now, before, entry.actor, entry.reason)
    screen.result({"entries": [documents.of(entry) for entry in entries]}, shown if entries else "The ledger is empty.")


async def _ledger(home: Home, brand: str, limit: int) -> list[pb.LedgerEntry]:
    from apaise.train.v1 import train_service_pb2 as pb
    from apaise.train.v1 import train_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "train", "ml_engineer") as channel:
        service, found, token = rpc.TrainServiceStub(channel), list[pb.LedgerEntry](), ""
        while len(found) < limit:
            size = min(500, limit - len(found))
            page = await service.ListLedger(
                pb.ListLedgerRequest(parent=f"brands/{brand}", page_size=size, page_token=token)
            )
            found += page.entries
            token = page.next_page_token
            if not token:
                break
        return found
