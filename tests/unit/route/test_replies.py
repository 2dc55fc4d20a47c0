"""Which reply is owed, and where humour has no place."""

from __future__ import annotations

import pytest

from apaise_kit.core.labels import LABELS
from apaise_route.adapters.scenarios import scenarios
from apaise_route.domain.model import Audience, Visibility
from apaise_route.domain.replies import HUMOUR, INTENTS, NOT_FUNNY, POSTURES, Asked, Draft, DraftNote, draft, may_joke
from apaise_route.testing import reading

JOKE = "Votre nouvelle pub, on dirait mon neveu sous Paint"


def asked(*labels: str, text: str = JOKE, language: str = "fr", **changes: object) -> Asked:
    fields = {"audience": Audience.PUBLIC, "visibility": Visibility.KEEP} | changes
    return Asked(text, language, assessment=reading(labels), **fields)  # type: ignore[arg-type]


def drafted(message: Asked, posture: str = "") -> Draft:
    return draft(scenarios(), message, posture, "fr")


@pytest.mark.parametrize(
    ("labels", "posture", "scenario"),
    [
        (["complaint"], "", "complaint/apologise"),
        (["complaint"], "solve", "complaint/solve"),
        (["complaint", "question"], "", "complaint/apologise"),
        (["care_request"], "explain", "care_request/solve"),
        (["question"], "", "question/explain"),
        (["praise"], "", "praise/reassure"),
        (["mockery"], "", "mockery/reassure"),
        (["mockery"], HUMOUR, "mockery/light_humour"),
        (["mockery", "praise", "amusement", "target_brand"], HUMOUR, "mockery/light_humour"),
    ],
)
def test_what_the_message_asks_for_and_the_posture_choose(labels: list[str], posture: str, scenario: str) -> None:
    found = drafted(asked(*labels), posture)
    assert (found.scenario, found.note) == (scenario, DraftNote.NONE)
    assert found.text == scenarios()[scenario.split("/")[0]][found.posture]["fr"]


@pytest.mark.parametrize("label", [label for label in NOT_FUNNY if label not in ("distress", "self_harm")])
def test_no_joke_at_a_grievance_a_fight_or_a_person(label: str) -> None:
    found = drafted(asked("mockery", label), HUMOUR)
    assert (found.posture != HUMOUR, found.note) == (True, DraftNote.NO_HUMOUR)


@pytest.mark.parametrize("label", ["distress", "self_harm"])
@pytest.mark.parametrize("posture", ["", *POSTURES])
def test_to_someone_in_distress_a_person_writes(label: str, posture: str) -> None:
    found = drafted(asked("mockery", "complaint", label), posture)
    assert (found.text, found.note) == ("", DraftNote.A_PERSON_FIRST)


@pytest.mark.parametrize(
    "text", ["jé pa compri votre pub", "sa marche pas", "KOMENT on fait", "u r so bad lol", "chui deg"]
)
def test_no_joke_at_someone_who_writes_by_ear(text: str) -> None:
    assert drafted(asked("mockery", text=text), HUMOUR).note is DraftNote.NO_HUMOUR


@pytest.mark.parametrize(
    "changes",
    [{"visibility": Visibility.HOLD}, {"visibility": Visibility.HIDE}, {"audience": Audience.PRIVATE}],
)
def test_no_joke_at_what_does_not_show_or_is_private(changes: dict[str, object]) -> None:
    assert not may_joke(asked("mockery", **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("label", [label for label in LABELS if label != "mockery"])
def test_no_label_but_mockery_invites_a_joke(label: str) -> None:
    assert not may_joke(asked(label))


def test_languages_fall_back_to_the_charters() -> None:
    assert drafted(asked("question", language="en")).language == "en"
    assert drafted(asked("question", language="de")).language == "fr"


def test_without_a_reading_or_an_intent_there_is_no_draft() -> None:
    unread = Asked(JOKE, "fr", Audience.PUBLIC, Visibility.KEEP, None)
    assert (drafted(unread).text, drafted(unread).note) == ("", DraftNote.NOT_READ)
    assert drafted(asked("joy")).note is DraftNote.NO_SCENARIO


def test_a_private_message_gets_a_private_draft() -> None:
    assert drafted(asked("complaint", audience=Audience.PRIVATE)).audience is Audience.PRIVATE


def test_every_scenario_is_in_both_languages_and_known() -> None:
    assert set(scenarios()) == set(INTENTS)
    for postures in scenarios().values():
        assert set(postures) <= set(POSTURES)
        for texts in postures.values():
            assert set(texts) == {"fr", "en"}
    assert [intent for intent, postures in scenarios().items() if HUMOUR in postures] == ["mockery"]
