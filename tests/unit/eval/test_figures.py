"""Figures are what they are called, at a threshold that is given and never moved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score

from mlops.eval.figures import expected_calibration_error, figures, report

rows = st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=2, max_size=80)


@given(rows, st.floats(0, 1))
def test_they_agree_with_the_library(pairs: list[tuple[int, bool]], threshold: float) -> None:
    scores, truth = np.array([p for p, _ in pairs]) / 1000, np.array([t for _, t in pairs])
    found = figures(scores, truth, threshold)
    said = scores >= threshold
    assert found.accuracy == pytest.approx(accuracy_score(truth, said), abs=1e-4)
    if truth.any() and not truth.all():
        assert found.auc == pytest.approx(roc_auc_score(truth, scores), abs=1e-4)
        assert found.macro_f1 == pytest.approx(f1_score(truth, said, average="macro", zero_division=0), abs=1e-4)
        assert found.positive_recall == pytest.approx(recall_score(truth, said), abs=1e-4)
        assert found.negative_recall == pytest.approx(recall_score(~truth, ~said), abs=1e-4)
    else:
        assert found.auc is None


def test_calibration_error_of_honest_and_of_boastful_scores() -> None:
    chance = np.random.default_rng(0)
    scores = chance.random(30_000)
    truth = chance.random(30_000) < scores
    assert expected_calibration_error(scores, truth) < 0.02
    assert expected_calibration_error(np.full(1000, 0.9), chance.random(1000) < 0.5) == pytest.approx(0.4, abs=0.05)
    assert expected_calibration_error(np.array([0.25, 0.75]), np.array([False, True])) == pytest.approx(0.25)


def test_groups_have_the_same_keys_and_one_sided_ones_have_no_auc() -> None:
    scores = np.array([0.9, 0.2, 0.8, 0.1])
    truth = np.array([True, False, True, True])
    found = report(scores, truth, 0.5, ["fr", "fr", "en", "en"])
    assert set(found["groups"]) == {"fr", "en"}
    assert set(found["groups"]["fr"]) == set(found) - {"groups"}
    assert found["groups"]["fr"]["accuracy"] == 1.0
    assert found["groups"]["en"]["auc"] is None
    assert found["groups"]["en"]["negative_recall"] is None
    assert report(scores, truth, 0.5, [])["groups"] == {}
