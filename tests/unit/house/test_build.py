"""The merged house encoder: the same function as training computed, on the base it was trained on and no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from mlops.base.encoder import load_encoder
from mlops.house import (
    ForeignBaseError,
    HouseWeightsError,
    Threshold,
    build_house,
    export_house,
    load_heads,
)
from mlops.house.build import CARD_FILE, encoder_digest
from mlops.house.model import HouseNet

TEXTS = ["abc def", "hello you", "zzz"]


def test_merged_folder_computes_what_the_trained_network_computed(
    tmp_path: Path, tiny_folder: Path, weights: Path, net: HouseNet
) -> None:
    house = build_house(tmp_path, model=str(tiny_folder), weights=weights)
    encoder = load_encoder(house.path, dtype="float32")
    weight, bias = load_heads(house.heads)
    served = encoder.pooled(encoder.windows(TEXTS).ids) @ weight.T + bias
    with torch.no_grad():
        trained = net(net.encoder.windows(TEXTS).ids)
    assert torch.allclose(served, trained, atol=2e-2)  # factors are stored in float16
    plain = load_encoder(tiny_folder, dtype="float32")
    assert not torch.allclose(plain.pooled(plain.windows(TEXTS).ids) @ weight.T + bias, trained, atol=2e-1)


def test_house_carries_identity_labels_and_operating_points(tmp_path: Path, tiny_folder: Path, weights: Path) -> None:
    house = build_house(tmp_path, model=str(tiny_folder), weights=weights)
    assert house.labels == ("toxic", "praise")
    assert house.thresholds["toxic"] == Threshold(decision=0.5, yes=0.6, no=0.4)
    assert house.encoder_digest == encoder_digest(house.base_digest, "house-test-1")
    assert load_encoder(house.path, dtype="float32").digest == house.encoder_digest
    assert build_house(tmp_path, model=str(tiny_folder), weights=weights) == house


def test_new_thresholds_keep_the_encoder_and_take_effect(tmp_path: Path, tiny_folder: Path, weights: Path) -> None:
    before = build_house(tmp_path, model=str(tiny_folder), weights=weights)
    moved = tmp_path / "moved"
    shutil.copytree(weights, moved)
    record = json.loads((moved / CARD_FILE).read_text())
    record["thresholds"]["toxic"] = {"decision": 0.85, "yes": 0.9, "no": 0.8}
    record["thresholds_revision"] = "t-2"
    (moved / CARD_FILE).write_text(json.dumps(record))
    after = build_house(tmp_path, model=str(tiny_folder), weights=moved)
    assert after.encoder_digest == before.encoder_digest
    assert after.thresholds["toxic"].yes == 0.9
    assert json.loads((after.path / "apaise-house.json").read_text())["thresholds_revision"] == "t-2"


def test_another_base_is_refused_and_told_what_to_run(tmp_path: Path, weights: Path) -> None:
    from .conftest import write_tiny_base

    other = tmp_path / "other"
    other.mkdir()
    write_tiny_base(other, seed=9)
    with pytest.raises(ForeignBaseError, match="make house") as refusal:
        build_house(tmp_path, model=str(other), weights=weights)
    assert refusal.value.trained_on != refusal.value.given
    assert not (tmp_path / "house").exists()


@pytest.mark.parametrize("content", [None, "not json", '{"labels": []}', "[]"])
def test_missing_or_damaged_weights_are_a_typed_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / CARD_FILE).write_text(content)
    with pytest.raises(HouseWeightsError, match="make house"):
        build_house(tmp_path, weights=tmp_path)


def test_export_gives_a_folder_peft_users_can_load_and_never_overwrites(
    tmp_path: Path, tiny_folder: Path, weights: Path
) -> None:
    from transformers import AutoModel, AutoTokenizer

    house = build_house(tmp_path / "cache", model=str(tiny_folder), weights=weights)
    folder = export_house(tmp_path / "export", house)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    hidden = AutoModel.from_pretrained(folder).eval()(**tokenizer(["query:abc"], return_tensors="pt")).last_hidden_state
    assert hidden.shape[-1] == 16
    with pytest.raises(FileExistsError):
        export_house(tmp_path / "export", house)
