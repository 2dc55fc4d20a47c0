"""What was said in private is recognised in public."""

from __future__ import annotations

import pytest

from apaise_route.domain.quoting import quotes

SOURCE = "Ma commande 4412 n'est jamais arrivée chez ma sœur, 12 rue des Lilas à Lyon"


@pytest.mark.parametrize(
    "text",
    [
        SOURCE,
        f"Vous dites : « {SOURCE} »",
        "MA COMMANDE 4412 N'EST JAMAIS ARRIVEE, nous vérifions",
        "elle était chez ma soeur 12 rue des lilas",
    ],
)
def test_a_quotation(text: str) -> None:
    assert quotes(text, SOURCE)


@pytest.mark.parametrize("text", ["", "Votre commande n'est pas arrivée ? Écrivez-nous.", "rue des Lilas", "12 rue"])
def test_no_quotation(text: str) -> None:
    assert not quotes(text, SOURCE)


def test_a_short_source_counts_whole_and_a_word_or_two_do_not() -> None:
    assert quotes("Réponse : mon fils tousse !", "Mon fils tousse")
    assert not quotes("Merci beaucoup", "merci beaucoup")
    assert not quotes("bonjour", "")
