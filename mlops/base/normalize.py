"""The text normaliser that serving and training share: what a model learnt on is what it reads."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Named in every assessment. Raise it with any change of what `normalize` answers.
NORMALIZER: Final = "n1"

# Zero-width characters, bidirectional controls, the soft hyphen and variation selectors: unseen by a reader, and
# the cheapest way to break a word for a model. The zero-width joiner goes too: an emoji family becomes its members.
_INVISIBLE: Final = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BLANKS: Final = re.compile(r"\s+")


def normalize(text: str) -> str:
    """NFKC, invisible characters dropped, controls read as blanks, blanks folded to one space; may answer ""."""
    # The invisible first: dropped later, they would leave letters and accents side by side, uncomposed.
    visible = _CONTROL.sub(" ", _INVISIBLE.sub("", text))
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", visible)).strip()
