"""Rows in, readings out, and how a reading becomes an assessment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

from apaise_kit.core.errors import InvalidArgument, Reason, Violation, invalid_field

HOUSE: Final = "house"
NO_PRECEDENTS: Final = "none"
MAX_ITEMS: Final = 500
MAX_EXPLAINED: Final = 50
MAX_REQUEST_BYTES: Final = 3_500_000
MAX_TEXT_BYTES: Final = 32 * 1024
UNKNOWN_LANGUAGE: Final = "und"
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, slots=True)
class Row:
    """One text and the brand (slug) whose culture reads it.

    `explain` asks for the words behind what holds; what is remembered of a `private` one answers nothing public.
    """

    brand: str
    text: str
    explain: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """A label holds from `decision` up. Apart from it, a person should look between `no` and `yes`."""

    decision: float
    yes: float
    no: float


@dataclass(frozen=True, slots=True)
class Edition:
    """One way of reading: an adapter revision, or the house, with all that an assessment must name.

    `thresholds` follows the order of `labels`.
    """

    revision: str
    labels: tuple[str, ...]
    thresholds: tuple[Threshold, ...]
    thresholds_revision: str
    encoder: str
    normalizer: str


class Fallback(StrEnum):
    """Why the house read a brand's row."""

    NONE = "none"
    NO_ADAPTER = "no_adapter"
    ADAPTER_FAILED = "adapter_failed"


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of a text as given, and their share of what holds a label up, 2 decimals."""

    label: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class Cited:
    """A precedent that speaks for a text: its review's name, their vectors' cosine (3 decimals), what was said."""

    review: str
    similarity: float
    labels: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a replica answers for one row: probabilities in the order of its edition's labels, 3 decimals.

    `spans` explain the labels that hold, strongest first for each; empty unless asked for. `recalled`: the same text
    had been read before. `precedents` are those that speak for the text, nearest first, out of the brand's set of that
    revision; the scores are the model's own.
    """

    scores: tuple[float, ...]
    edition: Edition
    truncated: bool
    fallback: Fallback
    spans: tuple[Span, ...] = ()
    recalled: bool = field(default=False, compare=False)
    precedents: tuple[Cited, ...] = ()
    precedent_set: str = NO_PRECEDENTS


@dataclass(frozen=True, slots=True)
class Vectors:
    """Unit vectors in the order of the texts, and the digest of the encoder that made them."""

    values: tuple[tuple[float, ...], ...]
    encoder: str


class Verdict(Enum):
    """Where a probability lies beside the band in which a person should look."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Score:
    """One label's probability, whether the label holds, and how sure that is.

    `model` is what the model itself said, where precedents changed it.
    """

    probability: float
    verdict: Verdict
    holds: bool
    model: float | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One text as a caller gives it; `context` holds the surrounding texts, read only by models trained with them."""

    brand: str
    text: str
    language: str = ""
    context: tuple[str, ...] = ()
    explain: bool = False
    private: bool = False

    def row(self) -> Row:
        """What a replica reads of it."""
        return Row(self.brand, self.text, self.explain, self.private)

    def check(self, field: str) -> None:
        """Refuse what cannot be read; `field` is its path in the request.

        Raises:
            InvalidArgument: EMPTY_MESSAGE, TEXT_TOO_LONG or INVALID_FIELD.
        """
        check_text(self.text, f"{field}.text")
        for text in self.context:
            _check_size(text, f"{field}.context")
        if self.language and not _LANGUAGE.fullmatch(self.language):
            raise invalid_field(f"{field}.language", "must be an ISO 639-1 code, `und`, or empty")


def check_text(text: str, field: str) -> None:
    """Refuse an empty or oversized text.

    Raises:
        InvalidArgument: EMPTY_MESSAGE or TEXT_TOO_LONG.
    """
    if not text:
        raise invalid_field(field, "must hold at least one character", Reason.EMPTY_MESSAGE)
    _check_size(text, field)


def _check_size(text: str, field: str) -> None:
    # A character takes at most 4 bytes: only texts that may be too long are encoded to be measured.
    if len(text) * 4 > MAX_TEXT_BYTES and len(text.encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
        raise invalid_field(field, f"must be at most {MAX_TEXT_BYTES} bytes of UTF-8", Reason.TEXT_TOO_LONG)


def check_batch(items: int, size: int, field: str) -> None:
    """Refuse an empty or oversized batch of `items` items and `size` bytes.

    Raises:
        InvalidArgument: INVALID_FIELD when empty, BATCH_TOO_LARGE with the limits as metadata.
    """
    if not items:
        raise invalid_field(field, f"must hold 1 to {MAX_ITEMS} items")
    if items > MAX_ITEMS or size > MAX_REQUEST_BYTES:
        description = f"must hold at most {MAX_ITEMS} items and {MAX_REQUEST_BYTES} bytes; split the batch"
        raise InvalidArgument(
            f"{field}: {description}",
            reason=Reason.BATCH_TOO_LARGE,
            metadata={"max_items": str(MAX_ITEMS), "max_bytes": str(MAX_REQUEST_BYTES)},
            violations=(Violation(field, description),),
        )


def check_explained(items: int, field: str) -> None:
    """Refuse more explanations than one request may ask for.

    Raises:
        InvalidArgument: BATCH_TOO_LARGE.
    """
    if items > MAX_EXPLAINED:
        description = f"may ask for at most {MAX_EXPLAINED} explanations; explain fewer, or split the batch"
        raise InvalidArgument(
            f"{field}: {description}",
            reason=Reason.BATCH_TOO_LARGE,
            metadata={"max_explained": str(MAX_EXPLAINED)},
            violations=(Violation(field, description),),
        )


def holding(edition: Edition, scores: Sequence[float]) -> list[str]:
    """The labels whose score reaches their decision threshold."""
    rows = zip(edition.labels, scores, edition.thresholds, strict=True)
    return [label for label, probability, threshold in rows if probability >= threshold.decision]


def score(probability: float, threshold: Threshold) -> Score:
    """Read one probability at its thresholds: sure only where band and decision agree."""
    holds = probability >= threshold.decision
    if probability >= threshold.yes and holds:
        return Score(probability, Verdict.YES, holds)
    sure = probability <= threshold.no and not holds
    return Score(probability, Verdict.NO if sure else Verdict.UNSURE, holds)
