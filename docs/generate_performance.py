"""Write the tables and plots of docs/performance.md from what benches printed with --json (docs/performance/*.json).

apaise bench serving --scale --json > docs/performance/serving.json
apaise bench swap --json            > docs/performance/swap.json
apaise bench swap --replicas 2 --json > docs/performance/swap-2.json
apaise bench pipeline --json        > docs/performance/pipeline.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # after the backend is chosen

HERE = Path(__file__).parent
PAGE = HERE / "performance.md"
DATA = HERE / "performance"


def main() -> None:
    """Rewrite what stands between the markers, and the plots."""
    read = {path.stem: json.loads(path.read_text()) for path in sorted(DATA.glob("*.json"))}
    parts = {
        "rates": rates(read["serving"]),
        "latency": latency(read["serving"]),
        "scale": scale(read["serving"]),
        "swap": swaps([read[name] for name in ("swap", "swap-2", "swap-long") if name in read]),
        "pipeline": pipeline(read["pipeline"]),
    }
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in parts.items():
        before, found, rest = page.partition(f"<!-- {name} -->\n")
        page = before + found + lines + "\n" + rest[rest.index("<!-- / -->") :]
    PAGE.write_text(page, encoding="utf-8")
    plot(read["serving"], DATA / "serving.svg")


def rates(found: dict[str, Any]) -> str:
    """Throughput beside the ceiling."""
    bare = found["bare_msgs_per_s"]
    rows = [
        [f"bare encoder, {found['dtype']}, batches of {found['bare_batch']}", "bare_msgs_per_s"],
        [f"engine, {found['brands']} brands mixed", "kernel_msgs_per_s"],
        [f"ClassifyService, {found['brands']} brands mixed", "rpc_msgs_per_s"],
        [f"PEFT, {found['brands']} brands mixed", "peft_mixed_msgs_per_s"],
    ]
    return table(
        ["", "messages/s", "of bare", "of PEFT"],
        [
            [
                name,
                f"{found[key]:.1f}",
                f"{found[key] / bare:.2f}",
                f"{found[key] / found['peft_mixed_msgs_per_s']:.2f}",
            ]
            for name, key in rows
        ],
    )


def latency(found: dict[str, Any]) -> str:
    """One message a call, Poisson arrivals, beside the bare latency of one message."""
    alone = found["bare_one_ms"]
    rows = [
        [
            f"{one['load']:.0%}",
            f"{one['offered_msgs_per_s']:.1f}",
            *(f"{one[key]:.0f} ms" for key in ("p50_ms", "p95_ms", "p99_ms")),
            *(f"{one[key] / alone:.1f}" for key in ("p50_ms", "p99_ms")),
        ]
        for one in found["loads"]
    ]
    return table(["load", "messages/s", "p50", "p95", "p99", "p50 of bare", "p99 of bare"], rows)


def scale(found: dict[str, Any]) -> str:
    """The engine by the number of brands in the mix."""
    rows = [
        [str(one["brands"]), f"{one['msgs_per_s']:.1f}", f"{one['ratio']:.2f}", f"{one['adapters_mb']:.0f}"]
        for one in found["scale"]
    ]
    return table(["brands in the mix", "messages/s", "of bare", "MB of adapters"], rows)


def swaps(found: Sequence[dict[str, Any]]) -> str:
    """Runs of `apaise bench swap`, a column each."""
    names = {
        "replicas": "replicas",
        "swaps": "swaps under half load",
        "answers": "answers compared",
        "failed": "failed calls",
        "torn": "torn answers",
        "epsilon": "ε: how far company alone moves a score",
        "least_distance": "least distance of two revisions",
        "p50_ms": "activation, p50 ms",
        "p95_ms": "activation, p95 ms",
        "minutes": "minutes",
        "replicas_mb": "memory of the replicas at the end, MB",
        "replicas_mb_per_min": "slope of their memory, MB a minute",
    }
    rows = [[name, *(str(one.get(key, "")) for one in found)] for key, name in names.items()]
    return table(["", *("" for _ in found)], rows)


def pipeline(found: dict[str, Any]) -> str:
    """The whole mesh."""
    rows = [
        ["the house encoder alone", f"{found['bare_msgs_per_s']:.1f}", ""],
        ["ClassifyService, calls of 64", f"{found['rpc_msgs_per_s']:.1f}", f"{found['rpc_to_bare']:.2f}"],
        ["the whole mesh", f"{found['pipeline_msgs_per_s']:.1f}", f"{found['pipeline_to_rpc']:.2f}"],
    ]
    return table(["", "messages/s", "of the one above"], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column left, the others right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(found: dict[str, Any], path: Path) -> None:
    """Throughput by number of brands, and latency by load, both as multiples of the bare encoder's."""
    matplotlib.rcParams["svg.hashsalt"] = "apaise"
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    brands = [one["brands"] for one in found["scale"]]
    left.plot(brands, [one["ratio"] for one in found["scale"]], marker="o", label="engine")
    bare = found["bare_msgs_per_s"]
    left.plot([found["brands"]], [found["rpc_msgs_per_s"] / bare], "s", label="ClassifyService")
    left.plot([found["brands"]], [found["peft_mixed_msgs_per_s"] / bare], "x", label="PEFT, mixed")
    left.axhline(1.0, color="0.7", linewidth=1)
    left.set(xscale="log", xlabel="brands in the mix", ylabel="throughput, of bare", ylim=(0, None))
    left.legend(frameon=False)
    loads = [one["load"] for one in found["loads"]]
    for key, name in (("p50_ms", "p50"), ("p95_ms", "p95"), ("p99_ms", "p99")):
        right.plot(loads, [one[key] / found["bare_one_ms"] for one in found["loads"]], marker="o", label=name)
    right.set(xlabel="load", ylabel="latency, of bare", ylim=(0, None))
    right.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
