"""`apaise bench pipeline`: the encoder alone, ClassifyService, the whole mesh."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from apaise_cli.bench.around import CALL, UNDER_WAY, entries, load, table, whole_mesh
from apaise_cli.home import Home
from apaise_cli.replay.recording import Entry
from apaise_cli.screen import Screen


async def _replayed(home: Home, entries: list[Entry], repeat: int) -> dict[str, Any]:
    from apaise_cli.remote import connect
    from apaise_cli.replay.recording import moved, renamed
    from apaise_cli.replay.run import Options, Replay

    async with connect(home, "ingest", "operator") as ingest, connect(home, "route", "operator") as route:
        passes = [moved(renamed(entries, f"-bench{n}"), datetime.now(UTC), None) for n in range(repeat)]
        tally = await Replay(ingest, route, Options(None)).run(passes)
        return tally.report()


def shown(document: Mapping[str, Any]) -> Table:
    shown = table("", "messages/s", "of the one above")
    alone = f"encoder alone ({document['dtype']}, batches of {document['bare_batch']})"
    shown.add_row(alone, f"{document['bare_msgs_per_s']:.0f}", "")
    rpc = f"ClassifyService, calls of {CALL}, {UNDER_WAY} at once"
    shown.add_row(rpc, f"{document['rpc_msgs_per_s']:.0f}", f"{document['rpc_to_bare']:.2f}")
    whole = f"whole mesh, {document['sent']} messages: p50 {document['p50_ms']:.0f} ms, p99 {document['p99_ms']:.0f} ms"
    shown.add_row(whole, f"{document['pipeline_msgs_per_s']:.0f}", f"{document['pipeline_to_rpc']:.2f}")
    return shown


def measure(screen: Screen, seconds: float, repeat: int) -> dict[str, Any]:
    """The keys of `apaise bench pipeline --json`."""
    from mlops.bench.bare import BATCHES
    from mlops.bench.bare import measure as bare_encoder

    sample = entries()
    given = [entry.text for entry in sample]
    screen.note(f"1/3  the encoder alone, {len(given)} texts of the sample event")
    bare = bare_encoder(given, seconds / len(BATCHES))
    screen.note("2/3  ClassifyService, and 3/3  the whole mesh")
    # The same texts come over and over: remembered scores would be measured, not reading.
    with whole_mesh(screen, environment={"APAISE_REMEMBERED": "0"}) as home:
        brands = sorted({entry.brand for entry in sample})
        arguments = ["closed", "--rows", str(CALL), "--under-way", str(UNDER_WAY), "--seconds", str(seconds)]
        rpc = load(home, arguments, {"texts": given, "brands": brands})["msgs_per_s"]
        replay = asyncio.run(_replayed(home, sample, repeat))
    return {
        "bare_msgs_per_s": bare.messages_per_second,
        "bare_batch": bare.batch,
        "dtype": bare.dtype,
        "rpc_msgs_per_s": rpc,
        "rpc_to_bare": round(rpc / bare.messages_per_second, 3),
        "pipeline_msgs_per_s": replay["msgs_per_s"],
        "pipeline_to_rpc": round(replay["msgs_per_s"] / rpc, 3),
        **{key: replay[key] for key in ("sent", "lost", "duplicated", "provisional", "p50_ms", "p99_ms")},
    }
