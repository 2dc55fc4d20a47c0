"""`python -m apaise_classify.peers`: the same brands on Ray Serve's own model multiplexing, to compare with.

As its documentation shows it: each request names its brand, `@serve.multiplexed` loads that brand's adapter where it is
not loaded yet, and PEFT switches to it. Requests of different brands cannot share a pass, which is the point.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mlops.bench.adapters import write_adapters
from mlops.house import build_house

_UNDER_WAY: Final = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON document; texts as JSON on stdin."""
    parser = argparse.ArgumentParser(prog="python -m apaise_classify.peers", description=__doc__)
    parser.add_argument("--brands", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args(arguments)
    texts: list[str] = json.load(sys.stdin)["texts"]
    names = [(f"bench-{n:04d}", "r1") for n in range(options.brands)]
    with tempfile.TemporaryDirectory() as folder:
        written = write_adapters(build_house(), Path(folder), names)
        folders = {brand: str(path) for (brand, _), (path, _) in zip(names, written, strict=True)}
        rate = multiplexed(folders, texts, options.seconds)
    sys.stdout.write(json.dumps({"multiplexed_msgs_per_s": round(rate, 1)}) + "\n")
    return 0


def multiplexed(folders: Mapping[str, str], texts: Sequence[str], seconds: float) -> float:
    """Messages a second, one a request, brands in turn; every adapter is loaded before the clock starts."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import serve

    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        handle = serve.run(_application(folders), name="peer", route_prefix=None)
        brands = list(folders)

        async def work(until: float) -> int:
            done = 0

            async def caller(first: int) -> None:
                nonlocal done
                turn = first
                while time.perf_counter() < until:
                    brand = brands[turn % len(brands)]
                    await handle.options(multiplexed_model_id=brand).remote(texts[turn % len(texts)])
                    turn, done = turn + _UNDER_WAY, done + 1

            await asyncio.gather(*(caller(first) for first in range(_UNDER_WAY)))
            return done

        async def warm() -> None:
            for brand in brands:
                await handle.options(multiplexed_model_id=brand).remote(texts[0])

        asyncio.run(warm())
        started = time.perf_counter()
        done = asyncio.run(work(started + seconds))
        return done / (time.perf_counter() - started)
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]  # Ray's
        ray.shutdown()


def _application(folders: Mapping[str, str]) -> Any:
    from ray import serve

    class Peer:
        def __init__(self) -> None:
            import torch
            from peft import PeftModel

            from mlops.base.encoder import bare_model, load_encoder

            torch.set_num_threads(os.cpu_count() or 1)
            house = build_house()
            self._encoder = load_encoder(house.path)
            first = next(iter(folders))
            model = bare_model(house.path, self._encoder.dtype)
            self._model: Any = PeftModel.from_pretrained(model, folders[first], adapter_name=first).eval()

        @serve.multiplexed(max_num_models_per_replica=len(folders))  # type: ignore[untyped-decorator]  # Ray's
        async def _adapter(self, brand: str) -> Any:
            from mlops.base.adapter import read_adapter

            if brand not in self._model.peft_config:
                self._model.load_adapter(folders[brand], adapter_name=brand)
                self._model.to(self._encoder.dtype)
            return read_adapter(Path(folders[brand]))

        async def __call__(self, text: str) -> list[float]:
            import torch

            brand = serve.get_multiplexed_model_id()
            heads = await self._adapter(brand)
            with torch.inference_mode():
                self._model.set_adapter(brand)
                padded = self._encoder.pad(self._encoder.windows([text]).ids)
                hidden = self._model(**padded).last_hidden_state
                pooled = self._encoder.pool(hidden, padded["attention_mask"])
                scores: list[float] = (pooled @ heads.weight.T + heads.bias).sigmoid()[0].tolist()
                return scores

    deployment: Any = serve.deployment(max_ongoing_requests=2 * _UNDER_WAY, ray_actor_options={"num_cpus": 1})
    return deployment(Peer).bind()


if __name__ == "__main__":
    raise SystemExit(main())
