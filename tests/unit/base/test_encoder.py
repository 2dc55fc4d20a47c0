"""Windows, pooling and what a brand may adapt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops.base import ADAPTED_LAYERS, adapted_modules
from mlops.base.encoder import OVERLAP, Encoder, best_dtype, highest, load_encoder


def test_a_long_text_is_cut_into_overlapping_windows_that_cover_it(encoder: Encoder) -> None:
    words = " ".join(f"mot{number}" for number in range(200))
    windows = encoder.windows(["court", words, ""])
    assert windows.truncated == [False, True, False]
    assert windows.owners == sorted(windows.owners)
    assert set(windows.owners) == {0, 1, 2}
    assert max(map(len, windows.ids)) <= encoder.max_tokens
    empty = windows.ids[-1]  # the prefix and special tokens alone
    before, after = empty[:-1], empty[-1:]
    rebuilt: list[int] = []
    for ids in windows.ids[1:-1]:
        assert ids[: len(before)] == before
        assert ids[-1:] == after
        inside = ids[len(before) : -1]
        shared = OVERLAP if rebuilt else 0
        assert rebuilt[len(rebuilt) - shared :] == inside[:shared]
        rebuilt += inside[shared:]
    assert rebuilt == encoder.tokenizer(words, add_special_tokens=False)["input_ids"]


def test_a_short_text_is_read_as_the_model_expects_it(encoder: Encoder) -> None:
    text = "où est mon colis ?"
    assert encoder.windows([text]).ids == [encoder.tokenizer("query: " + text)["input_ids"]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=400), max_size=4))
def test_any_text_gives_windows_within_the_limit_and_in_order(encoder: Encoder, texts: list[str]) -> None:
    windows = encoder.windows(texts)
    assert sorted(set(windows.owners)) == list(range(len(texts)))
    assert windows.truncated == [windows.owners.count(row) > 1 for row in range(len(texts))]
    assert all(len(ids) <= encoder.max_tokens for ids in windows.ids)


def test_pooling_ignores_padding(encoder: Encoder) -> None:
    hidden = torch.tensor([[[2.0, 4.0], [4.0, 8.0], [99.0, 99.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert encoder.pool(hidden.bfloat16(), mask).tolist() == [[3.0, 6.0]]


def test_a_row_does_not_depend_on_its_neighbours(encoder: Encoder) -> None:
    texts = ["merci", "une phrase un peu plus longue que sa voisine", "merci"]
    together, alone = encoder.embed(texts), encoder.embed(["merci"])
    assert np.allclose(together[0], alone[0], atol=1e-5)
    assert np.allclose(together[0], together[2], atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)


def test_embedding_nothing_gives_no_rows(encoder: Encoder) -> None:
    assert encoder.embed([]).shape == (0, encoder.hidden_size)


def test_the_highest_window_wins_per_label() -> None:
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.3]])
    assert torch.equal(highest(scores, [0, 0, 1], 2), torch.tensor([[0.8, 0.9], [0.3, 0.3]]))


def test_brands_adapt_every_linear_of_the_last_layers_and_nothing_else(encoder: Encoder) -> None:
    names = adapted_modules(encoder.model)
    layers = {int(name.split(".")[2]) for name in names}
    assert layers == set(range(12 - ADAPTED_LAYERS, 12))
    kinds = {name.split(".", 3)[3] for name in names}
    assert kinds == {
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    }
    assert len(names) == ADAPTED_LAYERS * len(kinds)


def test_a_shallow_foreign_encoder_loads_and_keeps_its_own_window(tiny: Path) -> None:
    encoder = load_encoder(tiny, dtype="float32")
    assert encoder.max_tokens == 62
    assert len(adapted_modules(encoder.model)) == 12
    assert encoder.embed(["mot " * 300]).shape == (1, 16)


@pytest.mark.parametrize(("features", "expected"), [({"avx512_bf16": True}, torch.bfloat16), ({}, torch.float32)])
def test_bfloat16_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert best_dtype(torch.device("cpu")) == expected
