"""The language of a message, offline (lingua), with what the platform and the brand say as a prior."""

from collections.abc import Sequence
from typing import Final

from lingua import IsoCode639_1, Language, LanguageDetector, LanguageDetectorBuilder

UNDETERMINED: Final = "und"
_CODES: Final = (
    *("AR", "CA", "DE", "EL", "EN", "ES", "FR", "HI", "IT", "JA", "KO"),
    *("NL", "PL", "PT", "RO", "RU", "SV", "TR", "UK", "VI", "ZH"),
)
_LEAST_LETTERS: Final = 3
_LEAST_CONFIDENCE: Final = 0.5
# A chat line is short: what the platform says of it, or what the brand's audience mostly writes, is worth about this
# many times the evidence of its letters.
_HINT_WEIGHT: Final = 6.0
_BRAND_WEIGHT: Final = 6.0

Reading = tuple[str, float]


class LanguageReader:
    """Reads the languages of texts. Holds about 500 MB of n-gram models; safe to call from a thread."""

    def __init__(self) -> None:
        languages = [Language.from_iso_code_639_1(getattr(IsoCode639_1, code)) for code in _CODES]
        self._detector: LanguageDetector = (
            LanguageDetectorBuilder.from_languages(*languages)
            # Else the first message waits for them, seconds on a busy machine.
            .with_preloaded_language_models()
            .build()
        )

    def read(self, rows: Sequence[tuple[str, str, str]]) -> list[Reading]:
        """The language of each row.

        Args:
            rows: text, the platform's hint (BCP 47 or empty), the brand's default language (ISO 639-1 or empty).

        Returns:
            For each row the ISO 639-1 code and its confidence (0 to 1), or `und` and the best confidence found.
        """
        values = self._detector.compute_language_confidence_values_in_parallel([text for text, _, _ in rows])
        readings = []
        for (text, hint, default), confidences in zip(rows, values, strict=True):
            scores = {value.language.iso_code_639_1.name.lower(): value.value for value in confidences}
            readings.append(_decide(text, scores, hint.split("-")[0].lower(), default.lower()))
        return readings


def _decide(text: str, scores: dict[str, float], hint: str, default: str) -> Reading:
    if sum(character.isalpha() for character in text) < _LEAST_LETTERS or not any(scores.values()):
        return UNDETERMINED, 0.0
    for code, weight in ((hint, _HINT_WEIGHT), (default, _BRAND_WEIGHT)):
        if code in scores:
            scores[code] *= weight
    best = max(scores, key=lambda code: scores[code])
    confidence = round(scores[best] / sum(scores.values()), 3)
    return (best if confidence >= _LEAST_CONFIDENCE else UNDETERMINED), confidence
