"""What may be kept as an answer, and when one answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.errors import Aborted, FailedPrecondition
from apaise_kit.core.labels import LABELS
from apaise_route.domain import answers
from apaise_route.domain.answers import (
    Answer,
    AnswerState,
    Example,
    Found,
    fits,
    near_enough,
    posture_of,
    with_examples,
)
from apaise_route.domain.model import Audience, Visibility
from apaise_route.domain.replies import HUMOUR, INTENTS, POSTURES, Asked, may_joke
from apaise_route.testing import reading

labels = st.lists(st.sampled_from(LABELS), max_size=5)
some_answer = st.builds(
    Answer,
    brand=st.just("b"),
    language=st.just("fr"),
    text=st.just("x"),
    intent=st.sampled_from(("", *INTENTS)),
    posture=st.sampled_from(("", *POSTURES)),
)
message = st.builds(
    Asked,
    text=st.sampled_from(["votre pub on dirait mon neveu", "jé pa compri", "rien reçu", ""]),
    language=st.just("fr"),
    audience=st.sampled_from(Audience),
    visibility=st.sampled_from(Visibility),
    assessment=st.one_of(st.none(), labels.map(reading)),
)


def answer(text: str, *questions: str) -> Answer:
    return Answer("b", "fr", text, examples=tuple(Example(question, approved=True) for question in questions))


@given(some_answer, message, st.sampled_from(("", *POSTURES)))
def test_a_joke_is_only_given_where_one_may_be_made(kept: Answer, asked: Asked, posture: str) -> None:
    if fits(kept, asked, posture):
        assert asked.assessment is not None
        assert not kept.intent or asked.assessment.says(kept.intent)
        assert kept.posture != HUMOUR or (may_joke(asked) and posture in ("", HUMOUR))


@given(message)
def test_what_was_replied_to_mockery_is_kept_as_a_joke(asked: Asked) -> None:
    mocked = asked.assessment is not None and asked.assessment.says("mockery")
    assert posture_of("", asked) == (("mockery", HUMOUR) if mocked else ("", ""))
    assert posture_of("complaint/solve", asked) == ("complaint", "solve")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_who_answers_leads(cosines: list[float]) -> None:
    ordered = sorted(cosines, reverse=True)
    found = [Found(answer(f"a{n}", f"q{n}"), cosine) for n, cosine in enumerate(ordered)]
    if near_enough(found):
        assert ordered[0] >= (answers.LEAD + answers.UNRELATED) / 2
        assert ordered[0] >= answers.VERBATIM or len(ordered) == 1 or ordered[0] > ordered[1]


def test_near_needs_a_lead_over_those_who_say_something_else() -> None:
    assert near_enough([Found(answer("a", "q"), 0.97)])
    assert not near_enough([Found(answer("a", "q"), 0.95)])
    assert not near_enough([Found(answer("a", "q"), 0.97), Found(answer("b", "r"), 0.96)])
    assert near_enough([Found(answer("a", "q"), 0.97), Found(answer("b", "r", "q"), 0.96)])
    assert near_enough([Found(answer("a", "q"), 1.0), Found(answer("b", "r"), 0.99)])
    assert not near_enough([Found(answer("a", "q"), 0.97)], answers.LEAD_ALONE)


def test_the_same_words_are_the_same_answer() -> None:
    assert answer("Trois  jours.").id == answer("Trois jours.").id
    assert answer("Trois jours.").id != Answer("b", "en", "Trois jours.").id
    assert answer("Trois jours.").name.startswith("brands/b/answers/")


def test_what_was_approved_stays_approved_and_repeats_add_nothing() -> None:
    kept = answer("a", "q")
    assert with_examples(kept, [Example("q")]) is None
    grown = with_examples(kept, [Example("r"), Example("r")])
    assert grown is not None
    assert grown.examples == (Example("q", approved=True), Example("r"))
    approved = with_examples(grown, [Example("r", approved=True)])
    assert approved is not None
    assert all(one.approved for one in approved.examples)
    with pytest.raises(FailedPrecondition):
        with_examples(kept, [Example(f"q{n}") for n in range(100)])


def test_where_an_answer_stands() -> None:
    assert answer("a").state is AnswerState.PROPOSED
    assert Answer("b", "fr", "a", approve_actor="lea").state is AnswerState.ACTIVE
    assert Answer("b", "fr", "a", approve_actor="lea", retired=True).state is AnswerState.RETIRED
    answer("a").check_etag("")
    answer("a").check_etag("1")
    with pytest.raises(Aborted):
        answer("a").check_etag("2")
