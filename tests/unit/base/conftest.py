"""Encoders for tests: the real one built once per session, and a tiny random BERT."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mlops.base import BaseFolder, build_base
from mlops.base.encoder import Encoder, load_encoder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseFolder:
    return build_base(tmp_path_factory.mktemp("cache"), model=None)


@pytest.fixture(scope="session")
def encoder(base: BaseFolder) -> Encoder:
    return load_encoder(base.path, dtype="float32")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, base: BaseFolder) -> Path:
    """A Hugging Face folder with two random layers and the real tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=250_037,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base.path).save_pretrained(folder)
    return folder
