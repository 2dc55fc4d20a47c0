"""How a reading becomes an assessment."""

from __future__ import annotations

from dataclasses import dataclass

from apaise_classify.domain.precedents import heard
from apaise_classify.domain.reading import UNKNOWN_LANGUAGE, Reading, Score, score


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a text was understood to be."""

    labels: dict[str, Score]
    language: str
    reading: Reading


def assess(reading: Reading, language: str) -> Assessment:
    """Turn a reading into an assessment at its own edition's thresholds, then hear the precedents."""
    edition = reading.edition
    thresholds = dict(zip(edition.labels, edition.thresholds, strict=True))
    own = {
        label: score(probability, thresholds[label])
        for label, probability in zip(edition.labels, reading.scores, strict=True)
    }
    return Assessment(heard(own, thresholds, reading.precedents), language or UNKNOWN_LANGUAGE, reading)
