"""`python -m apaise_classify.bench`: what one engine gives in this process, beside the bare encoder and beside PEFT.

Every figure comes from the same texts, dtype and machine, tokenising included. *Bare* is the best of length-sorted
batches of 8 to 64 of the house encoder without any adapter. *Kernel* reads calls of 64 messages of as many brands as
asked for, in the order they come, on one lane a core. *PEFT* is its own mixed-adapter forward (`adapter_names`),
length-sorted, with its best batch size; its rows are judged by their own heads as well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import torch

from apaise_classify.serving.deployment import quiet_products
from apaise_classify.serving.edition import columns
from apaise_classify.serving.engine import Engine
from mlops.base.adapter import read_adapter
from mlops.base.encoder import length_sorted, load_encoder
from mlops.base.normalize import normalize
from mlops.bench.adapters import write_adapters
from mlops.bench.bare import lone, measure
from mlops.house import House, build_house

CALL: Final = 64
_BATCHES: Final = (16, 32, 64)
_SCALE: Final = (1, 8, 64, 256, 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m apaise_classify.bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    kernel = commands.add_parser("kernel", help="throughput in this process; texts as JSON on stdin")
    kernel.add_argument("--brands", type=int, default=64)
    kernel.add_argument("--seconds", type=float, default=10.0, help="least time of each measure")
    kernel.add_argument("--scale", action="store_true", help="also 1, 8, 64, 256 and 1000 brands")
    commands.add_parser("references", help="what adapters answer to texts: {adapters: {name: folder}, texts} on stdin")
    options = parser.parse_args(arguments)
    given = json.load(sys.stdin)
    quiet_products()
    if options.command == "references":
        document = _references(given["adapters"], given["texts"])
    else:
        with tempfile.TemporaryDirectory() as folder:
            document = _measured(given["texts"], options, Path(folder))
    sys.stdout.write(json.dumps(document) + "\n")
    return 0


def _references(adapters: Mapping[str, str], texts: Sequence[str]) -> dict[str, Any]:
    """Each adapter's scores of each text, read alone; and how far company moves them, at most.

    Company is what a busy mesh adds: rows of other lengths and brands in the same pass.
    """
    house = build_house()
    engine, _ = _engine(house, [Path(folder) for folder in adapters.values()])
    labels = list(house.labels)
    places = columns(engine.house)
    chance = random.Random(3)
    scores: dict[str, list[list[float]]] = {}
    moved = 0.0
    for slot, name in enumerate(adapters, start=1):
        alone = np.concatenate([engine.read([normalize(text)], [slot])[0] for text in texts])[:, places]
        for _ in range(3):
            company = [normalize(chance.choice(texts)) for _ in range(chance.randrange(1, 64))]
            slots = [chance.randrange(len(adapters) + 1) for _ in company]
            beside, _ = engine.read([*map(normalize, texts), *company], [*[slot] * len(texts), *slots])
            moved = max(moved, float(np.abs(beside[: len(texts), places] - alone).max()))
        scores[name] = alone.tolist()
    return {"labels": labels, "scores": scores, "epsilon": round(moved, 4)}


def _measured(texts: Sequence[str], options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    house = build_house()
    _say(f"writing {options.brands} adapters")
    names = [(f"bench-{n:04d}", "r1") for n in range(options.brands)]
    folders = [path for path, _ in write_adapters(house, folder, names)]
    _say("the bare encoder")
    bare = measure(texts, options.seconds / 4)
    alone = lone(texts)
    _say("the engine")
    engine, grown = _engine(house, folders)
    kernel = _rate(engine, texts, options.brands, options.seconds)
    mixed = _peft(house, folders, texts, options.seconds / len(_BATCHES))
    document = {
        "brands": options.brands,
        "dtype": bare.dtype,
        "tokens_per_msg": round(_mean_tokens(house, texts), 1),
        "bare_msgs_per_s": bare.messages_per_second,
        "bare_batch": bare.batch,
        "bare_one_ms": alone,
        "kernel_msgs_per_s": round(kernel, 1),
        "kernel_ratio": round(kernel / bare.messages_per_second, 3),
        "peft_mixed_msgs_per_s": round(mixed, 1),
        "kernel_vs_peft": round(kernel / mixed, 2),
        "mb_per_adapter": round(grown / max(1, options.brands), 2),
    }
    if options.scale:
        document["scale"] = _scaled(house, folders, texts, bare.messages_per_second, options.seconds)
    return document


def _engine(house: House, folders: Sequence[Path]) -> tuple[Engine, float]:
    """An engine with every adapter in a slot of its own, and the megabytes they took."""
    torch.set_num_threads(1)
    engine = Engine(load_encoder(house.path), house)
    before = _memory()
    engine.grow(len(folders) + 1)
    for slot, folder in enumerate(folders, start=1):
        engine.install(slot, engine.load(folder))
    return engine, _memory() - before


def _rate(engine: Engine, texts: Sequence[str], brands: int, seconds: float) -> float:
    """Messages a second in calls of `CALL` rows of brands in turn, one lane a core."""
    lanes = os.cpu_count() or 1
    calls = [list(range(start, start + CALL)) for start in range(0, len(texts) - CALL + 1, CALL)]

    def call(turn: int) -> int:
        rows = calls[turn % len(calls)]
        engine.read([texts[row] for row in rows], [1 + row % brands if brands else 0 for row in rows])
        return len(rows)

    with ThreadPoolExecutor(lanes, initializer=lambda: torch.set_num_threads(1)) as pool:
        list(pool.map(call, range(2 * len(calls))))  # every shape has been compiled once
        return _until(seconds, lambda: sum(pool.map(call, range(len(calls)))))


def _peft(house: House, folders: Sequence[Path], texts: Sequence[str], seconds: float) -> float:
    """PEFT's mixed batches at their best batch size."""
    from peft import PeftModel

    from mlops.base.encoder import bare_model

    _say("PEFT's mixed batches")
    encoder = load_encoder(house.path)
    torch.set_num_threads(os.cpu_count() or 1)
    names = [f"b{n}" for n in range(len(folders))]
    model = PeftModel.from_pretrained(bare_model(house.path, encoder.dtype), str(folders[0]), adapter_name=names[0])
    for name, folder in zip(names[1:], folders[1:], strict=True):
        model.load_adapter(str(folder), adapter_name=name)
    model = model.to(encoder.dtype).eval()
    files = [read_adapter(folder) for folder in folders]
    weight, bias = torch.stack([one.weight for one in files]), torch.stack([one.bias for one in files])

    @torch.inference_mode()
    def once(batch: int) -> int:
        ids = encoder.windows(texts).ids
        for rows in length_sorted(ids, batch):
            slots = torch.tensor([row % len(folders) for row in rows])
            padded = encoder.pad([ids[row] for row in rows])
            hidden = model(**padded, adapter_names=[names[slot] for slot in slots.tolist()]).last_hidden_state
            pooled = encoder.pool(hidden, padded["attention_mask"])
            torch.baddbmm(bias[slots].unsqueeze(2), weight[slots], pooled.unsqueeze(2)).sigmoid()
        return len(texts)

    return max(_until(seconds, lambda batch=batch: once(batch)) for batch in _BATCHES)  # type: ignore[misc]


def _scaled(
    house: House, folders: Sequence[Path], texts: Sequence[str], bare: float, seconds: float
) -> list[dict[str, Any]]:
    """Throughput and memory by the number of brands in the mix; the same adapters serve over and over."""
    found = []
    for brands in _SCALE:
        _say(f"{brands} brands in the mix")
        engine, megabytes = _engine(house, [folders[n % len(folders)] for n in range(brands)])
        rate = _rate(engine, texts, brands, seconds)
        figures = {"msgs_per_s": round(rate, 1), "ratio": round(rate / bare, 3), "mb": round(megabytes, 1)}
        found.append({"brands": brands, **figures})
    return found


def _until(seconds: float, work: Callable[[], int]) -> float:
    """Messages a second of work done over and over for that long."""
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        done += work()
    return done / elapsed


def _mean_tokens(house: House, texts: Sequence[str]) -> float:
    ids = load_encoder(house.path).windows(texts).ids
    return sum(map(len, ids)) / len(ids)


def _memory() -> float:
    """Megabytes this process holds."""
    return float(psutil.Process().memory_info().rss) / 2**20


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
