"""Personal data that has a shape."""

from __future__ import annotations

import pytest

from apaise_route.domain.model import Author
from apaise_route.domain.personal import HANDLE, MAIL, NUMBER, PHONE, names_author, personal_in


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("écrivez à marie.dupont@example.org", MAIL),
        ("marie [at] example.org", MAIL),
        ("merci @marie_93 !", HANDLE),
        ("au 06 12 34 56 78", PHONE),
        ("au 0612345678.", PHONE),
        ("au +33 6 12 34 56 78", PHONE),
        ("au +33 (0)6.12.34.56.78", PHONE),
        ("call 0044 20 7946 0958", PHONE),
        ("votre commande 48213", NUMBER),
        ("commande n° 48213", NUMBER),
        ("commande n°A-48213", NUMBER),
        ("your order #48213 has left", NUMBER),
        ("order number: 48213", NUMBER),
        ("réf : FR4821", NUMBER),
        ("le colis 6A12345678901", NUMBER),
        ("IBAN FR76 3000 6000 0112 3456 7890 189", NUMBER),
        ("carte 4970 1012 3456 7890", NUMBER),
    ],
)
def test_what_is_found(text: str, kind: str) -> None:
    assert kind in personal_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "Comptez trois jours ouvrés après l'expédition.",
        "Nous répondons de 9 h à 18 h, du lundi au vendredi.",
        "La livraison est offerte dès 50 € d'achat, jusqu'au 24/12/2026.",
        "Votre commande part sous 24 h, le colis arrive en 2 à 3 jours.",
        "La version 2.1.3 corrige ce bug, merci !",
        "Rendez-vous dans Mon compte > Commandes pour suivre votre colis.",
        "Your order ships within 24 hours; returns are free for 30 days.",
        "Le lot rappelé est celui du 12 mars 2026.",
        "1 000 000 de mercis !",
    ],
)
def test_what_is_nobodys(text: str) -> None:
    assert personal_in(text) == []


@pytest.mark.parametrize("text", ["Bonjour Marie, trois jours", "bonjour MARIÉ", "@marie93 oui", "Madame Lefèvre"])
def test_an_author_is_named(text: str) -> None:
    assert names_author(text, Author("marie93", "Marie Lefevre"))


@pytest.mark.parametrize("text", ["Bonjour, trois jours", "un mariage", "Le 12 mai"])
def test_nobody_is_named(text: str) -> None:
    assert not names_author(text, Author("le12", "Marie L"))
