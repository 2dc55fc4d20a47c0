"""Draw docs/performance/serving.svg from what `apaise bench serving --scale --json` printed.

.venv/bin/apaise bench serving --scale --peers --json > docs/performance/serving.json
.venv/bin/python docs/generate_performance_plots.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FOLDER: Final = Path(__file__).with_name("performance")
RATES: Final = (
    ("bare encoder", "bare_msgs_per_s"),
    ("engine", "kernel_msgs_per_s"),
    ("ClassifyService", "rpc_msgs_per_s"),
    ("PEFT, mixed", "peft_mixed_msgs_per_s"),
    ("Serve multiplexed", "multiplexed_msgs_per_s"),
)


def main() -> None:
    """Draw."""
    found = json.loads((FOLDER / "serving.json").read_text(encoding="utf-8"))
    rcParams["svg.hashsalt"] = "apaise"
    drawn(found).savefig(FOLDER / "serving.svg", metadata={"Date": None})


def drawn(found: Mapping[str, Any]) -> Figure:
    """Throughput beside bare, by brands in the mix, and how long a lone message takes by load."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    rates, brands, latency = figure.subplots(1, 3)
    _rates(rates, found)
    _brands(brands, found)
    _latency(latency, found)
    return figure


def _rates(axes: Axes, found: Mapping[str, Any]) -> None:
    known = [(name, found[key] / found["bare_msgs_per_s"]) for name, key in reversed(RATES) if key in found]
    bars = axes.barh([name for name, _ in known], [ratio for _, ratio in known], color="tab:blue")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xlim(0, 1.25)
    axes.set_xlabel(f"messages/s of bare, {found['brands']} brands mixed")


def _brands(axes: Axes, found: Mapping[str, Any]) -> None:
    axes.plot([one["brands"] for one in found["scale"]], [one["ratio"] for one in found["scale"]], marker="o")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.25)
    axes.set_xlabel("brands in the mix")
    axes.set_ylabel("engine, messages/s of bare")
    axes.grid(color="0.9")


def _latency(axes: Axes, found: Mapping[str, Any]) -> None:
    loads = [100 * one["load"] for one in found["loads"]]
    for key in ("p50_ms", "p95_ms", "p99_ms"):
        axes.plot(loads, [one[key] for one in found["loads"]], marker="o", label=key.removesuffix("_ms"))
    axes.axhline(found["bare_one_ms"], color="0.4", linestyle=":", label="bare, one message")
    axes.set_ylim(0)
    axes.set_xlabel("load, % of saturation")
    axes.set_ylabel("ms")
    axes.legend(frameon=False)
    axes.grid(color="0.9")


if __name__ == "__main__":
    main()
