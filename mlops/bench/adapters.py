"""Adapters of random weights in exactly the shape training writes, to measure with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlops.base.adapter import PARITY_TEXTS, Manifest, Parity, Threshold, write_adapter
from mlops.base.normalize import normalize
from mlops.base.shape import BRAND_RANK

if TYPE_CHECKING:
    from mlops.house import House

# As large as an update that has learnt something, so that two revisions are told apart by any message.
STRENGTH: Final = 0.06
SHIFT: Final = 6.0


def write_adapters(
    house: House,
    folder: Path,
    names: Sequence[tuple[str, str]],
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Path, str]]:
    """Write one adapter a (brand, revision) under `folder/brand/revision`; their folders and digests.

    Raises:
        FileExistsError: one is there already.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    from mlops.base import adapted_modules
    from mlops.base.encoder import Encoder, bare_model, load_encoder
    from mlops.house import load_heads

    plain = load_encoder(house.path, dtype="float32")
    model = bare_model(house.path, torch.float32)
    config = LoraConfig(
        r=BRAND_RANK, lora_alpha=2 * BRAND_RANK, target_modules=adapted_modules(model), lora_dropout=0.0
    )
    adapted = get_peft_model(model, config).eval()
    reading = Encoder(adapted, plain.tokenizer, plain.digest, plain.device, plain.dtype, plain.max_tokens, plain.prefix)
    windows = plain.windows([normalize(text) for text in PARITY_TEXTS])
    weight, bias = load_heads(house.heads)
    chance = torch.Generator().manual_seed(seed)
    written: list[tuple[Path, str]] = []
    for brand, revision in names:
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_" in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=chance) * STRENGTH)
        own = weight + torch.randn(weight.shape, generator=chance) * weight.std() * 0.5
        shifted = bias + torch.randn(bias.shape, generator=chance) * SHIFT
        scores = (reading.pooled(windows.ids) @ own.T + shifted).sigmoid()
        target = folder / brand / revision
        digest = write_adapter(target, adapted, own, shifted, _manifest(house, brand, revision, scores))
        written.append((target, digest))
        if progress:
            progress(len(written))
    return written


def _manifest(house: House, brand: str, revision: str, scores: Any) -> Manifest:
    return Manifest(
        revision=revision,
        brand=brand,
        encoder_digest=house.encoder_digest,
        labels=house.labels,
        thresholds={label: Threshold.model_validate(given) for label, given in house.thresholds.items()},
        thresholds_revision=revision,
        parity=Parity(texts=PARITY_TEXTS, scores=tuple(map(tuple, scores.tolist()))),
        created=datetime.now(UTC),
    )
