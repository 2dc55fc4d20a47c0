"""The house encoder: base plus house LoRA, merged in float32 once, cached by digest; and the house heads beside it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base import BaseFolder, build_base, cache_dir
from mlops.base.cache import build_once, combined_digest
from mlops.base.huggingface import Progress

if TYPE_CHECKING:
    from torch import Tensor

LORA_FILE = "lora.safetensors"
HEADS_FILE = "heads.safetensors"
CARD_FILE = "house.json"
FOLDER_RECORD = "apaise-house.json"


class HouseWeightsError(RuntimeError):
    """The house weights are missing or damaged; the message says what to do."""


class ForeignBaseError(HouseWeightsError):
    """The house weights were trained on another base encoder than the one in use."""

    def __init__(self, trained_on: str, given: str) -> None:
        super().__init__(
            f"the house weights were trained on base {trained_on[:12]}, the base in use is {given[:12]}: "
            "run `make house` to train them on this base, or unset APAISE_BASE_MODEL"
        )
        self.trained_on = trained_on
        self.given = given


@dataclass(frozen=True)
class Threshold:
    """A label holds from `decision` up; apart from it, a person should look between `no` and `yes`."""

    decision: float
    yes: float
    no: float


@dataclass(frozen=True)
class House:
    """The general model: a merged encoder folder, linear heads on its mean-pooled last hidden state, thresholds.

    `heads` is a safetensors file with `weight` float32 [labels, hidden] and `bias` float32 [labels], rows in the order
    of `labels`; probability = sigmoid(pooled @ weight.T + bias), pooled not normalised.
    """

    path: Path
    encoder_digest: str
    base_digest: str
    revision: str
    labels: tuple[str, ...]
    heads: Path
    thresholds: dict[str, Threshold]
    thresholds_revision: str


def weights_dir() -> Path:
    """`$APAISE_HOUSE_WEIGHTS`, else the weights shipped with the package."""
    configured = os.environ.get("APAISE_HOUSE_WEIGHTS")
    return Path(configured).expanduser() if configured else Path(__file__).parent / "weights"


def encoder_digest(base_digest: str, revision: str) -> str:
    """Identity of a house encoder; brand adapters name it and are refused on another."""
    return combined_digest(["house-encoder", base_digest, revision])


def build_house(
    cache: Path | None = None,
    model: str | None = None,
    progress: Progress | None = None,
    weights: Path | None = None,
) -> House:
    """Return the house model, building base and merged encoder first when they are not in the cache.

    Args:
        cache: where built folders live; `cache_dir()` when absent.
        model: base encoder, as in `build_base`.
        progress: called with (done, total) while building; total differs between the base and the merge.
        weights: folder of house weights; `weights_dir()` when absent.

    Raises:
        ForeignBaseError: the weights were trained on another base.
        HouseWeightsError: the weights are missing or damaged.
        BaseModelError, WheelFormatError: as `build_base`.
    """
    weights = weights or weights_dir()
    record = read_record(weights)
    base = build_base(cache, model, progress)
    if record["base_digest"] != base.digest:
        raise ForeignBaseError(str(record["base_digest"]), base.digest)
    digest = encoder_digest(base.digest, str(record["revision"]))
    # Thresholds may be recalibrated without another encoder: they are part of the folder's name, not of the digest.
    name = f"{digest[:16]}-{combined_digest([str(record['thresholds_revision'])])[:6]}"

    def fill(folder: Path) -> None:
        _merge(base, weights, record, folder, progress)
        shutil.copyfile(weights / HEADS_FILE, folder / HEADS_FILE)
        (folder / FOLDER_RECORD).write_text(json.dumps({**record, "encoder_digest": digest}, indent=2) + "\n")

    return _house(build_once((cache or cache_dir()) / "house" / name, fill), record, digest)


def export_house(target: Path, house: House | None = None) -> Path:
    """Copy the house encoder to `target` as a Hugging Face folder for PEFT users.

    Raises:
        FileExistsError: `target` exists and is not empty.
    """
    house = house or build_house()
    if target.is_dir() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty")
    shutil.copytree(house.path, target, dirs_exist_ok=True)
    return target


def load_heads(path: Path) -> tuple[Tensor, Tensor]:
    """Weight float32 [labels, hidden] and bias float32 [labels] of a heads file."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    return tensors["weight"].float(), tensors["bias"].float()


def read_record(weights: Path) -> dict[str, Any]:
    """The record that ships with the weights.

    Raises:
        HouseWeightsError: no record, or not one this version reads.
    """
    try:
        record = json.loads((weights / CARD_FILE).read_text())
        for key in ("base_digest", "revision", "labels", "thresholds", "thresholds_revision", "lora"):
            record[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HouseWeightsError(
            "no readable house weights here: reinstall apaise-mlops, or run `make house`"
        ) from error
    complete: dict[str, Any] = record
    return complete


def _house(folder: Path, record: dict[str, Any], digest: str) -> House:
    return House(
        path=folder,
        encoder_digest=digest,
        base_digest=record["base_digest"],
        revision=record["revision"],
        labels=tuple(record["labels"]),
        heads=folder / HEADS_FILE,
        thresholds={label: Threshold(**pair) for label, pair in record["thresholds"].items()},
        thresholds_revision=record["thresholds_revision"],
    )


def _merge(base: BaseFolder, weights: Path, record: dict[str, Any], folder: Path, progress: Progress | None) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    from mlops.base.encoder import bare_model

    model = bare_model(base.path, torch.float32)
    factors = load_file(weights / LORA_FILE)
    names = sorted({name.rpartition(".")[0] for name in factors})
    scale = float(record["lora"]["alpha"]) / float(record["lora"]["rank"])
    with torch.no_grad():
        for done, name in enumerate(names, start=1):
            down, up = factors[f"{name}.lora_A"].float(), factors[f"{name}.lora_B"].float()
            model.get_submodule(name).weight += scale * (up @ down)
            if progress:
                progress(done, len(names) + 1)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base.path).save_pretrained(folder)
    if progress:
        progress(len(names) + 1, len(names) + 1)
