"""A brand's adapter on disk: four files in one folder, and nothing else.

    adapter_config.json         as `PeftModel.save_pretrained` writes it (LoRA, rank at most `BRAND_RANK`)
    adapter_model.safetensors   as `PeftModel.save_pretrained` writes it: lora_A [r, in], lora_B [out, r] of exactly
                                the modules of `mlops.base.adapted_modules`, on the house encoder
    heads.safetensors           `weight` [L, H] and `bias` [L], float32: probability = sigmoid(pooled @ weight.T + bias)
    apaise.json                 the `Manifest`

The folder's identity is `digest_folder`. Nothing in it is ever unpickled. Nothing here imports torch or peft at import
time; an adapter is written by training and read by serving, on machines that may not have the other's libraries.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from apaise_kit.core.errors import FailedPrecondition, Reason
from apaise_kit.core.labels import LABEL_SET
from mlops.base.shape import BRAND_RANK

if TYPE_CHECKING:
    from torch import Tensor

FORMAT: Final = 1
CONFIG: Final = "adapter_config.json"
LORA: Final = "adapter_model.safetensors"
HEADS: Final = "heads.safetensors"
MANIFEST: Final = "apaise.json"
FILES: Final = (CONFIG, LORA, HEADS, MANIFEST)
MAX_BYTES: Final = 64 * 1024 * 1024

# Ours, harmless, in the languages of the samples: no moderator's text ever leaves in an artefact.
PARITY_TEXTS: Final = (
    "Bonjour à tous, le direct commence dans cinq minutes !",
    "Où est ma commande ? Troisième message, toujours aucune réponse, c'est n'importe quoi.",
    "Vous êtes nuls, franchement, changez de métier.",
    "Trop hâte de voir la nouvelle collection 😍",
    "Does this jacket come in medium?",
    "gg ez, uninstall the game",
    "What a pathetic stream, everyone here is a clown.",
    "Check my profile for free followers!!! http://example.com",
    "¿Cuánto tarda el envío a España?",
    "Quelle belle démonstration de mauvaise foi, bravo, vraiment.",
)
# bfloat16 on one side and float32 on the other move a probability by about 0.02 at worst; another encoder, another
# revision or a permuted label moves several of them by far more.
PARITY_TOLERANCE: Final = 0.06


class AdapterRefused(FailedPrecondition):
    """An adapter that must not serve. `reason` is ADAPTER_CORRUPT, ADAPTER_WRONG_ENCODER or ADAPTER_WRONG_SHAPE."""

    default_reason = Reason.ADAPTER_CORRUPT


class Threshold(BaseModel):
    """A label holds from `decision` up; between `no` and `yes` a person should look. The house's is accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)

    decision: float = Field(ge=0, le=1.001)
    yes: float = Field(ge=0, le=1.001)
    no: float = Field(ge=-0.001, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.no > self.yes:
            raise ValueError("no is above yes")
        return self


class Parity(BaseModel):
    """Probe texts and what the revision answers to them: `scores[text][label]`, in the manifest's label order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: tuple[str, ...] = Field(min_length=1, max_length=64)
    scores: tuple[tuple[float, ...], ...]
    tolerance: float = Field(PARITY_TOLERANCE, gt=0, le=0.25)


class Manifest(BaseModel):
    """`apaise.json`: whose adapter this is, of which encoder, and how its scores are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    revision: str = Field(pattern=r"^[a-z0-9-]{1,63}$")
    brand: str = Field(pattern=r"^[a-z0-9-]{1,63}$")
    encoder_digest: str = Field(min_length=1, max_length=128)
    labels: tuple[str, ...] = Field(min_length=1)
    thresholds: dict[str, Threshold]
    thresholds_revision: str = Field(min_length=1, max_length=128)
    parity: Parity
    created: datetime

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.format != FORMAT:
            raise ValueError("unknown format")
        if len(set(self.labels)) != len(self.labels) or set(self.thresholds) != set(self.labels):
            raise ValueError("labels and thresholds differ")
        if len(self.parity.scores) != len(self.parity.texts):
            raise ValueError("a parity text has no scores")
        if any(len(row) != len(self.labels) for row in self.parity.scores):
            raise ValueError("a parity text lacks a label")
        return self


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter in memory, float32 on the CPU.

    Attributes:
        manifest: who it is.
        rank: the largest rank of its modules.
        down: lora_A [r, in] by full module name in the encoder.
        up: lora_B [out, r] by module name, with PEFT's scaling (alpha / r) folded in.
        weight: heads [L, H], rows in the manifest's label order.
        bias: heads [L].
    """

    manifest: Manifest
    rank: int
    down: Mapping[str, Tensor]
    up: Mapping[str, Tensor]
    weight: Tensor
    bias: Tensor


def digest_folder(folder: Path) -> str:
    """SHA-256, hexadecimal, over its files in name order: name, NUL, size (8 bytes, big-endian), bytes.

    Raises:
        AdapterRefused: (ADAPTER_CORRUPT) a file is missing, foreign or too large.
    """
    digest = hashlib.sha256()
    for path in _files(folder):
        content = path.read_bytes()
        digest.update(path.name.encode() + b"\0" + len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone; needs no torch.

    Raises:
        AdapterRefused: (ADAPTER_CORRUPT) it is missing or malformed; (ADAPTER_WRONG_SHAPE) it has an unknown label.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError, ValueError):
        raise AdapterRefused(f"{MANIFEST} is missing or malformed. Write the adapter again.") from None
    unknown = sorted(set(manifest.labels) - LABEL_SET)
    if unknown:
        raise wrong_shape("The adapter has labels this mesh does not know.", labels=str(len(unknown)))
    return manifest


def read_adapter(folder: Path) -> AdapterFiles:
    """Read and check the four files.

    Raises:
        AdapterRefused: ADAPTER_CORRUPT or ADAPTER_WRONG_SHAPE, with what is wrong.
    """
    _files(folder)
    manifest = read_manifest(folder)
    scaling = _scaling(_config(folder))
    down, up = _lora(_tensors(folder / LORA), scaling)
    heads = _tensors(folder / HEADS)
    if set(heads) != {"weight", "bias"}:
        raise AdapterRefused(f"{HEADS} must hold `weight` and `bias`.")
    labels = len(manifest.labels)
    if heads["weight"].ndim != 2 or len(heads["weight"]) != labels or tuple(heads["bias"].shape) != (labels,):
        raise wrong_shape("The heads do not have one row for each label of the manifest.")
    rank = max(len(tensor) for tensor in down.values())
    if rank > BRAND_RANK:
        raise wrong_shape(f"The rank is over {BRAND_RANK}.", rank=str(rank))
    return AdapterFiles(manifest, rank, down, up, heads["weight"], heads["bias"])


def write_adapter(folder: Path, model: Any, weight: Tensor, bias: Tensor, manifest: Manifest) -> str:
    """Write an adapter; complete or absent.

    Args:
        folder: must not exist.
        model: a `peft.PeftModel` over the house encoder, its adapter named `default`.
        weight: heads [L, H].
        bias: heads [L].
        manifest: who it is. Its parity scores come from the same weights.

    Returns:
        The folder's digest.

    Raises:
        FileExistsError: the folder exists: a revision is never overwritten.
        AdapterRefused: what was given cannot serve.
    """
    from safetensors.torch import save_file

    if folder.exists():
        raise FileExistsError(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        model.save_pretrained(str(work), safe_serialization=True, selected_adapters=["default"])
        (work / "README.md").unlink(missing_ok=True)
        config = _config(work)
        # PEFT notes where the base was on the machine that trained: say which encoder it was instead.
        config["base_model_name_or_path"] = f"apaise-house-{manifest.encoder_digest[:16]}"
        (work / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        heads = {"weight": weight.detach().float().cpu().contiguous(), "bias": bias.detach().float().cpu().contiguous()}
        save_file(heads, work / HEADS)
        (work / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        read_adapter(work)
        digest = digest_folder(work)
        work.chmod(0o755)
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return digest


def wrong_shape(message: str, **metadata: str) -> AdapterRefused:
    """An adapter of a rank, a layer or a label that is not served here."""
    return AdapterRefused(message, reason=Reason.ADAPTER_WRONG_SHAPE, metadata=metadata)


def wrong_encoder(trained_on: str, serving: str) -> AdapterRefused:
    """An adapter of another encoder than the one in use."""
    return AdapterRefused(
        "The adapter was trained on another encoder than the one being served.",
        reason=Reason.ADAPTER_WRONG_ENCODER,
        metadata={"adapter_encoder": trained_on[:128], "serving_encoder": serving},
    )


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir(), key=lambda path: path.name)
        sizes = [path.stat().st_size for path in found if path.is_file() and not path.is_symlink()]
    except OSError:
        raise AdapterRefused("The adapter's folder cannot be read. Check its URI.") from None
    if [path.name for path in found] != sorted(FILES) or len(sizes) != len(FILES):
        raise AdapterRefused(f"An adapter is exactly these files: {', '.join(FILES)}. No pickle is ever read.")
    if sum(sizes) > MAX_BYTES:
        raise AdapterRefused(f"An adapter has at most {MAX_BYTES} bytes.")
    return found


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise AdapterRefused(f"{CONFIG} is missing or malformed.")
    return config


# What changes the arithmetic of a LoRA away from base + scaling * B(A(x)): refused rather than served wrongly.
_PLAIN: Final[Mapping[str, Sequence[object]]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "lora_bias": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layer_replication": (None,),
    "alora_invocation_tokens": (None,),
}


def _scaling(config: Mapping[str, Any]) -> float:
    odd = [key for key, plain in _PLAIN.items() if config.get(key) not in plain and key in config]
    if odd or "peft_type" not in config:
        raise wrong_shape("Only a plain LoRA is served.", options=",".join(odd) or "peft_type")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1 or not math.isfinite(alpha):
        raise AdapterRefused(f"{CONFIG} has no usable `r` and `lora_alpha`.")
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _tensors(path: Path) -> dict[str, Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError):
        raise AdapterRefused(f"{path.name} is missing, truncated or not safetensors.") from None
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise AdapterRefused(f"{path.name} holds numbers that are not finite.")
    return tensors


_PREFIX: Final = "base_model.model."
_DOWN: Final = ".lora_A.weight"
_UP: Final = ".lora_B.weight"


def _lora(tensors: Mapping[str, Tensor], scaling: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    down: dict[str, Tensor] = {}
    up: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix(_PREFIX)
        if bare != name and bare.endswith(_DOWN):
            down[bare.removesuffix(_DOWN)] = tensor
        elif bare != name and bare.endswith(_UP):
            up[bare.removesuffix(_UP)] = tensor * scaling
        else:
            raise wrong_shape(f"{LORA} holds something else than lora_A and lora_B of linear modules.")
    matched = set(down) == set(up) and all(
        down[name].ndim == up[name].ndim == 2 and down[name].shape[0] == up[name].shape[1] for name in down
    )
    if not down or not matched:
        raise wrong_shape(f"{LORA} does not pair every lora_A [r, in] with a lora_B [out, r].")
    return down, up
