"""Personal data that has a shape: addresses, phone numbers, handles, numbers of orders, accounts and cards.

Names and places of residence have none and are not found here.
"""

from __future__ import annotations

import re
from typing import Final

from apaise_route.domain.lists import fold
from apaise_route.domain.model import Author

MAIL: Final = "an e-mail address"
PHONE: Final = "a phone number"
HANDLE: Final = "a handle"
NUMBER: Final = "a number of an order, an account or a card"
CONTACTS: Final = (MAIL, PHONE, HANDLE)

_SHORTEST_NAME: Final = 3
_MAIL: Final = re.compile(r"[\w.+%-]+\s?(?:@|\[at\]|\(at\))\s?[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)
_HANDLE: Final = re.compile(r"(?<![\w@.])@[\w.]{2,}")
# Nine digits or more, written together or in groups, as phones are; a plus or a zero first.
_PHONE: Final = re.compile(r"(?<![\w+])(?:\+|00|0|\(0)\d?(?:[\s.\-()/]{0,2}\d){7,13}(?!\w)")
# What follows the word: at least three digits, with letters or dashes between.
_NAMED: Final = re.compile(
    r"(?:\b(?:commande|cmd|colis|suivi|dossier|client|compte|facture|ticket|billet|r[ée]f(?:[ée]rence)?"
    r"|order|parcel|tracking|case|customer|account|invoice|booking|ref(?:erence)?)\b|n°|№|#)"
    r"\s{0,2}(?:n°|no\.?|num[ée]ro|number|id|is|est|:|#|-)?\s{0,2}:?\s{0,2}(?=[\w-]*\d[\w-]*\d[\w-]*\d)[a-z]*[\w-]{3,}",
    re.IGNORECASE,
)
_LONG: Final = re.compile(r"(?<!\w)(?:\d[ -]?){10,}\d(?!\w)")
_IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{2,4}){3,}\b")
_CODE: Final = re.compile(r"\b(?=[A-Z0-9-]*\d{5})(?=[A-Z0-9-]*[A-Z])[A-Z0-9-]{7,}\b")


def personal_in(text: str) -> list[str]:
    """The kinds of personal data a text holds, by the names above."""
    found = {
        MAIL: _MAIL.search(text),
        HANDLE: _HANDLE.search(_MAIL.sub(" ", text)),
        PHONE: _PHONE.search(text),
        NUMBER: _NAMED.search(text) or _CODE.search(text) or _IBAN.search(text) or _LONG.search(_PHONE.sub(" ", text)),
    }
    return [kind for kind, match in found.items() if match]


def names_author(text: str, author: Author) -> bool:
    """Whether a text holds the name somebody shows on the platform, or a word of it of three letters or more."""
    names = {author.display_name, author.platform_id, *author.display_name.split()}
    words = (fold(name) for name in names if len(name) >= _SHORTEST_NAME)
    said = fold(text)
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said) for word in words)
