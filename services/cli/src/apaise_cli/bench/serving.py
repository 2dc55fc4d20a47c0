"""`apaise bench serving`: the engine and ClassifyService beside the bare encoder and PEFT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from apaise_cli.bench.around import CALL, UNDER_WAY, activate, classify_alone, load, module, table, texts, written
from apaise_cli.home import Home
from apaise_cli.screen import Screen

_LOADS: Final = (0.25, 0.5, 0.75)


def _under_load(home: Home, given_texts: Sequence[str], names: Sequence[str], seconds: float) -> dict[str, Any]:
    """Throughput in calls of 64, then latency of single messages at shares of what single messages saturate at."""
    given = {"texts": given_texts, "brands": names}
    full = load(home, ["closed", "--rows", str(CALL), "--under-way", str(UNDER_WAY), "--seconds", str(seconds)], given)
    single = load(home, ["closed", "--rows", "1", "--under-way", "64", "--seconds", str(seconds / 3)], given)
    loads = []
    for share in _LOADS:
        rate = share * single["msgs_per_s"]
        seen = load(home, ["open", "--rate", str(rate), "--seconds", str(seconds)], given)
        figures = {key: seen[key] for key in ("p50_ms", "p95_ms", "p99_ms", "failed")}
        loads.append({"load": share, "offered_msgs_per_s": round(rate, 1), **figures})
    half = loads[_LOADS.index(0.5)]
    return {
        "rpc_msgs_per_s": full["msgs_per_s"],
        "rpc_failed": full["failed"],
        "generator_cpu": full["generator_cpu"],
        "single_msgs_per_s": single["msgs_per_s"],
        "p50_ms": half["p50_ms"],
        "p99_ms": half["p99_ms"],
        "offered_msgs_per_s": half["offered_msgs_per_s"],
        "loads": loads,
    }


def _peers(home: Home, given: Sequence[str], folders: Mapping[str, Path], seconds: float) -> dict[str, Any]:
    """The same traffic through `@serve.multiplexed`, with the mesh at rest."""
    asked = {"texts": given, "folders": {brand: str(path.absolute()) for brand, path in folders.items()}}
    return module("apaise_classify.peers", [], {**asked, "seconds": seconds})


def tables(document: Mapping[str, Any]) -> list[Any]:
    bare = document["bare_msgs_per_s"]
    rates = table("", "messages/s", "of bare")
    for name, key in (
        (f"bare encoder ({document['dtype']}, batches of {document['bare_batch']})", "bare_msgs_per_s"),
        (f"engine, {document['brands']} brands mixed, calls of {CALL}", "kernel_msgs_per_s"),
        (f"ClassifyService, {document['brands']} brands mixed, calls of {CALL}", "rpc_msgs_per_s"),
        (f"PEFT, {document['brands']} brands mixed", "peft_mixed_msgs_per_s"),
        ("Ray Serve multiplexed, room for all brands", "multiplexed_msgs_per_s"),
        ("Ray Serve multiplexed, its default of 3 models", "multiplexed_default_msgs_per_s"),
    ):
        if key in document:
            rates.add_row(name, f"{document[key]:.0f}", f"{document[key] / bare:.2f}")
    latency = table("load (one message a call)", "messages/s", "p50 ms", "p99 ms", "p50 of bare", "p99 of bare")
    alone = document["bare_one_ms"]
    for one in document["loads"]:
        ratios = (f"{one[key] / alone:.1f}" for key in ("p50_ms", "p99_ms"))
        latency.add_row(
            f"{one['load']:.0%}", f"{one['offered_msgs_per_s']:.0f}", str(one["p50_ms"]), str(one["p99_ms"]), *ratios
        )
    parts: list[Any] = [rates, latency]
    if "scale" in document:
        scale = table("brands in the mix", "messages/s", "of bare", "MB of adapters")
        for one in document["scale"]:
            scale.add_row(
                str(one["brands"]), f"{one['msgs_per_s']:.0f}", f"{one['ratio']:.2f}", str(one["adapters_mb"])
            )
        parts.append(scale)
    share = f"The load generator took {document['generator_cpu']:.2f} of a core."
    return [*parts, f"{document['mb_per_adapter']} MB a resident adapter. {share}"]


def measure(screen: Screen, brands: int, seconds: float, *, scale: bool, peers: bool) -> dict[str, Any]:
    """The keys of `apaise bench serving --json`."""
    given = texts()
    screen.note("1/3  in this machine's processes: the bare encoder, the engine, PEFT")
    options = ["--brands", str(brands), "--seconds", str(seconds / 3), *(["--scale"] if scale else [])]
    document = module("apaise_classify.bench", ["kernel", *options], {"texts": given})
    with classify_alone(screen, {"APAISE_REMEMBERED": "0"}) as home:
        names = [f"bench-{n:04d}" for n in range(brands)]
        screen.note(f"2/3  ClassifyService: {brands} adapters activated")
        adapters = written(home, [(name, "r1") for name in names])
        document["activation_s"] = round(sum(activate(home, adapters)), 1)
        screen.note("3/3  ClassifyService under load")
        document |= _under_load(home, given, names, seconds)
        if peers:
            document |= _peers(home, given, {brand: folder for (brand, _), (folder, _) in adapters.items()}, seconds)
    bare, peft = document["bare_msgs_per_s"], document["peft_mixed_msgs_per_s"]
    document["ratio_to_bare"] = round(document["rpc_msgs_per_s"] / bare, 3)
    document["vs_peft"] = round(document["rpc_msgs_per_s"] / peft, 2)
    return document
