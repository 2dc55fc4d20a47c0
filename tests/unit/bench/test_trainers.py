"""Both trainers of the bench learn the same lesson, so that their times may be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apaise_train.domain.gate import auc
from apaise_train.domain.jobs import HouseSource, Row
from apaise_train.testing import examples, tiny_house
from apaise_train.worker.bench import fitted
from apaise_train.worker.learning import Recipe
from mlops.base.encoder import load_encoder
from mlops.bench import peft_trainer
from mlops.bench.peft_trainer import Lesson
from mlops.house import build_house, load_heads


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> HouseSource:
    return tiny_house(tmp_path_factory.mktemp("tiny"))


def test_both_learn_it(source: HouseSource) -> None:
    rows = [(one.text, one.remove) for one in examples(90)]
    taught, held = rows[:60], rows[60:]
    truth, texts = [goes for _, goes in held], [text for text, _ in held]
    recipe = replace(Recipe(), epochs=4, batch=16, lora_rate=5e-3, head_rate=2e-2)
    ours = fitted(tuple(Row(text, goes) for text, goes in taught), texts, recipe, 1, source)
    lesson = Lesson([text for text, _ in taught], [goes for _, goes in taught], texts, 4, 16, 5e-3, 2e-2, 1, 1)
    assert source.cache is not None
    assert source.weights is not None
    house = build_house(Path(source.cache), source.model, weights=Path(source.weights))
    weight, bias = load_heads(house.heads)
    column = house.labels.index("remove")
    encoder = load_encoder(house.path, dtype="float32")
    seconds, theirs = peft_trainer.fitted(lesson, encoder, weight[[column]], bias[[column]])
    assert ours["seconds"] > 0
    assert seconds > 0
    for scores in (ours["scores"], theirs):
        assert (auc(truth, scores) or 0) > 0.95
