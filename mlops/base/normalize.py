"""The text normaliser that serving and training share: what a model learnt on is what it reads.

It undoes the cheap tricks that hide a word from a model and not from a reader: invisible characters, look-alike letters
of other alphabets, digits for letters, letters spaced out or stretched. Each rule fires only where the trick is the
likelier reading (a digit for a vowel *between consonants*, a Cyrillic letter *inside* a Latin word), so that other
languages, prices, sizes, addresses and model numbers stay as they were written. Every character of the result can be
traced back to the original.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Named in every assessment. Raise it with any change of what `normalize` answers.
NORMALIZER: Final = "n3"

Match = re.Match[str]
Rule = tuple[re.Pattern[str], Callable[[Match], str]]


@dataclass(frozen=True)
class Normalized:
    """A normalised text and where each of its characters came from.

    `starts[i]`, `ends[i]` is the range of the original text behind character i of `text`.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The range of the original text behind characters [start, end) of this one, start < end."""
        return self.starts[start], max(self.ends[start:end])


def normalize(text: str) -> str:
    """The text as models read it; may answer ""."""
    text = _CONTROL.sub(" ", _INVISIBLE.sub("", text))
    text = unicodedata.normalize("NFKC", text)
    before = None
    while text != before:  # what one rule undoes may be what another waits for; two rounds nearly always
        before = text
        for pattern, replace in _RULES:
            text = pattern.sub(replace, text)
    return text


def normalize_with_offsets(text: str) -> Normalized:
    """As `normalize`, remembering where every character came from; several times slower."""
    traced = Normalized(text, tuple(range(len(text))), tuple(range(1, len(text) + 1)))
    for pattern, replace in (*_VISIBLE, (_CLUSTER, _composed)):
        traced = _traced(traced, pattern, replace)
    before = None
    while traced.text != before:
        before = traced.text
        for pattern, replace in _RULES:
            traced = _traced(traced, pattern, replace)
    return traced


def _traced(before: Normalized, pattern: re.Pattern[str], replace: Callable[[Match], str]) -> Normalized:
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for found in pattern.finditer(before.text):
        start, end = found.span()
        piece = replace(found)
        same = len(piece) == end - start  # letter by letter; anything else stands for the whole of what it replaces
        pieces += before.text[done:start], piece
        starts += before.starts[done:start]
        ends += before.ends[done:start]
        starts += before.starts[start:end] if same else [before.starts[start]] * len(piece)
        ends += before.ends[start:end] if same else [max(before.ends[start:end])] * len(piece)
        done = end
    return Normalized(
        "".join([*pieces, before.text[done:]]), (*starts, *before.starts[done:]), (*ends, *before.ends[done:])
    )


# Zero-width characters, bidirectional controls, the soft hyphen, variation selectors, tags, Arabic's tatweel: unseen by
# a reader, and the cheapest way to break a word. The zero-width joiner goes too: an emoji family becomes its members.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u0640\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]+"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_VISIBLE: Final[tuple[Rule, ...]] = ((_INVISIBLE, lambda _: ""), (_CONTROL, lambda _: " "))

# What composition cannot cross: a character with the marks, or the Hangul vowels and finals, that follow it.
_CLUSTER: Final = re.compile(
    r"(?s).(?:[\u1160-\u11ff]|[^\w\s\x00-\u02ff\u2000-\u2bff\u3000-\u3029\U0001f000-\U0010ffff])*"
)


def _composed(found: Match) -> str:
    return unicodedata.normalize("NFKC", found[0])


_LATIN: Final = "a-zA-Z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_STRANGE: Final = "\u0370-\u03ff\u0400-\u04ff\u0530-\u058f"
_LOOKALIKES: Final = str.maketrans(
    "аеорсухіјѕһԁԛԝкАВЕЗКМНОРСТУХІЈЅ" + "αορνικτυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "օոսհց",
    "aeopcyxijshdqwkABE3KMHOPCTYXIJS" + "aopviktuABEZHIKMNOPTYX" + "onuhg",
)
# Letters drawn as small capitals, in boxes or as flags; NFKC leaves them as they are.
_DRAWN: Final[dict[int, int | str]] = {
    **str.maketrans("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢɑɡ", "abcdefghijklmnopqrstuvwyzag"),
    **{start + n: chr(97 + n) for start in (0x1F150, 0x1F170) for n in range(26)},
}
_DRAWING: Final = re.compile("[" + "".join(map(chr, _DRAWN)) + "]+")
_FLAGGED: Final = re.compile("(?:[\U0001f1e6-\U0001f1ff] ){2,}[\U0001f1e6-\U0001f1ff]")


def _written(found: Match) -> str:
    drawn: str = found[0]
    return drawn.translate(_DRAWN)


# Marks that found no letter to compose with: accents piled on for the effect.
_PILED: Final = re.compile(f"(?<=[{_LATIN}])[\u0300-\u036f\u0483-\u0489]+")
# Here and below, a pattern that begins with a repetition begins where its word does: a word of 30 000 letters would be
# searched again from each of them.
_MIXED: Final = re.compile(f"(?<![{_LATIN}{_STRANGE}])[{_LATIN}{_STRANGE}]*[{_STRANGE}][{_LATIN}{_STRANGE}]*")
_SEEN_AS_LATIN: Final = re.compile(f"[^{_STRANGE}]*")


def _unmasked(found: Match) -> str:
    """Look-alikes as the Latin letters they pass for: in a Latin word, or where all else of that alphabet is one."""
    word = found[0].translate(_LOOKALIKES)
    is_disguise = _SEEN_AS_LATIN.fullmatch(word) and (
        re.search(f"[{_LATIN}]", found[0])
        or (re.search(f"[{_LATIN}]", found.string) and _SEEN_AS_LATIN.fullmatch(found.string.translate(_LOOKALIKES)))
    )
    return word if is_disguise else found[0]


_STAND_INS: Final = str.maketrans("0134@€5$", "oieaaess")
_CONSONANT: Final = "b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZçÇñÑ"
_TOKEN: Final = re.compile(r"(?<!\S)\S*[0-9@€$]\S*")
_ADDRESS: Final = re.compile(r"^@|^[^@]*@.*\.|://|^www\.")
_FOR_VOWEL: Final = re.compile(f"(?<=[{_CONSONANT}])[0134@€]{{1,2}}(?=[{_CONSONANT}$])")
_THE_REST: Final = re.compile(f"(?<=[{_LATIN}])[0134@€5$](?![0-9])")
_FOR_S: Final = re.compile(f"(?<=[{_LATIN}])[5$]{{1,2}}(?=[{_LATIN}])|(?<![\\w.,])\\$(?=[{_LATIN}]{{2}})")


def _spelled(found: Match) -> str:
    """Digits and signs that stand for letters. In Arabic written with digits (`ma3andich`) they touch vowels: left."""
    token: str = found[0]
    if _ADDRESS.search(token) or sum(map(str.isdigit, token)) >= sum(map(str.isalpha, token)):
        return token
    spelled = _FOR_VOWEL.sub(_letter, _FOR_S.sub(_letter, token))
    return token if spelled == token else _THE_REST.sub(_letter, spelled)


def _letter(found: Match) -> str:
    return found[0].translate(_STAND_INS)


def _joined(found: Match) -> str:
    return re.sub(r"[^\w]|_", "", found[0])


_SPACED: Final = re.compile(
    rf"(?<![\w'’])(?:(?:[{_LATIN}] ){{3,}}|(?:[{_LATIN}]\. ?){{3,}}|(?:[{_LATIN}][-_*·/]){{3,}})[{_LATIN}](?![\w'’])"
)
_ALTERNATING: Final = re.compile(r"(?<!\w)\w*[a-zà-ÿ][A-ZÀ-Þ][a-zà-ÿ][A-ZÀ-Þ]\w*")
_STRETCHED: Final = re.compile(rf"(?!www\b)([{_LATIN}{_STRANGE}\u0590-\u06ff])\1{{2,}}", re.IGNORECASE)
_SHOUTED: Final = re.compile("([!?.…\u2600-\u27bf\U0001f300-\U0001faff])\\1{3,}")

_RULES: Final[tuple[Rule, ...]] = (
    (re.compile(r"\s{2,}|[^\S ]"), lambda _: " "),
    (re.compile(r"^ +| +$"), lambda _: ""),
    (_PILED, lambda _: ""),
    (_DRAWING, _written),
    (_FLAGGED, lambda found: "".join(chr(ord(c) - 0x1F1E6 + 97) for c in found[0].split())),
    (_MIXED, _unmasked),
    (_ALTERNATING, lambda found: found[0].lower()),
    (_SPACED, _joined),
    (_TOKEN, _spelled),
    (_STRETCHED, lambda found: found[0][:2]),
    (_SHOUTED, lambda found: found[0][:3]),
)
