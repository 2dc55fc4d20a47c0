"""What lint claims of conditions is what CEL does with them."""

from __future__ import annotations

from typing import Any

import cel
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apaise_route.adapters import logic

NUMBERS = (0.0, 0.2, 0.5, 0.8, 1.0)
numbers = st.sampled_from(NUMBERS)
atoms = st.one_of(
    st.sampled_from(["yes.a", "yes.b", "unsure.a", "'vip' in author.roles"]),
    st.builds("labels.{} {} {}".format, st.sampled_from("ab"), st.sampled_from(["<", "<=", ">", ">=", "=="]), numbers),
    st.builds("{} <= labels.{}".format, numbers, st.sampled_from("ab")),
    st.builds("message.kind {} '{}'".format, st.sampled_from(["==", "!="]), st.sampled_from(["COMMENT", "FORUM"])),
    st.just("message.kind in ['COMMENT', 'EMAIL']"),
    st.sampled_from(["true", "false"]),
)
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
    ),
    max_leaves=5,
)
facts = st.fixed_dictionaries(
    {
        "labels": st.fixed_dictionaries({"a": numbers, "b": numbers}),
        "yes": st.fixed_dictionaries({"a": st.booleans(), "b": st.booleans()}),
        "unsure": st.fixed_dictionaries({"a": st.booleans()}),
        "message": st.fixed_dictionaries({"kind": st.sampled_from(["COMMENT", "FORUM", "EMAIL", "REVIEW"])}),
        "author": st.fixed_dictionaries({"roles": st.sampled_from([[], ["vip"]])}),
    }
)


def holds(source: str, given_facts: dict[str, Any]) -> bool:
    return cel.compile(source).execute(given_facts) is True


@given(conditions, facts)
def test_a_condition_that_can_never_hold_never_does(source: str, told: dict[str, Any]) -> None:
    if all(logic.conflict(case) for case in logic.cases(logic.parse(source))):
        assert not holds(source, told)


@given(conditions, facts)
def test_its_opposite_is_its_opposite(source: str, told: dict[str, Any]) -> None:
    opposite = logic.cases(logic.negated(logic.parse(source)))
    if all(logic.conflict(case) for case in opposite):
        assert holds(source, told)


@given(conditions, conditions, facts)
def test_what_is_implied_holds_as_well(first: str, second: str, told: dict[str, Any]) -> None:
    opposite = logic.cases(logic.negated(logic.parse(second)))
    assume(logic.implies(logic.cases(logic.parse(first)), opposite))
    assert not holds(first, told) or holds(second, told)


@pytest.mark.parametrize(
    ("first", "second", "follows"),
    [
        ("labels.a >= 0.9", "labels.a >= 0.8", True),
        ("labels.a >= 0.8", "labels.a >= 0.9", False),
        ("yes.a && yes.b", "yes.b || yes.c", True),
        ("message.kind == 'EMAIL'", "message.kind in ['EMAIL', 'FORUM']", True),
        ("message.audience == 'PUBLIC'", "message.audience != 'PRIVATE'", True),
        ("labels.a == 0.5", "labels.a >= 0.5 && labels.a <= 0.5", True),
        ("message.text.contains('a')", "message.text.contains('a') || yes.b", True),
        ("message.text.contains('a')", "message.text.contains('b')", False),
    ],
)
def test_implications(first: str, second: str, follows: bool) -> None:
    opposite = logic.cases(logic.negated(logic.parse(second)))
    assert logic.implies(logic.cases(logic.parse(first)), opposite) is follows


@pytest.mark.parametrize("source", ["yes.a ? yes.b : yes.c", " && ".join(f"(yes.a{n} || yes.b{n})" for n in range(12))])
def test_what_is_beyond_it_is_said_to_be(source: str) -> None:
    with pytest.raises(logic.Unreadable):
        logic.cases(logic.parse(source))
