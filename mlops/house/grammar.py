"""Messages from compositional grammars: `grammar/<lang>.yaml` to corpus rows, the same every time.

A grammar crosses groups, things and people with frames, so that each group goes through hateful and harmless frames
alike and no noun can tell the label. A frame is a text with slots and choices:

    {les}          a column of the group's row, or one of the file's word lists
    [a|b|]         one of the choices, which may be empty

A rule maps label codes (`hat vei / tox`: YES, then masked after the slash; see `shorthand`) to frames, each drawn
`draws` times with other groups and choices. In a `paired` rule the n-th frame of the one list and of the other are
filled alike and form a contrast pair.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import yaml

from mlops.house.rows import folded, stable_number
from mlops.house.shorthand import labelling

FOLDER: Final = Path(__file__).parent / "grammar"
_CHOICE: Final = re.compile(r"\[([^][]*)\]")
_SLOT: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Grammar:
    """One language's groups (column name to form), word lists and rules."""

    lang: str
    groups: Sequence[Mapping[str, str]]
    words: Mapping[str, Sequence[str]]
    rules: Sequence[Mapping[str, Any]]


def read_grammar(path: Path) -> Grammar:
    """A grammar file.

    Raises:
        ValueError: a group without a form for each column.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    columns = content["columns"]
    groups = [dict(zip(columns, forms, strict=True)) for forms in content["groups"].values()]
    words = {**content.get("words", {}), **content.get("more_words", {})}
    return Grammar(content["lang"], groups, words, content["rules"])


def grow(grammar: Grammar) -> list[dict[str, Any]]:
    """All of a grammar's rows, in the corpus's format, without repeats."""
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for rule in grammar.rules:
        for members in _filled(grammar, rule):
            keys = {folded(row["text"]) for row in members}
            if len(keys) == len(members) and not keys & seen:
                seen |= keys
                rows += members
    return rows


def _filled(grammar: Grammar, rule: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The rule's messages: singly, or by contrast pairs."""
    name = f"g-{grammar.lang}-{rule['family']}"
    lists = {codes: frames for codes, frames in rule.items() if codes not in ("family", "draws", "paired")}
    if rule.get("paired"):
        bundles = [list(zip(lists, frames, strict=True)) for frames in zip(*lists.values(), strict=True)]
    else:
        bundles = [[(codes, frame)] for codes, frames in lists.items() for frame in frames]
    # Groups take turns over the frames of a rule, each as often as the next; the rest is chance, the same each time.
    chance = random.Random(stable_number(name))
    turns = cycle(chance.sample(grammar.groups, len(grammar.groups)))
    for at, bundle in enumerate(bundles):
        for draw in range(rule.get("draws", 4)):
            group, seed = next(turns), chance.random()
            texts = [_fill(frame, group, grammar.words, random.Random(seed)) for _, frame in bundle]
            pair = {"pair": f"{name}-{at}-{draw}-{grammar.lang}"} if rule.get("paired") else {}
            yield [_row(grammar.lang, name, codes, text, pair) for (codes, _), text in zip(bundle, texts, strict=True)]


def _fill(frame: str, group: Mapping[str, str], words: Mapping[str, Sequence[str]], chance: random.Random) -> str:
    while _CHOICE.search(frame):
        frame = _CHOICE.sub(lambda found: chance.choice(found[1].split("|")), frame)
    text = _SLOT.sub(lambda found: group[found[1]] if found[1] in group else chance.choice(words[found[1]]), frame)
    return " ".join(text.split())


def _row(lang: str, family: str, codes: str, text: str, pair: Mapping[str, str]) -> dict[str, Any]:
    yes, _, maybe = codes.partition("/")
    found = labelling(yes, maybe or "-")
    labels = {"labels": list(found.labels), "maybe": list(found.maybe)}
    return {"text": text, "lang": lang, **labels, "family": family, **pair, "origin": "grammar"}
