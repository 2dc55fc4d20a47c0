"""The record of every resolved review: who, when, why, what changed, what the model had said. Never its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

# What a person must not be talked out of by a single other person.
DANGERS: Final = ("threat", "hate", "self_harm")


@dataclass(frozen=True, slots=True)
class Correction:
    """One resolution, confirmed, corrected, skipped or undone, as it stays for ever.

    Attributes:
        resolution: CONFIRM, CORRECT, SKIP or UNDO.
        undoes: the review taken back, for UNDO.
        clause: the charter's clause the person named, or the decision's.
        visibility_before, visibility_after: KEEP, HOLD, HIDE or DELETE.
        labels_before: what the model had said, as probabilities.
        labels_after: what the person says.
        reason: why the item had been queued; AUDIT ones are reported apart.
        sampling_probability: with what probability a message like it is queued.
        encoder, adapter: the revisions that had read it.
        second_look: somebody else was asked to look as well; their review has the reason SECOND_LOOK.
    """

    brand: str
    review: str
    message: str
    edit_revision: int
    resolution: str
    undoes: str | None
    actor: str
    review_time: datetime
    clause: str
    visibility_before: str
    visibility_after: str
    labels_before: Mapping[str, float]
    labels_after: Mapping[str, bool]
    reason: str
    sampling_probability: float
    encoder: str
    adapter: str
    second_look: bool = False
