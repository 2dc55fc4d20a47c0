"""`apaise bench`: figures of this machine, as ratios of one run."""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag, Screen

if TYPE_CHECKING:
    from apaise_cli.replay.recording import Entry

group = typer.Typer(name="bench", help="Figures of this machine, side by side.", no_args_is_help=True)
_CALL = 64
_IN_FLIGHT = 2


def register(app: typer.Typer) -> None:
    """Add this group."""
    app.add_typer(group, rich_help_panel="Models")


@group.callback()
def bench() -> None:
    """Measure on this machine. Ratios from one run compare; absolute times move from run to run."""


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
    from apaise_cli.demo import samples
    from apaise_cli.replay.recording import Entry, read

    screen: Screen = ctx.obj
    entries = [line for line in read(samples.path("event.jsonl")) if isinstance(line, Entry) and line.text.strip()]
    texts = [entry.text for entry in entries]
    screen.note(f"1/3  the encoder alone, {len(texts)} texts of the sample event")
    from mlops.bench.bare import BATCHES, measure

    bare = measure(texts, seconds / len(BATCHES))
    screen.note("2/3  ClassifyService, and 3/3  the whole mesh")
    rpc, replay = _on_a_mesh(screen, entries, seconds, repeat)
    document = {
        "bare_msgs_per_s": bare.messages_per_second,
        "bare_batch": bare.batch,
        "dtype": bare.dtype,
        "rpc_msgs_per_s": round(rpc, 1),
        "rpc_to_bare": round(rpc / bare.messages_per_second, 3),
        "pipeline_msgs_per_s": replay["msgs_per_s"],
        "pipeline_to_rpc": round(replay["msgs_per_s"] / rpc, 3),
        **{key: replay[key] for key in ("sent", "lost", "duplicated", "provisional", "p50_ms", "p99_ms")},
    }
    screen.result(document, _table(document))


def _on_a_mesh(screen: Screen, entries: list[Entry], seconds: float, repeat: int) -> tuple[float, dict[str, Any]]:
    from apaise_cli.mesh import lifecycle, plan, seed
    from apaise_cli.mesh.show import LiveProgress

    home = Home(Home.from_environment().path / "bench")
    with LiveProgress(screen.err, plan.PROCESSES, first="") as progress:
        lifecycle.down(home, progress)
        shutil.rmtree(home.path, ignore_errors=True)
        try:
            lifecycle.up(home, plan.PROCESSES, progress, patience=600)
            seed.sample_brands(home, plan.PROCESSES, screen.note)
            return asyncio.run(_measure(home, entries, seconds, repeat))
        finally:
            lifecycle.down(home, progress)


async def _measure(home: Home, entries: list[Entry], seconds: float, repeat: int) -> tuple[float, dict[str, Any]]:
    from apaise_cli.remote import connect
    from apaise_cli.replay.recording import moved, renamed
    from apaise_cli.replay.run import Options, Replay

    async with (
        connect(home, "classify", "operator") as classify,
        connect(home, "ingest", "operator") as ingest,
        connect(home, "route", "operator") as route,
    ):
        await _rpc_rate(classify, entries, 2)  # warm
        rpc = await _rpc_rate(classify, entries, seconds)
        passes = [moved(renamed(entries, f"-bench{n}"), datetime.now(UTC), None) for n in range(repeat)]
        tally = await Replay(ingest, route, Options(None)).run(passes)
        return rpc, tally.report()


async def _rpc_rate(channel: Any, entries: list[Entry], seconds: float) -> float:
    from apaise.classify.v1 import classify_service_pb2 as pb
    from apaise.classify.v1 import classify_service_pb2_grpc as rpc

    service = rpc.ClassifyServiceStub(channel)
    inputs = [pb.Input(brand=f"brands/{entry.brand}", text=entry.text) for entry in entries]
    batches = [inputs[start : start + _CALL] for start in range(0, len(inputs), _CALL)]
    started, read, turn = time.perf_counter(), 0, 0

    async def caller() -> None:
        nonlocal read, turn
        while time.perf_counter() - started < seconds:
            batch = batches[turn % len(batches)]
            turn += 1
            await service.BatchClassify(pb.BatchClassifyRequest(inputs=batch))
            read += len(batch)

    await asyncio.gather(*(caller() for _ in range(_IN_FLIGHT)))
    return read / (time.perf_counter() - started)


def _table(document: dict[str, Any]) -> Table:
    shown = Table(box=None, padding=(0, 2))
    for heading in ("", "messages/s", "of the one above"):
        shown.add_column(heading, justify="right" if heading else "left")
    alone = f"encoder alone ({document['dtype']}, batches of {document['bare_batch']})"
    shown.add_row(alone, f"{document['bare_msgs_per_s']:.0f}", "")
    rpc = f"ClassifyService, calls of {_CALL}, {_IN_FLIGHT} at once"
    shown.add_row(rpc, f"{document['rpc_msgs_per_s']:.0f}", f"{document['rpc_to_bare']:.2f}")
    whole = f"whole mesh, {document['sent']} messages: p50 {document['p50_ms']:.0f} ms, p99 {document['p99_ms']:.0f} ms"
    shown.add_row(whole, f"{document['pipeline_msgs_per_s']:.0f}", f"{document['pipeline_to_rpc']:.2f}")
    return shown
