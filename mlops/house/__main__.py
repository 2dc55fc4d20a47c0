"""`python -m mlops.house …`: the house model, its corpus, its encoder and what it is worth."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlops.base import cache_dir
from mlops.house.build import build_house, weights_dir

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FROZEN = (HERE / "test.jsonl", HERE / "safety.jsonl")
HELD_OUT = (*FROZEN, HERE / "dev.jsonl")
# Read when torch loads its OpenMP: waiting threads that spin make a shared machine several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mlops.house", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    data: dict[str, Any] = {
        "type": Path,
        "default": os.environ.get("APAISE_DATA"),
        "help": "folder of the licensed sets",
    }
    train = commands.add_parser("train", help="train from $APAISE_DATA and the corpus, write weights, figures and card")
    train.add_argument("--data", **data)
    train.add_argument("--out", type=Path, help="where the weights go; with --quick a folder of their own")
    train.add_argument("--rows", type=int, help="rows drawn for the run")
    train.add_argument(
        "--quick", action="store_true", default=os.environ.get("QUICK") == "1", help="ten minutes at most"
    )
    quality = commands.add_parser("quality", help="write docs/quality.md from the frozen tests")
    quality.add_argument("--data", **data)
    quality.add_argument("--docs", type=Path, default=Path("docs"), help="folder of quality.md")
    marked = commands.add_parser("marked", help="print held-out texts whose toxic words people marked, as JSON")
    marked.add_argument("--data", **data)
    marked.add_argument("--count", type=int, default=300)
    commands.add_parser("build", help="build the merged encoder into the cache and print where it is")
    write = commands.add_parser("write", help="turn messages in shorthand into corpus files")
    write.add_argument("files", type=Path, nargs="+", metavar="FILE.txt")
    commands.add_parser("grow", help="write the grammars' messages into the corpus")
    commands.add_parser("validate", help="check the corpus and the held-out files")
    options = parser.parse_args(arguments)
    return int(globals()[f"_{options.command}"](options))


def _train(options: argparse.Namespace) -> int:
    if not (data := _data(options)):
        return 2
    from mlops.house.pipeline import Job, run
    from mlops.house.training import TrainingPlan

    rows = options.rows or (QUICK_ROWS if options.quick else TrainingPlan.rows)
    job = Job(
        data=data,
        corpus=CORPUS,
        out=options.out or (cache_dir() / "house-quick" if options.quick else weights_dir()),
        plan=TrainingPlan(rows=rows),
        cache=cache_dir(),
        model=os.environ.get("APAISE_BASE_MODEL"),
    )
    report = run(job)
    return _answer({"revision": report["revision"], "labels": len(report["labels"]), "out": str(job.out)})


QUICK_ROWS = 5_000


def _quality(options: argparse.Namespace) -> int:
    if not (data := _data(options)):
        return 2
    from mlops.house.pages import write_quality

    return _answer({"written": str(write_quality(data, CORPUS, FROZEN, options.docs))})


def _marked(options: argparse.Namespace) -> int:
    if not (data := _data(options)):
        return 2
    from mlops.house.data import marked_spans

    sys.stdout.write(json.dumps(marked_spans(data, options.count)) + "\n")
    return 0


def _build(_: argparse.Namespace) -> int:
    house = build_house()
    return _answer({"path": str(house.path), "encoder_digest": house.encoder_digest, "revision": house.revision})


def _write(options: argparse.Namespace) -> int:
    from mlops.house.shorthand import ShorthandError, messages

    for file in options.files:
        try:
            rows = list(messages(file.read_text(encoding="utf-8").splitlines(), file.stem))
        except ShorthandError as error:
            sys.stderr.write(f"{file}: {error}\n")
            return 1
        _keep(CORPUS / f"hand_{file.stem}.jsonl", rows)
    return 0


def _grow(_: argparse.Namespace) -> int:
    from mlops.house.grammar import FOLDER, grow, read_grammar

    for path in sorted(FOLDER.glob("*.yaml")):
        _keep(CORPUS / f"grammar_{path.stem}.jsonl", grow(read_grammar(path)))
    return 0


def _validate(_: argparse.Namespace) -> int:
    from mlops.house.validate import balance, validate

    corpus = sorted(CORPUS.glob("*.jsonl"))
    problems = [*validate(corpus, HELD_OUT), *validate(HELD_OUT)]
    for problem in problems:
        sys.stderr.write(f"{problem.where}: {problem.what}\n")
    _answer({"problems": len(problems), **balance(corpus)})
    return 1 if problems else 0


def _data(options: argparse.Namespace) -> Path | None:
    if options.data and Path(options.data).is_dir():
        return Path(options.data)
    sys.stderr.write("set APAISE_DATA to the folder of the licensed data sets (see mlops/house/weights/CARD.md)\n")
    return None


def _keep(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stderr.write(f"{path.name}: {len(lines)} messages\n")


def _answer(content: Mapping[str, Any]) -> int:
    sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
