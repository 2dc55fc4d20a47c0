"""Names, ids, cursors, callers, labels, errors: the pure part."""

from __future__ import annotations

import ast
import base64
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import apaise_kit.core
from apaise.type.v1 import error_reason_pb2
from apaise_kit.core import cursor, names
from apaise_kit.core.caller import Caller, acting_as, current_caller, system_caller
from apaise_kit.core.errors import ApaiseError, InvalidArgument, NotFound, Reason, Unauthenticated, not_found
from apaise_kit.core.ids import ID_LENGTH, message_id, new_id
from apaise_kit.core.labels import LABELS
from apaise_kit.testing import FakeClock

slugs = st.from_regex(r"[a-z0-9-]{1,63}", fullmatch=True).filter(lambda slug: slug != "-")
TEMPLATES = [names.CHANNEL, names.MESSAGE, names.CHARTER, names.REVIEW_ITEM, names.ADAPTER, names.TRAINING_RUN]


def test_reasons_are_those_of_the_contract() -> None:
    contract = {
        name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    } - {"UNSPECIFIED"}
    assert {reason.value for reason in Reason} == contract


def test_every_kind_of_error_has_its_own_default_reason() -> None:
    kinds = ApaiseError.__subclasses__()
    assert len({kind.default_reason for kind in kinds}) == len(kinds) == 11


def test_core_imports_only_the_standard_library() -> None:
    for path in Path(apaise_kit.core.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            else:
                continue
            for name in imported:
                assert name.split(".")[0] in sys.stdlib_module_names or name.startswith("apaise_kit.core"), path


@given(slugs, slugs)
def test_names_read_back_as_written(brand: str, id: str) -> None:
    for template in TEMPLATES:
        assert template.parse(template.format(brand, id)) == (brand, id)
    assert names.parse_brand(names.BRAND.format(brand)) == brand
    assert names.brand_of(names.MESSAGE.format(brand, id)) == brand


@pytest.mark.parametrize(
    "name",
    [
        "",
        "brands",
        "brands/",
        "brands/-",
        "brands/acme/messages",
        "brands/acme/messages/",
        "brands/acme/messages/-",
        "brands//messages/x",
        "brands/Acme/messages/x",
        "brands/acme/messages/x/",
        "/brands/acme/messages/x",
        "brands/acme/messages/x\n",
        "brands/acme/channels/x",
        "brands/acme/messages/" + "x" * 64,
        "brands/../messages/x",
    ],
)
def test_a_malformed_name_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        names.MESSAGE.parse(name, "message.name")
    assert caught.value.violations[0].field == "message.name"
    assert "brands/{brand}/messages/{message}" in caught.value.message


def test_the_wildcard_is_read_only_where_it_is_allowed() -> None:
    assert names.parse_brand("brands/-", wildcard=True) == "-"
    with pytest.raises(InvalidArgument):
        names.parse_brand("brands/-")
    with pytest.raises(InvalidArgument):
        names.MESSAGE.format("-", "x")


def test_ids_are_slugs_that_sort_by_time() -> None:
    clock = FakeClock()
    ids = []
    for _ in range(50):
        ids.append(new_id(clock))
        clock.advance(milliseconds=1)
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    assert {len(id) for id in ids} == {ID_LENGTH}
    assert names.check_slug(ids[0], "id") == ids[0]


def test_ids_of_one_instant_differ() -> None:
    clock = FakeClock()
    assert len({new_id(clock) for _ in range(1000)}) == 1000


def test_message_ids_never_change() -> None:
    """A frozen value: rows written by an older release must be found again."""
    assert message_id("demo-retail", "twitch", "abc-123") == "sn4dv8fy9ywa9xy8tg4wkz3rx4"


@given(*[st.text(max_size=20)] * 6)
def test_message_ids_differ_when_a_part_differs(a: str, b: str, c: str, d: str, e: str, f: str) -> None:
    assert (message_id(a, b, c) == message_id(d, e, f)) == ((a, b, c) == (d, e, f))


def test_message_ids_know_where_a_part_ends() -> None:
    assert message_id("a", "bc", "d") != message_id("ab", "c", "d")


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=30), max_size=4), st.text(max_size=20))
def test_cursors_read_back_as_written(values: dict[str, int | str], scope: str) -> None:
    token = cursor.encode(values, scope)
    assert cursor.decode(token, scope) == values
    assert token.isascii()
    assert not set(token) & set("+/= ")


def test_a_cursor_of_another_list_is_refused() -> None:
    token = cursor.encode({"after": 3}, "decisions:acme")
    with pytest.raises(InvalidArgument) as caught:
        cursor.decode(token, "decisions:other", "cursor")
    assert caught.value.reason is Reason.BAD_CURSOR
    assert caught.value.violations[0].field == "cursor"


def test_an_empty_cursor_is_the_beginning() -> None:
    assert cursor.decode("", "anything") == {}


@given(st.text(min_size=1, max_size=60))
def test_a_foreign_cursor_is_refused_not_crashed_on(token: str) -> None:
    with pytest.raises(InvalidArgument):
        cursor.decode(token)


@pytest.mark.parametrize(
    "content", ["[]", "[1,2]", '["e3b0c442",[]]', '["e3b0c442",{"a":1.5}]', '["e3b0c442",{"a":true}]']
)
def test_a_cursor_of_another_shape_is_refused(content: str) -> None:
    with pytest.raises(InvalidArgument):
        cursor.decode(base64.urlsafe_b64encode(content.encode()).decode().rstrip("="))


def caller(*brands: str) -> Caller:
    return Caller("lea", frozenset({"moderator"}), frozenset(brands), "r1")


def test_a_caller_sees_its_brands_only() -> None:
    assert caller("acme").sees("acme")
    assert not caller("acme").sees("other")
    assert caller("*").sees("other")
    assert not caller().sees("acme")


def test_requiring_another_brand_reads_like_a_missing_thing() -> None:
    with pytest.raises(NotFound) as caught:
        caller("acme").require("other", "brands/other/messages/x")
    assert str(caught.value) == str(not_found("brands/other/messages/x"))


def test_the_brands_to_list() -> None:
    assert caller("acme", "b").visible() == frozenset({"acme", "b"})
    assert caller("acme", "b").visible("b") == frozenset({"b"})
    assert caller("*").visible() is None
    assert caller("*").visible("b") == frozenset({"b"})
    with pytest.raises(NotFound):
        caller("acme").visible("b")


def test_background_work_has_a_named_actor_and_leaves_none_behind() -> None:
    with pytest.raises(Unauthenticated):
        current_caller()
    with acting_as(system_caller("ingest", "r")):
        assert current_caller().actor == "system:ingest"
        assert current_caller().sees("anything")
    with pytest.raises(Unauthenticated):
        current_caller()


def test_a_name_in_an_error_is_bounded() -> None:
    assert len(not_found("brands/" + "x" * 100_000).message) < 400


def test_labels_are_unique_slugs() -> None:
    assert len(LABELS) == len(set(LABELS)) == 39
    assert all(label.replace("_", "").isalpha() and label.islower() for label in LABELS)


def test_the_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(datetime(2026, 5, 1, tzinfo=UTC))
    assert clock.now() == clock.now()
    assert clock.advance(hours=2) - datetime(2026, 5, 1, tzinfo=UTC) == timedelta(hours=2)
    clock.set(datetime(2027, 1, 1, tzinfo=UTC))
    assert clock.now().year == 2027
