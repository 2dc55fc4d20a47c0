"""The engine: PEFT's numbers, and no row that knows its neighbours."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModel

from apaise_classify.serving.edition import HOUSE_SLOT, adapter_edition, columns
from apaise_classify.serving.engine import Engine
from apaise_classify.serving.forward import Forward
from apaise_classify.serving.packing import BLOCK_PLACES, pack
from apaise_classify.testing import reference
from apaise_kit.core.labels import LABELS
from mlops.base import ADAPTED_LAYERS, BaseModelError
from mlops.base.encoder import highest, load_encoder
from mlops.house import House, load_heads

TEXTS = ["bonjour", "where is my order?", "une phrase un peu plus longue que les autres, mais pas trop", "?!"]
ROUNDING = 5.01e-4


@pytest.fixture(scope="module")
def engine(house: House, artefacts: dict[str, Path]) -> Engine:
    """Slots 1 to 3 hold r1 to r3."""
    engine = Engine(load_encoder(house.path, dtype="float32"), house, pass_tokens=64)
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


words = st.text("abcdefgh ?é日", min_size=0, max_size=60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(words, st.integers(0, 3)), min_size=1, max_size=12))
def test_a_row_does_not_depend_on_its_neighbours(engine: Engine, rows: list[tuple[str, int]]) -> None:
    texts, slots = [text for text, _ in rows], [slot for _, slot in rows]
    together, _ = engine.read(texts, slots)
    for n, (text, slot) in enumerate(rows):
        alone, _ = engine.read([text], [slot])
        # Equal before rounding up to the last bits; rounding may make a whole thousandth of that.
        assert np.abs(together[n] - alone[0]).max() <= 0.0010001


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=80))
def test_a_pack_holds_every_token_once_and_wastes_little(lengths: list[int]) -> None:
    ids = [[row * 100 + at for at in range(length)] for row, length in enumerate(lengths)]
    packed = pack(ids, torch.device("cpu"))
    assert sorted(packed.order) == list(range(len(ids)))
    marked = torch.stack([packed.ids, packed.positions, packed.owners], dim=1).float()
    rebuilt = torch.cat([block.gathered(block.spread(marked)) for block in packed.blocks])
    assert torch.equal(rebuilt, marked[: sum(lengths)])
    tokens = sum(lengths)
    assert len(packed.ids) == tokens + -tokens % (8 if tokens <= 128 else 32)
    assert torch.equal(packed.means(marked)[:, 1], torch.tensor([(lengths[p] - 1) / 2 for p in packed.order]))
    for row, place in enumerate(packed.order):
        mine = packed.owners == row
        assert packed.ids[mine].tolist() == ids[place]
        assert packed.positions[mine].tolist() == list(range(lengths[place]))
    assert [at for block in packed.blocks for at in range(len(ids))[block.rows]] == list(range(len(ids)))
    places = sum(block.height * block.longest + BLOCK_PLACES for block in packed.blocks)
    alone = sum(-(-length // 8) * 8 + BLOCK_PLACES for length in lengths)
    together = 2 * len(lengths) * (max(lengths) + 8) + BLOCK_PLACES
    assert places <= min(alone, together)


def test_packed_hidden_states_are_the_models_own(house: House) -> None:
    engine = Engine(load_encoder(house.path, dtype="float32"), house)
    bare = load_encoder(house.path, dtype="float32")
    ids = bare.windows([*TEXTS, "", "x" * 300]).ids
    assert torch.allclose(engine._pooled(ids, [HOUSE_SLOT] * len(ids))[0], bare.pooled(ids), rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_positions_are_counted_as_each_family_does(kind: str) -> None:
    shape = {
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    config = AutoConfig.for_model(kind, **shape, max_position_embeddings=64, pad_token_id=1)
    torch.manual_seed(0)
    model = AutoModel.from_config(config).eval().requires_grad_(False)  # type: ignore[no-untyped-call]
    ids = torch.tensor([[2, 7, 8, 9, 10, 3]])
    expected = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
    seen, _ = Forward.of(model, [], 0)(pack(ids.tolist(), torch.device("cpu")), None)
    assert torch.allclose(seen[: len(expected)], expected, atol=1e-5)


def test_another_layout_is_refused_with_what_to_choose() -> None:
    config = AutoConfig.for_model("distilbert", vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    with pytest.raises(BaseModelError, match="BERT's layout"):
        Forward.of(AutoModel.from_config(config), [], 0)  # type: ignore[no-untyped-call]


def test_many_threads_read_as_one(engine: Engine) -> None:
    expected, _ = engine.read(TEXTS, [0, 1, 2, 3])
    with ThreadPoolExecutor(4) as pool:
        for scores, _ in pool.map(lambda _: engine.read(TEXTS, [0, 1, 2, 3]), range(40)):
            assert np.array_equal(scores, expected)


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


def test_a_trace_is_the_same_whoever_reads_and_comes_with_the_scores(engine: Engine, house: House) -> None:
    texts = [*TEXTS, "all is well " * 20]
    scores, truncated, house_traces = engine.traced(texts, [HOUSE_SLOT] * len(texts))
    _, _, brand_traces = engine.traced(texts, [1, 2, 3, 1, 2])
    assert np.array_equal(scores, engine.read(texts, [HOUSE_SLOT] * len(texts))[0])
    assert truncated[-1]
    assert np.allclose(house_traces, brand_traces, atol=1e-6)
    assert np.allclose(np.linalg.norm(house_traces, axis=1), 1, atol=1e-5)
    assert np.abs(house_traces - engine.embed(texts)).max() > 0.01, "it is not the last layer's"


def test_a_trace_is_what_the_last_shared_layer_says(engine: Engine, house: House) -> None:
    bare = load_encoder(house.path, dtype="float32")
    padded = bare.pad(bare.windows(TEXTS).ids)
    with torch.inference_mode():
        hidden = bare.model(**padded, output_hidden_states=True).hidden_states[-1 - ADAPTED_LAYERS]
    expected = torch.nn.functional.normalize(bare.pool(hidden, padded["attention_mask"]), dim=1)
    assert np.abs(engine.traced(TEXTS, [1] * 4)[2] - expected.numpy()).max() < 1e-5
