"""`python -m apaise_cli.bench.load`: traffic for ClassifyService, from a process of its own.

`closed` keeps some calls under way and measures throughput; `open` sends one message a call at random moments
(Poisson), whatever the answers do, and measures latency from the moment a call was due. Texts and brands come as JSON
on stdin. With `record`, what every answer said is printed as well, to be compared with what it should have said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from apaise.classify.v1 import classify_service_pb2 as pb
from apaise.classify.v1 import classify_service_pb2_grpc as rpc
from apaise_cli.home import Home
from apaise_cli.remote import connect

_CALLS_UNDER_WAY = 512


@dataclass
class Seen:
    """What came back."""

    messages: int = 0
    failed: int = 0
    latencies: list[float] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)

    def summary(self, seconds: float, cpu_seconds: float) -> dict[str, Any]:
        """Figures; latencies in milliseconds, CPU as a share of one core."""
        return {
            "messages": self.messages,
            "failed": self.failed,
            "msgs_per_s": round(self.messages / seconds, 1),
            **{f"p{share}_ms": self.percentile(share) for share in (50, 95, 99)},
            "generator_cpu": round(cpu_seconds / seconds, 2),
            **({"answers": self.answers} if self.answers else {}),
        }

    def percentile(self, share: int) -> float | None:
        """Milliseconds that so many of a hundred calls took at most."""
        ordered = sorted(self.latencies)
        if not ordered:
            return None
        return round(ordered[min(len(ordered) - 1, share * len(ordered) // 100)] * 1000, 2)


@dataclass
class Traffic:
    """Requests of random texts and brands, and the service they go to."""

    service: Any
    texts: Sequence[str]
    brands: Sequence[str]
    chance: random.Random
    record: bool
    seen: Seen = field(default_factory=Seen)

    async def call(self, rows: int, due: float) -> None:
        """One BatchClassify, or Classify for a single row; latency counts from `due`."""
        chosen = [(self.chance.choice(self.brands), self.chance.randrange(len(self.texts))) for _ in range(rows)]
        inputs = [pb.Input(brand=f"brands/{brand}", text=self.texts[at]) for brand, at in chosen]
        try:
            if rows == 1:
                answer = await self.service.Classify(pb.ClassifyRequest(input=inputs[0]), timeout=30)
                assessments = [answer.assessment]
            else:
                batch = await self.service.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=30)
                assessments = [result.assessment for result in batch.results]
        except Exception as error:
            self.seen.failed += rows
            sys.stderr.write(f"{type(error).__name__}\n")
            return
        self.seen.messages += rows
        self.seen.latencies.append(time.perf_counter() - due)
        if self.record:
            for (brand, at), one in zip(chosen, assessments, strict=True):
                scores = {label: score.probability for label, score in one.labels.items()}
                said = {"brand": brand, "text": at, "revision": one.provenance.adapter, "scores": scores}
                self.seen.answers.append(said)


async def closed(traffic: Traffic, rows: int, under_way: int, seconds: float) -> None:
    """Callers that send their next call as soon as the last is answered."""
    until = time.perf_counter() + seconds

    async def caller() -> None:
        while (now := time.perf_counter()) < until:
            await traffic.call(rows, now)

    await asyncio.gather(*(caller() for _ in range(under_way)))


async def arriving(traffic: Traffic, rate: float, seconds: float) -> None:
    """One message a call, at `rate` a second, for so long or until SIGTERM."""
    calls: set[asyncio.Task[None]] = set()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    due = time.perf_counter()
    until = due + seconds
    while due < until and not stopped.is_set():
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if len(calls) < _CALLS_UNDER_WAY:
            task = asyncio.create_task(traffic.call(1, due))
            calls.add(task)
            task.add_done_callback(calls.discard)
        else:
            traffic.seen.failed += 1
        due += traffic.chance.expovariate(rate)
    await asyncio.gather(*calls)


async def run(options: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """Warm up, then measure."""
    home = Home.from_environment()
    async with connect(home, "classify", "operator") as channel:
        traffic = Traffic(
            rpc.ClassifyServiceStub(channel), given["texts"], given["brands"], random.Random(options.seed), False
        )
        work: Callable[[float], Awaitable[None]] = (
            (lambda seconds: closed(traffic, options.rows, options.under_way, seconds))
            if options.mode == "closed"
            else (lambda seconds: arriving(traffic, options.rate, seconds))
        )
        await work(options.warm)
        traffic.seen, traffic.record = Seen(), options.record
        cpu, started = sum(psutil.Process().cpu_times()[:2]), time.perf_counter()
        await work(options.seconds)
        spent = time.perf_counter() - started
        return traffic.seen.summary(spent, sum(psutil.Process().cpu_times()[:2]) - cpu)


def main() -> int:
    """One JSON document on stdout."""
    parser = argparse.ArgumentParser(prog="python -m apaise_cli.bench.load", description=__doc__)
    parser.add_argument("mode", choices=["closed", "open"])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--under-way", type=int, default=3)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    sys.stdout.write(json.dumps(asyncio.run(run(options, json.load(sys.stdin)))) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
