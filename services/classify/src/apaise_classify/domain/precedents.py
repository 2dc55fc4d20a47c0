"""What a person decided of a message decides its near-duplicates: which precedents speak, and how far they are heard.

A precedent speaks for a message whose vector lies within a calibrated radius of its own. Precedents correct a model's
habit; they are not a way around the promises of the mesh. So, label by label:

- where they disagree with one another, the verdict is UNSURE: a person looks;
- `threat`, `hate` and `self_harm` never change by precedent alone: where they contradict the model, a person looks; and
  where the model sees one of the three, precedents relax nothing else either;
- nothing that could hide a message is added to a complaint, and a complaint stays one;
- otherwise the label takes the precedents' word: its probability moves to the near edge of the band where the model
  would have been as sure, no further.

A person who kept a message seldom says which label was wrong. So where precedents say that the message stays, labels of
tone nobody stated keep what they are, but lose the near-certainty on which a charter lets one of them act alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from apaise_classify.domain.reading import Cited, Score, Threshold, Verdict
from apaise_kit.core.errors import invalid_field
from apaise_kit.core.labels import LABEL_SET

REMOVE: Final = "remove"
COMPLAINT: Final = "complaint"
# Never changed by precedents alone.
GUARDED: Final = frozenset({"threat", "hate", "self_harm"})
# How a thing is said, as opposed to what it does (a scam, somebody's address): what custom may excuse.
TONE: Final = frozenset({"toxic", "insult", "harassment", "profanity", "sexual", "provocation", "veiled", "mockery"})
# What a charter may hide a message for.
HIDING: Final = TONE | GUARDED | {REMOVE, "spam", "scam", "personal_data", "political"}
MAX_CITED: Final = 5


@dataclass(frozen=True, slots=True)
class Precedent:
    """A resolved message without its text. `id` is its review's; `labels` is what the person says, with `remove`."""

    brand: str
    id: str
    message: str
    author_key: str
    labels: Mapping[str, bool]
    private: bool
    review_time: datetime


def revision_of(generation: int) -> str:
    """How a precedent set is named in assessments."""
    return f"p{generation}"


def check_labels(labels: Mapping[str, bool], field: str) -> None:
    """Refuse labels that do not exist, and a precedent that does not say whether the message goes.

    Raises:
        InvalidArgument: INVALID_FIELD.
    """
    if REMOVE not in labels or not set(labels) <= LABEL_SET:
        raise invalid_field(field, "must hold `remove`, and only labels that exist")


def heard(scores: Mapping[str, Score], thresholds: Mapping[str, Threshold], cited: Sequence[Cited]) -> dict[str, Score]:
    """A text's scores once its precedents have been heard; the rules are the module's."""
    if not cited:
        return dict(scores)
    said = {label: {one.labels[label] for one in cited if label in one.labels} for label in scores}
    excused = said.get(REMOVE) == {False} and not _seen(scores, GUARDED)
    result: dict[str, Score] = {}
    for label, score in scores.items():
        words = said[label]
        if words:
            result[label] = _follow(label, score, thresholds[label], words, scores)
        elif excused and label in TONE:
            result[label] = _less_certain(score, thresholds[label])
        else:
            result[label] = score
    return result


def _follow(label: str, score: Score, at: Threshold, words: set[bool], scores: Mapping[str, Score]) -> Score:
    if len(words) == 2:
        return _unsure(score)
    (applies,) = words
    if score.verdict is (Verdict.YES if applies else Verdict.NO):
        return score
    if label in GUARDED:
        return _unsure(score)
    if applies:
        return _unsure(score) if label in HIDING and _seen(scores, {COMPLAINT}) else _yes(score, at)
    if label == COMPLAINT:
        return score
    return _unsure(score) if _seen(scores, GUARDED) else _no(score, at)


def _seen(scores: Mapping[str, Score], labels: frozenset[str] | set[str]) -> bool:
    """Whether one of these holds by the model."""
    return any(scores[label].holds for label in labels if label in scores)


def _unsure(score: Score) -> Score:
    return Score(score.probability, Verdict.UNSURE, score.holds)


def _yes(score: Score, at: Threshold) -> Score:
    return Score(max(score.probability, at.yes, at.decision), Verdict.YES, True, score.probability)


def _no(score: Score, at: Threshold) -> Score:
    below = max(0.0, round(at.decision - 0.001, 3))
    return Score(min(score.probability, at.no, below), Verdict.NO, False, score.probability)


def _less_certain(score: Score, at: Threshold) -> Score:
    edge = max(at.yes, at.decision)
    return score if score.probability <= edge else Score(edge, score.verdict, score.holds, score.probability)
