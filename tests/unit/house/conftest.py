"""A tiny base encoder and house weights trained on nothing: enough for every rule that is not about quality."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mlops.base import BaseFolder, build_base
from mlops.base.encoder import Encoder, load_encoder
from mlops.house.build import CARD_FILE
from mlops.house.model import ALPHA, RANK, HouseNet, PoolStatistics, save_weights

HIDDEN = 16
LABELS = ("toxic", "praise")


def write_tiny_base(folder: Path, seed: int = 1) -> Path:
    """Two random layers and a character tokenizer."""
    letters = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz:!?"]
    tokenizer = Tokenizer(models.WordLevel({letter: at for at, letter in enumerate(letters)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(letters),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def fresh_net(folder: Path, seed: int = 3) -> HouseNet:
    encoder: Encoder = load_encoder(folder, dtype="float32")
    torch.manual_seed(seed)
    return HouseNet(encoder, len(LABELS), PoolStatistics(torch.full((HIDDEN,), 0.2), torch.full((HIDDEN,), 0.5)))


def disturb(net: HouseNet) -> HouseNet:
    """Give every trained parameter a value, as training would."""
    torch.manual_seed(4)
    with torch.no_grad():
        for value in net.parameters():
            if value.requires_grad:
                value.copy_(torch.randn_like(value) * 0.2)
    return net.eval()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture(scope="session")
def tiny_base(tiny_folder: Path) -> BaseFolder:
    return build_base(model=str(tiny_folder))


@pytest.fixture(scope="session")
def net(tiny_folder: Path) -> HouseNet:
    return disturb(fresh_net(tiny_folder))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, net: HouseNet, tiny_base: BaseFolder) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder, net.lora_tensors(), *net.folded_heads())
    record = {
        "base_digest": tiny_base.digest,
        "revision": "house-test-1",
        "lora": {"rank": RANK, "alpha": ALPHA},
        "labels": list(LABELS),
        "thresholds": {
            "toxic": {"decision": 0.5, "yes": 0.6, "no": 0.4},
            "praise": {"decision": 0.4, "yes": 0.5, "no": 0.3},
        },
        "thresholds_revision": "t-1",
    }
    (folder / CARD_FILE).write_text(json.dumps(record))
    return folder
