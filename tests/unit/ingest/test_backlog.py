"""Who may still come in."""

from datetime import timedelta

import pytest

from apaise_ingest.backlog import Backlog
from apaise_ingest.domain import Lane
from apaise_kit.core.errors import ResourceExhausted


def filled(brand: str = "raided") -> Backlog:
    backlog = Backlog(most=2048)
    for _ in range(backlog.limit(Lane.LIVE)):
        backlog.admit(Lane.LIVE, brand)
    return backlog


def test_a_full_lane_says_when_to_come_back() -> None:
    with pytest.raises(ResourceExhausted) as refusal:
        filled().admit(Lane.LIVE, "raided")
    assert refusal.value.retry_after is not None
    assert timedelta(0) < refusal.value.retry_after <= timedelta(seconds=5)


def test_a_raid_on_one_brand_does_not_close_the_door_to_another() -> None:
    backlog = filled()
    backlog.admit(Lane.LIVE, "quiet")
    with pytest.raises(ResourceExhausted):
        backlog.admit(Lane.LIVE, "raided")


def test_lanes_fill_apart() -> None:
    backlog = filled()
    backlog.admit(Lane.CALM, "raided")
    assert backlog.waiting(Lane.CALM) == 1


def test_the_limit_follows_the_measured_speed_within_bounds() -> None:
    backlog = Backlog(most=2048)
    least = backlog.limit(Lane.LIVE)
    backlog.learn(300, timedelta(seconds=1))
    assert backlog.limit(Lane.LIVE) == int(300 * 3 * 0.6)
    for _ in range(50):
        backlog.learn(1, timedelta(seconds=1))
    assert backlog.limit(Lane.LIVE) == least
    for _ in range(50):
        backlog.learn(100_000, timedelta(seconds=1))
    assert backlog.limit(Lane.LIVE) == 2048


def test_the_journals_own_count_corrects_the_estimate() -> None:
    backlog = filled()
    backlog.refresh({(Lane.LIVE, "raided"): 3})
    assert backlog.waiting(Lane.LIVE) == 3
    backlog.admit(Lane.LIVE, "raided")
