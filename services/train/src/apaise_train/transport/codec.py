"""Between the contract's messages and the domain's values: the only place that sees both."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from apaise.train.v1 import train_service_pb2 as pb
from apaise_kit.core.names import ADAPTER, TRAINING_RUN
from apaise_train.domain.gate import GateReport
from apaise_train.domain.runs import LedgerEntry, Run


def run_to(run: Run, mlflow_ui: str) -> pb.TrainingRun:
    """A run, with its link when `mlflow_ui` (the page's address) is known."""
    message = pb.TrainingRun(
        name=TRAINING_RUN.format(run.brand, run.id),
        state=pb.RunState.Value(f"RUN_STATE_{run.state}"),
        progress=run.progress,
        n_corrections=run.n_corrections,
        n_holdout=run.n_holdout,
        manifest_digest=run.manifest_digest,
        adapter=_adapter(run.brand, run.revision),
        mlflow_run=f"{run.mlflow_experiment}/{run.mlflow_run}" if run.mlflow_run else "",
        mlflow_url=_link(run, mlflow_ui),
        model_version=run.model_version or "",
        failure=run.failure or "",
        create_actor=run.create_actor,
        create_time=_time(run.create_time),
        canary_standing=run.canary_standing,
    )
    if run.gate is not None:
        message.gate.CopyFrom(report_to(run.brand, run.gate))
    if run.end_time is not None:
        message.end_time.CopyFrom(_time(run.end_time))
    return message


def report_to(brand: str, report: GateReport) -> pb.GateReport:
    """What the gate said."""
    scores = [
        pb.GateReport.Score(
            who=score.who,
            adapter="" if score.who == "house" else _adapter(brand, score.adapter),
            auc=score.auc,
            macro_f1=score.macro_f1,
            accuracy=score.accuracy,
        )
        for score in report.scores
    ]
    return pb.GateReport(promoted=report.promoted, reasons=report.reasons, scores=scores)


def entry_to(entry: LedgerEntry) -> pb.LedgerEntry:
    """A line of the ledger."""
    return pb.LedgerEntry(
        sequence=entry.sequence,
        kind=pb.LedgerKind.Value(f"LEDGER_KIND_{entry.kind}"),
        adapter=_adapter(entry.brand, entry.revision),
        previous=_adapter(entry.brand, entry.previous),
        actor=entry.actor,
        time=_time(entry.time),
        reason=entry.reason,
        training_run=TRAINING_RUN.format(entry.brand, entry.run) if entry.run else "",
    )


def _adapter(brand: str, revision: str | None) -> str:
    return ADAPTER.format(brand, revision) if revision else ""


def _link(run: Run, ui: str) -> str:
    if not ui or not run.mlflow_run:
        return ""
    return f"{ui.rstrip('/')}/#/experiments/{run.mlflow_experiment}/runs/{run.mlflow_run}"


def _time(value: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(value)
    return stamp
