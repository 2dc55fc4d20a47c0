"""A training row, its cleaning, and the split no family or thread may straddle."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlops.base.normalize import normalize

MAX_CHARS = 400

# What betrays the collection a text comes from rather than what it says.
_TRACES = re.compile(
    r"\bRT\s+@\w+:?|(?<![\w.])@[\w.]+|\[(?:USER|URL)\]|https?\S*|\bwww\.\S+|\bRT\b:?|^rt\b|&\w+;|…$|\.\.\. ?$",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"\s+")
_QUOTES = re.compile(r'^["\'“”\\]+|["\'“”\\]+$|""+')


@dataclass(frozen=True, slots=True)
class Row:
    """One text and what is known of it: `known[label]` is 1.0 or 0.0, an absent label is unknown (masked)."""

    text: str
    lang: str
    source: str
    known: dict[str, float]
    group: str
    weight: float = 1.0
    pair: str = ""

    @property
    def held_out(self) -> bool:
        """Whether the row's whole group is kept for validation (a fifth of our corpus, a tenth of other sources)."""
        share = 20 if self.source == "corpus" else 10
        return stable_number(f"{self.source}/{self.group}") % 100 < share


def stable_number(text: str) -> int:
    """A number that depends on nothing but the text (`hash` is salted per process)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def clean(text: str) -> str:
    """Text without handles, links, retweet marks and its source's quoting, normalised as serving does."""
    text = _TRACES.sub(" ", html.unescape(text))
    return normalize(_QUOTES.sub("", _BLANKS.sub(" ", text).strip()))[:MAX_CHARS].rstrip()


def folded(text: str) -> str:
    """Lower case, no accents: the key under which two texts are the same."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c) and (c.isalnum() or c == " "))


def distinct(rows: Iterable[Row]) -> Iterator[Row]:
    """First of each text; texts of fewer than two letters are dropped."""
    seen: set[str] = set()
    for row in rows:
        key = folded(row.text).strip()
        if len(key) >= 2 and key not in seen:
            seen.add(key)
            yield row
