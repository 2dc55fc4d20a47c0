"""Word lists see through case, accents and light disguises, and nothing more."""

import pytest

from apaise_route.domain.lists import WordList, WordLists

LISTS = WordLists({"bad": WordList(words=("connard", "va te faire voir", "#BoycottX", "cœur"))})


@pytest.mark.parametrize(
    "text",
    ["Connard !", "CONNARD", "connàrd", "c0nn4rd", "c.o.n.n.a.r.d", "c o n n a r d",
     "c.o.n.n.a.r.d l'autre", "connnnnard", "va  te\nfaire voir",
     "#boycottx", "un coeur"],
)  # fmt: skip
def test_matches(text: str) -> None:
    assert LISTS.matches(text) == {"bad": True}


@pytest.mark.parametrize("text", ["connardise", "déconnardé", "boycottx2", "faire voir", "", "2024", "a b c"])
def test_does_not_match(text: str) -> None:
    assert LISTS.matches(text) == {"bad": False}


def test_an_empty_list_never_matches() -> None:
    assert WordLists({"none": WordList()}).matches("anything") == {"none": False}


KINDS = WordLists({"x": WordList(words=("zut",), names=("Loutre",), hashtags=("BoycottX", "#fini"))})


@pytest.mark.parametrize("text", ["z.u.t", "LOUTRE", "loutre !", "#boycottx", "ah #Fini"])
def test_words_names_and_hashtags_each_in_their_way(text: str) -> None:
    assert KINDS.matches(text) == {"x": True}


@pytest.mark.parametrize("text", ["l0utre", "l.o.u.t.r.e", "boycottx", "#boycottxy", "c'est fini"])
def test_a_name_is_not_disguised_and_a_hashtag_has_its_sign(text: str) -> None:
    assert KINDS.matches(text) == {"x": False}


def test_words_added_to_a_list_join_those_it_has() -> None:
    added = KINDS.plus({"x": WordList(words=("flûte",)), "y": WordList(words=("mince",))})
    assert [added.matches(text) for text in ("flute", "zut", "mince")] == [
        {"x": True, "y": False},
        {"x": True, "y": False},
        {"x": False, "y": True},
    ]
