"""Probabilities and operating points."""

from __future__ import annotations

import numpy as np
import pytest

from mlops.house.calibrate import (
    ALARMED,
    CORPUS_SHARE,
    LOWEST_PRIOR,
    MISSED,
    Floats,
    Platt,
    abstention,
    best_threshold,
    fit_platt,
    sigmoid,
    validation_weights,
)
from mlops.house.mixture import arrays
from mlops.house.rows import Row


def _draws(chance: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    targets = (chance.random(count) < 0.3).astype(float)
    return np.round(sigmoid(chance.normal(np.where(targets > 0.5, 1.0, -1.0), 1.2)), 3), targets


def test_the_band_keeps_its_promises_on_messages_like_those_it_was_fitted_on() -> None:
    chance = np.random.default_rng(3)
    missed, alarmed = [], []
    for _ in range(200):
        scores, targets = _draws(chance, 150)
        band = abstention(scores, targets, np.ones(150), 0.5)
        fresh, truth = _draws(chance, 500)
        missed.append((fresh[truth > 0.5] < band.no).mean())
        alarmed.append((fresh[truth < 0.5] > band.yes).mean())
    assert np.mean(missed) <= MISSED
    assert np.mean(alarmed) <= ALARMED


def test_a_model_that_knows_needs_no_band_and_one_with_too_few_examples_promises_nothing() -> None:
    scores = np.concatenate([np.full(200, 0.1), np.full(200, 0.9)])
    targets = np.repeat([0.0, 1.0], 200)
    band = abstention(scores, targets, np.ones(400), 0.4)
    assert (band.no, band.yes, band.load) == (0.4, 0.4, 0.0)
    few = abstention(scores[190:210], targets[190:210], np.ones(20), 0.4)
    assert (few.no, few.yes) == (0.0, 1.0)


def test_rows_of_unknown_label_do_not_move_the_band() -> None:
    scores, targets = _draws(np.random.default_rng(1), 300)
    plain = abstention(scores, targets, np.ones(300), 0.5)
    more = abstention(np.append(scores, 0.5), np.append(targets, 1.0), np.append(np.ones(300), 0.0), 0.5)
    assert more == plain


def test_the_threshold_falls_between_two_separated_classes() -> None:
    probabilities = np.concatenate([np.linspace(0.05, 0.4, 60), np.linspace(0.7, 0.95, 40)])
    targets = np.array([0.0] * 60 + [1.0] * 40)
    assert 0.4 < best_threshold(probabilities, targets, np.ones(100)) < 0.7


def test_a_rare_label_holds_where_its_recall_and_its_neighbours_recall_balance() -> None:
    probabilities = np.concatenate([np.full(990, 0.001), np.full(10, 0.05)])
    targets = np.array([0.0] * 990 + [1.0] * 10)
    assert 0.001 < best_threshold(probabilities, targets, np.ones(1000)) < 0.05


def test_rows_of_unknown_label_do_not_move_the_threshold() -> None:
    probabilities = np.linspace(0.0, 1.0, 200)
    targets = (probabilities > 0.6).astype(float)
    weights = np.ones(200)
    plain = best_threshold(probabilities, targets, weights)
    more = best_threshold(
        np.append(probabilities, np.full(50, 0.99)), np.append(targets, np.zeros(50)), np.append(weights, np.zeros(50))
    )
    assert more == pytest.approx(plain, abs=0.02)


def test_platt_recovers_a_distorted_scale() -> None:
    chance = np.random.default_rng(0)
    true_logits = chance.normal(0, 2, 6000)
    targets = (chance.random(6000) < sigmoid(true_logits)).astype(float)
    fitted = fit_platt(true_logits / 2 - 1.0, targets, np.ones(6000))
    assert fitted.slope == pytest.approx(2.0, abs=0.15)
    assert fitted.shift == pytest.approx(2.0, abs=0.2)


def test_platt_leaves_a_one_sided_label_alone_and_never_reverses_a_score() -> None:
    assert fit_platt(np.array([1.0, 2.0]), np.array([1.0, 1.0]), np.ones(2)) == Platt(1.0, 0.0)
    backwards = fit_platt(np.linspace(-3, 3, 50), (np.linspace(-3, 3, 50) < 0).astype(float), np.ones(50))
    assert backwards.slope > 0


def test_our_corpus_keeps_its_share_whatever_its_size() -> None:
    rows = [Row(f"c{at}", "fr", "corpus", {"toxic": float(at % 2)}, "g") for at in range(10)]
    rows += [Row(f"x{at}", "en", "xed", {"toxic": float(at % 2)}, "g") for at in range(900)]
    rows += [Row(f"y{at}", "en", "mlma", {"toxic": float(at % 2)}, "g") for at in range(90)]
    weights = validation_weights(rows, arrays(rows, ("toxic",)))
    assert weights[:10].sum() / weights.sum() == pytest.approx(CORPUS_SHARE, rel=1e-4)
    assert weights[10:910].sum() == pytest.approx(weights[910:].sum(), rel=1e-4)


def test_a_rare_label_is_calibrated_as_if_less_rare_and_an_unknown_one_not_at_all() -> None:
    rows = [Row(f"c{at}", "fr", "corpus", {"threat": float(at < 3)}, "g") for at in range(300)]
    rows.append(Row("unknown", "fr", "corpus", {}, "g"))
    weights = validation_weights(rows, arrays(rows, ("threat", "toxic")))
    assert weights[:3, 0].sum() / weights[:, 0].sum() == pytest.approx(LOWEST_PRIOR, rel=1e-4)
    assert weights[300].sum() == 0
    assert weights[:, 1].sum() == 0
