"""`apaise bench swap`: adapters change under load; no answer may be torn, and memory must not grow."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from apaise_cli.bench.around import (
    activate,
    classify_alone,
    load,
    module,
    percentile,
    started,
    swap,
    table,
    texts,
    written,
)
from apaise_cli.home import Home
from apaise_cli.screen import Screen

_PROBES: Final = 24
_PACE: Final = 0.5
_ROUNDING: Final = 0.0005  # scores have three decimals


def _swapped(
    home: Home,
    written: Mapping[tuple[str, str], tuple[Path, str]],
    names: Sequence[str],
    swaps: int,
    rate: float,
    given: Mapping[str, Any],
) -> tuple[list[float], dict[str, Any]]:
    """Swap each brand to and fro while messages arrive; seconds of each activation, and what the load saw."""
    arguments = ["open", "--rate", str(rate), "--seconds", "86400", "--record"]
    with started(home, "apaise_cli.bench.load", arguments, given) as traffic:
        time.sleep(4.0)
        turns = ((names[n % len(names)], f"r{2 - n // len(names) % 2}") for n in range(swaps))
        taken = swap(home, [(turn, written[turn]) for turn in turns], _PACE)
        traffic.stop()
        return taken, traffic.answer()


@contextmanager
def _watched_memory(home: Home) -> Iterator[list[tuple[float, float]]]:
    """Seconds and megabytes of a home's replicas together, once a second while the block lasts."""
    seen: list[tuple[float, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            seen.append((time.monotonic(), _replica_megabytes(home)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _replica_megabytes(home: Home) -> float:
    import psutil

    whole = 0
    for process in psutil.process_iter(["cmdline", "environ", "memory_info"]):
        ours = (process.info["environ"] or {}).get("APAISE_HOME") == str(home.path)
        if ours and "ServeReplica" in " ".join(process.info["cmdline"] or ()):
            whole += process.info["memory_info"].rss
    return whole / 2**20


def _memory_figures(seen: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Megabytes after the first third, at the end, and the slope between, by least squares."""
    later = seen[len(seen) // 3 :]
    if len(later) < 2:
        return {}
    slope, _ = statistics.linear_regression([at / 60 for at, _ in later], [size for _, size in later])
    sizes = {"replicas_mb": round(later[-1][1]), "replicas_mb_before": round(later[0][1])}
    return {**sizes, "replicas_mb_per_min": round(slope, 2), "minutes": round((seen[-1][0] - seen[0][0]) / 60, 1)}


def _torn(answers: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, Any]:
    """Answers further than ε from the revision they name; ε; and how far the two revisions of a brand are apart."""
    labels, scores, epsilon = truth["labels"], truth["scores"], max(truth["epsilon"], 0.002) + _ROUNDING
    torn = 0
    for one in answers:
        expected = scores[f"{one['brand']}/{one['revision']}"][one["text"]]
        torn += any(abs(one["scores"][label] - value) > epsilon for label, value in zip(labels, expected, strict=True))
    brands = {name.split("/")[0] for name in scores}
    apart = min(
        max(abs(x - y) for x, y in zip(scores[f"{brand}/r1"][at], scores[f"{brand}/r2"][at], strict=True))
        for brand in brands
        for at in range(len(scores[f"{brand}/r1"]))
    )
    return {"torn": torn, "epsilon": truth["epsilon"], "least_distance": round(apart, 3)}


def shown(document: Mapping[str, Any]) -> Table:
    shown = table("", "")
    for key, value in document.items():
        shown.add_row(key.replace("_", " "), str(value))
    return shown


def measure(screen: Screen, swaps: int, replicas: int, brands: int) -> dict[str, Any]:
    """The keys of `apaise bench swap --json`."""
    names = [f"bench-{n:04d}" for n in range(brands)]
    probes = [text for text in texts() if len(text) > 10][:_PROBES]
    with classify_alone(screen, {"APAISE_REPLICAS": str(replicas), "APAISE_REMEMBERED": "0"}) as home:
        adapters = written(home, [(name, f"r{n}") for name in names for n in (1, 2)])
        activate(home, {key: value for key, value in adapters.items() if key[1] == "r1"})
        given = {"texts": probes, "brands": names}
        single = load(home, ["closed", "--rows", "1", "--under-way", "64", "--seconds", "8"], given)
        screen.note(f"{swaps} swaps at half load ({single['msgs_per_s'] / 2:.0f} messages/s)")
        with _watched_memory(home) as memory:
            taken, seen = _swapped(home, adapters, names, swaps, single["msgs_per_s"] / 2, given)
        folders = {f"{brand}/{revision}": str(folder) for (brand, revision), (folder, _) in adapters.items()}
        truth = module("apaise_classify.bench", ["references"], {"adapters": folders, "texts": probes})
    return {
        "swaps": swaps,
        "replicas": replicas,
        "brands": brands,
        "failed": seen["failed"],
        "answers": len(seen["answers"]),
        **_torn(seen["answers"], truth),
        "p50_ms": percentile(taken, 0.5),
        "p95_ms": percentile(taken, 0.95),
        "answer_p99_ms": seen["p99_ms"],
        **_memory_figures(memory),
    }
