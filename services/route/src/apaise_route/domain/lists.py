"""Word lists: whole words and phrases, whatever their case, accents and the lightest disguises."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

_LOOKALIKES: Final = str.maketrans("013457@$€!", "oleastasei")
_DISGUISED: Final = re.compile(r"(?<=[^\W\d_])[013457@$€!]+(?=[^\W\d_])")
_SPELLED: Final = re.compile(r"(?<!\w)(?:[^\W\d_][\s.\-_*·]){2,}[^\W\d_](?!\w)")
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


class WordLists:
    """A charter's lists, compiled once."""

    def __init__(self, lists: Mapping[str, Sequence[str]]) -> None:
        """`lists`: id → words or phrases."""
        self._patterns = {name: _pattern(words) for name, words in lists.items()}

    def matches(self, text: str) -> dict[str, bool]:
        """By list id, whether the text holds one of its words."""
        if not self._patterns:
            return {}
        readings = variants(text)
        return {name: any(pattern.search(r) for r in readings) for name, pattern in self._patterns.items()}


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    folded = {r"\s+".join(map(re.escape, fold(word).split())) for word in words if word.strip()}
    # Longest first: an alternation takes the first branch that fits.
    return re.compile(
        r"(?<!\w)(?:" + "|".join(sorted(folded, key=len, reverse=True)) + r")(?!\w)" if folded else r"(?!)"
    )
