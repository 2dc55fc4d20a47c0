"""`apaise bench loop`: from a correction to what it changes, and what serving feels while a brand is trained."""

from __future__ import annotations

import asyncio
import random
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from apaise_cli.bench.around import load, started, table, texts, whole_mesh
from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.screen import Screen

if TYPE_CHECKING:
    import grpc

    from apaise.train.v1 import train_service_pb2 as train_pb
    from apaise_cli.demo.samples import Correction

CORRECTED: Final = "demo-retail"
LEARNER: Final = "demo-esport"
LETTERS: Final = 115
"""A lesson's texts are joined to about this length: forty tokens, as comments have."""
_PATIENCE: Final = 120.0
_REACH: Final = 6.0
_POLL: Final = 0.01
# Train follows the reviews by stream, and a run takes what is there when it is asked for.
_FOLLOWER_LAG: Final = 2.0


@dataclass(frozen=True)
class Channels:
    """To every service, as who would call it."""

    ingest: grpc.aio.Channel
    classify: grpc.aio.Channel
    route: grpc.aio.Channel
    moderator: grpc.aio.Channel
    lead: grpc.aio.Channel
    train: grpc.aio.Channel


def lesson(count: int, seed: int = 1) -> list[Correction]:
    """Corrections of forty tokens: decisions of the sample brand that agree, joined; no two alike."""
    from apaise_cli.demo import samples
    from apaise_cli.demo.samples import Correction

    chance, rows = random.Random(seed), samples.corrections(LEARNER)
    found: dict[str, Correction] = {}
    while len(found) < count:
        remove = chance.random() < 0.5
        alike = [row.text for row in rows if row.remove is remove]
        text = ""
        while len(text) < LETTERS:
            text = f"{text} {chance.choice(alike)}".strip()
        found[text] = Correction(text, remove)
    return list(found.values())


async def _with_channels(home: Home, work: Callable[[Channels], Awaitable[Any]]) -> Any:
    from apaise_cli.remote import connect

    roles = [("ingest", "operator"), ("classify", "operator"), ("route", "operator"), ("route", "moderator")]
    async with AsyncExitStack() as stack:
        wanted = [*roles, ("route", "lead"), ("train", "ml_engineer")]
        return await work(Channels(*[await stack.enter_async_context(connect(home, *each)) for each in wanted]))


async def _sent(channels: Channels, brand: str, given: Sequence[str], tag: str) -> list[str]:
    """Have texts decided, each by a model; their ids on the platform."""
    from apaise_cli.demo import samples
    from apaise_cli.demo.decisions import assessed, following
    from apaise_cli.replay.run import Options, Replay

    entries = samples.written_now(brand, given, tag)
    ids = [entry.external_id for entry in entries]
    async with following(channels.route) as decisions:
        await Replay(channels.ingest, channels.route, Options(None, _PATIENCE)).run([entries])
        await decisions.of(ids, _PATIENCE, assessed)
    return ids


async def precedents(channels: Channels, given: Sequence[str]) -> list[float | None]:
    """Seconds from a moderator's resolving each text to its near-copy being decided by it; None: out of its reach."""
    from apaise.route.v1 import review_service_pb2_grpc as rpc
    from apaise_cli.demo import moderator
    from apaise_cli.demo.samples import Correction

    await moderator.look_at_everything(channels.lead, CORRECTED)
    ids = await _sent(channels, CORRECTED, given, f"loop-{secrets.token_hex(3)}")
    service = rpc.ReviewServiceStub(channels.moderator)
    items = {item.message.external_id: item async for item in moderator.open_items(service, CORRECTED)}
    taken = []
    for external_id, text in zip(ids, given, strict=True):
        known = await _cited(channels, f"{text} !!")
        new: set[str] = set()
        begun = time.perf_counter()
        await moderator.resolve(service, items[external_id], Correction(text, False))
        while not new and time.perf_counter() - begun < _REACH:
            await asyncio.sleep(_POLL)
            new = await _cited(channels, f"{text} !!") - known
        taken.append(time.perf_counter() - begun if new else None)
    return taken


async def _cited(channels: Channels, text: str) -> set[str]:
    """The reviews by which a text of the corrected brand is decided."""
    from apaise.classify.v1 import classify_service_pb2 as pb
    from apaise.classify.v1 import classify_service_pb2_grpc as rpc

    request = pb.ClassifyRequest(input=pb.Input(brand=f"brands/{CORRECTED}", text=text))
    found = (await rpc.ClassifyServiceStub(channels.classify).Classify(request)).assessment.precedents
    return {each.review for each in found}


async def teach(channels: Channels, screen: Screen, corrections: Sequence[Correction]) -> float:
    """A moderator of the learning brand makes these corrections; the moment (of `time.perf_counter`) of the last."""
    from apaise_cli.demo import moderator

    await moderator.look_at_everything(channels.lead, LEARNER)
    ids = await _sent(channels, LEARNER, [each.text for each in corrections], f"loop-{secrets.token_hex(3)}")
    answers = dict(zip(ids, corrections, strict=True))
    with _bar(screen, "corrections", len(answers)) as advance:
        done = await moderator.work_the_queue(channels.moderator, LEARNER, answers, advance)
    if done.total() < len(answers):
        raise CliError("Some messages never came to review.", "apaise status shows what is down.")
    return time.perf_counter()


@contextmanager
def _bar(screen: Screen, what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal; called at each step."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen.err, transient=True, disable=not screen.err.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


async def begin_run(channels: Channels) -> train_pb.TrainingRun:
    """Ask for a run of the learning brand."""
    from apaise.train.v1 import train_service_pb2 as pb
    from apaise.train.v1 import train_service_pb2_grpc as rpc

    request = pb.CreateTrainingRunRequest(parent=f"brands/{LEARNER}", request_id=secrets.token_hex(13))
    return (await rpc.TrainServiceStub(channels.train).CreateTrainingRun(request)).training_run


async def until_trained(channels: Channels, screen: Screen, run: train_pb.TrainingRun) -> train_pb.TrainingRun:
    """The run at its end."""
    from apaise.train.v1 import train_service_pb2_grpc as rpc
    from apaise_cli.following import follow_run

    return await follow_run(rpc.TrainServiceStub(channels.train), run, screen)


async def until_training(channels: Channels, run: train_pb.TrainingRun) -> None:
    """Until the run computes."""
    from apaise.train.v1 import train_service_pb2 as pb
    from apaise.train.v1 import train_service_pb2_grpc as rpc

    request = pb.FollowTrainingRunRequest(name=run.name)
    async for response in rpc.TrainServiceStub(channels.train).FollowTrainingRun(request):
        if response.training_run.state == pb.RUN_STATE_TRAINING:
            return


async def until_read_by(channels: Channels, revision: str) -> None:
    """Until the learning brand's messages are read by this revision.

    Raises:
        CliError: they never are.
    """
    from apaise.classify.v1 import classify_service_pb2 as pb
    from apaise.classify.v1 import classify_service_pb2_grpc as rpc

    service, begun = rpc.ClassifyServiceStub(channels.classify), time.perf_counter()
    request = pb.ClassifyRequest(input=pb.Input(brand=f"brands/{LEARNER}", text="gg"))
    while (await service.Classify(request)).assessment.provenance.adapter != revision:
        if time.perf_counter() - begun > _PATIENCE:
            raise CliError(f"{revision} never came to serve.", "apaise status shows what is down.")
        await asyncio.sleep(_POLL)


async def learn_idle(channels: Channels, screen: Screen, corrections: Sequence[Correction]) -> dict[str, Any]:
    """Corrections, then a run with nothing else under way, then its adapter; seconds from the last correction.

    Raises:
        CliError: train has seen few of them, or the run failed.
    """
    from apaise.train.v1 import train_service_pb2 as pb
    from apaise.train.v1 import train_service_pb2_grpc as rpc

    last = await teach(channels, screen, corrections)
    await asyncio.sleep(_FOLLOWER_LAG)
    run = await begin_run(channels)
    if run.n_corrections + run.n_holdout < 0.9 * len(corrections):
        raise CliError("Train has seen few of the corrections.", "apaise status shows what is down.")
    run = await until_trained(channels, screen, run)
    refused = run.state == pb.RUN_STATE_REFUSED
    if refused:
        # The lesson is made up: what is timed is the way to serving, not whether it deserves to.
        request = pb.PromoteRevisionRequest(
            name=run.adapter, reason="bench", force=True, request_id=secrets.token_hex(13)
        )
        await rpc.TrainServiceStub(channels.train).PromoteRevision(request)
    elif run.state != pb.RUN_STATE_PROMOTED:
        raise CliError(f"The run ended otherwise: {' '.join(run.gate.reasons)}", "apaise status shows what is down.")
    await until_read_by(channels, run.adapter.rpartition("/")[2])
    serving = time.perf_counter() - last
    counts = {"n_corrections": run.n_corrections, "n_holdout": run.n_holdout}
    return {"serving_s": round(serving, 1), "refused": refused, **counts}


async def roll_back(channels: Channels) -> float:
    """Seconds from asking for the house model to being read by it."""
    from apaise.train.v1 import train_service_pb2 as pb
    from apaise.train.v1 import train_service_pb2_grpc as rpc

    request = pb.RollbackRevisionRequest(
        parent=f"brands/{LEARNER}", house=True, reason="bench", request_id=secrets.token_hex(13)
    )
    begun = time.perf_counter()
    await rpc.TrainServiceStub(channels.train).RollbackRevision(request)
    await until_read_by(channels, "house")
    return time.perf_counter() - begun


def while_training(home: Home, screen: Screen, given: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What messages at half of what saturates waited, without and with a run under way."""
    full = load(home, ["closed", "--rows", "1", "--under-way", "64", "--seconds", "10"], given)["msgs_per_s"]
    arguments = ["open", "--rate", str(full / 2), "--seconds"]
    screen.note(f"half load is {full / 2:.0f} messages/s; {seconds:.0f} s without training, then with")
    alone = load(home, [*arguments, str(seconds)], given)

    async def run(channels: Channels) -> tuple[dict[str, Any], float]:
        begun = await begin_run(channels)
        await until_training(channels, begun)
        since = time.perf_counter()
        with started(home, "apaise_cli.bench.load", [*arguments, "86400"], given) as traffic:
            await until_trained(channels, screen, begun)
            taken = time.perf_counter() - since
            traffic.stop()
            return await asyncio.to_thread(traffic.answer), taken

    beside, taken = asyncio.run(_with_channels(home, run))
    return {"half_load_msgs_per_s": round(full / 2, 1), "run_at_half_load_s": round(taken, 1), **ratios(alone, beside)}


def ratios(alone: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """Latencies without and with training, what failed, and how much longer messages waited."""
    waits = {key: {"alone": alone[key], "training": beside[key]} for key in ("p50_ms", "p99_ms")}
    p99 = waits["p99_ms"]
    return {
        **waits,
        "p99_ratio": round(p99["training"] / p99["alone"], 2),
        "failed": alone["failed"] + beside["failed"],
    }


def reached(taken: Sequence[float | None]) -> dict[str, Any]:
    """Of the near-copies that a precedent reached: seconds; and how many it did not reach.

    Raises:
        CliError: it reached none.
    """
    found = [each for each in taken if each is not None]
    if not found:
        raise CliError("No precedent took effect.", "apaise status shows what is down.", code="BENCH_FAILED")
    return {
        "precedent_s": round(statistics.median(found), 3),
        "precedent_max_s": round(max(found), 3),
        "precedents": len(found),
        "out_of_reach": len(taken) - len(found),
    }


def measure(screen: Screen, corrections: int, seconds: float) -> dict[str, Any]:
    """The keys of `apaise bench loop --json`."""
    from apaise_cli.demo import samples

    taught, probes = lesson(corrections), samples.probes()[:12]
    with whole_mesh(screen, environment={"APAISE_REMEMBERED": "0"}) as home:
        screen.note(f"1/3  {len(probes)} corrections, one after the other, and their near-copies")
        document = reached(asyncio.run(_with_channels(home, lambda channels: precedents(channels, probes))))
        screen.note(f"2/3  {corrections} corrections, a run, its adapter")
        idle = asyncio.run(_with_channels(home, lambda channels: learn_idle(channels, screen, taught)))
        screen.note("3/3  the same run again while messages arrive")
        given = {"texts": texts(), "brands": sorted(samples.CHANNELS)}
        document |= {"corrections": corrections, **idle, **while_training(home, screen, given, seconds)}
        document["rollback_s"] = round(asyncio.run(_with_channels(home, roll_back)), 3)
    return document


def shown(document: Mapping[str, Any]) -> Table:
    """What was measured, one a row."""
    rows = table("", "")
    copies = f"{document['precedents']} near-copies, {document['out_of_reach']} out of reach"
    rows.add_row(f"a correction → its near-copy, median ({copies})", f"{document['precedent_s']:.2f} s")
    rows.add_row("the slowest of them", f"{document['precedent_max_s']:.2f} s")
    rows.add_row(f"the last of {document['corrections']} corrections → adapter", f"{document['serving_s']:.0f} s")
    rows.add_row("rollback → house", f"{document['rollback_s']:.2f} s")
    p99 = document["p99_ms"]
    rows.add_row(f"p99 at {document['half_load_msgs_per_s']:.0f} messages/s (half load)", f"{p99['alone']:.0f} ms")
    rows.add_row("the same while a brand is trained", f"{p99['training']:.0f} ms")
    rows.caption = f"p99 {document['p99_ratio']:.2f} times as long while training; {document['failed']} failed"
    return rows
