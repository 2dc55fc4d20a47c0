"""The evening itself, in seven steps."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from apaise.classify.v1 import classify_service_pb2 as classify_pb
from apaise.classify.v1 import classify_service_pb2_grpc as classify_rpc
from apaise.route.v1 import decision_pb2
from apaise.train.v1 import train_service_pb2 as train_pb
from apaise.train.v1 import train_service_pb2_grpc as train_rpc
from apaise.type.v1.assessment_pb2 import Assessment
from apaise_cli.demo import moderator, samples
from apaise_cli.demo.decisions import Decisions, assessed, following
from apaise_cli.demo.traffic import Traffic, flowing
from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.remote import connect
from apaise_cli.replay.recording import Entry, moved, read, renamed
from apaise_cli.replay.run import Options, Replay

LEARNERS: Final = ("demo-esport", "demo-kids")
BRANDS: Final = ("demo-retail", *LEARNERS)
PATIENCE: Final = 120.0
SHOWN_FLIPS: Final = 8
_FOLLOWER_LAG: Final = 2.0
# Messages of the sample event worth reading slowly: a crude complaint, a threat, a buyer's question…
TELLING: Final = (
    "tw-000232", "yt-000155", "yt-000027", "fb-000089", "yt-000198", "tw-000244", "fb-000075", "yt-000213",
    "yt-000157", "tw-000389",
)  # fmt: skip
_ENDED: Final = (
    train_pb.RUN_STATE_PROMOTED,
    train_pb.RUN_STATE_REFUSED,
    train_pb.RUN_STATE_FAILED,
    train_pb.RUN_STATE_CANCELLED,
)


@dataclass
class Report:
    """What the demo found, for `--json` and for the last lines."""

    event: dict[str, Any] = field(default_factory=dict)
    reviews: dict[str, dict[str, int]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    traffic: dict[str, Any] = field(default_factory=dict)
    flips: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


@dataclass
class Stage:
    """What every step works with."""

    out: Console
    ingest: grpc.aio.Channel
    classify: grpc.aio.Channel
    route: grpc.aio.Channel
    moderator: grpc.aio.Channel
    lead: grpc.aio.Channel
    train: grpc.aio.Channel
    decisions: Decisions
    tag: str
    report: Report = field(default_factory=Report)
    steps: int = 7

    def step(self, number: int, title: str) -> None:
        """Begin a step."""
        self.out.print()
        self.out.rule(f"[bold]{number}/{self.steps}  {title}", align="left")

    def progress(self) -> Progress:
        """A progress bar on a terminal, nothing elsewhere."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self.out, transient=True, disable=not self.out.is_terminal)


More = Callable[["Stage"], Awaitable[dict[str, Any]]]
"""What is played after the evening."""


async def tell(home: Home, out: Console, more: More | None = None) -> Report:
    """Play the evening on the mesh of this home, which is up (step 1 was starting it), then what follows it."""
    async with AsyncExitStack() as stack:

        async def channel(service: str, role: str) -> grpc.aio.Channel:
            return await stack.enter_async_context(connect(home, service, role))

        route = await channel("route", "operator")
        stage = Stage(
            out,
            await channel("ingest", "operator"),
            await channel("classify", "operator"),
            route,
            await channel("route", "moderator"),
            await channel("route", "lead"),
            await channel("train", "ml_engineer"),
            await stack.enter_async_context(following(route)),
            secrets.token_hex(3),
            steps=11 if more else 7,
        )
        await play_the_event(stage)
        await read_slowly(stage)
        before = await decide_probes(stage, "before")
        await teach(stage)
        await learn(stage)
        await compare(stage, before)
        if more:
            stage.report.more = await more(stage)
        return stage.report


async def play_the_event(stage: Stage) -> None:
    """Step 2: the recorded live through ingest, classify and route."""
    stage.step(2, "A live event: 40 minutes of a French live-shopping evening, as fast as it goes")
    entries = [line for line in read(samples.path("event.jsonl")) if isinstance(line, Entry)]
    fresh = moved(renamed(entries, f"-{stage.tag}"), datetime.now(UTC), None)
    stage.report.event = await send(stage, fresh, "decided")
    report = stage.report.event
    stage.out.print(
        f"{report['sent']} messages sent, {report['decided']} decided, {report['lost']} lost, "
        f"{report['duplicated']} decided twice. [bold]{report['msgs_per_s']} messages/s[/]; accepted to decided: "
        f"p50 {report['p50_ms']} ms, p99 {report['p99_ms']} ms. (The busiest real live we know of: 18 messages/s.)"
    )
    if report["provisional"]:
        stage.out.print(
            f"{report['provisional']} were not read in time and went by the failure policy first, then decided again."
        )
    stage.out.print(_by_queue([stage.decisions.holding[each.external_id] for each in fresh]))


def _by_queue(decisions: Sequence[decision_pb2.Decision]) -> Table:
    counts = Counter((_queue(each), visibility(each)) for each in decisions)
    shown = Table(box=None, padding=(0, 2), title="Decisions by queue and visibility", title_justify="left")
    shown.add_column("queue")
    columns = ("keep", "hold", "hide", "delete")
    for name in (*columns, "all"):
        shown.add_column(name, justify="right")
    for queue in sorted({queue for queue, _ in counts}, key=lambda each: (each == "nobody", each)):
        row = [counts[queue, name] for name in columns]
        shown.add_row(queue, *(str(count) if count else "·" for count in row), str(sum(row)))
    return shown


async def send(stage: Stage, entries: Sequence[Entry], what: str) -> dict[str, Any]:
    """Send messages, wait for their decisions with an assessment, and give the replay's report."""
    with stage.progress() as progress:
        task = progress.add_task(what, total=len(entries))
        show = lambda sent, decided: progress.update(task, completed=decided)  # noqa: E731
        tally = await Replay(stage.ingest, stage.route, Options(None, PATIENCE), show).run([entries])
    readable = [each.external_id for each in entries if each.text.strip()]
    await stage.decisions.of(readable, PATIENCE, assessed)
    return tally.report()


async def read_slowly(stage: Stage) -> None:
    """Step 3: what the house model understood of telling messages, and by which words."""
    stage.step(3, "What was understood, and what was decided")
    recorded = {line.external_id: line for line in read(samples.path("event.jsonl")) if isinstance(line, Entry)}
    chosen = [recorded[each] for each in TELLING]
    inputs = [classify_pb.Input(brand=f"brands/{each.brand}", text=each.text, explain=True) for each in chosen]
    service = classify_rpc.ClassifyServiceStub(stage.classify)
    answer = await service.BatchClassify(classify_pb.BatchClassifyRequest(inputs=inputs))
    shown = Table(box=None, padding=(0, 1))
    for heading in ("message", "read as", "decision", "because"):
        shown.add_column(heading, overflow="fold")
    for entry, result in zip(chosen, answer.results, strict=True):
        decision = stage.decisions.holding[f"{entry.external_id}-{stage.tag}"]
        yes = sorted(
            ((score.probability, label) for label, score in result.assessment.labels.items() if score.holds),
            reverse=True,
        )
        labels = "  ".join(f"{label} {probability:.2f}" for probability, label in yes[:4]) or "nothing in particular"
        shown.add_row(
            _with_spans(entry.text, result.assessment, yes[0][1] if yes else ""),
            Text(labels),
            Text(f"{visibility(decision)} → {_queue(decision)}"),
            Text(decision.explanation),
        )
    stage.out.print(shown)
    stage.out.print("Underlined: the words that made the first label hold.", style="dim")


def _with_spans(text: str, assessment: Assessment, label: str) -> Text:
    """A message with the words behind one label underlined."""
    shown = Text(text)
    for span in assessment.spans:
        if span.label == label:
            shown.stylize("bold underline", span.start, span.end)
    shown.truncate(70, overflow="ellipsis")
    return shown


async def decide_probes(stage: Stage, when: str) -> dict[str, list[decision_pb2.Decision]]:
    """What each brand decides about the same texts."""
    texts = samples.probes()
    found = {}
    for brand in BRANDS:
        entries = samples.written_now(brand, texts, f"probe-{when}-{stage.tag}")
        await send(stage, entries, f"probes of {brand}")
        found[brand] = [stage.decisions.holding[each.external_id] for each in entries]
    return found


async def teach(stage: Stage) -> None:
    """Step 4: two brands' moderators work their queues."""
    stage.step(4, "Review: an e-sport team and a children's brand correct the machine")
    for brand in LEARNERS:
        await moderator.look_at_everything(stage.lead, brand)
        taught = samples.corrections(brand)
        entries = samples.written_now(brand, [each.text for each in taught], f"lesson-{stage.tag}")
        await send(stage, entries, f"messages of {brand}")
        answers = {entry.external_id: answer for entry, answer in zip(entries, taught, strict=True)}
        with stage.progress() as progress:
            task = progress.add_task(f"reviews of {brand}", total=len(answers))
            done = await moderator.work_the_queue(stage.moderator, brand, answers, lambda: progress.advance(task))  # noqa: B023
        stage.report.reviews[brand] = dict(done)
        stage.out.print(
            f"{brand}: {done.total()} items claimed and resolved, {done['confirmed']} confirmed, "
            f"{done['corrected']} corrected."
        )


async def learn(stage: Stage) -> None:
    """Steps 5 and 6: one LoRA run a brand, the gate, and the swap while traffic flows."""
    stage.step(5, "Fine-tune: one LoRA adapter a brand, traffic flowing meanwhile")
    texts = samples.probes()[:4]
    runs = []
    async with flowing(stage.classify, BRANDS, texts) as traffic:
        for brand in LEARNERS:
            runs.append(await train(stage, brand))
        await asyncio.sleep(2)
    for run in runs:
        show_run(stage, run)
    stage.step(6, "The swap, as the traffic saw it")
    _show_traffic(stage, traffic)


async def train(stage: Stage, brand: str) -> train_pb.TrainingRun:
    """One run, to its end."""
    service = train_rpc.TrainServiceStub(stage.train)
    expected = sum(stage.report.reviews[brand].values())
    run = await _create_run(service, brand, expected)
    started = time.monotonic()
    with stage.progress() as progress:
        task = progress.add_task(brand, total=100)
        async for response in service.FollowTrainingRun(train_pb.FollowTrainingRunRequest(name=run.name)):
            run = response.training_run
            state = train_pb.RunState.Name(run.state).removeprefix("RUN_STATE_").lower()
            progress.update(task, description=f"{brand}: {state}", completed=int(100 * run.progress))
    if run.state not in _ENDED:
        raise CliError(f"The run of {brand} did not end.", "apaise status shows what is down.")
    stage.report.runs[brand] = {
        "state": train_pb.RunState.Name(run.state).removeprefix("RUN_STATE_").lower(),
        "seconds": round(time.monotonic() - started, 1),
        "corrections": run.n_corrections,
        "holdout": run.n_holdout,
        "adapter": run.adapter,
        "mlflow": run.mlflow_url,
        "reasons": list(run.gate.reasons),
    }
    return run


async def _create_run(service: train_rpc.TrainServiceAsyncStub, brand: str, expected: int) -> train_pb.TrainingRun:
    # Train follows the reviews by stream: the last ones may be a moment behind.
    await asyncio.sleep(_FOLLOWER_LAG)
    request = train_pb.CreateTrainingRunRequest(parent=f"brands/{brand}", request_id=secrets.token_hex(13))
    run = (await service.CreateTrainingRun(request)).training_run
    if run.n_corrections + run.n_holdout < expected // 2:
        raise CliError(f"Train has seen few of the {expected} reviews of {brand}.", "apaise status shows what is down.")
    return run


def show_run(stage: Stage, run: train_pb.TrainingRun) -> None:
    """How a run ended, and why."""
    brand = run.name.split("/")[1]
    told = stage.report.runs[brand]
    stage.out.print(
        f"[bold]{brand}[/]: {told['state']} after {told['seconds']} s, learnt from {run.n_corrections} reviews, "
        f"judged on {run.n_holdout} later ones it never saw and, out of fold, on the others."
    )
    shown = Table(box=None, padding=(0, 2))
    for heading in ("", "AUC", "macro-F1", "accuracy"):
        shown.add_column(heading)
    for score in run.gate.scores:
        auc = f"{score.auc:.3f}" if score.HasField("auc") else "-"
        shown.add_row(score.who, auc, f"{score.macro_f1:.3f}", f"{score.accuracy:.3f}")
    stage.out.print(shown)
    if run.failure:
        stage.out.print(f"  It broke: {run.failure}. The log of train, in the home's log folder, says where.")
    for reason in run.gate.reasons:
        stage.out.print(f"  gate: {reason}", markup=False)
    if run.mlflow_url:
        stage.out.print(f"  MLflow: {run.mlflow_url}", markup=False, soft_wrap=True)


def _show_traffic(stage: Stage, traffic: Traffic) -> None:
    for brand in BRANDS:
        adapters = traffic.adapters(brand)
        stage.out.print(f"{brand}: " + ", then ".join(f"{count} answers by {name}" for name, count in adapters.items()))
    failed = traffic.failed.total()
    stage.out.print(f"{traffic.answered.total()} answers in all, [bold]{failed} failed[/].")
    stage.report.traffic = {
        "answered": {brand: traffic.adapters(brand) for brand in BRANDS},
        "failed": dict(traffic.failed),
    }


async def compare(stage: Stage, before: dict[str, list[decision_pb2.Decision]]) -> None:
    """Step 7: the same texts again; what changed for the brand that taught it, and for nobody else."""
    stage.step(7, "The same messages again: what changed, and for whom")
    after = await decide_probes(stage, "after")
    texts = samples.probes()
    for brand in LEARNERS:
        flips = [
            {"text": text, "before": visibility(was), "after": visibility(now), "because": now.explanation}
            for text, was, now, same_was, same_now in zip(
                texts, before[brand], after[brand], before["demo-retail"], after["demo-retail"], strict=True
            )
            if was.visibility != now.visibility and same_was.visibility == same_now.visibility
        ]
        stage.report.flips[brand] = flips
        stage.out.print(
            f"[bold]{brand}[/]: {len(flips)} of {len(texts)} decisions changed, and not for demo-retail"
            + (f"; {SHOWN_FLIPS} of them:" if len(flips) > SHOWN_FLIPS else ":")
        )
        shown = Table(box=None, padding=(0, 2), show_header=False)
        for flip in flips[:SHOWN_FLIPS]:
            shown.add_row(
                Text(_shorten(flip["text"])), f"{flip['before']} → [bold]{flip['after']}[/]", Text(flip["because"])
            )
        stage.out.print(shown)


def visibility(decision: decision_pb2.Decision) -> str:
    """A decision's visibility in one word."""
    return decision_pb2.Visibility.Name(decision.visibility).removeprefix("VISIBILITY_").lower()


def _queue(decision: decision_pb2.Decision) -> str:
    if decision.queue == decision_pb2.QUEUE_UNSPECIFIED:
        return "nobody"
    return decision_pb2.Queue.Name(decision.queue).removeprefix("QUEUE_").lower()


def _shorten(text: str, limit: int = 70) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
