"""Word lists: words through light disguises, names as they are written, hashtags with their sign."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

_LOOKALIKES: Final = str.maketrans("013457@$€!", "oleastasei")
_DISGUISED: Final = re.compile(r"(?<=[^\W\d_])[013457@$€!]+(?=[^\W\d_])")
# One and the same separator: in "n.t.m l'autre" the l belongs to the next word.
_SPELLED: Final = re.compile(r"(?<!\w)[^\W\d_]([\s.\-_*·])[^\W\d_](?:\1[^\W\d_])+(?!\w)")
_SEPARATOR: Final = re.compile(r"[\s.\-_*·]")
_STRETCHED: Final = re.compile(r"(\w)\1{2,}")


def fold(text: str) -> str:
    """Case and accents removed; ligatures opened."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("œ", "oe").replace("æ", "ae"))
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def variants(text: str) -> tuple[str, ...]:
    """The folded text, then without its light disguises: digits for letters, spelled-out words, stretched letters.

    A stretched letter is read once and twice ("connnard" as "conard" and "connard").
    """
    folded = fold(text)
    plain = _DISGUISED.sub(lambda found: found.group().translate(_LOOKALIKES), folded)
    plain = _SPELLED.sub(lambda found: _SEPARATOR.sub("", found.group()), plain)
    return tuple(dict.fromkeys((folded, _STRETCHED.sub(r"\1", plain), _STRETCHED.sub(r"\1\1", plain))))


@dataclass(frozen=True, slots=True)
class WordList:
    """One list. `words` are found whatever their case, accents and disguises; `names` whatever their case and accents
    only, since "p1erre" is nobody's name; `hashtags` (without their `#`) only where the text has the `#`.

    `live`: words may be added while an event runs.
    """

    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    hashtags: tuple[str, ...] = ()
    live: bool = False

    def __len__(self) -> int:
        return len(self.words) + len(self.names) + len(self.hashtags)


class WordLists:
    """Lists, compiled once."""

    def __init__(self, lists: Mapping[str, WordList], under: WordLists | None = None) -> None:
        """`lists`: by id; `under` are lists compiled before, to which these add."""
        self._lists = {name: _Compiled(words) for name, words in lists.items()}
        self._under = under

    def plus(self, lists: Mapping[str, WordList]) -> WordLists:
        """These lists with words added."""
        return WordLists(lists, self)

    def matches(self, text: str) -> dict[str, bool]:
        """By list id, whether the text holds one of its words."""
        if not self._lists and self._under is None:
            return {}
        return self._in(variants(text))

    def _in(self, readings: tuple[str, ...]) -> dict[str, bool]:
        found = self._under._in(readings) if self._under else {}
        return found | {name: found.get(name, False) or words.match(readings) for name, words in self._lists.items()}


class _Compiled:
    def __init__(self, words: WordList) -> None:
        self._disguised = _pattern(words.words)
        self._plain = _pattern([*words.names, *(f"#{tag.removeprefix('#')}" for tag in words.hashtags)])

    def match(self, readings: tuple[str, ...]) -> bool:
        return self._plain.search(readings[0]) is not None or any(map(self._disguised.search, readings))


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    folded = {r"\s+".join(map(re.escape, fold(word).split())) for word in words if word.strip()}
    # Longest first: an alternation takes the first branch that fits.
    return re.compile(
        r"(?<!\w)(?:" + "|".join(sorted(folded, key=len, reverse=True)) + r")(?!\w)" if folded else r"(?!)"
    )
