"""`apaise bench`: figures of this machine, as ratios of one run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag, Screen

if TYPE_CHECKING:
    from apaise_cli.mesh.plan import Process
    from apaise_cli.replay.recording import Entry

group = typer.Typer(name="bench", help="Figures of this machine, side by side.", no_args_is_help=True)
_CALL = 64
_UNDER_WAY = 3
_LOADS = (0.25, 0.5, 0.75)
_PROBES = 24
_PACE = 0.5


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
    as_json: JsonFlag = False,
) -> None:
    """The engine and ClassifyService with many brands mixed, beside the bare encoder and PEFT's mixed batches.

    Starts what it needs in .apaise/bench and stops it at the end. The load generator runs on the same cores.

    Example: `apaise bench serving --brands 64 --seconds 30 --json`
    """
    screen: Screen = ctx.obj
    texts = _texts()
    screen.note("1/3  in this machine's processes: the bare encoder, the engine, PEFT")
    options = ["--brands", str(brands), "--seconds", str(seconds / 3), *(["--scale"] if scale else [])]
    document = _module("apaise_classify.bench", ["kernel", *options], {"texts": texts})
    with _classify_alone(screen, {"APAISE_REMEMBERED": "0"}) as home:
        names = [f"bench-{n:04d}" for n in range(brands)]
        screen.note(f"2/3  ClassifyService: {brands} adapters activated")
        _activate(home, _written(home, [(name, "r1") for name in names]))
        screen.note("3/3  ClassifyService under load")
        document |= _under_load(home, texts, names, seconds)
    bare, peft = document["bare_msgs_per_s"], document["peft_mixed_msgs_per_s"]
    document["ratio_to_bare"] = round(document["rpc_msgs_per_s"] / bare, 3)
    document["vs_peft"] = round(document["rpc_msgs_per_s"] / peft, 2)
    screen.result(document, *_serving_tables(document))


def _under_load(home: Home, texts: Sequence[str], names: Sequence[str], seconds: float) -> dict[str, Any]:
    """Throughput in calls of 64, then latency of single messages at shares of what single messages saturate at."""
    given = {"texts": texts, "brands": names}
    full = _load(
        home, ["closed", "--rows", str(_CALL), "--under-way", str(_UNDER_WAY), "--seconds", str(seconds)], given
    )
    single = _load(home, ["closed", "--rows", "1", "--under-way", "64", "--seconds", str(seconds / 3)], given)
    loads = []
    for share in _LOADS:
        rate = share * single["msgs_per_s"]
        seen = _load(home, ["open", "--rate", str(rate), "--seconds", str(seconds)], given)
        figures = {key: seen[key] for key in ("p50_ms", "p95_ms", "p99_ms", "failed")}
        loads.append({"load": share, "offered_msgs_per_s": round(rate, 1), **figures})
    half = loads[_LOADS.index(0.5)]
    return {
        "rpc_msgs_per_s": full["msgs_per_s"],
        "rpc_failed": full["failed"],
        "generator_cpu": full["generator_cpu"],
        "single_msgs_per_s": single["msgs_per_s"],
        "p50_ms": half["p50_ms"],
        "p99_ms": half["p99_ms"],
        "offered_msgs_per_s": half["offered_msgs_per_s"],
        "loads": loads,
    }


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
    screen: Screen = ctx.obj
    names = [f"bench-{n:04d}" for n in range(brands)]
    probes = [text for text in _texts() if len(text) > 10][:_PROBES]
    with _classify_alone(screen, {"APAISE_REPLICAS": str(replicas), "APAISE_REMEMBERED": "0"}) as home:
        revisions = [(name, f"r{n}") for name in names for n in (1, 2)]
        written = _written(home, revisions)
        _activate(home, {key: value for key, value in written.items() if key[1] == "r1"})
        given = {"texts": probes, "brands": names}
        single = _load(home, ["closed", "--rows", "1", "--under-way", "64", "--seconds", "8"], given)
        screen.note(f"{swaps} swaps at half load ({single['msgs_per_s'] / 2:.0f} messages/s)")
        with _watched_memory() as memory:
            taken, seen = _swapped(home, written, names, swaps, single["msgs_per_s"] / 2, given)
        folders = {f"{brand}/{revision}": str(folder) for (brand, revision), (folder, _) in written.items()}
        truth = _module("apaise_classify.bench", ["references"], {"adapters": folders, "texts": probes})
    document = {
        "swaps": swaps,
        "replicas": replicas,
        "brands": brands,
        "failed": seen["failed"],
        "answers": len(seen["answers"]),
        **_torn(seen["answers"], truth),
        "p50_ms": _percentile(taken, 0.5),
        "p95_ms": _percentile(taken, 0.95),
        "answer_p99_ms": seen["p99_ms"],
        **_memory_figures(memory),
    }
    screen.result(document, _swap_table(document))


def _swapped(
    home: Home,
    written: Mapping[tuple[str, str], tuple[Path, str]],
    names: Sequence[str],
    swaps: int,
    rate: float,
    given: Mapping[str, Any],
) -> tuple[list[float], dict[str, Any]]:
    """Swap each brand to and fro while messages arrive; seconds of each activation, and what the load saw."""
    arguments = ["open", "--rate", str(rate), "--seconds", "86400", "--record"]
    with _started(home, "apaise_cli.bench.load", arguments, given) as load:
        time.sleep(4.0)
        current = dict.fromkeys(names, "r1")
        taken = []
        for n in range(swaps):
            brand = names[n % len(names)]
            current[brand] = "r2" if current[brand] == "r1" else "r1"
            started = time.perf_counter()
            _activate(home, {(brand, current[brand]): written[brand, current[brand]]})
            taken.append(time.perf_counter() - started)
            time.sleep(max(0.1, _PACE - taken[-1]))
        load.stop()
        return taken, load.answer()


@contextmanager
def _watched_memory() -> Iterator[list[tuple[float, float]]]:
    """Seconds and megabytes of the replicas together, once a second while the block lasts."""
    seen: list[tuple[float, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            seen.append((time.monotonic(), _replica_megabytes()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _replica_megabytes() -> float:
    import psutil

    whole = 0
    for process in psutil.process_iter(["cmdline", "memory_info"]):
        if "ServeReplica" in " ".join(process.info["cmdline"] or ()):
            whole += process.info["memory_info"].rss
    return whole / 2**20


def _memory_figures(seen: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Megabytes after the first third, at the end, and the slope between, by least squares."""
    later = seen[len(seen) // 3 :]
    if len(later) < 2:
        return {}
    slope, _ = statistics.linear_regression([at / 60 for at, _ in later], [size for _, size in later])
    sizes = {"replicas_mb": round(later[-1][1]), "replicas_mb_before": round(later[0][1])}
    return {**sizes, "replicas_mb_per_min": round(slope, 2), "minutes": round((seen[-1][0] - seen[0][0]) / 60, 1)}


def _torn(answers: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, Any]:
    """Answers further than ε from the revision they name; ε; and how far the two revisions of a brand are apart."""
    labels, scores, epsilon = truth["labels"], truth["scores"], max(truth["epsilon"], 0.002)
    torn = 0
    for one in answers:
        expected = scores[f"{one['brand']}/{one['revision']}"][one["text"]]
        torn += any(abs(one["scores"][label] - value) > epsilon for label, value in zip(labels, expected, strict=True))
    brands = {name.split("/")[0] for name in scores}
    apart = min(
        max(abs(x - y) for x, y in zip(scores[f"{brand}/r1"][at], scores[f"{brand}/r2"][at], strict=True))
        for brand in brands
        for at in range(len(scores[f"{brand}/r1"]))
    )
    return {"torn": torn, "epsilon": epsilon, "least_distance": round(apart, 3)}


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
    screen: Screen = ctx.obj
    entries = _entries()
    texts = [entry.text for entry in entries]
    screen.note(f"1/3  the encoder alone, {len(texts)} texts of the sample event")
    from mlops.bench.bare import BATCHES, measure

    bare = measure(texts, seconds / len(BATCHES))
    screen.note("2/3  ClassifyService, and 3/3  the whole mesh")
    with _mesh(screen) as home:
        brands = sorted({entry.brand for entry in entries})
        arguments = ["closed", "--rows", str(_CALL), "--under-way", str(_UNDER_WAY), "--seconds", str(seconds)]
        rpc = _load(home, arguments, {"texts": texts, "brands": brands})["msgs_per_s"]
        replay = asyncio.run(_replayed(home, entries, repeat))
    document = {
        "bare_msgs_per_s": bare.messages_per_second,
        "bare_batch": bare.batch,
        "dtype": bare.dtype,
        "rpc_msgs_per_s": rpc,
        "rpc_to_bare": round(rpc / bare.messages_per_second, 3),
        "pipeline_msgs_per_s": replay["msgs_per_s"],
        "pipeline_to_rpc": round(replay["msgs_per_s"] / rpc, 3),
        **{key: replay[key] for key in ("sent", "lost", "duplicated", "provisional", "p50_ms", "p99_ms")},
    }
    screen.result(document, _pipeline_table(document))


async def _replayed(home: Home, entries: list[Entry], repeat: int) -> dict[str, Any]:
    from apaise_cli.remote import connect
    from apaise_cli.replay.recording import moved, renamed
    from apaise_cli.replay.run import Options, Replay

    async with connect(home, "ingest", "operator") as ingest, connect(home, "route", "operator") as route:
        passes = [moved(renamed(entries, f"-bench{n}"), datetime.now(UTC), None) for n in range(repeat)]
        tally = await Replay(ingest, route, Options(None)).run(passes)
        return tally.report()


# ---- what a bench needs around it


def _entries() -> list[Entry]:
    from apaise_cli.demo import samples
    from apaise_cli.replay.recording import Entry, read

    return [line for line in read(samples.path("event.jsonl")) if isinstance(line, Entry) and line.text.strip()]


def _texts() -> list[str]:
    """Texts of the sample event, each once, and as many longer ones made of neighbours: a live chat and its reviews."""
    short = list(dict.fromkeys(entry.text for entry in _entries()))
    long = [" ".join(short[at : at + 3]) for at in range(0, len(short), 3)]
    return [*short, *long]


@contextmanager
def _classify_alone(screen: Screen, environment: Mapping[str, str] | None = None) -> Iterator[Home]:
    """PostgreSQL, Ray and classify in a home of their own."""
    from apaise_cli.mesh import plan

    with _mesh(screen, plan.select(["classify"]), environment) as home:
        yield home


@contextmanager
def _mesh(
    screen: Screen, processes: Sequence[Process] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Home]:
    """A fresh mesh in .apaise/bench for as long as the block lasts."""
    from apaise_cli.mesh import lifecycle, plan, seed
    from apaise_cli.mesh.show import LiveProgress

    wanted = tuple(processes) or plan.PROCESSES
    home = Home(Home.from_environment().path / "bench")
    with LiveProgress(screen.err, wanted, first="") as progress, _environment(environment or {}):
        lifecycle.down(home, progress)
        shutil.rmtree(home.path, ignore_errors=True)
        try:
            lifecycle.up(home, wanted, progress, patience=600)
            if not processes:
                seed.sample_brands(home, wanted, screen.note)
            yield home
        finally:
            lifecycle.down(home, progress)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _written(home: Home, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[Path, str]]:
    """Random adapters by brand and revision: their folders and digests."""
    from mlops.bench.adapters import write_adapters
    from mlops.house import build_house

    made = write_adapters(build_house(), home.path / "adapters", names)
    return dict(zip(names, made, strict=True))


def _activate(home: Home, written: Mapping[tuple[str, str], tuple[Path, str]]) -> None:
    from apaise.classify.v1 import classify_service_pb2 as pb
    from apaise.classify.v1 import classify_service_pb2_grpc as rpc
    from apaise_cli.remote import connect
    from mlops.house import build_house

    encoder = build_house().encoder_digest

    async def activate() -> None:
        async with connect(home, "classify", "ml_engineer") as channel:
            stub = rpc.ClassifyServiceStub(channel)
            for (brand, revision), (folder, digest) in written.items():
                name = f"brands/{brand}/adapters/{revision}"
                adapter = pb.Adapter(name=name, artifact_uri=str(folder.absolute()), digest=digest, encoder=encoder)
                await stub.ActivateAdapter(pb.ActivateAdapterRequest(adapter=adapter), timeout=120)

    asyncio.run(activate())


def _load(home: Home, arguments: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    with _started(home, "apaise_cli.bench.load", arguments, given) as load:
        return load.answer()


def _module(name: str, arguments: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    with _started(Home.from_environment(), name, arguments, given) as module:
        return module.answer()


@dataclass(frozen=True)
class _Running:
    """A module in a process of its own."""

    module: str
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """Ask it to come to an end."""
        self.process.terminate()

    def answer(self) -> dict[str, Any]:
        """Its JSON document, once it has ended.

        Raises:
            CliError: it failed.
        """
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        if self.process.wait():
            raise CliError(f"{self.module} failed.", "What it said stands above.", code="BENCH_FAILED")
        document: dict[str, Any] = json.loads(out)
        return document


@contextmanager
def _started(home: Home, module: str, arguments: Sequence[str], given: Mapping[str, Any]) -> Iterator[_Running]:
    """Start a module with JSON on its stdin; it ends with the block."""
    environment = {**os.environ, "APAISE_HOME": str(home.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(given))
    process.stdin.close()

    try:
        yield _Running(module, process)
    finally:
        process.kill()
        process.wait()


def _percentile(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 1)


# ---- tables


def _table(*headings: str) -> Table:
    shown = Table(box=None, padding=(0, 2))
    for heading in headings:
        shown.add_column(heading, justify="right" if heading else "left")
    return shown


def _serving_tables(document: Mapping[str, Any]) -> list[Any]:
    bare = document["bare_msgs_per_s"]
    rates = _table("", "messages/s", "of bare")
    for name, key in (
        (f"bare encoder ({document['dtype']}, batches of {document['bare_batch']})", "bare_msgs_per_s"),
        (f"engine, {document['brands']} brands mixed, calls of {_CALL}", "kernel_msgs_per_s"),
        (f"ClassifyService, {document['brands']} brands mixed, calls of {_CALL}", "rpc_msgs_per_s"),
        (f"PEFT, {document['brands']} brands mixed", "peft_mixed_msgs_per_s"),
    ):
        rates.add_row(name, f"{document[key]:.0f}", f"{document[key] / bare:.2f}")
    latency = _table("load (one message a call)", "messages/s", "p50 ms", "p99 ms", "p50 of bare", "p99 of bare")
    alone = document["bare_one_ms"]
    for one in document["loads"]:
        ratios = (f"{one[key] / alone:.1f}" for key in ("p50_ms", "p99_ms"))
        latency.add_row(
            f"{one['load']:.0%}", f"{one['offered_msgs_per_s']:.0f}", str(one["p50_ms"]), str(one["p99_ms"]), *ratios
        )
    parts: list[Any] = [rates, latency]
    if "scale" in document:
        scale = _table("brands in the mix", "messages/s", "of bare", "MB of adapters")
        for one in document["scale"]:
            scale.add_row(
                str(one["brands"]), f"{one['msgs_per_s']:.0f}", f"{one['ratio']:.2f}", str(one["adapters_mb"])
            )
        parts.append(scale)
    share = f"The load generator took {document['generator_cpu']:.2f} of a core."
    return [*parts, f"{document['mb_per_adapter']} MB a resident adapter. {share}"]


def _swap_table(document: Mapping[str, Any]) -> Table:
    shown = _table("", "")
    for key, value in document.items():
        shown.add_row(key.replace("_", " "), str(value))
    return shown


def _pipeline_table(document: Mapping[str, Any]) -> Table:
    shown = _table("", "messages/s", "of the one above")
    alone = f"encoder alone ({document['dtype']}, batches of {document['bare_batch']})"
    shown.add_row(alone, f"{document['bare_msgs_per_s']:.0f}", "")
    rpc = f"ClassifyService, calls of {_CALL}, {_UNDER_WAY} at once"
    shown.add_row(rpc, f"{document['rpc_msgs_per_s']:.0f}", f"{document['rpc_to_bare']:.2f}")
    whole = f"whole mesh, {document['sent']} messages: p50 {document['p50_ms']:.0f} ms, p99 {document['p99_ms']:.0f} ms"
    shown.add_row(whole, f"{document['pipeline_msgs_per_s']:.0f}", f"{document['pipeline_to_rpc']:.2f}")
    return shown
