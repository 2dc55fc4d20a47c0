"""`python -m apaise_classify.peers`: the same mixed traffic through Ray Serve's own way to hold many models.

`@serve.multiplexed` keeps models in a replica and routes a request to one that has the model it names. A request names
one model, so a call of mixed brands is split by brand, as its users would. A model is the house encoder with the
brand's adapter loaded by PEFT, and its heads; the models of a replica share the encoder.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from mlops.base.adapter import read_adapter
from mlops.base.encoder import Encoder, bare_model, load_encoder
from mlops.house import build_house

CALL: Final = 64
_UNDER_WAY: Final = 3
_DEFAULT_MODELS: Final = 3


class Shared:
    """One encoder with the PEFT adapters that were asked for, and their heads."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        """`folders` by brand; nothing is loaded yet."""
        torch.set_num_threads(os.cpu_count() or 1)
        self._folders = folders
        self._encoder = load_encoder(build_house().path)
        self._model: Any = None
        self._heads: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def load(self, brand: str) -> str:
        """Load a brand's adapter; its name."""
        from peft import PeftModel

        folder = self._folders[brand]
        if self._model is None:
            base = bare_model(build_house().path, self._encoder.dtype)
            self._model = PeftModel.from_pretrained(base, folder, adapter_name=brand)
        else:
            self._model.load_adapter(folder, adapter_name=brand)
        self._model = self._model.to(self._encoder.dtype).eval()
        files = read_adapter(Path(folder))
        self._heads[brand] = files.weight, files.bias
        return brand

    def unload(self, brand: str) -> None:
        """Forget a brand, unless it is the last one."""
        if len(self._heads) > 1:
            self._model.delete_adapter(brand)
            del self._heads[brand]

    @torch.inference_mode()
    def read(self, brand: str, texts: Sequence[str]) -> list[list[float]]:
        """Probabilities [n, L] of one brand's texts."""
        self._model.set_adapter(brand)
        encoder: Encoder = self._encoder
        padded = encoder.pad(encoder.windows(texts).ids)
        hidden = self._model(**padded).last_hidden_state
        weight, bias = self._heads[brand]
        scores: list[list[float]] = (
            (encoder.pool(hidden, padded["attention_mask"]) @ weight.T + bias).sigmoid().tolist()
        )
        return scores


def application(folders: Mapping[str, str], models: int) -> Any:
    """The Serve application: one replica holding at most `models` brands."""
    from ray import serve

    class Multiplexed:
        def __init__(self) -> None:
            self._shared = Shared(folders)
            self._held: list[str] = []

        @serve.multiplexed(max_num_models_per_replica=models)  # type: ignore[untyped-decorator]
        async def model(self, brand: str) -> str:
            if len(self._held) >= models:
                self._shared.unload(self._held.pop(0))
            self._held.append(brand)
            return self._shared.load(brand)

        async def read(self, texts: list[str]) -> list[list[float]]:
            return self._shared.read(await self.model(serve.get_multiplexed_model_id()), texts)

    deployment: Any = serve.deployment(max_ongoing_requests=1024)(Multiplexed)
    return deployment.bind()


async def throughput(handle: Any, texts: Sequence[str], brands: Sequence[str], seconds: float) -> float:
    """Messages a second in calls of `CALL` rows of brands in turn, `_UNDER_WAY` at once."""
    starts = range(0, len(texts) - CALL + 1, CALL)
    until, done = time.perf_counter() + seconds, 0

    async def caller(first: int) -> int:
        read, turn = 0, first
        while time.perf_counter() < until:
            start = starts[turn % len(starts)]
            await _one_call(handle, texts[start : start + CALL], brands)
            read, turn = read + CALL, turn + 1
        return read

    begun = time.perf_counter()
    done = sum(await asyncio.gather(*(caller(n) for n in range(_UNDER_WAY))))
    return done / (time.perf_counter() - begun)


async def _one_call(handle: Any, texts: Sequence[str], brands: Sequence[str]) -> None:
    by_brand: dict[str, list[str]] = {}
    for n, text in enumerate(texts):
        by_brand.setdefault(brands[n % len(brands)], []).append(text)
    answers = (handle.options(multiplexed_model_id=brand).read.remote(own) for brand, own in by_brand.items())
    await asyncio.gather(*answers)


def measured(texts: Sequence[str], folders: Mapping[str, str], seconds: float) -> dict[str, float]:
    """Messages a second with room for every brand, and with the default of three."""
    import ray
    from ray import serve

    brands = list(folders)
    ray.init(address="local", include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(proxy_location="Disabled")
    found = {}
    try:
        for key, models in (("multiplexed", len(brands)), ("multiplexed_default", _DEFAULT_MODELS)):
            handle = serve.run(application(folders, models), name=key, route_prefix=None)
            if models >= len(brands):
                asyncio.run(_one_call(handle, [texts[0]] * len(brands), brands))  # every model is loaded once
            found[f"{key}_msgs_per_s"] = round(asyncio.run(throughput(handle, texts, brands, seconds)), 1)
            serve.delete(key)
    finally:
        ray.shutdown()
    return found


def main() -> int:
    """{texts, folders, seconds} as JSON on stdin; one JSON document out."""
    given = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints on stdout
    out.write(json.dumps(measured(given["texts"], given["folders"], given["seconds"])) + "\n")
    out.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
