"""When a canary is taken back without waiting for reviews."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apaise_train.domain.health import MIN_FAILURES, MIN_TIMED, SLOWER, SLOWER_BY, Arm, Health, illness

WELL = Arm(reads=1000, failures=0, timed=500, p90=0.05, p95=0.1)


def ill(canary: Arm, champion: Arm = WELL) -> str | None:
    return illness(Health("r2", canary, champion))


def test_one_that_fares_as_the_champion_does_goes_on() -> None:
    assert ill(WELL) is None
    assert ill(Arm(), Arm()) is None


def test_one_that_fails_is_ended_after_a_handful() -> None:
    said = "The canary fails: it could not read 5 of 5 messages, the champion 0 of 1000."
    assert ill(Arm(reads=MIN_FAILURES, failures=MIN_FAILURES)) == said
    assert ill(Arm(reads=MIN_FAILURES, failures=MIN_FAILURES - 1)) is None


def test_seldom_failures_and_those_the_champion_has_too_are_not_its_own() -> None:
    assert ill(replace(WELL, failures=20)) is None
    assert ill(replace(WELL, failures=21)) is not None
    assert ill(replace(WELL, failures=300), replace(WELL, failures=290)) is None


def test_one_that_is_slow_is_ended_and_the_ledger_can_say_how_slow() -> None:
    said = (
        "The canary is slow: one in ten of its 200 messages takes over 210 ms, "
        "one in twenty of the champion's 500 over 100 ms."
    )
    assert ill(Arm(reads=300, timed=MIN_TIMED, p90=0.21, p95=0.21)) == said


@pytest.mark.parametrize(
    ("canary", "champion"),
    [
        (Arm(timed=MIN_TIMED - 1, p90=9.0), WELL),
        (Arm(timed=MIN_TIMED, p90=9.0), replace(WELL, timed=MIN_TIMED - 1)),
        (Arm(timed=MIN_TIMED, p90=0.1 * SLOWER), WELL),
        (Arm(timed=MIN_TIMED, p90=0.001 + SLOWER_BY), replace(WELL, p95=0.001)),
        # One slow batch at the start: one message in twenty waited for it, no matter how long.
        (Arm(timed=MIN_TIMED, p90=0.05, p95=9.0), WELL),
    ],
)
def test_few_messages_little_time_or_a_slow_start_say_nothing(canary: Arm, champion: Arm) -> None:
    assert ill(canary, champion) is None
