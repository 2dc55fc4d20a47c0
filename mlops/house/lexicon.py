"""Crude words by language, from licensed lists: distant labels for `profanity`, a sieve for assumed negatives."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from mlops.house.rows import folded

_CUSS_LINE = re.compile(r"^\s+'?(.+?)'?: ([012]),?$", re.MULTILINE)
LANGUAGES = frozenset({"fr", "en", "de", "es", "it", "pt", "nl", "ar"})


class Lexicon:
    """`hits(text, lang)`: whether a text holds a listed crude word as a whole word."""

    def __init__(self, words: dict[str, frozenset[str]]) -> None:
        self._patterns = {lang: _pattern(listed) for lang, listed in words.items() if listed}

    def masked(self, text: str, lang: str) -> str:
        """`text` with the inside of every listed word starred, for showing to people."""
        pattern = self._patterns.get(lang)
        words = (word for word in re.findall(r"\w+", text) if pattern and pattern.search(folded(word)))
        for word in sorted(set(words), key=len, reverse=True):
            text = text.replace(word, word[0] + "*" * (len(word) - 1))
        return text

    def hits(self, text: str, lang: str) -> bool:
        pattern = self._patterns.get(lang)
        return bool(pattern and pattern.search(folded(text.replace("'", " ").replace("’", " "))))


def _pattern(words: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")s?(?!\w)")


@cache
def load_lexicon(data: Path) -> Lexicon:
    """The lists of `data/lexicons`: LDNOOBW, and for French the surest entries of cuss."""
    folder = data / "lexicons"
    words: dict[str, frozenset[str]] = {}
    for lang in LANGUAGES:
        path = folder / f"ldnoobw_{lang}"
        listed = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if lang == "fr":
            cuss = (folder / "cuss_fr.js").read_text(encoding="utf-8")
            listed += [word for word, sureness in _CUSS_LINE.findall(cuss) if sureness == "2"]
        words[lang] = frozenset(key for word in listed if len(key := folded(word).strip()) >= 4)
    return Lexicon(words)
