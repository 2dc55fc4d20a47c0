"""Word lists see through case, accents and light disguises, and nothing more."""

import pytest

from apaise_route.domain.lists import WordLists

LISTS = WordLists({"bad": ["connard", "va te faire voir", "#BoycottX", "cœur"]})


@pytest.mark.parametrize(
    "text",
    ["Connard !", "CONNARD", "connàrd", "c0nn4rd", "c.o.n.n.a.r.d", "c o n n a r d", "connnnnard", "va  te\nfaire voir",
     "#boycottx", "un coeur"],
)  # fmt: skip
def test_matches(text: str) -> None:
    assert LISTS.matches(text) == {"bad": True}


@pytest.mark.parametrize("text", ["connardise", "déconnardé", "boycottx2", "faire voir", "", "2024", "a b c"])
def test_does_not_match(text: str) -> None:
    assert LISTS.matches(text) == {"bad": False}


def test_an_empty_list_never_matches() -> None:
    assert WordLists({"none": []}).matches("anything") == {"none": False}
