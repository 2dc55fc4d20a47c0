"""`python -m apaise_train.offline`: a brand's adapter from two files, without a mesh.

The candidate learns from the corrections, and the gate decides on its out-of-fold scores of them: every row judged by a
model that had not seen it. Only then is the holdout read, once; what it says goes into the printed figures and nowhere
else. Beside the candidate stands a rival that needs no encoder: TF-IDF with logistic regression.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError

from apaise_kit.core.errors import ApaiseError, FailedPrecondition, InvalidArgument
from apaise_kit.core.labels import LABELS
from apaise_train.domain.curve import curve_words
from apaise_train.domain.examples import MIN_EXAMPLES, MIN_PER_CLASS
from apaise_train.domain.gate import HOUSE, GateReport, Rival, auc, judge, macro_f1
from apaise_train.domain.jobs import Broken, CurvePoint, HouseSource, Job, Judged, Outcome, Progress, Row
from apaise_train.domain.safety import suite_of, with_warning

RESULT: Final = "result.json"
_BRANDS_A_PROCESS: Final = 8
# Read when torch loads its OpenMP: waiting threads that spin make a shared machine several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
Say = Callable[[str, float], None]
"""Told a brand and how far it is, 0 to 1."""


class Line(BaseModel):
    """One line of a file of corrections: what a person decided about a text, and the labels they stated."""

    model_config = ConfigDict(extra="ignore")

    text: str
    remove: StrictBool
    labels: dict[str, StrictBool] = {}


@dataclass(frozen=True)
class Task:
    """One brand's two files, and the folder its adapter and result go to."""

    brand: str
    corrections: Path
    holdout: Path
    out: Path
    house: HouseSource = field(default_factory=HouseSource)
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)


@dataclass(frozen=True)
class Learnt:
    """What came of the corrections alone; `adapter` is None when there was too little to learn from.

    `house` are the house's scores of the rows, empty without an adapter.
    """

    rows: tuple[Row, ...]
    gate: GateReport
    adapter: Path | None = None
    house: tuple[float, ...] = ()
    curve: tuple[CurvePoint, ...] = ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON document, or with `--many` an array of them; 2 and a message when the files cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m apaise_train.offline", description=__doc__)
    parser.add_argument("--brand", default="brand")
    parser.add_argument("--corrections", type=Path)
    parser.add_argument("--holdout", type=Path)
    parser.add_argument("--many", type=Path, help="folder of folders, one a brand")
    parser.add_argument("--out", type=Path, required=True, help="folder of adapters and results")
    options = parser.parse_args(arguments)
    try:
        tasks = _tasks(options)
        documents = _each(tasks) if options.many else [_one(tasks[0])]
    except (ApaiseError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(documents if options.many else documents[0]) + "\n")
    return 0


def _each(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """One after the other, in a process that is let go after a few: what torch keeps of every shape adds up."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=_BRANDS_A_PROCESS) as process:
        return list(process.map(_one, tasks))


def _one(task: Task) -> dict[str, Any]:
    return trained(task, _say)


def _tasks(options: argparse.Namespace) -> list[Task]:
    if not options.many:
        if not options.corrections or not options.holdout:
            raise InvalidArgument("Give --corrections and --holdout, or --many.")
        return [Task(options.brand, options.corrections, options.holdout, options.out / options.brand)]
    folders = sorted(path for path in options.many.iterdir() if path.is_dir())
    tasks = [
        Task(one.name, _file(one, "corrections"), _file(one, "holdout"), options.out / one.name) for one in folders
    ]
    if not tasks:
        raise InvalidArgument(f"{options.many} has no folder in it; it should have one a brand.")
    return tasks


def _file(folder: Path, name: str) -> Path:
    for ending in (".jsonl", ".jsonl.gz"):
        if (folder / (name + ending)).is_file():
            return folder / (name + ending)
    raise InvalidArgument(f"{folder} has no {name}.jsonl.")


def _say(brand: str, fraction: float) -> None:
    sys.stderr.write(json.dumps({"brand": brand, "fraction": round(fraction, 3)}) + "\n")
    sys.stderr.flush()


def trained(task: Task, say: Say) -> dict[str, Any]:
    """Learn, decide, then measure on the holdout; what was done before on the same files is not done again.

    Raises:
        InvalidArgument: a file cannot be read as rows; with file and line.
        FailedPrecondition: the job broke, with its reason.
    """
    if (known := _known(task)) is not None:
        say(task.brand, 1.0)
        return known
    started = time.perf_counter()
    learnt = learn(task, say)
    document = {"brand": task.brand, **_measured(task, learnt)}
    document["seconds"] = round(time.perf_counter() - started, 1)
    task.out.mkdir(parents=True, exist_ok=True)
    part = task.out / (RESULT + ".part")
    part.write_text(json.dumps({"inputs": _digest(task), "document": document}, indent=1))
    part.replace(task.out / RESULT)
    say(task.brand, 1.0)
    return document


def learn(task: Task, say: Say) -> Learnt:
    """Train on the corrections and let the gate decide on their out-of-fold scores. Does not open the holdout."""
    rows = read_rows(task.corrections)
    truth = [row.remove for row in rows]
    lacking = max(MIN_EXAMPLES - len(rows), MIN_PER_CLASS - min(sum(truth), len(truth) - sum(truth)), 0)
    if lacking:
        reason = f"There is too little to learn from: {lacking} more corrections are needed, both decisions among them."
        return Learnt(rows, GateReport(False, (reason,), ()))
    seed = int(_of_rows(rows)[:8], 16)
    revision = f"r1-{_of_rows(rows)[:8]}"
    created = datetime.now(UTC)
    job = Job(task.brand, revision, seed, created, rows, (), house=task.house, threads=task.threads, safety=True)
    outcome = _outcome(job, lambda fraction: say(task.brand, fraction))
    rival = Rival(HOUSE, HOUSE, outcome.house_taught, tuple(range(len(rows))))
    gate = with_warning(judge(truth, revision, outcome.out_of_fold, [rival]), suite_of(outcome.suite))
    if said := curve_words(outcome.learning_curve):
        gate = replace(gate, reasons=(*gate.reasons, said))
    folder = task.out / revision
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in outcome.files.items():
        (folder / name).write_bytes(content)
    return Learnt(rows, gate, folder, outcome.house_taught.scores, outcome.learning_curve)


def _outcome(job: Job, progress: Callable[[float], None]) -> Outcome:
    from apaise_train.worker.job import run

    for update in run(job):
        if isinstance(update, Progress):
            progress(0.9 * update.fraction if not update.evaluating else 0.9)
        elif isinstance(update, Broken):
            raise FailedPrecondition(f"The adapter of {job.brand} could not be trained ({update.reason}).")
        else:
            return update
    raise FailedPrecondition("The job ended without a result.")


def read_rows(path: Path) -> tuple[Row, ...]:
    """Rows of a JSONL file, plain or gzipped.

    Raises:
        InvalidArgument: a line that is not `{"text", "remove", "labels"?}`, or no line at all.
    """
    content = path.read_bytes()
    try:
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise InvalidArgument(f"{path} is not UTF-8 text of JSON lines.") from error
    lines = enumerate(text.split("\n"), start=1)
    rows = tuple(_row(line, f"{path}:{number}") for number, line in lines if line.strip())
    if not rows:
        raise InvalidArgument(f"{path} has no row.")
    return rows


def _row(line: str, where: str) -> Row:
    try:
        found = Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidArgument(f"{where}: {place or 'line'}: {first['msg']}") from None
    unknown = sorted(set(found.labels) - set(LABELS))
    if unknown:
        raise InvalidArgument(f"{where}: unknown label {unknown[0]!r}; known are {', '.join(LABELS)}")
    return Row(found.text, found.remove, found.labels)


def _measured(task: Task, learnt: Learnt) -> dict[str, Any]:
    """Figures on the holdout, which is read here and nowhere before."""
    from apaise_train.worker.job import read_texts

    holdout = read_rows(task.holdout)
    truth = [row.remove for row in holdout]
    house, candidate = read_texts(task.house, learnt.adapter, [row.text for row in holdout])
    taught = learnt.house or read_texts(task.house, None, [row.text for row in learnt.rows])[0].scores
    rivals = rival_scores(learnt.rows, holdout, taught, house.scores)
    ranked = {name: auc(truth, scores) if scores else None for name, scores in rivals.items()}
    of_house, of_candidate = _figures(truth, house), _figures(truth, candidate) if candidate else None
    gain = _less(of_candidate["auc"], of_house["auc"]) if of_candidate else None
    return {
        "n_corrections": len(learnt.rows),
        "n_holdout": len(holdout),
        "house": of_house,
        "candidate": of_candidate,
        "rivals": {name: _rounded(value) for name, value in ranked.items()},
        "rival_auc": _rounded(ranked["alone_auc"]),
        "gain_auc": _rounded(gain),
        "gate": {"promoted": learnt.gate.promoted, "reasons": list(learnt.gate.reasons)},
        "learning_curve": [asdict(point) for point in learnt.curve],
        "artefact": str(learnt.adapter.absolute()) if learnt.adapter else None,
    }


def rival_scores(
    taught: Sequence[Row], holdout: Sequence[Row], house_taught: Sequence[float], house_held: Sequence[float]
) -> dict[str, list[float]]:
    """Scores of the holdout by TF-IDF (words 1-2, characters 3-5) and logistic regression, C = 2; nothing is tuned.

    `alone_auc` is the texts alone, `with_house_auc` has the house's logit as one more feature. Empty when the
    corrections know one decision only.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union

    truth = [row.remove for row in taught]
    if len(set(truth)) < 2:
        return {"alone_auc": [], "with_house_auc": []}
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    union = make_union(words, letters)
    seen, unseen = union.fit_transform([row.text for row in taught]), union.transform([row.text for row in holdout])
    found = {}
    for name, sides in {
        "alone_auc": (seen, unseen),
        "with_house_auc": tuple(
            hstack([side, csr_matrix([[_logit(p)] for p in scores])]).tocsr()
            for side, scores in ((seen, house_taught), (unseen, house_held))
        ),
    }.items():
        model = LogisticRegression(C=2.0, max_iter=2000).fit(sides[0], truth)
        found[name] = model.decision_function(sides[1]).tolist()
    return found


def _figures(truth: Sequence[bool], judged: Judged) -> dict[str, float | None]:
    decided = [score >= judged.threshold for score in judged.scores]
    return {"auc": _rounded(auc(truth, judged.scores)), "macro_f1": _rounded(macro_f1(truth, decided))}


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _logit(p: float) -> float:
    from math import log

    p = min(max(p, 0.0005), 0.9995)
    return log(p / (1.0 - p))


def _digest(task: Task) -> str:
    """Of both files and the house: another of them is another task."""
    from mlops.house import build_house

    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (task.corrections, task.holdout)]
    source = task.house
    cache, weights = (Path(path) if path else None for path in (source.cache, source.weights))
    parts.append(build_house(cache, source.model, weights=weights).encoder_digest)
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _of_rows(rows: Sequence[Row]) -> str:
    content = [[row.text, row.remove, sorted(row.labels.items())] for row in rows]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _known(task: Task) -> dict[str, Any] | None:
    """What an earlier run on the same files printed; without one, the holdout is not even opened."""
    try:
        kept: Mapping[str, Any] = json.loads((task.out / RESULT).read_text())
    except (OSError, ValueError):
        return None
    return dict(kept["document"]) if kept.get("inputs") == _digest(task) else None


if __name__ == "__main__":
    raise SystemExit(main())
