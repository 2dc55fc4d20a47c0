"""Examples learnt from, and the frozen snapshot of them a run works on."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from apaise_kit.core.errors import FailedPrecondition, Reason

MIN_EXAMPLES: Final = 40
MIN_PER_CLASS: Final = 5
HOLDOUT_SHARE: Final = 0.2
MIN_HOLDOUT: Final = 30
# An audit item stands for many that nobody looked at, but one person's slip must not outweigh a hundred decisions.
MAX_WEIGHT: Final = 3.0

_REPEATED: Final = re.compile(r"(.)\1+")


@dataclass(frozen=True, slots=True)
class Example:
    """What one resolved review teaches: a text, whether it goes, and the labels the person stated.

    Labels nobody looked at are absent from `labels`: absent means unknown, not false.

    Attributes:
        actor: who resolved it.
        model_remove: the probability of `remove` the model had given, None when it had not read the message.
        danger: the highest it had given of `threat`, `hate` and `self_harm`.
        audit: it was drawn at random from what needed nobody: it tells how often the machine is wrong.
        private: it was written in private; unknown reads as so.
    """

    review: str
    brand: str
    message: str
    author_key: str
    edit_revision: int
    text: str
    remove: bool
    labels: Mapping[str, bool]
    weight: float
    review_time: datetime
    published_time: datetime | None
    actor: str = ""
    model_remove: float | None = None
    danger: float = 0.0
    audit: bool = False
    private: bool = True


class ManifestRow(NamedTuple):
    """An example as the manifest knows it: no text, no person."""

    review: str
    text_sha256: str
    remove: bool
    weight: float


@dataclass(frozen=True)
class Manifest:
    """Exactly what a run learns from and what judges it. The same manifest gives the same run.

    `aside` names the reviews that were set aside, and why.
    """

    brand: str
    train: tuple[ManifestRow, ...]
    holdout: tuple[ManifestRow, ...]
    aside: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal, of its canonical JSON."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def seed(self) -> int:
        """Seed of the run, drawn from the digest."""
        return int(self.digest[:8], 16)

    def as_json(self) -> dict[str, Any]:
        """As stored."""
        return {
            "format": 1,
            "brand": self.brand,
            "train": [list(row) for row in self.train],
            "holdout": [list(row) for row in self.holdout],
            **({"aside": [list(pair) for pair in self.aside]} if self.aside else {}),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Manifest:
        """As stored by `as_json`."""
        train, holdout = (tuple(ManifestRow(*row) for row in stored[side]) for side in ("train", "holdout"))
        aside = tuple((str(review), str(doubt)) for review, doubt in stored.get("aside", ()))
        return cls(str(stored["brand"]), train, holdout, aside)


def weight_of(sampling_probability: float) -> float:
    """How much a review counts: the inverse of the chance it had to be looked at, bounded by `MAX_WEIGHT`."""
    if not 0 < sampling_probability <= 1:
        return 1.0
    return min(MAX_WEIGHT, 1.0 / sampling_probability)


def text_sha256(text: str) -> str:
    """SHA-256 of a text's UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def fold(text: str) -> str:
    """What near-identical texts have in common: letters and digits, without case, accents or repetition.

    A text without any (an emoji) is its own fold.
    """
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(letter for letter in decomposed if letter.isalnum())
    return _REPEATED.sub(r"\1", kept) or text.strip()


def missing(examples: Sequence[Example]) -> int:
    """How many more reviews are needed before there is something to learn from; 0 when there are enough."""
    removed = sum(example.remove for example in examples)
    fewest = min(removed, len(examples) - removed)
    return max(MIN_EXAMPLES - len(examples), MIN_PER_CLASS - fewest, 0)


def snapshot(brand: str, examples: Iterable[Example]) -> Manifest:
    """Freeze examples into a manifest: the newest fifth (at least 30, at most half) judges, the rest teaches.

    Near-identical texts stand or fall together, and are as old as their oldest copy: what is held out is newer than
    what taught it and no copy of it. The cut is made inside each class, so that both sides know both.

    Raises:
        FailedPrecondition: (TOO_FEW_CORRECTIONS) with how many are missing.
    """
    ordered = sorted(examples, key=lambda example: (example.review_time, example.review))
    lacking = missing(ordered)
    if lacking:
        raise FailedPrecondition(
            f"There is too little to learn from: {lacking} more resolved reviews are needed, and both decisions "
            f"(taken down, left up) at least {MIN_PER_CLASS} times.",
            reason=Reason.TOO_FEW_CORRECTIONS,
            metadata={"missing": str(lacking), "examples": str(len(ordered))},
        )
    groups: dict[str, list[Example]] = {}
    for example in ordered:
        groups.setdefault(fold(example.text), []).append(example)
    target = min(max(round(HOLDOUT_SHARE * len(ordered)), MIN_HOLDOUT), len(ordered) // 2)
    held: set[str] = set()
    for side in (True, False):
        # A group is of the class of its newest example: the moderators' last word.
        mine = [key for key, group in groups.items() if group[-1].remove is side]
        total = sum(len(groups[key]) for key in mine)
        held |= _newest(mine, groups, round(target * total / len(ordered)))
    train = tuple(_row(example) for example in ordered if fold(example.text) not in held)
    holdout = tuple(_row(example) for example in ordered if fold(example.text) in held)
    return Manifest(brand, train, holdout)


def _newest(keys: Sequence[str], groups: Mapping[str, Sequence[Example]], wanted: int) -> set[str]:
    """The groups last begun that hold `wanted` examples together, never all of them."""
    held: set[str] = set()
    count = 0
    for key in reversed(keys[1:]):  # in order of their oldest example; the first always teaches
        if count >= wanted:
            break
        held.add(key)
        count += len(groups[key])
    return held


def _row(example: Example) -> ManifestRow:
    return ManifestRow(example.review, text_sha256(example.text), example.remove, round(example.weight, 4))
