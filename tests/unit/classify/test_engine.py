"""The engine: PEFT's numbers, and no row that knows its neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apaise_classify.serving.edition import HOUSE_SLOT, adapter_edition, columns
from apaise_classify.serving.engine import Engine
from apaise_classify.testing import reference
from apaise_kit.core.labels import LABELS
from mlops.base.encoder import highest, load_encoder
from mlops.house import House, load_heads

TEXTS = ["bonjour", "where is my order?", "une phrase un peu plus longue que les autres, mais pas trop", "?!"]
ROUNDING = 5.01e-4


@pytest.fixture(scope="module")
def engine(house: House, artefacts: dict[str, Path]) -> Engine:
    """Slots 1 to 3 hold r1 to r3."""
    engine = Engine(load_encoder(house.path, dtype="float32"), house, batch_rows=4)
    for slot in (1, 2, 3):
        engine.install(slot, engine.load(artefacts[f"r{slot}"]))
    return engine


@pytest.mark.parametrize("slot", [1, 2, 3])
def test_an_adapter_answers_as_peft_does(engine: Engine, house: House, artefacts: dict[str, Path], slot: int) -> None:
    folder = artefacts[f"r{slot}"]
    scores, _ = engine.read(TEXTS, [slot] * len(TEXTS))
    seen = scores[:, columns(adapter_edition(engine.load(folder)))]
    assert np.abs(seen - reference(house, folder, TEXTS).numpy()).max() <= ROUNDING + 1e-5


def test_brands_mixed_in_a_batch_answer_as_they_do_alone_in_peft(
    engine: Engine, house: House, artefacts: dict[str, Path]
) -> None:
    slots = [1, 2, 3] * len(TEXTS)
    texts = [text for text in TEXTS for _ in range(3)]
    scores, _ = engine.read(texts, slots)
    for slot in (1, 2, 3):
        folder = artefacts[f"r{slot}"]
        rows = [n for n, used in enumerate(slots) if used == slot]
        seen = scores[rows][:, columns(adapter_edition(engine.load(folder)))]
        assert np.abs(seen - reference(house, folder, TEXTS).numpy()).max() <= ROUNDING + 1e-5


def test_the_house_slot_is_the_bare_encoder(engine: Engine, house: House) -> None:
    bare = load_encoder(house.path, dtype="float32")
    weight, bias = load_heads(house.heads)
    windows = bare.windows(TEXTS)
    expected = highest((bare.pooled(windows.ids) @ weight.T + bias).sigmoid(), windows.owners, len(TEXTS))
    alone, _ = engine.read(TEXTS, [HOUSE_SLOT] * len(TEXTS))
    beside, _ = engine.read([*TEXTS, "x"], [*[HOUSE_SLOT] * len(TEXTS), 1])
    for seen in (alone, beside[:-1]):
        assert np.abs(seen[:, columns(engine.house)] - expected.numpy()).max() <= ROUNDING + 1e-5


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text("abcdefgh ?", min_size=8, max_size=8), st.integers(0, 3)), min_size=1, max_size=9))
def test_a_row_does_not_depend_on_its_neighbours(engine: Engine, rows: list[tuple[str, int]]) -> None:
    # One letter is one token: all rows are as long, so that padding (which does move the last bits) is the same.
    texts, slots = [text for text, _ in rows], [slot for _, slot in rows]
    together, _ = engine.read(texts, slots)
    for n, (text, slot) in enumerate(rows):
        alone, _ = engine.read([text], [slot])
        # Equal before rounding up to the last bits; rounding may make a whole thousandth of that.
        assert np.abs(together[n] - alone[0]).max() <= 0.0010001


def test_unrounded_rows_are_equal_to_the_bit_at_equal_padding(engine: Engine) -> None:
    texts = ["abcdefgh", "hgfedcba", "a a a a ", "????????"]
    ids = engine._encoder.windows(texts).ids
    with torch.inference_mode():
        with engine._rows.of([1, 2, 3, 0], engine._encoder.device):
            together = engine._encoder.model(**engine._encoder.pad(ids)).last_hidden_state
        for n, slot in enumerate([1, 2, 3, 0]):
            with engine._rows.of([slot], engine._encoder.device):
                alone = engine._encoder.model(**engine._encoder.pad(ids[n : n + 1])).last_hidden_state
            assert torch.allclose(together[n], alone[0], rtol=0, atol=2e-5)


def test_growing_keeps_what_is_resident(house: House, artefacts: dict[str, Path]) -> None:
    engine = Engine(load_encoder(house.path, dtype="float32"), house)
    engine.install(5, engine.load(artefacts["r1"]))
    before, _ = engine.read(TEXTS, [5, 0, 5, 0])
    last = engine.capacity
    engine.grow(2 * last)
    engine.install(last, engine.load(artefacts["r2"]))
    after, _ = engine.read(TEXTS, [5, 0, 5, 0])
    assert np.array_equal(before, after)
    assert engine.capacity == 2 * last


def test_a_slot_written_again_keeps_nothing_of_what_it_held(house: House, artefacts: dict[str, Path]) -> None:
    fresh = Engine(load_encoder(house.path, dtype="float32"), house)
    used = Engine(load_encoder(house.path, dtype="float32"), house)
    used.install(1, used.load(artefacts["r1"]))
    for engine in (fresh, used):
        engine.install(1, engine.load(artefacts["r3"]))  # rank 3 over rank 8, other labels
    expected, _ = fresh.read(TEXTS, [1] * 4)
    seen, _ = used.read(TEXTS, [1] * 4)
    assert np.array_equal(seen, expected)


def test_a_label_an_adapter_does_not_have_scores_zero(engine: Engine) -> None:
    scores, _ = engine.read(TEXTS, [1] * 4)
    assert not scores[:, LABELS.index("threat")].any()


def test_a_long_text_is_its_worst_window(engine: Engine, house: House) -> None:
    text = "all is well " * 20 + "you are awful!"
    bare = load_encoder(house.path, dtype="float32")
    weight, bias = load_heads(house.heads)
    windows = bare.windows([text]).ids
    each = [(bare.pooled([ids]) @ weight.T + bias).sigmoid()[0] for ids in windows]
    scores, truncated = engine.read([text, "short"], [HOUSE_SLOT] * 2)
    assert len(windows) > 2
    assert truncated == [True, False]
    seen = scores[0, columns(engine.house)]
    assert np.abs(seen - torch.stack(each).max(0).values.numpy()).max() <= ROUNDING + 1e-5
    assert (scores == np.round(scores, 3)).all()


def test_no_text_is_no_row(engine: Engine) -> None:
    scores, truncated = engine.read([], [])
    assert scores.shape == (0, len(LABELS))
    assert truncated == []


def test_embedding_ignores_every_adapter(engine: Engine, house: House) -> None:
    engine.read(TEXTS, [1] * 4)
    vectors = engine.embed(TEXTS)
    bare = load_encoder(house.path, dtype="float32").embed(TEXTS)
    assert np.abs(vectors - bare).max() < 1e-5
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
