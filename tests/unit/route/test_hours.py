"""Opening hours: a delay only runs while they last."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from apaise_route.domain.hours import BusinessHours

PARIS = ZoneInfo("Europe/Paris")
NINE_TO_SIX = BusinessHours(PARIS, dict.fromkeys(range(5), ((time(9), time(18)),)), frozenset({date(2026, 12, 25)}))
ALWAYS = BusinessHours(PARIS, dict.fromkeys(range(7), ((time(0), time(0)),)))
instants = st.integers(0, 525_600).map(lambda minute: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute))
delays = st.integers(1, 5000).map(lambda minutes: timedelta(minutes=minutes))


@given(instants, delays)
def test_always_open_is_the_clock(at: datetime, delay: timedelta) -> None:
    assert ALWAYS.due(at, delay) == at + delay
    assert ALWAYS.is_open(at)


@given(instants, delays)
def test_it_is_never_due_early_nor_outside_opening_hours(at: datetime, delay: timedelta) -> None:
    due = NINE_TO_SIX.due(at, delay)
    assert due >= at + delay
    assert NINE_TO_SIX.is_open(due - timedelta(microseconds=1))


@given(instants, delays, delays)
def test_a_delay_goes_on_where_another_ended(at: datetime, first: timedelta, second: timedelta) -> None:
    assert NINE_TO_SIX.due(NINE_TO_SIX.due(at, first), second) == NINE_TO_SIX.due(at, first + second)


def test_days_off_and_the_change_of_clocks() -> None:
    christmas_eve = datetime(2026, 12, 24, 17, 30, tzinfo=PARIS)
    assert NINE_TO_SIX.due(christmas_eve, timedelta(hours=1)) == datetime(2026, 12, 28, 9, 30, tzinfo=PARIS)
    night = BusinessHours(PARIS, dict.fromkeys(range(7), ((time(0), time(6)),)))
    # On 29 March 2026 the hour from 2 to 3 does not exist.
    assert night.due(datetime(2026, 3, 29, 0, tzinfo=PARIS), timedelta(hours=5)) == datetime(
        2026, 3, 29, 6, tzinfo=PARIS
    )


def test_hours_that_never_open_leave_the_clock() -> None:
    never = BusinessHours(PARIS, {})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert never.due(at, timedelta(hours=1)) == at + timedelta(hours=1)
