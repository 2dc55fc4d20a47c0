"""`apaise bench training`: a brand's fine-tune, ours and that of Trainer with PEFT, on the same lesson."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from apaise_cli.bench.around import module, table
from apaise_cli.errors import CliError
from apaise_cli.screen import Screen

TRAINERS: Final = {"": "apaise_train.worker.bench", "trainer_": "mlops.bench.peft_trainer"}
EPOCHS: Final = 5
BATCH: Final = 16
LORA_RATE: Final = 2e-3
HEAD_RATE: Final = 3e-3
CLOSE: Final = 0.005
"""AUC the two may be apart for their times to compare."""


def measure(screen: Screen, corrections: Path | None, holdout: Path | None, seeds: int) -> dict[str, Any]:
    """The keys of `apaise bench training --json`; times are medians over the seeds, AUC their mean.

    Raises:
        CliError: a file cannot be read, or a trainer failed.
    """
    taught, held = _rows(corrections, "demo-esport.jsonl"), _rows(holdout, "holdout-demo-esport.jsonl")
    truth = [bool(row["remove"]) for row in held]
    seconds: dict[str, list[float]] = {side: [] for side in TRAINERS}
    aucs: dict[str, list[float]] = {side: [] for side in TRAINERS}
    whole: list[float] = []
    for seed in range(1, seeds + 1):
        for side, name in TRAINERS.items():
            screen.note(f"{name}, seed {seed} of {seeds}, {len(taught)} corrections")
            answer = module(name, [], {**_lesson(taught, held, seed), **({} if side else {"whole": seed == 1})})
            seconds[side].append(answer["seconds"])
            aucs[side].append(_auc(truth, answer["scores"]))
            whole += [answer["seconds_with_folds"]] if "seconds_with_folds" in answer else []
    return _document(len(taught), seconds, aucs, whole)


def _lesson(taught: Sequence[Mapping[str, Any]], held: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    return {
        "texts": [row["text"] for row in taught],
        "remove": [bool(row["remove"]) for row in taught],
        "held": [row["text"] for row in held],
        "epochs": EPOCHS,
        "batch": BATCH,
        "lora_rate": LORA_RATE,
        "head_rate": HEAD_RATE,
        "seed": seed,
        "threads": os.cpu_count() or 1,
    }


def _document(
    count: int, seconds: Mapping[str, Sequence[float]], aucs: Mapping[str, Sequence[float]], whole: Sequence[float]
) -> dict[str, Any]:
    ours, theirs = (statistics.median(seconds[side]) for side in TRAINERS)
    auc, trainer_auc = (statistics.mean(aucs[side]) for side in TRAINERS)
    return {
        "n_corrections": count,
        "seconds": round(ours, 2),
        "trainer_seconds": round(theirs, 2),
        "speedup": round(theirs / ours, 2),
        "auc": round(auc, 4),
        "trainer_auc": round(trainer_auc, 4),
        "comparable": auc >= trainer_auc - CLOSE,
        "seeds": len(aucs[""]),
        "epochs": EPOCHS,
        "seconds_with_folds": round(whole[0], 2),
    }


def _rows(path: Path | None, sample: str) -> list[dict[str, Any]]:
    from apaise_cli.demo import samples

    chosen = path or samples.path(f"corrections/{sample}")
    try:
        lines = Path(chosen).read_text(encoding="utf-8").splitlines()
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise CliError(f"{chosen} cannot be read.", 'It holds one {"text", "remove"} a line.') from error
    return rows


def _auc(truth: Sequence[bool], scores: Sequence[float]) -> float:
    import numpy as np

    from mlops.eval.figures import figures

    found = figures(1 / (1 + np.exp(-np.array(scores))), np.array(truth), 0.5).auc
    if found is None:
        raise CliError("The holdout knows one decision only.", "Give one with both.")
    return found


def shown(document: Mapping[str, Any]) -> Table:
    """Both trainers, one a row."""
    rows = table("", "seconds", "AUC")
    rows.add_row("apaise, one fit", f"{document['seconds']:.1f}", f"{document['auc']:.3f}")
    rows.add_row("Trainer + PEFT, one fit", f"{document['trainer_seconds']:.1f}", f"{document['trainer_auc']:.3f}")
    rows.add_row("apaise, a whole run with its folds", f"{document['seconds_with_folds']:.1f}", "")
    word = "" if document["comparable"] else ", which does not count: the AUC is lower"
    rows.caption = f"{document['speedup']:.2f} times as fast on {document['n_corrections']} corrections{word}"
    return rows
