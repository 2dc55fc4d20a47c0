"""How often a reviewer gets a golden item, and what counts as right."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_route.domain.golden import draw_from, is_drawn, is_right, least_between
from apaise_route.domain.model import Visibility

KEEP, HOLD, HIDE, DELETE = Visibility.KEEP, Visibility.HOLD, Visibility.HIDE, Visibility.DELETE


@pytest.mark.parametrize(
    ("said", "right", "found"),
    [
        (KEEP, KEEP, True),
        (HIDE, KEEP, False),
        (DELETE, HIDE, True),
        (HIDE, DELETE, True),
        (KEEP, DELETE, False),
        (HOLD, HIDE, None),
        (HOLD, KEEP, None),
    ],
)
def test_right_is_the_right_side(said: Visibility, right: Visibility, found: bool | None) -> None:
    assert is_right(said, right) is found


@given(st.floats(0, 1, exclude_max=True))
def test_a_share_of_none_gives_none(draw: float) -> None:
    assert not is_drawn(0, draw)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_about_the_share_and_nowhere_in_particular(share: float) -> None:
    draws, gaps, since = random.Random(7), [], 0
    for _ in range(40_000):
        since += 1
        if since >= least_between(share) and is_drawn(share, draws.random()):
            gaps.append(since)
            since = 0
    golden = len(gaps) / (40_000 + len(gaps))
    assert 0.8 * share < golden <= 1.05 * share
    assert min(gaps) == least_between(share) == 1 / share // 2
    assert len(set(gaps)) > 1 / share / 2


@given(st.text())
def test_a_draw_is_a_number_below_one(seed: str) -> None:
    assert 0 <= draw_from(seed) < 1
