"""The encoder in memory: tokenised windows in, mean-pooled vectors out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlops.base.build import build_base

PREFIX = "query: "
# Mean pooling blurs a long text: one cruel sentence in twenty kind ones disappears. Windows this short keep it visible.
MAX_TOKENS = 128
OVERLAP = 32
BATCH_ROWS = 32

DType = Literal["auto", "bfloat16", "float32"]


@dataclass(frozen=True)
class Windows:
    """Texts cut into token lists the encoder can read.

    `ids[w]` is one window with its prefix and special tokens, `owners[w]` the row of the text it comes from, in
    order; `truncated[row]` says that a text needed more than one window.
    """

    ids: list[list[int]]
    owners: list[int]
    truncated: list[bool]


@dataclass(frozen=True)
class Encoder:
    """A BERT-like model in eval mode with its tokenizer and the digest that identifies it."""

    model: Any
    tokenizer: Any
    digest: str
    device: torch.device
    dtype: torch.dtype
    max_tokens: int = MAX_TOKENS
    prefix: str = PREFIX

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    def windows(self, texts: Sequence[str]) -> Windows:
        """Cut texts into overlapping windows of at most `max_tokens` tokens; an empty text gives one window."""
        start, end = self.frame
        ids: list[list[int]] = []
        owners: list[int] = []
        truncated: list[bool] = []
        for row, tokens in enumerate(self._bare_tokens(texts)):
            parts = self.cut(len(tokens))
            ids.extend([*start, *tokens[part.start : part.stop], *end] for part in parts)
            owners.extend([row] * len(parts))
            truncated.append(len(parts) > 1)
        return Windows(ids, owners, truncated)

    def cut(self, tokens: int) -> list[range]:
        """Which of a text's tokens each of its windows holds."""
        room = self.max_tokens - sum(map(len, self.frame))
        stride = max(1, room - min(OVERLAP, room // 2))
        return [range(at, min(tokens, at + room)) for at in range(0, max(1, tokens - room + stride), stride)]

    def tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """A text's tokens without their frame, and the characters each stands for."""
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return list(found["input_ids"]), [(int(start), int(end)) for start, end in found["offset_mapping"]]

    def pad(self, ids: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Padded `input_ids` and `attention_mask`, int64 [n, longest], on the encoder's device."""
        longest = max(map(len, ids), default=0)
        padding = int(self.tokenizer.pad_token_id or 0)
        input_ids = torch.full((len(ids), longest), padding, dtype=torch.long)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for row, tokens in enumerate(ids):
            input_ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
            mask[row, : len(tokens)] = 1
        return {"input_ids": input_ids.to(self.device), "attention_mask": mask.to(self.device)}

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """One padded row per text: its first window only (see `windows` for the whole of a long text)."""
        windows = self.windows(texts)
        first: dict[int, list[int]] = {}
        for tokens, owner in zip(windows.ids, windows.owners, strict=True):
            first.setdefault(owner, tokens)
        return self.pad(list(first.values()))

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Mean of the real tokens' vectors: [n, tokens, hidden] and [n, tokens] -> float32 [n, hidden]."""
        weights = mask.unsqueeze(-1).to(torch.float32)
        return (hidden.to(torch.float32) * weights).sum(1) / weights.sum(1).clamp(min=1.0)

    @torch.inference_mode()
    def pooled(self, ids: Sequence[Sequence[int]], batch_rows: int = BATCH_ROWS) -> Tensor:
        """Mean-pooled vectors of token lists, float32 [n, hidden], in the given order, length-sorted inside."""
        out = torch.empty((len(ids), self.hidden_size), dtype=torch.float32)
        for rows in length_sorted(ids, batch_rows):
            batch = self.pad([ids[row] for row in rows])
            hidden = self.model(**batch).last_hidden_state
            out[rows] = self.pool(hidden, batch["attention_mask"]).cpu()
        return out

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """L2-normalised vectors, float32 [n, hidden]; a long text is the mean of its windows, by their tokens."""
        windows = self.windows(texts)
        return self.joined(windows, self.pooled(windows.ids), len(texts))

    def joined(self, windows: Windows, vectors: Tensor, rows: int) -> NDArray[np.float32]:
        """Unit vectors [rows, hidden] from the windows' [windows, hidden]."""
        sizes = torch.tensor([len(tokens) for tokens in windows.ids], dtype=torch.float32).unsqueeze(1)
        total = torch.zeros((rows, self.hidden_size), dtype=torch.float32)
        total.index_add_(0, torch.tensor(windows.owners, dtype=torch.long), vectors.cpu() * sizes)
        embedded: NDArray[np.float32] = torch.nn.functional.normalize(total, dim=1).numpy()
        return embedded

    @cached_property
    def frame(self) -> tuple[list[int], list[int]]:
        """Token ids before and after a text: special tokens and prefix, found by tokenising a probe."""
        probe = self.prefix.strip() or "a"
        bare: list[int] = self.tokenizer(probe, add_special_tokens=False)["input_ids"]
        whole: list[int] = self.tokenizer(probe, add_special_tokens=True)["input_ids"]
        at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        return whole[:at] + (bare if self.prefix else []), whole[at + len(bare) :]

    def _bare_tokens(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        tokens: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return tokens


def length_sorted(ids: Sequence[Sequence[int]], batch_rows: int = BATCH_ROWS) -> Iterator[list[int]]:
    """Row indices in batches of similar length: padding is what makes mixed batches slow."""
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for start in range(0, len(order), batch_rows):
        yield order[start : start + batch_rows]


def highest(scores: Tensor, owners: Sequence[int], rows: int) -> Tensor:
    """Highest score per text and label: [windows, labels] -> [rows, labels]."""
    index = torch.tensor(owners, dtype=torch.long, device=scores.device).unsqueeze(1).expand(-1, scores.shape[1])
    best = torch.full((rows, scores.shape[1]), -torch.inf, dtype=scores.dtype, device=scores.device)
    return best.scatter_reduce(0, index, scores, "amax")


def best_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32 (emulated bfloat16 is slower)."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16")
    return torch.bfloat16 if native else torch.float32


def load_encoder(folder: Path, device: str = "cpu", dtype: DType = "auto") -> Encoder:
    """Load a base or house folder for inference.

    Raises:
        BaseModelError: the folder holds no usable encoder.
    """
    from transformers import AutoTokenizer

    where = torch.device(device)
    chosen = best_dtype(where) if dtype == "auto" else getattr(torch, dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = bare_model(folder, chosen).to(where).eval().requires_grad_(False)
    window = min(MAX_TOKENS, int(getattr(model.config, "max_position_embeddings", MAX_TOKENS)) - 2)
    return Encoder(model, tokenizer, folder_digest(folder), where, chosen, max_tokens=window)


def bare_model(folder: Path, dtype: torch.dtype) -> Any:
    """The encoder without the pooler that BERT classes would otherwise initialise at random."""
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # PEFT asks for it by its old name; nobody who reads this could do anything about it.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
    config = AutoConfig.from_pretrained(folder)
    pooler = {"add_pooling_layer": False} if config.model_type in _WITH_POOLER else {}
    return AutoModel.from_pretrained(folder, config=config, dtype=dtype, **pooler)


_WITH_POOLER = frozenset({"bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text", "ernie"})


def folder_digest(folder: Path) -> str:
    """The digest recorded in a folder built by Apaise, else that of its files."""
    for name, key in (("apaise-house.json", "encoder_digest"), ("apaise-base.json", "digest")):
        if (folder / name).is_file():
            return str(json.loads((folder / name).read_text())[key])
    return build_base(model=str(folder)).digest
