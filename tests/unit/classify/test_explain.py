"""Pieces are words, spans lead back to the text as it was written, and what is shown is what counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_classify.serving.engine import Engine
from apaise_classify.serving.explain import MAX_PIECES, pieces, spans
from apaise_kit.core.labels import LABELS
from mlops.base.encoder import load_encoder
from mlops.base.normalize import normalize_with_offsets
from mlops.house import House


def tokens_of(text: str) -> list[tuple[int, int]]:
    """Two characters to a token, as a tokenizer that marks word starts would."""
    places: list[tuple[int, int]] = []
    start = 0
    for word in text.split(" "):
        places += [(start + at, min(start + at + 2, start + len(word))) for at in range(0, len(word), 2)]
        start += len(word) + 1
    return places


def test_a_piece_is_a_word_and_punctuation_stands_alone() -> None:
    text = "vous etes nuls"
    assert [len(part) for part in pieces(tokens_of(text), text)] == [2, 2, 2]
    offsets = [(0, 2), (2, 4), (4, 5), (6, 9)]
    assert pieces(offsets, "nuls! oui") == [range(2), range(2, 3), range(3, 4)]


@given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=80))
def test_pieces_cover_every_token_once_and_are_few(words: list[str]) -> None:
    text = " ".join(words)
    offsets = tokens_of(text)
    found = pieces(offsets, text)
    assert [at for part in found for at in part] == list(range(len(offsets)))
    assert len(found) <= MAX_PIECES


def test_neighbours_join_and_the_strongest_comes_first() -> None:
    read = normalize_with_offsets("tu es un c0nnard fini")
    offsets = tokens_of(read.text)
    parts = pieces(offsets, read.text)
    found = spans("insult", np.array([0.0, 0.5, -0.2, 2.0, 1.5]), parts, offsets, read)
    assert [("tu es un c0nnard fini"[s.start : s.end], s.weight) for s in found] == [("c0nnard fini", 0.88)]
    apart = spans("insult", np.array([1.0, 0.0, 0.0, 2.0, 0.0]), parts, offsets, read)
    assert [s.weight for s in apart] == [0.67, 0.33]


def test_what_moves_nothing_explains_nothing() -> None:
    read = normalize_with_offsets("rien du tout")
    offsets = tokens_of(read.text)
    parts = pieces(offsets, read.text)
    assert spans("toxic", np.array([0.05, -1.0, 0.1]), parts, offsets, read) == []
    assert spans("toxic", np.zeros(0), [], [], normalize_with_offsets("")) == []


def test_taking_the_shown_words_out_lowers_the_score_more_than_taking_others_out(house: House) -> None:
    engine = Engine(load_encoder(house.path, dtype="float32"), house)
    texts = [f"some {a} words and a {b} here" for a in ("good", "bad", "odd") for b in ("cat", "dog", "bird")]
    lowered = []
    for text in texts:
        for label in house.labels:
            for span in engine.explain(text, 0, [label])[:1]:
                without = text[: span.start] + text[span.end :]
                scores, _ = engine.read([text, without], [0, 0])
                column = LABELS.index(label)
                lowered.append(scores[0, column] - scores[1, column])
    assert len(lowered) > 5
    assert np.mean(np.array(lowered) > 0) == pytest.approx(1.0, abs=0.2)
