"""Ways to hide words that training never used, to examine robustness: each rewrites a whole message.

Training disguises one word at a time with its own generator (`mlops.house.disguise`); nothing here may be used there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Final

from mlops.house.rows import stable_number

_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_BOLD: Final = {c: chr(0x1D41A + n) for n, c in enumerate("abcdefghijklmnopqrstuvwxyz")}
_SMALL: Final = dict(zip("abcdefghijklmnoprstuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", strict=True))
_KEYS: Final = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "$"}
_CYRILLIC: Final = {"a": "а", "e": "е", "o": "о", "c": "с", "p": "р", "x": "х", "y": "у", "i": "і"}

Trick = Callable[[str, random.Random], str]


def tricked(text: str, name: str) -> str:
    """`text` rewritten by the trick of that name; the same each time.

    Raises:
        KeyError: no such trick.
    """
    return TRICKS[name](text, random.Random(stable_number(f"{name}/{text}")))


def _every_word(change: Callable[[str, random.Random], str]) -> Trick:
    return lambda text, chance: _WORD.sub(lambda found: change(found[0], chance), text)


def _mapped(by: Mapping[str, str]) -> Trick:
    return _every_word(lambda word, _: "".join(by.get(c.lower(), c) for c in word))


def _inner(word: str, chance: random.Random) -> int:
    return chance.randrange(1, len(word) - 1)


def _doubled(word: str, chance: random.Random) -> str:
    at = _inner(word, chance)
    return word[:at] + word[at] * 4 + word[at + 1 :]


def _without_a_vowel(word: str, chance: random.Random) -> str:
    inner = [at for at in range(1, len(word) - 1) if word[at].lower() in "aeiouyéè"]
    at = chance.choice(inner) if inner else 0
    return word[:at] + word[at + 1 :] if inner else word


def _mixed_case(word: str, _: random.Random) -> str:
    return "".join(c.upper() if n % 2 else c.lower() for n, c in enumerate(word))


def _piled(word: str, chance: random.Random) -> str:
    return "".join(c + chance.choice(("\u0335", "\u0353", "\u033d")) for c in word)


def _dotted(word: str, _: random.Random) -> str:
    return "·".join(word)


def _joined(text: str, _: random.Random) -> str:
    words = text.split(" ")
    return " ".join("".join(words[at : at + 2]) for at in range(0, len(words), 2))


def _between_emoji(text: str, chance: random.Random) -> str:
    return " ".join(word + chance.choice((" 🙃", "", " 💅", "")) for word in text.split(" "))


TRICKS: Final[Mapping[str, Trick]] = {
    "bold letters": _mapped(_BOLD),
    "small capitals": _mapped(_SMALL),
    "digits for letters": _mapped(_KEYS),
    "Cyrillic look-alikes": _mapped(_CYRILLIC),
    "a letter four times": _every_word(_doubled),
    "a vowel left out": _every_word(_without_a_vowel),
    "MiXeD case": _every_word(_mixed_case),
    "accents piled up": _every_word(_piled),
    "dots between letters": _every_word(_dotted),
    "words run together": _joined,
    "emoji between words": _between_emoji,
}
