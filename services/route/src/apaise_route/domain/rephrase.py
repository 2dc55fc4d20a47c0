"""Other ways to say a text, without the passages that counted against it. Deterministic: the same spans give the same
ways. Whether a way would pass is for the caller to find out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

_SEGMENT: Final = re.compile(r"[^.!?;,:\n]+[.!?;,:\n]*")
_WORD: Final = re.compile(r"\w")
_SPACES: Final = re.compile(r"\s+")
_LOOSE: Final = re.compile(r"\s+([,.])|([,;:])(?=\s*[,;:.!?])")
_WORDS: Final = re.compile(r"\w+")
_FEWEST_WORDS: Final = 2
# Words after which something is missing.
_DANGLING: Final = re.compile(
    r"des?|du|d|l[ea]s?|l|une?|et|ou|bande|espèce|sont|êtes|es|est|suis|tu|vous|ces|cet|cette"
    r"|an?|the|of|and|or|are|is|am|you|these|this|such"
)
_OF_WHAT: Final = frozenset({"bande", "espèce", "tas", "bunch", "pack"})
# « l' » without its noun, or an apostrophe without both.
_ALONE: Final = re.compile(r"(?<!\w)['’](?!\w)|\b(?:[cdjlmnst]|qu)['’](?!\w)", re.IGNORECASE)
_FEELING: Final = {"fr": "Je suis en colère : ", "en": "I am angry: "}


class Passage(NamedTuple):
    """A passage that counted for a label: code points [start, end), and how much."""

    label: str
    start: int
    end: int
    weight: float


def passages_of(passages: Iterable[Passage], labels: Collection[str]) -> list[Passage]:
    """The passages of the labels that decided; all of them when none is."""
    found = list(passages)
    return [p for p in found if p.label in labels] or found


def other_ways(text: str, passages: Sequence[Passage], language: str) -> list[str]:
    """Candidates, most readable first: without the parts of sentences that hold the passages, that again as a feeling
    said outright; then the same without the words alone. What is left dangling or says nothing is no candidate."""
    taken = _whole_words(text, passages)
    if not taken:
        return []
    feeling = _FEELING.get(language, _FEELING["en"])
    shorter = [_tidy(_without_parts(text, taken))]
    if not _cuts_off(text, taken):
        shorter.append(_tidy(_without(text, taken)))
    ways = [said for way in shorter if _reads_well(way) for said in (way, feeling + _lower_first(way))]
    return [way for way in dict.fromkeys(ways) if way != text.strip()]


def _whole_words(text: str, passages: Sequence[Passage]) -> list[tuple[int, int]]:
    """Where the passages are, widened to whole words, in order and without overlap."""
    found: list[tuple[int, int]] = []
    for passage in sorted(passages, key=lambda p: p.start):
        start, end = max(passage.start, 0), min(passage.end, len(text))
        while 0 < start < end and _WORD.match(text[start - 1]) and _WORD.match(text[start]):
            start -= 1
        while start < end < len(text) and _WORD.match(text[end]) and _WORD.match(text[end - 1]):
            end += 1
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif start < end:
            found.append((start, end))
    return found


def _without(text: str, taken: Sequence[tuple[int, int]]) -> str:
    kept, position = [], 0
    for start, end in taken:
        kept.append(text[position:start])
        position = end
    return " ".join([*kept, text[position:]])


def _cuts_off(text: str, taken: Sequence[tuple[int, int]]) -> bool:
    """Whether a word is left in front of a cut that means nothing without it: « bande (de voleurs) rendez »."""
    before = (_WORDS.findall(text[:start]) for start, _ in taken)
    return any(words and words[-1].casefold() in _OF_WHAT for words in before)


def _without_parts(text: str, taken: Sequence[tuple[int, int]]) -> str:
    parts = _SEGMENT.finditer(text)
    clean = [part for part in parts if not any(start < part.end() and end > part.start() for start, end in taken)]
    return "".join(part.group() for part in clean)


def _tidy(text: str) -> str:
    plain = _LOOSE.sub(lambda found: found.group(1) or "", _SPACES.sub(" ", text))
    return _SPACES.sub(" ", plain).strip(" ,;:")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _reads_well(text: str) -> bool:
    """Two words or more, and nothing that ends, or an apostrophe that stands, where something is missing."""
    if _ALONE.search(text):
        return False
    lasts = [words[-1].casefold() for part in _SEGMENT.findall(text) if (words := _WORDS.findall(part))]
    whole = [word for word in _WORDS.findall(text) if len(word) > 1]  # « l'argent » is one
    return len(whole) >= _FEWEST_WORDS and not any(_DANGLING.fullmatch(last) for last in lasts)
