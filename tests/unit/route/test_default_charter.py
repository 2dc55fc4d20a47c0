"""Telling messages under the charter of brands that have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from apaise_route.adapters.charter_yaml import default_charter, default_source, read_charter
from apaise_route.domain.decide import decide
from apaise_route.domain.model import Absence, Audience, ChannelKind, Moderation, Queue, Visibility
from apaise_route.testing import START, entry, reading

CHARTER = default_charter()
KEEP, HOLD, HIDE = Visibility.KEEP, Visibility.HOLD, Visibility.HIDE
PRE: Mapping[str, Any] = {"moderation": Moderation.PRE}
PRIVATE: Mapping[str, Any] = {"audience": Audience.PRIVATE, "kind": ChannelKind.PRIVATE_MESSAGE}

# name, YES labels, UNSURE labels, other probabilities, the rest of the message → visibility, queue, a review is owed
TABLE: list[tuple[str, Sequence[str], Sequence[str], Mapping[str, float], Mapping[str, Any], Visibility, str, bool]] = [
    ("nothing at all", [], [], {}, {}, KEEP, "none", False),
    ("praise", ["praise", "joy"], [], {}, {}, KEEP, "animation", False),
    ("question before buying", ["question", "buying_intent"], [], {}, {}, KEEP, "sales", False),
    ("plain question", ["question"], [], {}, {}, KEEP, "sales", False),
    ("suggestion", ["suggestion"], [], {}, {}, KEEP, "product", False),
    ("bug", ["bug_report"], [], {}, {}, KEEP, "product", False),
    ("complaint", ["complaint"], [], {}, {}, KEEP, "care", False),
    ("angry complaint", ["complaint", "anger"], [], {}, {}, KEEP, "care", False),
    ("crude complaint", ["complaint", "anger", "profanity"], [], {}, {}, KEEP, "care", False),
    ("complaint the community would remove", ["complaint", "insult", "remove"], [], {}, {}, KEEP, "care", True),
    ("the same before it shows", ["complaint", "insult", "remove"], [], {}, PRE, HOLD, "care", True),
    ("complaint with an extreme insult", ["complaint"], [], {"insult": 0.99}, {}, KEEP, "care", True),
    ("care request", ["care_request"], [], {}, {}, KEEP, "care", False),
    ("boycott", ["boycott", "anger"], [], {}, {}, KEEP, "crisis", False),
    ("insult the community removes", ["insult", "remove"], [], {}, {}, HIDE, "none", False),
    ("insult the community lets be", ["insult", "banter"], [], {}, {}, KEEP, "none", False),
    ("strong insult the community lets be", ["banter"], [], {"insult": 0.97}, {}, KEEP, "none", False),
    ("extreme insult", [], [], {"insult": 0.99}, {}, HIDE, "none", False),
    ("profanity alone", ["profanity"], [], {}, {}, KEEP, "none", False),
    ("banter", ["banter", "amusement"], [], {}, {}, KEEP, "none", False),
    ("mild word a children's brand removes", ["remove"], [], {}, {}, HIDE, "none", False),
    ("hate", [], [], {"hate": 0.93}, {}, HIDE, "moderator", False),
    ("doubtful hate, not removed", ["hate"], [], {"hate": 0.7}, {}, KEEP, "none", False),
    ("doubtful hate, removed", ["remove"], [], {"hate": 0.7}, {}, HIDE, "moderator", False),
    ("hateful threat", [], [], {"hate": 0.98, "threat": 0.98}, {}, HIDE, "legal", True),
    ("hateful threat in a complaint", ["complaint"], [], {"hate": 0.98, "threat": 0.98}, {}, HIDE, "legal", True),
    ("threat", [], [], {"threat": 0.96}, {}, HIDE, "moderator", True),
    ("threat removed", ["threat", "remove"], [], {}, {}, HIDE, "moderator", True),
    ("maybe a threat", ["threat"], [], {}, {}, KEEP, "moderator", True),
    ("sexual", [], [], {"sexual": 0.96}, {}, HIDE, "none", False),
    ("spam", [], [], {"spam": 0.9}, {}, HIDE, "none", False),
    ("maybe spam", [], [], {"spam": 0.6}, {}, KEEP, "none", False),
    ("scam", [], [], {"scam": 0.85}, {}, HIDE, "none", False),
    ("personal data", [], [], {"personal_data": 0.85}, {}, HIDE, "moderator", True),
    ("veiled spite", ["veiled"], [], {}, {}, KEEP, "moderator", True),
    ("sarcasm nobody can read", ["sarcasm"], ["complaint"], {}, {}, KEEP, "moderator", True),
    ("sarcastic praise", ["sarcasm", "praise"], [], {}, {}, KEEP, "none", False),
    ("the model hesitates", [], ["remove"], {}, {}, KEEP, "moderator", True),
    ("it hesitates before it shows", [], ["remove"], {}, PRE, HOLD, "moderator", True),
    ("self-harm", ["self_harm", "distress"], [], {}, {}, KEEP, "moderator", True),
    ("self-harm the community would remove", ["self_harm", "remove"], [], {}, {}, HOLD, "moderator", True),
    ("distress", ["distress", "worry"], [], {}, {}, KEEP, "moderator", True),
    ("one-star review", [], [], {}, {"kind": ChannelKind.REVIEW, "rating": 1.0}, KEEP, "care", False),
    ("five-star review", ["praise"], [], {}, {"kind": ChannelKind.REVIEW, "rating": 5.0}, KEEP, "animation", False),
    ("private insult", ["insult", "remove"], [], {}, PRIVATE, KEEP, "care", False),
    ("private complaint", ["complaint"], [], {}, PRIVATE, KEEP, "care", False),
]


@pytest.mark.parametrize("case", TABLE, ids=[case[0] for case in TABLE])
def test_telling_messages(case: Any) -> None:
    _, yes, unsure, at, message, visibility, queue, reviewed = case
    verdict = decide(entry(reading(yes, unsure, at), **message), CHARTER, START, 0.999)
    expected = (visibility, Queue[queue.upper()], reviewed)
    assert (verdict.ruling.visibility, verdict.ruling.queue, verdict.review is not None) == expected


@pytest.mark.parametrize(
    ("absence", "message", "visibility"),
    [
        (Absence.TOO_LATE, {}, KEEP),
        (Absence.TOO_LATE, {"text": "N.T.M"}, HOLD),
        (Absence.UNAVAILABLE, PRE, HOLD),
        (Absence.DEAD_LETTER, PRIVATE, KEEP),
        (Absence.NO_TEXT, {"text": ""}, KEEP),
    ],
)
def test_messages_nobody_could_read(absence: Absence, message: Mapping[str, Any], visibility: Visibility) -> None:
    assert decide(entry(None, absence, **message), CHARTER, START, 0.999).ruling.visibility is visibility


def test_it_has_no_problem_and_explains_every_clause_in_both_languages() -> None:
    read = read_charter(default_source())
    assert read.problems == []
    assert read.charter is not None
    assert all(set(clause.explain) == {"fr", "en"} for clause in read.charter.clauses)


def test_a_changed_reading_of_remove_changes_the_decision() -> None:
    before = decide(entry(reading(["insult", "remove"])), CHARTER, START, 0.9).ruling.visibility
    after = decide(entry(reading(["insult"])), CHARTER, START, 0.9).ruling.visibility
    assert (before, after) == (HIDE, KEEP)
