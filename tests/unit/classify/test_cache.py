"""What is remembered is exactly what would be read, and nobody else's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from apaise_classify.domain.reading import Edition, Threshold
from apaise_classify.serving.cache import Known, ScoreCache, key_of

EDITION = Edition("r1", ("toxic",), (Threshold(0.5, 0.6, 0.4),), "t1", "encoder", "n2")


def known(value: float) -> Known:
    return Known(np.array([value]), False, np.ones(1, np.float32))


def test_everything_a_score_depends_on_is_in_its_key_and_what_comes_after_is_not() -> None:
    plain = key_of(EDITION, "a", False, "text")
    others = [
        key_of(EDITION, "b", False, "text"),
        key_of(EDITION, "a", True, "text"),
        key_of(EDITION, "a", False, "texts"),
        key_of(replace(EDITION, revision="r2"), "a", False, "text"),
        key_of(replace(EDITION, encoder="other"), "a", False, "text"),
        key_of(replace(EDITION, normalizer="n3"), "a", False, "text"),
    ]
    assert len({plain, *others}) == 7
    assert key_of(replace(EDITION, thresholds=(), thresholds_revision="t2"), "a", False, "text") == plain


def test_no_text_is_kept() -> None:
    assert b"canary" not in key_of(EDITION, "a", False, "canary")


@given(st.integers(0, 5), st.lists(st.integers(0, 9), max_size=40))
def test_it_is_bounded_and_forgets_what_was_asked_for_longest_ago(entries: int, asked: list[int]) -> None:
    cache = ScoreCache(entries)
    recent: list[int] = []
    for number in asked:
        key = bytes([number])
        (found,) = cache.find([key])
        assert (found is not None) == (number in recent)
        if found is None:
            cache.keep([key], [known(number)])
        else:
            assert found.scores[0] == number
        recent = [one for one in recent if one != number] + [number]
        recent = recent[-entries:] if entries else []
        assert len(cache) <= entries
