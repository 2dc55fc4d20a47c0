"""What every bench needs around it: texts, a mesh of its own, adapters, and programs whose answer is a document."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.screen import Screen

if TYPE_CHECKING:
    from apaise_cli.mesh.plan import Process
    from apaise_cli.replay.recording import Entry

CALL: Final = 64
UNDER_WAY: Final = 3


def entries() -> list[Entry]:
    """The messages of the sample event."""
    from apaise_cli.demo import samples
    from apaise_cli.replay.recording import Entry, read

    return [line for line in read(samples.path("event.jsonl")) if isinstance(line, Entry) and line.text.strip()]


def texts() -> list[str]:
    """Texts of the sample event, each once, and as many longer ones made of neighbours: a live chat and its reviews."""
    short = list(dict.fromkeys(entry.text for entry in entries()))
    long = [" ".join(short[at : at + 3]) for at in range(0, len(short), 3)]
    return [*short, *long]


@contextmanager
def classify_alone(screen: Screen, environment: Mapping[str, str] | None = None) -> Iterator[Home]:
    """PostgreSQL, Ray and classify in a home of their own."""
    from apaise_cli.mesh import plan

    with whole_mesh(screen, plan.select(["classify"]), environment) as home:
        yield home


@contextmanager
def whole_mesh(
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


def written(home: Home, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[Path, str]]:
    """Random adapters by brand and revision: their folders and digests."""
    from mlops.bench.adapters import write_adapters
    from mlops.house import build_house

    made = write_adapters(build_house(), home.path / "adapters", names)
    return dict(zip(names, made, strict=True))


def activate(home: Home, written: Mapping[tuple[str, str], tuple[Path, str]]) -> list[float]:
    """Have adapters of these brands and revisions serve, one after the other; seconds of each."""
    return asyncio.run(_activated(home, list(written.items()), 0.0))


def swap(home: Home, order: Sequence[tuple[tuple[str, str], tuple[Path, str]]], pace: float) -> list[float]:
    """The same, each at least `pace` seconds after the one before."""
    return asyncio.run(_activated(home, order, pace))


async def _activated(home: Home, order: Sequence[tuple[tuple[str, str], tuple[Path, str]]], pace: float) -> list[float]:
    from apaise.classify.v1 import classify_service_pb2 as pb
    from apaise.classify.v1 import classify_service_pb2_grpc as rpc
    from apaise_cli.remote import connect
    from mlops.house import build_house

    encoder = build_house().encoder_digest
    taken: list[float] = []
    async with connect(home, "classify", "ml_engineer") as channel:
        stub = rpc.ClassifyServiceStub(channel)
        for (brand, revision), (folder, digest) in order:
            name = f"brands/{brand}/adapters/{revision}"
            adapter = pb.Adapter(name=name, artifact_uri=str(folder.absolute()), digest=digest, encoder=encoder)
            begun = time.perf_counter()
            await stub.ActivateAdapter(pb.ActivateAdapterRequest(adapter=adapter), timeout=120)
            taken.append(time.perf_counter() - begun)
            await asyncio.sleep(max(0.0, pace - taken[-1]))
    return taken


def load(home: Home, arguments: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """What traffic saw: `apaise_cli.bench.load` with these arguments, to its end."""
    with started(home, "apaise_cli.bench.load", arguments, given) as running:
        return running.answer()


def module(name: str, arguments: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """What another module measured, in a process of its own."""
    with started(Home.from_environment(), name, arguments, given) as running:
        return running.answer()


@dataclass(frozen=True)
class Running:
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
def started(home: Home, module: str, arguments: Sequence[str], given: Mapping[str, Any]) -> Iterator[Running]:
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
        yield Running(module, process)
    finally:
        process.kill()
        process.wait()


def percentile(seconds: Sequence[float], share: float) -> float:
    """Milliseconds that this share of the times took at most."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 1)


def table(*headings: str) -> Table:
    """An empty table, first column left."""
    shown = Table(box=None, padding=(0, 2))
    for heading in headings:
        shown.add_column(heading, justify="right" if heading else "left")
    return shown
