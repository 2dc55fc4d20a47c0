"""`apaise train` on files: the trainer in a process of its own, its progress on stderr, its figures as a table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.screen import Screen


def train_offline(
    screen: Screen, home: Home, brand: str, corrections: Path | None, holdout: Path | None, many: Path | None
) -> None:
    """Train from files and show what came of it; with `many`, an array, brand by brand.

    Raises:
        CliError: files are missing or cannot be read, or the trainer failed.
    """
    if not many and not (corrections and holdout):
        raise CliError("Both files are needed.", "Give --corrections and --holdout, or --many.", code="FILES_MISSING")
    files = ["--brand", brand, "--corrections", str(corrections), "--holdout", str(holdout)]
    given = ["--many", str(many)] if many else files
    out = _ran(screen, [*given, "--out", str(home.path / "offline")])
    documents: Any = json.loads(out)
    if screen.as_json:
        screen.emit(documents)
        return
    rows = documents if isinstance(documents, list) else [documents]
    screen.result({}, _table(rows), *_reasons(rows))


def _ran(screen: Screen, arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", "apaise_train.offline", *arguments]
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn()
    said: list[str] = []
    with (
        Progress(*columns, console=screen.err, transient=True) as bars,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        assert process.stdout is not None
        tasks: dict[str, Any] = {}
        for line in process.stderr:
            if (update := _update(line)) is None:
                said.append(line)
                continue
            name = update["brand"]
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=1.0)
            bars.update(tasks[name], completed=update["fraction"])
        out = process.stdout.read()
    if process.returncode:
        last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
        raise CliError("The files could not be learnt from.", last.removeprefix("error: "), code="TRAINING_FAILED")
    return out


def _update(line: str) -> Mapping[str, Any] | None:
    if not line.startswith('{"brand"'):
        return None
    found: dict[str, Any] = json.loads(line)
    return found


def _table(documents: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(box=None, padding=(0, 2))
    for heading in (
        "",
        "corrections",
        "holdout",
        "house AUC",
        "candidate AUC",
        "gain",
        "TF-IDF AUC",
        "gate",
        "seconds",
    ):
        shown.add_column(heading, justify="left" if not heading else "right")
    for one in documents:
        candidate = one["candidate"] or {"auc": None}
        verdict = "promoted" if one["gate"]["promoted"] else "refused"
        figures = (
            _figure(value) for value in (one["house"]["auc"], candidate["auc"], one["gain_auc"], one["rival_auc"])
        )
        counts = str(one["n_corrections"]), str(one["n_holdout"])
        shown.add_row(one["brand"], *counts, *figures, verdict, str(one["seconds"]))
    return shown


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _reasons(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"{one['brand']}: gate: {reason}" for one in documents for reason in one["gate"]["reasons"]]
    return lines + [f"{one['brand']}: {one['artefact']}" for one in documents if one["artefact"]]
