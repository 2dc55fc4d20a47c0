"""How the approved answers are calibrated."""

from __future__ import annotations

import argparse

import numpy as np

from apaise_classify import answering
from apaise_route.domain import answers

OPTIONS = argparse.Namespace(examples=1, draws=4)


def test_what_is_measured_is_what_route_does() -> None:
    assert answering.UNRELATED == answers.UNRELATED
    assert {answers.LEAD, answers.LEAD_ALONE} <= set(answering.GRID)


def test_same_intents_that_are_near_are_found_and_the_rest_is_not_given() -> None:
    intents = [intent for intent in "abcd" for _ in range(3)]
    vectors = np.eye(4, dtype=np.float32).repeat(3, axis=0)
    leads, right, answered = answering.drawn_bases(intents, vectors, None, OPTIONS)
    assert (right == answered).all()
    assert (leads[right] == np.float32(2 - answering.UNRELATED)).all()
    assert (leads[~right] < 0).all()
    (line,) = [line for line in answering.table((leads, right, answered)) if line["lead"] == answers.LEAD]
    assert (line["precision"], line["coverage"]) == (1, 1)
    # Two of four intents have an answer and lost an example to it: 2 x 2 of the 10 messages are theirs.
    assert line["given"] == 0.4


def test_a_text_that_is_as_near_to_another_answer_is_not_given() -> None:
    intents = ["a", "a", "b", "b"]
    near = np.array([[1, 0], [0.97, 0.2431], [0.94, 0.3412], [0, 1]], dtype=np.float32)
    leads, _, _ = answering.drawn_bases(intents, near, 2, OPTIONS)
    assert leads.max() < 2 - answering.UNRELATED
    assert np.median(leads) < answers.LEAD


def test_the_calibrated_lead_is_the_smallest_from_which_precision_holds() -> None:
    lines = [
        {"lead": 0.9, "precision": 0.95, "given": 0.5},
        {"lead": 0.91, "precision": 0.8, "given": 0.4},
        {"lead": 0.92, "precision": 0.93, "given": 0.2},
        {"lead": 0.93, "precision": 0.97, "given": 0.1},
        {"lead": 0.94, "precision": 1.0, "given": 0.0},
    ]
    assert answering.calibrated(lines, 0.9) == 0.92
    assert answering.calibrated(lines[-1:], 0.9) is None
