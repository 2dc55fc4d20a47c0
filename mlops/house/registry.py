"""The label registry, `labels.yaml`: what each id means, in French and English, with examples of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from apaise_kit.core.labels import LABELS

FILE: Final = Path(__file__).parent / "labels.yaml"
LANGUAGES: Final = ("fr", "en")


@dataclass(frozen=True)
class Meaning:
    """A label in one language: what a moderator would agree on, a message that is, a message that is not."""

    definition: str
    yes: str
    no: str


@dataclass(frozen=True)
class Label:
    """One registered id; `meanings` by language."""

    id: str
    since: int
    meanings: Mapping[str, Meaning]


@dataclass(frozen=True)
class Registry:
    """All labels in the order of score vectors, and the registry's version."""

    version: int
    labels: tuple[Label, ...]

    def __getitem__(self, id: str) -> Label:
        return self.labels[LABELS.index(id)]


@cache
def registry() -> Registry:
    """The shipped registry.

    Raises:
        ValueError: it does not describe exactly the ids of `apaise_kit.core.labels`, each in every language.
    """
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    labels = tuple(map(_label, content["labels"]))
    if tuple(label.id for label in labels) != LABELS:
        raise ValueError(f"{FILE.name} and apaise_kit.core.labels do not name the same ids in the same order")
    return Registry(int(content["version"]), labels)


def _label(entry: Mapping[str, Any]) -> Label:
    try:
        meanings = {lang: Meaning(**entry[lang]) for lang in LANGUAGES}
        return Label(entry["id"], int(entry["since"]), meanings)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{FILE.name}: `{entry.get('id')}` is incomplete: {error}") from None
