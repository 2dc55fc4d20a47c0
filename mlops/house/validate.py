"""`python -m mlops.house validate`: whether a corpus is what its guideline says, problem by problem.

Schema, texts that repeat or nearly repeat (also across the held-out files), pairs that do not flip, twins that differ,
labels that imply others, handles and links, and the balance of languages, labels and harm.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from apaise_kit.core.labels import LABELS
from mlops.house.rows import folded
from mlops.house.shorthand import IMPLIED

NEAR: Final = 0.6
_LANGUAGES: Final = frozenset({"fr", "en", "es", "de", "it", "pt", "nl", "pl", "ar", "hi", "zh"})
_FIELDS: Final = frozenset({"text", "lang", "labels", "maybe", "family", "pair", "twin", "origin", "must"})
_NEEDED: Final = ("text", "lang", "labels", "family", "origin")
# A handle, a link, a mail address or a phone number outside the ranges and domains reserved for fiction.
_HANDLE: Final = re.compile(r"(?<!\w)@\w{3,}(?!\S*\.example)")
_LINK: Final = re.compile(r"https?://(?!\S*\.?example)|www\.(?!\S*example)", re.IGNORECASE)
_ORIGINS: Final = frozenset({"hand", "grammar"})


@dataclass(frozen=True)
class Problem:
    """Where (file:line) and what; never the text itself."""

    where: str
    what: str


@dataclass(frozen=True)
class _Line:
    where: str
    row: Mapping[str, Any]


def validate(paths: Sequence[Path], held_out: Sequence[Path] = ()) -> list[Problem]:
    """Problems of corpus files, and of their wording against files nobody may train on."""
    problems: list[Problem] = []
    lines = [line for path in paths for line in _lines(path, problems)]
    for line in lines:
        problems += (Problem(line.where, what) for what in _of_row(line.row))
    problems += _of_links(lines)
    problems += _repeats(lines)
    kept_apart = [line for path in held_out for line in _lines(path, problems)]
    problems += _near(lines, kept_apart)
    return problems


def balance(paths: Sequence[Path]) -> dict[str, Any]:
    """How many messages, by origin, language and label, and the share to be removed in each language."""
    rows = [line.row for path in paths for line in _lines(path, [])]
    removed = Counter(row["lang"] for row in rows if "remove" in row["labels"])
    languages = Counter(row["lang"] for row in rows)
    return {
        "messages": len(rows),
        "origins": dict(Counter(row["origin"] for row in rows)),
        "languages": dict(languages.most_common()),
        "removed": {lang: round(removed[lang] / count, 2) for lang, count in languages.items()},
        "pairs": len({row["pair"] for row in rows if row.get("pair")}),
        "labels": dict(Counter(label for row in rows for label in row["labels"]).most_common()),
    }


def _lines(path: Path, problems: list[Problem]) -> Iterator[_Line]:
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path.name}:{number}"
        try:
            row = json.loads(text)
        except ValueError:
            problems.append(Problem(where, "not a JSON object"))
            continue
        missing = [key for key in _NEEDED if key not in row]
        if missing:
            problems.append(Problem(where, f"lacks {', '.join(missing)}"))
            continue
        yield _Line(where, row)


def _of_row(row: Mapping[str, Any]) -> Iterator[str]:
    labels, maybe = set(row["labels"]), set(row.get("maybe", ()))
    if unknown := sorted((labels | maybe) - set(LABELS)):
        yield f"unknown labels: {', '.join(unknown)}"
    if both := sorted(labels & maybe):
        yield f"both YES and masked: {', '.join(both)}"
    if foreign := sorted(set(row) - _FIELDS):
        yield f"unknown fields: {', '.join(foreign)}"
    if row["lang"] not in _LANGUAGES:
        yield f"unknown language {row['lang']!r}"
    if row["origin"] not in _ORIGINS:
        yield "origin is neither hand nor grammar"
    if not row["text"].strip():
        yield "empty text"
    if _HANDLE.search(row["text"]) or _LINK.search(row["text"]):
        yield "a handle or a link outside .example"
    for label in ("hate", "insult", "threat"):
        lacking = [implied for implied in IMPLIED[label] if label in labels and implied not in labels | maybe]
        if lacking:
            yield f"{label} implies {', '.join(lacking)}"


def _of_links(lines: Sequence[_Line]) -> Iterator[Problem]:
    for pair, members in _grouped(lines, "pair").items():
        if len(members) != 2:
            yield Problem(members[0].where, f"pair {pair} has {len(members)} members")
            continue
        one, other = (member.row for member in members)
        open_ones = {*one.get("maybe", ()), *other.get("maybe", ())}
        if not set(one["labels"]) ^ set(other["labels"]) - open_ones:
            yield Problem(members[0].where, f"pair {pair} does not flip a label")
    for twin, members in _grouped(lines, "twin").items():
        open_ones = {label for member in members for label in member.row.get("maybe", ())}
        if len({frozenset(member.row["labels"]) - open_ones for member in members}) > 1:
            yield Problem(members[0].where, f"twin {twin} has other labels in another language")


def _repeats(lines: Sequence[_Line]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for line in lines:
        key = folded(line.row["text"]).strip() or line.row["text"]
        if key in seen:
            yield Problem(line.where, f"repeats {seen[key]}")
        seen.setdefault(key, line.where)


def _near(lines: Sequence[_Line], kept_apart: Sequence[_Line]) -> Iterator[Problem]:
    """Corpus lines that share most of their word trigrams with a held-out one."""
    index: dict[str, list[int]] = defaultdict(list)
    held = [_trigrams(line.row["text"]) for line in kept_apart]
    for at, grams in enumerate(held):
        for gram in grams:
            index[gram].append(at)
    for line in lines:
        grams = _trigrams(line.row["text"])
        shared = Counter(at for gram in grams for at in index.get(gram, ()))
        for at, common in shared.items():
            if common >= NEAR * len(grams | held[at]):
                yield Problem(line.where, f"nearly repeats held-out {kept_apart[at].where}")


def _trigrams(text: str) -> set[str]:
    words = folded(text).split()
    return {" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))}


def _grouped(lines: Iterable[_Line], key: str) -> dict[str, list[_Line]]:
    groups: dict[str, list[_Line]] = defaultdict(list)
    for line in lines:
        if line.row.get(key):
            lang = line.row["lang"] if key == "pair" else ""
            groups[f"{line.where.partition(':')[0]}/{lang}{line.row[key]}"].append(line)
    return groups
