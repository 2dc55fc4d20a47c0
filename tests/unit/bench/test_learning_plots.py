"""The arithmetic of the plots of docs/learning.md."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apaise_train.domain.sequential import ERROR, log_fortune

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def plots() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(DOCS / "generate_learning_plots.py")))


def brand(house: float, candidate: float | None, promoted: bool, count: int = 300) -> dict[str, Any]:
    return {
        "brand": "b",
        "n_corrections": count,
        "house": {"auc": house},
        "candidate": None if candidate is None else {"auc": candidate},
        "gain_auc": None if candidate is None else candidate - house,
        "rival_auc": 0.7,
        "gate": {"promoted": promoted},
    }


def test_uncalibrated_undoes_what_calibration_did(plots: SimpleNamespace) -> None:
    slope, offset = 0.6, -0.4
    for logit in (-3.0, 0.0, 2.0):
        after = 1 / (1 + math.exp(-(slope * logit + offset)))
        assert plots.uncalibrated(after, slope, offset) == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-3)


def test_bins_hold_every_row_once(plots: SimpleNamespace) -> None:
    said, so, counts = plots.binned([0.0, 0.05, 0.5, 1.0], [False, True, True, True])
    assert counts == [2, 1, 1]
    assert so == [0.5, 1.0, 1.0]
    assert said == pytest.approx([0.025, 0.5, 1.0])
    assert plots.brier([1.0, 0.5], [True, True]) == pytest.approx(0.125)


def test_the_edge_is_the_first_gap_the_test_stops_at(plots: SimpleNamespace) -> None:
    assert plots.edge(3) is None
    gap = plots.edge(41)
    against = (41 + gap) // 2
    assert log_fortune(against, 41 - against) >= math.log(1 / ERROR) > log_fortune(against - 1, 42 - against)


def test_the_two_simulated_canaries_end_as_they_are_called(plots: SimpleNamespace) -> None:
    for name, (canary, champion, _) in plots.RIVALS.items():
        gaps, fortunes = plots.simulated(canary, champion)
        assert (gaps[-1] > 0) is (name == "refused")
        assert fortunes[-1] >= 1 / ERROR
        assert len(fortunes) >= 100


def test_an_array_and_a_document_of_brands_are_the_same_brands(plots: SimpleNamespace, tmp_path: Path) -> None:
    brands = [brand(0.6, 0.7, True), brand(0.8, 0.79, False, 100), brand(0.5, None, False, 20)]
    array, document = tmp_path / "a.json", tmp_path / "d.json"
    array.write_text(json.dumps(brands))
    document.write_text(json.dumps({"corrections": 300, "brands": brands}))
    assert plots.rows_of(array) == plots.rows_of(document) == brands
    scatter, histogram = plots.communities(brands).axes
    assert [text.get_text() for text in scatter.get_legend().get_texts()] == ["promoted (1)", "refused (1)"]
    said = [text.get_text() for text in histogram.get_legend().get_texts()]
    assert said == ["100 corrections, mean -1.0", "300 corrections, mean +10.0"]
