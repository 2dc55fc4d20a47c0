"""How people hide a word from a filter, for training: one word of a message is disguised, the labels stay.

The normaliser undoes the cheap half of it (`mlops.base.normalize`); what it cannot undo, the model has to learn. The
examination of robustness uses another generator (`mlops.house.tricks`), which training never sees.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_LEET: Final = {"a": "4@", "e": "3€", "i": "1!", "o": "0", "s": "5$", "t": "7", "l": "1", "u": "v"}
_TWINS: Final = {
    "a": "аα",
    "c": "с",
    "e": "её",
    "i": "іì",
    "o": "оο0",
    "p": "р",
    "x": "х",
    "y": "у",
    "n": "ñ",
    "u": "ü",
}
_EMOJI: Final = ("🤡", "💩", "🤮", "🖕", "😂", "🔥", "🙏", "❤️", "👏", "👀")

Disguise = Callable[[str, random.Random], str]


def disguise(text: str, chance: random.Random) -> str:
    """`text` with one of its longer words disguised, or an emoji dropped in; itself when it has no such word."""
    words = list(_WORD.finditer(text))
    if not words:
        return text
    word = chance.choice(words)
    trick = chance.choice(_TRICKS)
    return text[: word.start()] + trick(word[0], chance) + text[word.end() :]


def _leet(word: str, chance: random.Random) -> str:
    return _replaced(word, _LEET, chance)


def _twins(word: str, chance: random.Random) -> str:
    return _replaced(word, _TWINS, chance)


def _replaced(word: str, by: dict[str, str], chance: random.Random) -> str:
    return "".join(chance.choice(by[c.lower()]) if c.lower() in by and chance.random() < 0.6 else c for c in word)


def _spaced(word: str, chance: random.Random) -> str:
    return chance.choice((" ", ".", "-", "_")).join(word)


def _split(word: str, chance: random.Random) -> str:
    at = chance.randrange(1, len(word))
    return word[:at] + chance.choice((" ", ".", "-", "'")) + word[at:]


def _starred(word: str, chance: random.Random) -> str:
    hidden = chance.randrange(1, max(2, len(word) // 2))
    at = chance.randrange(1, len(word) - hidden + 1)
    return word[:at] + chance.choice("*#.x") * hidden + word[at + hidden :]


def _dropped(word: str, chance: random.Random) -> str:
    at = chance.randrange(1, len(word))
    return word[:at] + word[at + 1 :]


def _swapped(word: str, chance: random.Random) -> str:
    at = chance.randrange(1, len(word) - 1)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _stretched(word: str, chance: random.Random) -> str:
    at = chance.randrange(len(word))
    return word[:at] + word[at] * chance.randrange(2, 6) + word[at + 1 :]


def _invisible(word: str, chance: random.Random) -> str:
    return chance.choice(("\u200b", "\u00ad", "\u2060")).join(word)


def _with_emoji(word: str, chance: random.Random) -> str:
    return word + chance.choice(("", " ")) + chance.choice(_EMOJI) * chance.randrange(1, 4)


_TRICKS: Final[tuple[Disguise, ...]] = (
    _leet,
    _twins,
    _spaced,
    _split,
    _starred,
    _dropped,
    _swapped,
    _stretched,
    _invisible,
    _with_emoji,
)
