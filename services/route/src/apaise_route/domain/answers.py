"""A brand's approved answers: what may be kept as one, what an answer answers, and how near is near enough."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Final

from apaise_kit.core.errors import Aborted, FailedPrecondition, Reason, invalid_field
from apaise_kit.core.names import ANSWER
from apaise_route.domain.personal import CONTACTS, personal_in
from apaise_route.domain.replies import HUMOUR, INTENTS, POSTURES, Asked, may_joke

# Calibrated for the house encoder that ships by `python -m apaise_classify.answering`; docs/cases.md has the table. A
# cosine that texts on different things often reach; how far an answer must lead to be given, and to be sent by no one.
UNRELATED: Final = 0.9
LEAD: Final = 1.02
LEAD_ALONE: Final = 1.06
# At or above it a message is the question itself: no other answer can be meant.
VERBATIM: Final = 0.999
MOST_FOUND: Final = 5
MOST_COMPARED: Final = 25
MAX_TEXT: Final = 2000
MAX_QUESTION: Final = 500
MAX_QUESTIONS: Final = 50


class AnswerState(IntEnum):
    """Where an answer stands."""

    PROPOSED = 1
    ACTIVE = 2
    RETIRED = 3


class AnswerOrigin(IntEnum):
    """Where an answer comes from."""

    WRITTEN = 1
    ACCEPTED = 2
    EDITED = 3


@dataclass(frozen=True, slots=True)
class Example:
    """Something an answer answers: a question in the brand's own words, or a message (its id and its author's key),
    whose text stays where messages are kept."""

    question: str = ""
    message: str = ""
    author_key: str = ""
    approved: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. Its text never changes; what it answers grows."""

    brand: str
    language: str
    text: str
    intent: str = ""
    posture: str = ""
    own_contacts: bool = False
    origin: AnswerOrigin = AnswerOrigin.WRITTEN
    create_actor: str = ""
    create_time: datetime | None = None
    approve_actor: str = ""
    approve_time: datetime | None = None
    retired: bool = False
    version: int = 1
    examples: tuple[Example, ...] = ()

    @property
    def id(self) -> str:
        """Follows from language and text: the same answer given twice is one."""
        return hashlib.sha256(f"{self.language} {' '.join(self.text.split())}".encode()).hexdigest()[:26]

    @property
    def name(self) -> str:
        """Resource name."""
        return ANSWER.format(self.brand, self.id)

    @property
    def state(self) -> AnswerState:
        """Where it stands."""
        if self.retired:
            return AnswerState.RETIRED
        return AnswerState.ACTIVE if self.approve_actor else AnswerState.PROPOSED

    def check_etag(self, etag: str) -> None:
        """Refuse to go on from what was read when it has changed since; an empty etag checks nothing.

        Raises:
            Aborted: (ETAG_MISMATCH) it has.
        """
        if etag and etag != str(self.version):
            raise Aborted(f"{self.name} has changed since it was read. Read it again.", reason=Reason.ETAG_MISMATCH)


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and how near its nearest question is."""

    answer: Answer
    similarity: float


def near_enough(found: Sequence[Found], needed: float = LEAD) -> bool:
    """Whether the first of these, nearest first, answers what is asked: it must lead those that say something else.

    Answers that share a question with it say the same in other words.
    """
    first = found[0]
    asked = _asked_of(first.answer)
    rivals = [one.similarity for one in found[1:] if not asked & _asked_of(one.answer)]
    lead = 2 * first.similarity - max([UNRELATED, *rivals])
    return first.similarity >= VERBATIM or lead >= needed


def _asked_of(answer: Answer) -> set[tuple[str, str]]:
    return {(one.question, one.message) for one in answer.examples if one.approved}


def check_answer(answer: Answer, questions: Sequence[str]) -> None:
    """Refuse what cannot be an answer, and personal data in it.

    Raises:
        InvalidArgument: INVALID_FIELD.
    """
    if not answer.text or len(answer.text) > MAX_TEXT:
        raise invalid_field("answer.text", f"must be 1 to {MAX_TEXT} characters")
    if answer.intent and answer.intent not in INTENTS:
        raise invalid_field("answer.intent", f"must be one of {', '.join(INTENTS)}")
    if answer.posture and answer.posture not in POSTURES:
        raise invalid_field("answer.posture", f"must be one of {', '.join(POSTURES)}")
    if answer.posture == HUMOUR and answer.intent != "mockery":
        raise invalid_field("answer.posture", f"{HUMOUR} answers mockery alone: say so in answer.intent")
    check_no_person("answer.text", answer.text, CONTACTS if answer.own_contacts else ())
    check_questions("answer.questions", questions)


def check_questions(field: str, questions: Sequence[str]) -> None:
    """Refuse questions that are too long or too many, or hold personal data.

    Raises:
        InvalidArgument: INVALID_FIELD.
    """
    if len(questions) > MAX_QUESTIONS:
        raise invalid_field(field, f"must be at most {MAX_QUESTIONS}")
    for n, question in enumerate(questions):
        if not question or len(question) > MAX_QUESTION:
            raise invalid_field(f"{field}[{n}]", f"must be 1 to {MAX_QUESTION} characters")
        check_no_person(f"{field}[{n}]", question)


def check_no_person(field: str, text: str, allowed: Iterable[str] = ()) -> None:
    """Refuse personal data, saying which kind: never which.

    Raises:
        InvalidArgument: INVALID_FIELD.
    """
    found = [kind for kind in personal_in(text) if kind not in allowed]
    if found:
        raise invalid_field(field, f"holds {' and '.join(found)}: take that out, an answer is for everyone")


def with_examples(answer: Answer, given: Iterable[Example]) -> Answer | None:
    """The answer with what is new; None when nothing is. What was approved stays so.

    Raises:
        FailedPrecondition: it would answer more than its most.
    """
    merged = {(one.question, one.message): one for one in answer.examples}
    for one in given:
        key = (one.question, one.message)
        if key not in merged or (one.approved and not merged[key].approved):
            merged[key] = one
    examples = tuple(merged.values())
    if examples == answer.examples:
        return None
    if len(examples) > 2 * MAX_QUESTIONS:
        raise FailedPrecondition(f"{answer.name} has {2 * MAX_QUESTIONS} examples already. That is enough to find it.")
    return replace(answer, examples=examples)


def fits(answer: Answer, asked: Asked, posture: str) -> bool:
    """Whether an answer may be given to a message at all: by what it was read as, and in the posture wished for.

    Humour only where `may_joke` says so, whoever approved it.
    """
    reading = asked.assessment
    if reading is None or (answer.intent and not reading.says(answer.intent)):
        return False
    if answer.posture == HUMOUR:
        return posture in ("", HUMOUR) and may_joke(asked)
    return posture != HUMOUR or not may_joke(asked)


def posture_of(scenario: str, asked: Asked) -> tuple[str, str]:
    """Intent and posture of what was made of a scenario, or of nothing that is known.

    A reply to mockery may be a joke: it is kept as one, so that it is only ever given where a joke has its place.
    """
    intent, _, posture = scenario.partition("/")
    if scenario:
        return intent, posture
    mocked = asked.assessment is not None and asked.assessment.says("mockery")
    return ("mockery", HUMOUR) if mocked else ("", "")
