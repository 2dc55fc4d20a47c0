"""Expected harm grows with each of its factors, and the queue follows it within the charter's tens."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.labels import LABEL_SET
from apaise_route.adapters.charter_yaml import default_charter
from apaise_route.domain.decide import decide
from apaise_route.domain.harm import (
    LEAST_UNCERTAIN,
    REACH,
    SEVERITY,
    expected_harm,
    priority_of,
    reach,
    uncertainty,
    urgency,
)
from apaise_route.domain.model import (
    Absence,
    Assessment,
    Audience,
    Channel,
    ChannelKind,
    Moderation,
    Score,
    Verdict,
    Visibility,
)
from apaise_route.testing import START, entry, reading

probabilities = st.integers(0, 1000).map(lambda n: n / 1000)
labels = st.sampled_from(sorted(SEVERITY))
kinds = st.sampled_from(list(ChannelKind))
channels = st.builds(
    Channel,
    st.just("b"),
    st.just("c"),
    kinds,
    st.sampled_from(list(Audience)),
    st.sampled_from(list(Moderation)),
)
visibilities = st.sampled_from([v for v in Visibility if v])
harms = st.floats(0, 1)


@st.composite
def scores(draw: st.DrawFn) -> Score:
    verdict = draw(st.sampled_from(list(Verdict)))
    return Score(draw(probabilities), verdict, verdict is Verdict.YES)


def said(**found: Score) -> Assessment:
    return Assessment(found)


def test_severities_are_of_labels_that_exist() -> None:
    assert set(SEVERITY) <= LABEL_SET
    assert all(0 < cost <= 1 for cost in SEVERITY.values())
    assert set(REACH) == set(ChannelKind)


@given(probabilities, probabilities)
def test_the_nearer_to_the_other_answer_the_more_uncertain(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert uncertainty(Score(low, Verdict.NO, False)) <= uncertainty(Score(high, Verdict.NO, False))
    assert uncertainty(Score(low, Verdict.YES, True)) >= uncertainty(Score(high, Verdict.YES, True))


@given(scores(), probabilities)
def test_nothing_is_more_uncertain_than_not_knowing(score: Score, probability: float) -> None:
    assert 0 <= uncertainty(score) <= uncertainty(Score(probability, Verdict.UNSURE, False)) == 1
    assert uncertainty(score) >= LEAST_UNCERTAIN or not score.holds


@given(scores(), labels, labels, channels, visibilities)
def test_the_graver_label_does_more_harm(
    score: Score, one: str, other: str, channel: Channel, visibility: Visibility
) -> None:
    mild, grave = sorted((one, other), key=lambda label: SEVERITY[label])
    assert expected_harm(said(**{mild: score}), channel, visibility) <= expected_harm(
        said(**{grave: score}), channel, visibility
    )


@given(scores(), scores(), labels, channels, visibilities)
def test_the_more_uncertain_reading_does_more_harm(
    one: Score, other: Score, label: str, channel: Channel, visibility: Visibility
) -> None:
    sure, unsure = sorted((one, other), key=uncertainty)
    assert expected_harm(said(**{label: sure}), channel, visibility) <= expected_harm(
        said(**{label: unsure}), channel, visibility
    )


@given(st.dictionaries(labels, scores()), labels, scores(), channels, visibilities)
def test_one_more_thing_to_be_wrong_about_never_does_less(
    found: dict[str, Score], label: str, score: Score, channel: Channel, visibility: Visibility
) -> None:
    before = expected_harm(Assessment({k: v for k, v in found.items() if k != label}), channel, visibility)
    assert before <= expected_harm(Assessment({**found, label: score}), channel, visibility) <= 1


@given(st.one_of(st.none(), st.dictionaries(labels, scores()).map(Assessment)), channels, channels, visibilities)
def test_the_more_can_read_it_the_more_harm(
    assessment: Assessment | None, one: Channel, other: Channel, visibility: Visibility
) -> None:
    few, many = sorted((one, other), key=reach)
    assert expected_harm(assessment, few, visibility) <= expected_harm(assessment, many, visibility)
    assert expected_harm(assessment, few, visibility) <= expected_harm(assessment, few, Visibility.KEEP)


@given(kinds, kinds)
def test_nothing_private_is_as_public_as_what_is_not(private: ChannelKind, public: ChannelKind) -> None:
    hidden = Channel("b", "c", private, Audience.PRIVATE, Moderation.POST)
    assert reach(hidden) < reach(Channel("b", "c", public, Audience.PUBLIC, Moderation.POST))


@given(st.integers(0, 100), harms, st.integers(0, 100), harms)
def test_the_charters_tens_go_before_any_harm(one: int, harm: float, other: int, more: float) -> None:
    if one // 10 > other // 10:
        assert urgency(one, harm) > urgency(other, more)


@given(st.integers(0, 10), st.integers(0, 9), st.integers(0, 9), harms, harms)
def test_within_the_tens_more_harm_never_waits_longer(
    tens: int, one: int, other: int, harm: float, more: float
) -> None:
    low, high = sorted((harm, more))
    assert urgency(tens * 10 + one, low) <= urgency(tens * 10 + one, high)
    if high - low >= 0.101:
        assert urgency(tens * 10 + one, low) < urgency(tens * 10 + other, high)


@given(st.integers(0, 100), harms)
def test_the_priority_is_still_in_it(priority: int, harm: float) -> None:
    assert priority_of(urgency(priority, harm)) == priority
    assert 0 <= urgency(priority, harm) < 1 << 15  # a SMALLINT


LIVE, FORUM, REVIEW, DIRECT = ChannelKind.LIVE_CHAT, ChannelKind.FORUM, ChannelKind.REVIEW, ChannelKind.PRIVATE_MESSAGE
UNSURE = Score(0.3, Verdict.UNSURE, False)


def sure(probability: float) -> Score:
    return Score(probability, Verdict.YES, True)


# The table of docs/review.md.
EXAMPLES = [
    (("threat", UNSURE), LIVE, Visibility.KEEP, 1.0),
    (("threat", UNSURE), LIVE, Visibility.HOLD, 0.5),
    (("threat", UNSURE), FORUM, Visibility.KEEP, 0.6),
    (("threat", sure(0.98)), LIVE, Visibility.HIDE, 0.05),
    (("insult", UNSURE), LIVE, Visibility.KEEP, 0.4),
    (("insult", sure(0.8)), LIVE, Visibility.HIDE, 0.08),
    (("complaint", sure(0.9)), REVIEW, Visibility.KEEP, 0.064),
    (("profanity", UNSURE), LIVE, Visibility.KEEP, 0.2),
    (("threat", UNSURE), DIRECT, Visibility.KEEP, 0.2),
    (("question", UNSURE), LIVE, Visibility.KEEP, 0.0),
]


@pytest.mark.parametrize(("found", "kind", "visibility", "harm"), EXAMPLES)
def test_the_examples_of_the_docs(
    found: tuple[str, Score], kind: ChannelKind, visibility: Visibility, harm: float
) -> None:
    audience = Audience.PRIVATE if kind is DIRECT else Audience.PUBLIC
    channel = Channel("b", "c", kind, audience, Moderation.POST)
    assert expected_harm(Assessment(dict([found])), channel, visibility) == harm


def test_what_nobody_read_is_as_uncertain_as_can_be() -> None:
    channel = Channel("b", "c", LIVE, Audience.PUBLIC, Moderation.POST)
    assert expected_harm(None, channel, Visibility.KEEP) == 0.4


def test_a_decision_carries_it_the_same_each_time() -> None:
    given_ = entry(reading(unsure=["threat"]))
    charter = default_charter()
    rulings = [decide(given_, charter, START, 0.9).ruling for _ in range(2)]
    assert rulings[0].harm == rulings[1].harm > decide(entry(reading()), charter, START, 0.9).ruling.harm > 0
    unread = decide(entry(None, Absence.UNAVAILABLE), charter, START, 0.9).ruling
    assert unread.harm in (0.4, 0.2)


def test_the_order_of_the_docs() -> None:
    """Tens of the charter, then harm, then its ones."""
    order = [(95, 0.0), (91, 0.0), (60, 0.9), (60, 0.31), (64, 0.25), (61, 0.21), (60, 0.0), (59, 1.0)]
    keys = [urgency(*item) for item in order]
    assert keys == sorted(keys, reverse=True)
    assert all(one > other for one, other in itertools.pairwise(keys))
