"""The figures of the quality report are what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from mlops.house.quality import (
    Answers,
    Suite,
    auc,
    interval,
    label_figure,
    macro_f1,
    main_label,
    measured_labels,
    pairs_right,
    remembered,
)
from mlops.house.rows import stable_number

LABELS = ("toxic", "hate", "complaint", "remove")


def row(text: str, *labels: str, maybe: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {"text": text, "lang": "fr", "labels": list(labels), "maybe": list(maybe), "family": text, **more}


SUITE = Suite(
    [
        row("a", "toxic", "hate", "remove", pair="p"),
        row("b", pair="p"),
        row("c", "complaint", pair="q", maybe=("toxic",)),
        row("d", "toxic", "remove", pair="q"),
    ],
    LABELS,
)


def answers(*said: tuple[int, int, int, int]) -> Answers:
    scores = np.array(said, dtype=float)
    return Answers("x", scores, scores > 0.5)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=60))
def test_auc_and_macro_f1_agree_with_the_library(pairs: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([p for p, _ in pairs]) / 20, np.array([float(t) for _, t in pairs])
    if len(set(truth)) < 2:
        assert np.isnan(auc(scores, truth))
        assert np.isnan(macro_f1(scores > 0.5, truth))
        return
    assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))
    expected = f1_score(truth > 0.5, scores > 0.5, average="macro", zero_division=0)
    assert macro_f1(scores > 0.5, truth) == pytest.approx(expected)


def test_a_pair_is_about_the_label_that_brings_the_others() -> None:
    assert [main_label(SUITE, pair) for pair in SUITE.pairs] == ["hate", "complaint"]


def test_pairs_count_when_both_members_are_right() -> None:
    right = answers((1, 1, 0, 1), (0, 0, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1))
    assert pairs_right(SUITE, right) == (2, 2)
    half = answers((0, 1, 0, 1), (0, 0, 0, 0), (0, 0, 1, 1), (1, 0, 0, 1))
    assert pairs_right(SUITE, half) == (0, 2)
    assert pairs_right(SUITE, half, main=True) == (2, 2)
    assert pairs_right(SUITE, half, "hate") == (1, 1)
    assert pairs_right(SUITE, half, "toxic") == (0, 1)  # masked in the other pair


def test_masked_rows_are_not_judged() -> None:
    wrong_where_masked = answers((1, 1, 0, 1), (0, 0, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1))
    assert label_figure(SUITE, wrong_where_masked, "toxic", "macro_f1").value == 1.0
    assert measured_labels(SUITE, least=2) == ["toxic", "remove"]


def test_an_interval_holds_its_value_and_resamples_families_whole() -> None:
    families = np.repeat(np.arange(50), 4)
    truth = np.repeat(np.random.default_rng(0).random(50), 4)
    found = interval(lambda rows: float(truth[rows].mean()), families)
    single = interval(lambda rows: float(truth[rows].mean()), np.arange(200))
    assert found.low < found.value < found.high
    assert found.high - found.low > 1.5 * (single.high - single.low)


def test_an_earlier_models_answers_are_found_by_text_or_not_at_all(tmp_path: Path) -> None:
    kept = tmp_path / "first.npz"
    keys = np.array([stable_number(text) for text in ("d", "c", "b", "a")], dtype=np.uint64)
    scores = np.arange(16, dtype=np.uint16).reshape(4, 4) * 60
    np.savez(kept, texts=keys, labels=np.array(LABELS[::-1]), scores=scores, thresholds=np.full(4, 0.5))
    found = remembered(kept, SUITE, "first")
    assert found is not None
    assert found.scores[0].tolist() == pytest.approx([0.9, 0.84, 0.78, 0.72])
    assert not found.said[3].any()
    assert remembered(kept, Suite([row("never read")], LABELS), "first") is None
