"""A house and adapters small enough for tests: the real code over a random BERT of a few thousand parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from apaise_classify.domain.adapters import Revision
from mlops.base import BRAND_RANK, adapted_modules, build_base
from mlops.base.adapter import PARITY_TEXTS, Manifest, Parity, Threshold, write_adapter
from mlops.base.encoder import Encoder, bare_model, highest, load_encoder
from mlops.base.normalize import normalize
from mlops.house import House, build_house, load_heads

LABELS: Final = ("toxic", "complaint", "praise", "remove")
HIDDEN: Final = 32
_LAYERS: Final = 6
_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@dataclass(frozen=True)
class TinyHouse:
    """What `build_house` needs to build a tiny house: a base folder, house weights, a cache."""

    base: Path
    weights: Path
    cache: Path

    def build(self) -> House:
        """The house, built once into the cache."""
        return build_house(self.cache, str(self.base), weights=self.weights)


def tiny_house(folder: Path, seed: int = 7) -> TinyHouse:
    """Write a random base and random house weights under `folder`."""
    torch.manual_seed(seed)
    base = folder / "base"
    _write_base(base)
    weights = folder / "weights"
    weights.mkdir()
    model = bare_model(base, torch.float32)
    name = adapted_modules(model)[0]
    inner = model.get_submodule(name)
    save_file(
        {f"{name}.lora_A": torch.randn(2, inner.in_features), f"{name}.lora_B": torch.randn(inner.out_features, 2)},
        weights / "lora.safetensors",
    )
    heads = {"weight": torch.randn(len(LABELS), HIDDEN), "bias": torch.randn(len(LABELS))}
    save_file(heads, weights / "heads.safetensors")
    record = {
        "base_digest": build_base(model=str(base)).digest,
        "revision": f"tiny-{seed}",
        "labels": list(LABELS),
        "thresholds": {label: {"decision": 0.5, "yes": 0.6, "no": 0.4} for label in LABELS},
        "thresholds_revision": f"tiny-thresholds-{seed}",
        "lora": {"alpha": 1.0, "rank": 2},
    }
    (weights / "house.json").write_text(json.dumps(record))
    return TinyHouse(base, weights, folder / "cache")


def _write_base(folder: Path) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = [chr(code) for code in (*range(32, 127), *range(0xE0, 0x100))]
    vocabulary = {piece: n for n, piece in enumerate([*_SPECIAL, *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapped: Any = PreTrainedTokenizerFast
    wrapped(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=HIDDEN,
        num_hidden_layers=_LAYERS,
        num_attention_heads=4,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=160,
        initializer_range=0.2,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


def random_adapter(
    folder: Path,
    house: House,
    brand: str,
    revision: str,
    *,
    seed: int = 0,
    rank: int = BRAND_RANK,
    labels: Sequence[str] = LABELS,
    modules: Sequence[str] | None = None,
    strength: float = 1.0,
    **manifest: Any,
) -> Revision:
    """Write an adapter of random weights with true parity scores; what to activate it as.

    Args:
        folder: must not exist.
        house: whose encoder it adapts.
        brand: whose it is.
        revision: its id.
        seed: another seed is another adapter.
        rank: of the LoRA.
        labels: of the heads.
        modules: adapted ones, by default the right ones.
        strength: multiplies the update.
        manifest: fields of the manifest to set otherwise.
    """
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = bare_model(house.path, torch.float32)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=list(modules or adapted_modules(model)),
        lora_dropout=0.0,
        init_lora_weights=False,
    )
    adapted = get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.mul_(strength)
    weight, bias = torch.randn(len(labels), HIDDEN), torch.randn(len(labels))
    scores = peft_scores(house, adapted, weight, bias, PARITY_TEXTS)
    fields: dict[str, Any] = {
        "revision": revision,
        "brand": brand,
        "encoder_digest": house.encoder_digest,
        "labels": tuple(labels),
        "thresholds": {label: Threshold(decision=0.6, yes=0.7, no=0.5) for label in labels},
        "thresholds_revision": f"{revision}-thresholds",
        "parity": Parity(texts=PARITY_TEXTS, scores=tuple(map(tuple, scores.tolist())), tolerance=0.06),
        "created": datetime(2026, 1, 1, tzinfo=UTC),
    }
    digest = write_adapter(folder, adapted, weight, bias, Manifest(**{**fields, **manifest}))
    return Revision(brand, revision, str(folder), digest, house.encoder_digest)


@torch.inference_mode()
def peft_scores(house: House, adapted: Any, weight: Tensor, bias: Tensor, texts: Sequence[str]) -> Tensor:
    """What PEFT's own forward gives, one text at a time: float32 [n, labels]."""
    like = load_encoder(house.path, dtype="float32")
    encoder = Encoder(adapted, like.tokenizer, like.digest, like.device, like.dtype, like.max_tokens, like.prefix)
    windows = encoder.windows([normalize(text) for text in texts])
    pooled = encoder.pooled(windows.ids, batch_rows=1)
    return highest((pooled @ weight.T + bias).sigmoid(), windows.owners, len(texts))


def reference(house: House, folder: Path, texts: Sequence[str]) -> Tensor:
    """Scores of an adapter's folder through `PeftModel.from_pretrained`, float32 [n, labels]."""
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(bare_model(house.path, torch.float32), str(folder)).eval()
    weight, bias = load_heads(folder / "heads.safetensors")
    return peft_scores(house, adapted, weight, bias, texts)
