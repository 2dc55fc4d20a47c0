"""Messages in shorthand: three-letter codes instead of labels, and the neighbours the guideline settles filled in.

One message a line, or one template of a grammar:

    lang | family | links | labels | maybe | text

`links` is `-`, a contrast pair (`p12`), a message written in French and in English (`t5`), or both. `labels` are YES,
`maybe` is masked, `-` is none; `no:xxx` in either says that xxx is truly NO and must be neither implied nor masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apaise_kit.core.labels import LABELS

CODES: Final[Mapping[str, str]] = {
    "tox": "toxic", "hat": "hate", "ins": "insult", "har": "harassment", "thr": "threat", "sex": "sexual",
    "slf": "self_harm", "pro": "profanity", "spm": "spam", "scm": "scam", "pdt": "personal_data", "pol": "political",
    "prv": "provocation", "vei": "veiled", "cmp": "complaint", "car": "care_request", "que": "question",
    "buy": "buying_intent", "pra": "praise", "sug": "suggestion", "bug": "bug_report", "boy": "boycott",
    "ban": "banter", "ang": "anger", "fru": "frustration", "dis": "distress", "wor": "worry", "joy": "joy",
    "gra": "gratitude", "amu": "amusement", "sar": "sarcasm", "moc": "mockery", "tbr": "target_brand",
    "tst": "target_staff", "tgu": "target_guest", "tus": "target_user", "tgr": "target_group", "tse": "target_self",
    "rem": "remove",
}  # fmt: skip

# What a YES says as well (GUIDELINE.md, hard lines).
IMPLIED: Final[Mapping[str, Sequence[str]]] = {
    "hate": ("toxic", "remove", "target_group"),
    "insult": ("toxic", "remove"),
    "threat": ("toxic", "remove"),
    "veiled": ("toxic", "remove"),
    "harassment": ("toxic", "remove"),
    "toxic": ("remove",),
    "spam": ("remove",),
    "scam": ("remove",),
}

_BESIDE_ATTACKS: Final = ("mockery", "provocation", "harassment", "anger", "frustration")
# What a YES leaves open unless it is said: neighbours two careful moderators would not agree on.
MASKED: Final[Mapping[str, Sequence[str]]] = {
    "hate": ("insult", "political", *_BESIDE_ATTACKS),
    "insult": _BESIDE_ATTACKS,
    "threat": ("provocation", "harassment", "anger", "frustration"),
    "veiled": ("insult", "sarcasm", *_BESIDE_ATTACKS),
    "harassment": ("insult", "provocation", "anger", "frustration", "mockery"),
    "toxic": ("insult", *_BESIDE_ATTACKS),
    "sexual": ("toxic", "harassment", "insult"),
    "self_harm": ("distress", "target_self", "worry", "care_request"),
    "spam": ("scam", "toxic"),
    "scam": ("spam", "toxic"),
    "personal_data": ("harassment", "toxic"),
    "political": ("remove", "provocation", "anger"),
    "provocation": ("remove", "toxic", "mockery", "anger", "sarcasm"),
    "complaint": ("anger", "frustration", "target_brand", "target_staff", "care_request"),
    "care_request": ("complaint", "question", "worry", "frustration"),
    "bug_report": ("complaint", "care_request", "frustration", "target_brand"),
    "boycott": ("complaint", "anger", "target_brand", "frustration"),
    "buying_intent": ("joy",),
    "praise": ("joy", "gratitude", "target_brand", "target_staff", "target_guest", "target_user", "amusement"),
    "gratitude": ("joy", "praise", "target_brand", "target_staff", "target_user"),
    "joy": ("amusement", "praise", "gratitude"),
    "amusement": ("joy", "mockery"),
    "banter": ("amusement", "joy", "mockery", "target_user", "target_guest", "sarcasm"),
    "sarcasm": ("mockery", "amusement", "frustration", "anger"),
    "mockery": ("sarcasm", "amusement", "target_brand", "target_guest", "target_staff", "target_user"),
    "anger": ("frustration",),
    "frustration": ("anger",),
    "distress": ("worry", "self_harm", "frustration", "target_self", "care_request"),
    "worry": ("distress", "care_request", "question"),
    "suggestion": ("complaint", "question", "target_brand"),
}  # fmt: skip


class ShorthandError(ValueError):
    """A line that cannot be read; the text says which part and what was expected."""


@dataclass(frozen=True)
class Labelling:
    """What is YES and what is masked, each in the registry's order."""

    labels: tuple[str, ...]
    maybe: tuple[str, ...]


def labelling(yes: str, maybe: str = "-") -> Labelling:
    """Labels of two lists of codes, with what they imply and what they leave open.

    Raises:
        ShorthandError: an unknown code, or a label both YES and NO.
    """
    denied = {_label(code[3:]) for code in (*yes.split(), *maybe.split()) if code.startswith("no:")}
    said = {_label(code) for code in yes.split() if code != "-" and not code.startswith("no:")}
    masked = {_label(code) for code in maybe.split() if code != "-" and not code.startswith("no:")}
    for label in LABELS * 2:  # what is implied implies in turn
        if label in said:
            said.update(set(IMPLIED.get(label, ())) - masked - denied)
    if said & denied:
        raise ShorthandError(f"both YES and no: {', '.join(sorted(said & denied))}")
    masked.update(near for label in said for near in MASKED.get(label, ()))
    return Labelling(_ordered(said), _ordered(masked - said - denied))


def messages(lines: Sequence[str], name: str) -> Iterator[dict[str, Any]]:
    """Corpus rows of shorthand lines; blank lines and `#` comments are skipped.

    Raises:
        ShorthandError: with the line's number.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield _message(line, name)
            except ShorthandError as error:
                raise ShorthandError(f"line {number}: {error}") from None


def _message(line: str, name: str) -> dict[str, Any]:
    parts = [part.strip() for part in line.split("|", 5)]
    if len(parts) != 6 or not parts[5]:
        raise ShorthandError("expected `lang | family | links | labels | maybe | text`")
    lang, family, links, yes, maybe, text = parts
    found = labelling(yes, maybe)
    row = {"text": text, "lang": lang, "labels": list(found.labels), "maybe": list(found.maybe)}
    row["family"] = f"{name}-{family}"
    for link in links.split():
        if link[0] == "p":
            row["pair"] = f"{name}-{link}-{lang}"
        elif link[0] == "t":
            row["twin"] = f"{name}-{link}"
        elif link != "-":
            raise ShorthandError(f"link {link!r} is neither p<number> nor t<number>")
    return row | {"origin": "hand"}


def _label(code: str) -> str:
    if code not in CODES:
        raise ShorthandError(f"unknown code {code!r}; known: {' '.join(CODES)}")
    return CODES[code]


def _ordered(labels: set[str]) -> tuple[str, ...]:
    return tuple(label for label in LABELS if label in labels)
