"""What is worth bringing forward."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apaise_route.domain.forward import EXPLANATIONS, Forward, ForwardReason, best, forward_of
from apaise_route.domain.model import Audience
from apaise_route.testing import START, entry, reading

LONG = "La tasse est belle, solide, et tient bien chaud : merci pour ce soin"


def of(labels: list[str], text: str = LONG, audience: Audience = Audience.PUBLIC) -> ForwardReason | None:
    given = entry(reading(labels), text=text, audience=audience)
    found = forward_of(given.message, given.channel, given.assessment)
    return found.reason if found else None


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["question"], ForwardReason.QUESTION),
        (["suggestion"], ForwardReason.SUGGESTION),
        (["suggestion", "complaint"], ForwardReason.CONSTRUCTIVE),
        (["suggestion", "bug_report"], ForwardReason.CONSTRUCTIVE),
        (["praise"], ForwardReason.AMBASSADOR),
        (["praise", "sarcasm"], None),
        (["praise", "mockery"], None),
        (["praise", "spam"], None),
        (["question", "complaint"], None),
        (["question", "care_request"], None),
        (["question", "insult"], None),
        (["suggestion", "distress"], None),
        (["suggestion", "remove"], None),
        (["joy"], None),
        ([], None),
    ],
)
def test_reasons(labels: list[str], reason: ForwardReason | None) -> None:
    assert of(labels) is reason


def test_private_gone_short_and_unread_never_are() -> None:
    assert of(["question"], audience=Audience.PRIVATE) is None
    assert of(["question"], text="C'est quand ?") is None
    assert of(["praise"], text="J'adore, merci beaucoup à vous") is None
    gone = entry(reading(["question"]), text=LONG, gone=True)
    assert forward_of(gone.message, gone.channel, gone.assessment) is None
    assert forward_of(entry(text=LONG).message, entry(text=LONG).channel, None) is None
    assert forward_of(gone.message, None, gone.assessment) is None


def test_the_score_is_the_weakest_thing_the_reason_rests_on() -> None:
    given = entry(reading(at={"suggestion": 0.9, "complaint": 0.6}), text=LONG)
    found = forward_of(given.message, given.channel, given.assessment)
    assert found is not None
    assert (found.reason, found.score) == (ForwardReason.CONSTRUCTIVE, 0.6)


def test_the_surest_first_and_each_text_once() -> None:
    def made(n: int, text: str, score: float) -> Forward:
        message = entry(text=text, id=f"m{n}", received_time=START + timedelta(minutes=n)).message
        return Forward(message, ForwardReason.QUESTION, score)

    found = best([made(1, "Où ? Quand ?", 0.7), made(2, "autre", 0.9), made(3, "où, quand !", 0.7)], 5)
    assert [forward.message.id for forward in found] == ["m2", "m3"]
    assert len(best(found, 1)) == 1


def test_every_reason_is_explained_in_both_languages() -> None:
    assert {reason: set(words) for reason, words in EXPLANATIONS.items()} == {r: {"fr", "en"} for r in ForwardReason}
