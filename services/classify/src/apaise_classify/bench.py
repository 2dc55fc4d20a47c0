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
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from apaise_classify.serving.deployment import quiet_products
from apaise_classify.serving.edition import ROW_OF, columns
from apaise_classify.serving.engine import Engine
from mlops.base.adapter import read_adapter
from mlops.base.encoder import length_sorted, load_encoder
from mlops.base.normalize import normalize
from mlops.bench.adapters import write_adapters
from mlops.bench.bare import lone, measure
from mlops.house import House, build_house

CALL: Final = 64
_BATCHES: Final = (16, 32, 64)
_COMPANIES: Final = 70
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
    explanations = commands.add_parser("explanations", help="spans beside people's; {text, spans}, an array, on stdin")
    explanations.add_argument("--label", default="toxic")
    options = parser.parse_args(arguments)
    quiet_products()
    sys.stdout.write(json.dumps(_document(options, json.load(sys.stdin))) + "\n")
    return 0


def _document(options: argparse.Namespace, given: Any) -> dict[str, Any]:
    if options.command == "references":
        return _references(given["adapters"], given["texts"])
    if options.command == "explanations":
        return explained(_engine(build_house(), []), options.label, given)
    with tempfile.TemporaryDirectory() as folder:
        return _measured(given["texts"], options, Path(folder))


def explained(engine: Engine, label: str, marked: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the engine's spans compare with what people marked, and whether they are what the score rests on.

    Args:
        engine: reads with the house.
        label: what is explained.
        marked: `text`, and `spans` that people marked: [start, end) in characters.

    Returns:
        n, texts with a span; f1 of characters, averaged over texts, for ours and for as many random words; drop, what
        the label's logit loses when the spans are taken out, beside random words of the same length; cost, of an
        explanation in readings.
    """
    chance = random.Random(5)
    at = ROW_OF[label]
    found: list[Sequence[float]] = []
    reading = explaining = 0.0
    for one in marked:
        text = one["text"]
        started = time.perf_counter()
        before = _logit(engine, text, at)
        between = time.perf_counter()
        ours = {n for span in engine.explain(text, 0, [label]) for n in range(span.start, span.end)}
        reading, explaining = reading + between - started, explaining + time.perf_counter() - between
        if not ours:
            continue
        others = _random_words(text, len(ours), chance)
        theirs = {n for start, end in one["spans"] for n in range(start, end)}
        drops = (before - _logit(engine, _without(text, gone), at) for gone in (ours, others))
        found.append([_overlap(ours, theirs), _overlap(others, theirs), *drops])
    names = ("f1", "f1_of_random_words", "drop", "drop_of_random_words")
    means = {name: round(float(mean), 3) for name, mean in zip(names, np.mean(found, axis=0), strict=True)}
    return {"n": len(found), **means, "cost_in_readings": round(explaining / reading, 1)}


def _logit(engine: Engine, text: str, at: int) -> float:
    score = float(engine.read([normalize(text)], [0])[0][0, at])
    score = min(max(score, 0.0005), 0.9995)  # scores have three decimals
    return float(np.log(score / (1 - score)))


def _random_words(text: str, characters: int, chance: random.Random) -> set[int]:
    """Places of words taken at random until they are as long as that."""
    words = [range(*found.span()) for found in re.finditer(r"\S+", text)]
    chance.shuffle(words)
    taken: set[int] = set()
    for word in words:
        if len(taken) < characters:
            taken.update(word)
    return taken


def _without(text: str, gone: set[int]) -> str:
    return "".join(letter for n, letter in enumerate(text) if n not in gone)


def _overlap(ours: set[int], theirs: set[int]) -> float:
    """F1 of two sets of characters."""
    return 2 * len(ours & theirs) / (len(ours) + len(theirs))


def _references(adapters: Mapping[str, str], texts: Sequence[str]) -> dict[str, Any]:
    """Each adapter's scores of each text, read alone; and how far company moves them, at most.

    Company is what a busy mesh adds: 0 to 63 rows of other lengths and brands in the same pass.
    """
    house = build_house()
    engine = _engine(house, [Path(folder) for folder in adapters.values()])
    labels = list(house.labels)
    places = columns(engine.house)
    chance = random.Random(3)
    scores: dict[str, list[list[float]]] = {}
    moved = 0.0
    for slot, name in enumerate(adapters, start=1):
        alone = np.concatenate([engine.read([normalize(text)], [slot])[0] for text in texts])[:, places]
        for turn in range(_COMPANIES):
            rows = [chance.randrange(len(texts)) for _ in range(2 ** (turn % 7))]
            slots = [slot, *(chance.randrange(len(adapters) + 1) for _ in rows[1:])]
            beside, _ = engine.read([normalize(texts[row]) for row in rows], slots)
            own = [n for n, other in enumerate(slots) if other == slot]
            moved = max(moved, float(np.abs(beside[own][:, places] - alone[[rows[n] for n in own]]).max()))
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
    engine = _engine(house, folders)
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
        "mb_per_adapter": round(engine.slot_bytes / 2**20, 2),
    }
    if options.scale:
        document["scale"] = _scaled(house, folders, texts, bare.messages_per_second, options.seconds)
    return document


def _engine(house: House, folders: Sequence[Path]) -> Engine:
    """An engine with every adapter in a slot of its own."""
    torch.set_num_threads(1)
    engine = Engine(load_encoder(house.path), house)
    engine.grow(max(engine.capacity, len(folders) + 1))
    for slot, folder in enumerate(folders, start=1):
        engine.install(slot, engine.load(folder))
    return engine


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
        engine = _engine(house, [folders[n % len(folders)] for n in range(brands)])
        rate = _rate(engine, texts, brands, seconds)
        held = round(brands * engine.slot_bytes / 2**20, 1)
        found.append(
            {"brands": brands, "msgs_per_s": round(rate, 1), "ratio": round(rate / bare, 3), "adapters_mb": held}
        )
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


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
