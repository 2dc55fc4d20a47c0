"""Whether a text repeats another: what was said in private must not come out in public."""

from __future__ import annotations

import re
from typing import Final

from apaise_route.domain.lists import fold

_WORDS: Final = re.compile(r"\w+")
_RUN: Final = 6
_SHORTEST: Final = 3


def quotes(text: str, source: str) -> bool:
    """Whether `text` holds six words of `source` in a row, or all of a shorter one of three words or more.

    Case, accents and punctuation do not count.
    """
    said, spoken = _WORDS.findall(fold(text)), _WORDS.findall(fold(source))
    run = min(_RUN, len(spoken))
    if run < _SHORTEST:
        return False
    runs = {tuple(spoken[n : n + run]) for n in range(len(spoken) - run + 1)}
    return any(tuple(said[n : n + run]) in runs for n in range(len(said) - run + 1))
