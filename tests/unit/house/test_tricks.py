"""Disguises for training and tricks for the examination: both hide words, neither is the other."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlops.house.disguise
import mlops.house.tricks
from mlops.base.normalize import normalize
from mlops.house.disguise import disguise
from mlops.house.tricks import TRICKS, tricked

TEXT = "Votre livreur est un gros connard et je le dis calmement"


@given(st.text(max_size=40), st.integers(0, 2**32))
def test_any_text_can_be_disguised_and_the_same_seed_disguises_the_same(text: str, seed: int) -> None:
    assert disguise(text, random.Random(seed)) == disguise(text, random.Random(seed))


def test_a_disguise_touches_one_word() -> None:
    for seed in range(200):
        hidden = disguise(TEXT, random.Random(seed))
        assert sum(word not in hidden for word in TEXT.split()) <= 1


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_changes_the_text_and_is_the_same_each_time(name: str) -> None:
    assert tricked(TEXT, name) != TEXT
    assert tricked(TEXT, name) == tricked(TEXT, name)


@pytest.mark.parametrize("name", ["bold letters", "small capitals", "Cyrillic look-alikes", "accents piled up"])
def test_some_tricks_are_undone_before_any_model_reads(name: str) -> None:
    assert normalize(tricked(TEXT, name)).lower() == TEXT.lower()


def test_training_never_imports_the_examination() -> None:
    assert "tricks" not in vars(mlops.house.disguise)
    assert "disguise" not in vars(mlops.house.tricks)
