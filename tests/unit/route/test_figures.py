"""Wilson's interval, and when there is not enough to say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_route.domain.figures import (
    MIN_JUDGED,
    ClauseFigures,
    Rate,
    Rates,
    ReviewerFigures,
    clauses_with,
    reviewers_with,
)

# What scipy.stats.binomtest(hits, count).proportion_ci(method="wilson") says.
KNOWN = [(10, 0, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (20, 10, 0.2993, 0.7007), (100, 90, 0.8256, 0.9448)]


@pytest.mark.parametrize(("count", "hits", "low", "high"), KNOWN)
def test_known_intervals(count: int, hits: int, low: float, high: float) -> None:
    assert list(Rate(count, hits).interval or ()) == pytest.approx([low, high], abs=1e-4)


def test_a_few_are_not_enough() -> None:
    assert Rate(MIN_JUDGED - 1, 0).interval is None
    assert Rate(MIN_JUDGED, 0).interval is not None
    assert Rate().interval is None


@given(st.integers(MIN_JUDGED, 10_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_the_share_lies_within_and_more_say_more(found: tuple[int, int]) -> None:
    count, hits = found
    interval, narrower = Rate(count, hits).interval, Rate(4 * count, 4 * hits).interval
    assert interval is not None
    assert narrower is not None
    assert 0 <= interval[0] <= hits / count <= interval[1] <= 1
    assert narrower[1] - narrower[0] < interval[1] - interval[0]


def test_what_is_only_known_by_agreement_is_there_too() -> None:
    opinions = Rates({"ana": Rate(3, 2)}, {"insult": Rate(3, 2)})
    golden = Rates({"ben": Rate(1, 1)}, {"spam": Rate(1, 1)})
    people = reviewers_with([ReviewerFigures("ana", 4, 1, 0, 0)], opinions, golden)
    assert people == [
        ReviewerFigures("ana", 4, 1, 0, 0, Rate(3, 2), Rate()),
        ReviewerFigures("ben", 0, 0, 0, 0, Rate(), Rate(1, 1)),
    ]
    clauses = clauses_with([ClauseFigures("insult", 4, 1)], opinions, golden)
    assert clauses == [
        ClauseFigures("insult", 4, 1, Rate(3, 2), Rate()),
        ClauseFigures("spam", 0, 0, Rate(), Rate(1, 1)),
    ]
    assert people[0].override == clauses[0].override == Rate(4, 1)
