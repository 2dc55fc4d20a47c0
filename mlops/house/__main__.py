"""`python -m mlops.house train | card | build | examine`: the house model, its card, its encoder, its frozen test."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from mlops.base import cache_dir
from mlops.house.build import build_house, weights_dir

HERE = Path(__file__).parent
# Read when torch loads its OpenMP: waiting threads that spin make a shared machine several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mlops.house", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train from $APAISE_DATA and the corpus, write weights, figures and card")
    train.add_argument("--data", type=Path, default=os.environ.get("APAISE_DATA"), help="folder of the licensed sets")
    train.add_argument("--out", type=Path, default=weights_dir(), help="where the weights go")
    train.add_argument("--rows", type=int, help="rows drawn for the run")
    train.add_argument(
        "--quick", action="store_true", default=os.environ.get("QUICK") == "1", help="under five minutes"
    )
    card = commands.add_parser("card", help="rewrite CARD.md from metrics.json")
    card.add_argument("--out", type=Path, default=weights_dir())
    commands.add_parser("build", help="build the merged encoder into the cache and print where it is")
    commands.add_parser("examine", help="read the frozen test with the shipped weights and print the figures")
    options = parser.parse_args(arguments)
    if options.command == "train":
        return _train(options)
    if options.command == "card":
        return _card(options.out)
    if options.command == "examine":
        from mlops.house.examine import examine

        _answer(examine(HERE / "test.jsonl"))
        return 0
    house = build_house()
    _answer({"path": str(house.path), "encoder_digest": house.encoder_digest, "revision": house.revision})
    return 0


def _train(options: argparse.Namespace) -> int:
    if not options.data or not Path(options.data).is_dir():
        sys.stderr.write("set APAISE_DATA to the folder of the licensed data sets (see mlops/house/weights/CARD.md)\n")
        return 2
    from mlops.house.pipeline import Job, run
    from mlops.house.training import TrainingPlan

    rows = options.rows or (6_000 if options.quick else TrainingPlan.rows)
    job = Job(
        data=Path(options.data),
        corpus=HERE / "corpus",
        contrast=HERE / "test.jsonl",
        out=options.out,
        plan=TrainingPlan(rows=rows),
        unseen_rows=0 if options.quick else rows // 4,
        cache=cache_dir(),
        model=os.environ.get("APAISE_BASE_MODEL"),
    )
    report = run(job)
    _answer(
        {
            "revision": report["revision"],
            "labels": len(report["labels"]),
            "pairs": report["pairs"]["house"]["right"],
        }
    )
    return 0


def _answer(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")


def _card(out: Path) -> int:
    from mlops.house.card import write_card

    (out / "CARD.md").write_text(write_card(json.loads((out / "metrics.json").read_text())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
