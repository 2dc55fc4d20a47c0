"""The arithmetic of `apaise bench loop`."""

from __future__ import annotations

import statistics

import pytest

from apaise_cli.bench.loop import LETTERS, lesson, ratios, reached, shown
from apaise_cli.errors import CliError


def test_a_lesson_is_of_long_texts_no_two_alike_with_both_decisions() -> None:
    rows = lesson(120)
    assert len({row.text for row in rows}) == 120
    assert all(len(row.text) >= LETTERS for row in rows)
    assert 0.3 < statistics.mean(row.remove for row in rows) < 0.7
    assert lesson(120) == rows


def test_near_copies_out_of_reach_are_counted_and_not_timed() -> None:
    found = reached([0.2, None, 0.4, 1.2])
    assert found == {"precedent_s": 0.4, "precedent_max_s": 1.2, "precedents": 3, "out_of_reach": 1}
    with pytest.raises(CliError):
        reached([None, None])


def test_the_ratio_is_of_both_p99_and_every_failure_counts() -> None:
    alone = {"p50_ms": 10.0, "p99_ms": 40.0, "failed": 1}
    found = ratios(alone, {"p50_ms": 15.0, "p99_ms": 90.0, "failed": 2})
    assert found["p99_ratio"] == 2.25
    assert found["failed"] == 3
    assert found["p50_ms"] == {"alone": 10.0, "training": 15.0}


def test_every_figure_is_shown() -> None:
    document = {
        **reached([0.5]),
        **ratios({"p50_ms": 10.0, "p99_ms": 40.0, "failed": 0}, {"p50_ms": 15.0, "p99_ms": 90.0, "failed": 0}),
        "corrections": 500,
        "serving_s": 71.0,
        "rollback_s": 0.25,
        "half_load_msgs_per_s": 31.0,
    }
    table = shown(document)
    cells = [str(cell) for cell in table.columns[1].cells]
    assert cells == ["0.50 s", "0.50 s", "71 s", "0.25 s", "40 ms", "90 ms"]
    assert "2.25 times" in str(table.caption)
