"""The learning curve over the number of corrections: what it measures, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from apaise_train.domain.curve import curve_words, per_doubling
from apaise_train.domain.jobs import CurvePoint, Row
from apaise_train.worker import curve
from apaise_train.worker.curve import head_curve, head_scores, of_folds
from apaise_train.worker.job import make_targets
from apaise_train.worker.learning import Lesson, Recipe, make_folds

RISING = (CurvePoint(0, 0.6), CurvePoint(50, 0.70), CurvePoint(100, 0.72), CurvePoint(200, 0.74))
LABELS = ("complaint", "remove")


@pytest.fixture
def world() -> tuple[Lesson, torch.Tensor, list[list[int]]]:
    """A taste that lies along one of 24 directions, of which the house knows nothing; 240 decisions, some careless."""
    chance = torch.Generator().manual_seed(5)
    features = torch.randn((240, 24), generator=chance)
    noise = torch.randn(240, generator=chance)
    goes = [bool(value > 0) for value in features[:, 3] + 0.5 * noise]
    house = torch.zeros((240, 2))
    house[:, 1] = 0.01 * torch.randn(240, generator=chance)
    targets = make_targets([Row(str(at), one) for at, one in enumerate(goes)], LABELS, house)
    folds = make_folds([str(at) for at in range(240)], goes, 3, chance)
    unused = None
    return Lesson(unused, unused, targets, house, 1, Recipe(), chance), features, folds  # type: ignore[arg-type]


def test_more_corrections_of_a_taste_that_can_be_learnt_raise_the_curve(
    world: tuple[Lesson, torch.Tensor, list[list[int]]],
) -> None:
    lesson, features, folds = world
    points = head_curve(lesson, features, folds, seed=1)
    assert [point.corrections for point in points] == [0, 40, 80, 120, 160]
    assert abs(points[0].auc - 0.5) < 0.1
    assert points[1].auc > points[0].auc + 0.1
    assert points[4].auc > points[1].auc
    assert head_curve(lesson, features, folds, seed=1) == points


def test_a_taste_that_is_not_in_the_features_leaves_the_curve_flat(
    world: tuple[Lesson, torch.Tensor, list[list[int]]],
) -> None:
    lesson, features, folds = world
    strange = torch.randn(features.shape, generator=torch.Generator().manual_seed(6))
    assert all(abs(point.auc - 0.5) < 0.1 for point in head_curve(lesson, strange, folds, seed=1))


def test_the_curve_draws_nothing_from_the_lesson(world: tuple[Lesson, torch.Tensor, list[list[int]]]) -> None:
    lesson, features, folds = world
    before = lesson.generator.get_state()
    head_curve(lesson, features, folds, seed=1)
    assert lesson.generator.get_state().equal(before)


def test_a_head_that_learnt_nothing_says_what_the_house_says(
    world: tuple[Lesson, torch.Tensor, list[list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson, features, _ = world
    monkeypatch.setattr(curve, "RIDGE", 1e9)
    rows = list(range(100))
    scores = head_scores(replace(lesson, house=lesson.house + torch.tensor([0.0, 1.0])), features, rows, [200, 201])
    # The offset may move, the ranking may not.
    gap = scores - lesson.house[[200, 201], 1]
    torch.testing.assert_close(gap[0], gap[1], atol=1e-3, rtol=0)


def test_folds_of_one_decision_give_no_point(world: tuple[Lesson, torch.Tensor, list[list[int]]]) -> None:
    lesson, features, _ = world
    truth = (lesson.targets.wanted[:, 1] > 0.5).tolist()
    pure = [[row for row in range(240) if truth[row] is side] for side in (True, False)]
    assert head_curve(lesson, features, pure, seed=1) == ()
    assert of_folds(lesson.house[:, 1], truth, pure) is None
    assert curve_words(()) == ""


def test_the_adapter_stands_where_its_folds_learnt() -> None:
    scores, truth = torch.tensor([0.9, 0.1, 0.2, 0.8]), [True, False, True, False]
    assert of_folds(scores, truth, [[0, 1], [2, 3]]) == CurvePoint(2, 0.5)


def test_what_a_doubling_brings_is_the_slope_on_the_logarithm() -> None:
    assert per_doubling(RISING) == pytest.approx(0.02)
    assert per_doubling(RISING[:2]) is None


def test_a_rising_curve_says_how_many_more_and_a_flat_one_that_more_would_not_help() -> None:
    said = curve_words(RISING)
    # 0.02 a doubling: half a doubling for 0.01, 200 * (2 ** 0.5 - 1).
    assert "0.600 with none, 0.700 with 50, 0.740 with 200" in said
    assert "about 80 more" in said
    flat = curve_words((CurvePoint(50, 0.7), CurvePoint(100, 0.701), CurvePoint(200, 0.702)))
    assert "hardly help" in flat
    assert "with none" not in flat
