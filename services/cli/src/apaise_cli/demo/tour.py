"""What `apaise tour` adds to the demo: a precedent, a refusal, a rollback, a canary, the evening's report."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import replace
from typing import Any, Final

from rich.text import Text

from apaise.classify.v1 import classify_service_pb2 as classify_pb
from apaise.classify.v1 import classify_service_pb2_grpc as classify_rpc
from apaise.route.v1 import decision_pb2
from apaise.route.v1 import figures_service_pb2 as figures_pb
from apaise.route.v1 import figures_service_pb2_grpc as figures_rpc
from apaise.train.v1 import train_service_pb2 as train_pb
from apaise.train.v1 import train_service_pb2_grpc as train_rpc
from apaise_cli.commands.figures import tables
from apaise_cli.demo import moderator, samples, story
from apaise_cli.demo.samples import Correction
from apaise_cli.demo.story import Stage
from apaise_cli.demo.traffic import flowing
from apaise_cli.errors import CliError

CARELESS: Final = "demo-retail"
CHAMPION: Final = "demo-esport"
_AT_ONCE: Final = 2.0
_CANARY_SHARE: Final = 0.25
_TRIED: Final = 12


async def go_on(stage: Stage) -> dict[str, Any]:
    """Steps 8 to 11; what they found."""
    corrected = await correct_once(stage)
    refused = await teach_carelessly(stage)
    moved = await try_and_go_back(stage)
    return {"precedent": corrected, "careless": refused, "rollback": moved, "figures": await report(stage)}


async def correct_once(stage: Stage) -> dict[str, Any]:
    """Step 8: a person shows one hidden message again; its near-copies follow."""
    stage.step(8, "One correction, and what looks like it a moment later")
    await moderator.look_at_everything(stage.lead, CARELESS)
    texts = samples.probes()[:_TRIED]
    entries = samples.written_now(CARELESS, texts, f"once-{stage.tag}")
    await story.send(stage, entries, "messages")
    hidden = [e for e in entries if _hides(stage.decisions.holding[e.external_id])]
    if not hidden:
        raise CliError("Nothing was hidden, so there is nothing to correct.", "apaise status shows what is down.")
    kept = {e.external_id: Correction(e.text, False, {"remove": False, "insult": False}) for e in hidden}
    await moderator.work_the_queue(stage.moderator, CARELESS, kept, lambda: None)
    await asyncio.sleep(_AT_ONCE)
    copies = [replace(e, external_id=f"{e.external_id}-copy", text=f"{e.text} !!") for e in hidden]
    await story.send(stage, copies, "near-copies")
    after = [stage.decisions.holding[e.external_id] for e in copies]
    followed = sum(not _hides(decision) for decision in after)
    stage.out.print(
        f"{CARELESS}: {len(hidden)} hidden messages shown again by a moderator; {_AT_ONCE:.0f} s later {followed} of "
        f"{len(copies)} near-copies stay visible. What concerns threats and hate never follows a precedent alone."
    )
    for entry, decision in list(zip(copies, after, strict=True))[:4]:
        stage.out.print(Text(f"  {entry.text}    {story.visibility(decision)}    {decision.explanation}"))
    return {"corrected": len(hidden), "followed": followed}


async def teach_carelessly(stage: Stage) -> dict[str, Any]:
    """Step 9: a team that clicks at random asks for a model of its own."""
    stage.step(9, "A careless team: decisions drawn by lot, and the gate")
    taught = samples.corrections("demo-kids")
    decisions = [each.remove for each in taught]
    random.Random(9).shuffle(decisions)
    entries = samples.written_now(CARELESS, [each.text for each in taught], f"lot-{stage.tag}")
    await story.send(stage, entries, f"messages of {CARELESS}")
    answers = {e.external_id: Correction(e.text, gone, {}) for e, gone in zip(entries, decisions, strict=True)}
    done = await moderator.work_the_queue(stage.moderator, CARELESS, answers, lambda: None)
    stage.report.reviews[CARELESS] = dict(done)
    run = await story.train(stage, CARELESS)
    story.show_run(stage, run)
    return stage.report.runs[CARELESS]


async def try_and_go_back(stage: Stage) -> dict[str, Any]:
    """Step 10: the champion goes, comes back as a canary beside the house, and goes again."""
    stage.step(10, "Back to the house in one command, and the same revision again as a canary")
    train = train_rpc.TrainServiceStub(stage.train)
    classify = classify_rpc.ClassifyServiceStub(stage.classify)
    revision = stage.report.runs[CHAMPION]["adapter"]
    begun = time.monotonic()
    request = train_pb.RollbackRevisionRequest(
        parent=f"brands/{CHAMPION}", house=True, reason="the tour", request_id=secrets.token_hex(13)
    )
    await train.RollbackRevision(request)
    seconds = round(time.monotonic() - begun, 2)
    adapter = (await classify.GetAdapter(classify_pb.GetAdapterRequest(name=revision))).adapter
    tried = classify_pb.Adapter(
        name=adapter.name, artifact_uri=adapter.artifact_uri, digest=adapter.digest, encoder=adapter.encoder
    )
    await classify.SetCanary(
        classify_pb.SetCanaryRequest(parent=f"brands/{CHAMPION}", adapter=tried, share=_CANARY_SHARE)
    )
    async with flowing(stage.classify, [CHAMPION], samples.probes()) as traffic:
        await asyncio.sleep(3)
    await classify.SetCanary(classify_pb.SetCanaryRequest(parent=f"brands/{CHAMPION}"))
    shares = {name.rsplit("/", 1)[-1]: count for name, count in traffic.adapters(CHAMPION).items()}
    stage.out.print(f"{CHAMPION}: back to the house after {seconds} s.")
    stage.out.print(
        f"As a canary for {_CANARY_SHARE:.0%} of the texts: "
        + ", ".join(f"{count} answers by {name}" for name, count in shares.items())
        + f"; {traffic.failed.total()} failed."
    )
    ledger = await train.ListLedger(train_pb.ListLedgerRequest(parent=f"brands/{CHAMPION}"))
    for line in ledger.entries:
        kind = train_pb.LedgerKind.Name(line.kind).removeprefix("LEDGER_KIND_").lower()
        stage.out.print(Text(f"  ledger: {kind} {line.adapter.rsplit('/', 1)[-1]} by {line.actor}: {line.reason}"))
    return {"seconds": seconds, "canary": shares, "failed": traffic.failed.total()}


async def report(stage: Stage) -> dict[str, Any]:
    """Step 11: the evening in figures, a brand at a time."""
    stage.step(11, "The evening's report")
    service = figures_rpc.FiguresServiceStub(stage.lead)
    found = {}
    for brand in story.BRANDS:
        figures = await service.GetFigures(figures_pb.GetFiguresRequest(name=f"brands/{brand}"))
        found[brand] = {"decided": figures.decided, "hidden": figures.hidden, "restored": figures.restored}
        stage.out.print(f"[bold]{brand}[/]")
        for table in tables(figures):
            stage.out.print(table)
    return found


def _hides(decision: decision_pb2.Decision) -> bool:
    return decision.visibility in (decision_pb2.VISIBILITY_HIDE, decision_pb2.VISIBILITY_DELETE)
