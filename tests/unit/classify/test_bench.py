"""The figures benches print are what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from apaise_classify.bench import explained
from apaise_classify.domain.reading import Span
from apaise_classify.serving.edition import ROW_OF
from apaise_kit.core.labels import LABELS


class OneWord:
    """Reads `vile` as toxic, and explains it by that word, or by the first one when it is told to be wrong."""

    def __init__(self, right: bool) -> None:
        self._right = right

    def read(self, texts: Sequence[str], slots: Sequence[int]) -> tuple[Any, list[bool]]:
        scores = np.full((len(texts), len(LABELS)), 0.01)
        scores[:, ROW_OF["toxic"]] = [0.9 if "vile" in text else 0.1 for text in texts]
        return scores, [False] * len(texts)

    def explain(self, text: str, slot: int, labels: Sequence[str]) -> list[Span]:
        if "vile" not in text:
            return []
        start, end = (text.index("vile"), text.index("vile") + 4) if self._right else (0, text.index(" "))
        return [Span("toxic", start, end, 1.0)]


MARKED = [
    {"text": f"{'some words before it ' * n}a vile remark and more", "spans": [(21 * n + 2, 21 * n + 6)]}
    for n in range(1, 9)
] + [{"text": "nothing to see", "spans": [(0, 7)]}]


def test_a_right_explanation_meets_people_and_carries_the_score() -> None:
    engine: Any = OneWord(right=True)
    found = explained(engine, "toxic", MARKED)
    assert found["n"] == 8, "texts without a span are not counted"
    assert found["f1"] == 1.0 > found["f1_of_random_words"]
    assert found["drop"] > 4.0 > found["drop_of_random_words"]


def test_a_wrong_one_does_not() -> None:
    engine: Any = OneWord(right=False)
    found = explained(engine, "toxic", MARKED)
    assert found["f1"] == 0.0
    assert found["drop"] == 0.0
