"""When a run is due without anybody asking."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apaise_train.domain.policy import MIN_AUDITS, Policy, Standing, due

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy(reviews=100)
DAY_OLD = Standing("acme", 400, 99, NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (DAY_OLD, None),
        (replace(DAY_OLD, new=100), "count"),
        (replace(DAY_OLD, new=100, last_run=NOW - timedelta(hours=5)), None),
        (replace(DAY_OLD, new=20, last_run=NOW - timedelta(days=7)), "time"),
        (replace(DAY_OLD, new=19, last_run=NOW - timedelta(days=70)), None),
        (Standing("acme", 120, 120, None), "count"),
        (Standing("acme", 60, 60, None), None),
        (replace(DAY_OLD, audits=60, audits_wrong=15, before=60, before_wrong=6), "drift"),
        (replace(DAY_OLD, audits=60, audits_wrong=8, before=60, before_wrong=6), None),
        (replace(DAY_OLD, audits=MIN_AUDITS - 1, audits_wrong=40, before=60, before_wrong=0), None),
        (replace(DAY_OLD, new=10, audits=60, audits_wrong=40, before=60, before_wrong=0), None),
    ],
)
def test_count_time_and_drift(standing: Standing, why: str | None) -> None:
    assert due(standing, POLICY, NOW) == why


def test_too_few_to_learn_from_are_never_due() -> None:
    assert due(Standing("acme", 39, 39, None), Policy(reviews=10), NOW) is None


def test_without_a_policy_people_decide() -> None:
    assert due(replace(DAY_OLD, new=10_000), Policy(), NOW) is None
