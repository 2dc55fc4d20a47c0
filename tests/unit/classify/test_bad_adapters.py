"""Adapters that must not serve: each has its reason, and never gets near the engine."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from apaise_classify.domain.adapters import Revision
from apaise_classify.serving.engine import Engine
from apaise_classify.serving.load import load_adapter
from apaise_classify.testing import random_adapter
from apaise_kit.core.errors import ApaiseError, Reason, Unavailable
from mlops.base.adapter import CONFIG, HEADS, LORA, MANIFEST, AdapterRefused, digest_folder
from mlops.base.encoder import load_encoder
from mlops.house import House


@pytest.fixture(scope="module")
def engine(house: House) -> Engine:
    return Engine(load_encoder(house.path, dtype="float32"), house)


@pytest.fixture
def folder(tmp_path: Path, artefacts: dict[str, Path]) -> Path:
    """A copy of a good adapter, to be damaged."""
    return shutil.copytree(artefacts["r1"], tmp_path / "r1")


def as_revision(folder: Path, house: House) -> Revision:
    return Revision("acme", "r1", str(folder), digest_folder(folder), house.encoder_digest)


def refusal(engine: Engine, revision: Revision, cache: Path) -> ApaiseError:
    with pytest.raises(ApaiseError) as caught:
        load_adapter(revision, engine.house.encoder, cache, engine.load)
    assert not list(cache.glob("adapters/.fetch-*")), "nothing half-fetched stays behind"
    return caught.value


def truncate(folder: Path) -> None:
    path = folder / LORA
    path.write_bytes(path.read_bytes()[:-100])


def not_safetensors(folder: Path) -> None:
    (folder / HEADS).write_bytes(pickle.dumps({"weight": [1.0]}))


def lying_header(folder: Path) -> None:
    (folder / LORA).write_bytes((2**63).to_bytes(8, "little") + b"{}")


def no_json(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")


def parity_of_another_length(folder: Path) -> None:
    edit(folder, parity={"texts": ["a", "b"], "scores": [[0.1] * 4], "tolerance": 0.05})


def infinite(folder: Path) -> None:
    tensors = load_file(folder / HEADS)
    save_file({**tensors, "bias": tensors["bias"] + torch.inf}, folder / HEADS)


def other_brand(folder: Path) -> None:
    edit(folder, brand="globex")


def other_revision(folder: Path) -> None:
    edit(folder, revision="r9")


def unknown_label(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    labels = ["unheard_of", *manifest["labels"][1:]]
    edit(folder, labels=labels, thresholds={label: {"decision": 0.5, "yes": 0.6, "no": 0.4} for label in labels})


def house_label_missing(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    labels = ["banter", *manifest["labels"][1:]]
    edit(folder, labels=labels, thresholds={label: {"decision": 0.5, "yes": 0.6, "no": 0.4} for label in labels})


def fewer_heads(folder: Path) -> None:
    tensors = load_file(folder / HEADS)
    save_file({name: tensor[:-1].contiguous() for name, tensor in tensors.items()}, folder / HEADS)


def extra_module(folder: Path) -> None:
    tensors = load_file(folder / LORA)
    name = next(name for name in tensors if "layer.5" in name and "lora_A" in name)
    for kind in ("lora_A", "lora_B"):
        extra = name.replace("lora_A", kind).replace("layer.5", "layer.1")
        tensors[extra] = tensors[name.replace("lora_A", kind)].clone()
    save_file(tensors, folder / LORA)


def module_missing(folder: Path) -> None:
    save_file({k: v for k, v in load_file(folder / LORA).items() if "layer.5.output" not in k}, folder / LORA)


def half_a_pair(folder: Path) -> None:
    tensors = load_file(folder / LORA)
    tensors.pop(next(name for name in tensors if "lora_B" in name))
    save_file(tensors, folder / LORA)


def other_width(folder: Path) -> None:
    tensors = load_file(folder / LORA)
    save_file({k: torch.randn(8, 16) if "lora_A" in k else v for k, v in tensors.items()}, folder / LORA)


def dora(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, "use_dora": True}))


def edit(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **fields}))


CORRUPT = [
    truncate,
    not_safetensors,
    lying_header,
    no_json,
    parity_of_another_length,
    infinite,
    other_brand,
    other_revision,
]
WRONG_SHAPE = [
    unknown_label,
    house_label_missing,
    fewer_heads,
    extra_module,
    module_missing,
    half_a_pair,
    other_width,
    dora,
]


@pytest.mark.parametrize("damage", CORRUPT)
def test_corrupt(engine: Engine, house: House, folder: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    assert refusal(engine, as_revision(folder, house), tmp_path / "cache").reason is Reason.ADAPTER_CORRUPT


@pytest.mark.parametrize("damage", WRONG_SHAPE)
def test_wrong_shape(
    engine: Engine, house: House, folder: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(folder)
    assert refusal(engine, as_revision(folder, house), tmp_path / "cache").reason is Reason.ADAPTER_WRONG_SHAPE


def test_a_byte_changed_after_publication(engine: Engine, house: House, folder: Path, tmp_path: Path) -> None:
    revision = as_revision(folder, house)
    content = bytearray((folder / LORA).read_bytes())
    content[-1] ^= 1
    (folder / LORA).write_bytes(content)
    assert refusal(engine, revision, tmp_path / "cache").reason is Reason.ADAPTER_CORRUPT


class Payload:
    """Would leave a trace if anything unpickled it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (self.trace,))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["adapter_model.bin", LORA])
def test_a_pickle_is_refused_and_never_run(
    engine: Engine, house: House, folder: Path, tmp_path: Path, name: str
) -> None:
    trace = tmp_path / "executed"
    if name == LORA:
        torch.save(Payload(trace), folder / LORA)
        revision = as_revision(folder, house)
    else:
        revision = as_revision(folder, house)
        torch.save(Payload(trace), folder / name)
    assert refusal(engine, revision, tmp_path / "cache").reason is Reason.ADAPTER_CORRUPT
    assert not trace.exists()


def test_a_link_out_of_the_folder(engine: Engine, house: House, folder: Path, tmp_path: Path) -> None:
    revision = as_revision(folder, house)
    (tmp_path / "elsewhere").write_bytes((folder / HEADS).read_bytes())
    (folder / HEADS).unlink()
    (folder / HEADS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AdapterRefused):
        engine.load(folder)
    assert digest_folder_refused(folder)
    assert revision.digest


def digest_folder_refused(folder: Path) -> bool:
    with pytest.raises(AdapterRefused):
        digest_folder(folder)
    return True


@pytest.mark.parametrize("where", ["declared", "manifest"])
def test_another_encoder(engine: Engine, house: House, folder: Path, tmp_path: Path, where: str) -> None:
    if where == "manifest":
        edit(folder, encoder_digest="b" * 64)
    revision = as_revision(folder, house)
    if where == "declared":
        revision = replace(revision, encoder="b" * 64)
    error = refusal(engine, revision, tmp_path / "cache")
    assert error.reason is Reason.ADAPTER_WRONG_ENCODER
    assert error.metadata == {"adapter_encoder": "b" * 64, "serving_encoder": house.encoder_digest}


def test_too_large_a_rank_cannot_even_be_written(house: House, tmp_path: Path) -> None:
    with pytest.raises(AdapterRefused) as caught:
        random_adapter(tmp_path / "r1", house, "acme", "r1", rank=16)
    assert caught.value.reason is Reason.ADAPTER_WRONG_SHAPE
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("/nowhere/at/all", AdapterRefused),
        ("http://example.com/adapter", AdapterRefused),
        ("simplecache::file:///tmp", AdapterRefused),
        ("memory://adapter", AdapterRefused),
    ],
)
def test_uris_that_are_not_followed(
    engine: Engine, house: House, tmp_path: Path, uri: str, kind: type[ApaiseError]
) -> None:
    error = refusal(engine, Revision("acme", "r1", uri, "0" * 64, house.encoder_digest), tmp_path / "cache")
    assert isinstance(error, kind)


def test_a_store_that_is_away_may_be_tried_again(
    engine: Engine, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(uri: str) -> None:
        raise ConnectionError

    monkeypatch.setattr("fsspec.core.url_to_fs", away)
    revision = Revision("acme", "r1", "s3://bucket/r1", "0" * 64, house.encoder_digest)
    assert isinstance(refusal(engine, revision, tmp_path / "cache"), Unavailable)


def test_a_good_adapter_is_fetched_once_and_a_rotten_cache_is_fetched_again(
    engine: Engine, house: House, folder: Path, tmp_path: Path
) -> None:
    cache, revision = tmp_path / "cache", as_revision(folder, house)
    assert load_adapter(revision, house.encoder_digest, cache, engine.load).manifest.revision == "r1"
    kept = cache / "adapters" / revision.digest
    (kept / HEADS).write_bytes(b"rot")
    assert load_adapter(revision, house.encoder_digest, cache, engine.load).rank == 8
    shutil.rmtree(folder)
    assert load_adapter(revision, house.encoder_digest, cache, engine.load).manifest.brand == "acme"
