"""The bench measures what it says: a charter of sixty clauses that mean something, decided whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apaise_route import bench
from apaise_route.adapters.charter_yaml import compile_charter, read_charter
from apaise_route.domain.decide import decide
from apaise_route.testing import START


def test_its_charter_has_sixty_clauses_that_compile_and_hold_now_and_then() -> None:
    assert read_charter(bench.source()).errors == []
    compiled = compile_charter(bench.source(), "brands/bench/charters/1")
    assert len(compiled.charter.clauses) == bench.CLAUSES
    cited = {reason.clause for e in bench.entries(200) for reason in decide(e, compiled, START, 0.5).ruling.reasons}
    assert len(cited) > bench.CLAUSES // 4


def test_it_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--seconds", "0.01"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["clauses"] == bench.CLAUSES
    assert document["program_per_s"] > document["decide_per_s"] > 0
    assert document["decide_to_program"] == pytest.approx(
        document["decide_per_s"] / document["program_per_s"], abs=0.01
    )


def test_the_page_on_performance_tells_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs/performance.md").read_text(encoding="utf-8")
    compiled = compile_charter(bench.source(10), "brands/bench/charters/1")
    keys = {*bench.measure(compiled, 0.001), "call", "under_way", "batch_route_per_s", "batch_route_to_program"}
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_recorded_assessments_decided_again_are_decided_the_same() -> None:
    compiled = compile_charter(bench.source(), "brands/bench/charters/1")
    first, again = ([decide(e, compiled, START, 0.5) for e in bench.entries(300)] for _ in range(2))
    assert first == again
