"""Other ways to say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_route.domain.rephrase import Passage, other_ways, passages_of


def at(text: str, *words: str) -> list[Passage]:
    return [Passage("insult", text.index(word), text.index(word) + len(word), 0.5) for word in words]


def test_whole_parts_first_then_a_feeling_and_nothing_that_dangles() -> None:
    text = "Vous êtes des crétins. Rendez l'argent !"
    assert other_ways(text, at(text, "crétins"), "fr") == [
        "Rendez l'argent !",
        "Je suis en colère : rendez l'argent !",
    ]


def test_a_word_alone_when_its_sentence_stands_without_it() -> None:
    text = "Ce satané colis n'arrive pas"
    assert other_ways(text, at(text, "satané"), "fr") == [
        "Ce colis n'arrive pas",
        "Je suis en colère : ce colis n'arrive pas",
    ]


@pytest.mark.parametrize(
    ("text", "part", "first"),
    [
        ("Refund me, idiots", "idio", "Refund me"),
        ("bande de nuls, remboursez-moi", "bande de nuls", "remboursez-moi"),
        ("trop cher 🤡 et en retard", "🤡", "trop cher et en retard"),
    ],
)
def test_words_are_taken_whole(text: str, part: str, first: str) -> None:
    assert other_ways(text, at(text, part), "en")[0] == first


@pytest.mark.parametrize("text", ["crétins", "crétins !", "les crétins", "vous êtes des crétins", "Rendez les crétins"])
def test_when_nothing_else_was_said_there_is_no_way(text: str) -> None:
    assert other_ways(text, at(text, "crétins"), "fr") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bande de voleurs, rendez l'argent", ["de voleurs,", "l", "argent"]),
        ("rendez l'argent vite", ["argent"]),
        ("espèce de nul va", ["de nul"]),
        ("Rendez l'argent !", ["Rendez"]),
    ],
)
def test_what_is_cut_in_the_middle_of_a_group_is_no_way(text: str, words: list[str]) -> None:
    assert other_ways(text, at(text, *words), "fr") == []


def test_an_article_may_lose_the_word_behind_it() -> None:
    text = "cette satanée commande n'arrive pas"
    assert other_ways(text, at(text, "satanée"), "fr")[0] == "cette commande n'arrive pas"


def test_without_a_passage_there_is_no_way() -> None:
    assert other_ways("rendez l'argent", [], "fr") == []


def test_the_passages_of_what_decided_come_first() -> None:
    both = [Passage("insult", 0, 1, 0.5), Passage("anger", 2, 3, 0.9)]
    assert passages_of(both, {"insult"}) == both[:1]
    assert passages_of(both, {"spam"}) == both


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(-5, 70), st.integers(-5, 70)), max_size=4))
def test_any_passages_give_ways_that_are_new_and_not_empty(text: str, spans: list[tuple[int, int]]) -> None:
    ways = other_ways(text, [Passage("x", start, end, 0.1) for start, end in spans], "fr")
    assert len(ways) == len(set(ways)) <= 4
    assert all(way.strip() and way != text.strip() for way in ways)
