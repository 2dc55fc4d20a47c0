"""What a message is and what a second delivery of one means."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_ingest.domain import (
    MAX_TEXT_BYTES,
    Attachment,
    Author,
    Draft,
    Known,
    admit,
    author_key,
    check_draft,
    has_text,
    time_trusted,
)
from apaise_kit.core.errors import AlreadyExists, InvalidArgument, Reason

NOW = datetime(2026, 10, 8, 18, 30, tzinfo=UTC)


def draft(**changes: object) -> Draft:
    values: dict[str, object] = {
        "brand": "b",
        "channel": "c",
        "external_id": "x",
        "text": "bonjour",
        "author": Author("someone"),
    }
    return Draft(**{**values, **changes})  # type: ignore[arg-type]


def known(text: str = "bonjour", revision: int = 1, edit_time: datetime | None = None) -> Known:
    return Known(revision, draft(text=text).content_hash, edit_time, NOW, False)


@pytest.mark.parametrize("text", ["😂😂😂", "bonjour", "\x07ding", "مرحبا", "a" * MAX_TEXT_BYTES, "\u200bx"])
def test_text_that_can_be_seen_is_accepted(text: str) -> None:
    assert check_draft(draft(text=text), NOW).text == text


def test_nul_is_dropped_because_no_text_column_holds_it() -> None:
    assert check_draft(draft(text="a\x00b"), NOW).text == "ab"


@pytest.mark.parametrize("text", ["", "   \n\t", "\u200b\u200d\ufeff", "\x00\x01"])
def test_nothing_to_see_is_refused_unless_something_is_attached(text: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_draft(draft(text=text), NOW)
    assert refusal.value.reason is Reason.EMPTY_MESSAGE
    assert not has_text(check_draft(draft(text=text, attachments=(Attachment("IMAGE"),)), NOW).text)


def test_the_limit_is_in_bytes_not_in_characters() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_draft(draft(text="é" * (MAX_TEXT_BYTES // 2 + 1)), NOW)
    assert refusal.value.reason is Reason.TEXT_TOO_LONG
    assert str(MAX_TEXT_BYTES) in refusal.value.message


@pytest.mark.parametrize("field", ["published_time", "edit_time"])
def test_a_time_days_ahead_is_refused_and_one_a_little_ahead_is_not_trusted(field: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_draft(draft(**{field: NOW + timedelta(days=2)}), NOW)
    assert refusal.value.reason is Reason.TIME_AHEAD
    assert check_draft(draft(**{field: NOW + timedelta(hours=23)}), NOW)
    assert not time_trusted(draft(published_time=NOW + timedelta(hours=1)), NOW)
    assert not time_trusted(draft(), NOW)
    assert time_trusted(draft(published_time=NOW - timedelta(hours=1)), NOW)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"external_id": ""}, "message.external_id"),
        ({"external_id": "x" * 257}, "message.external_id"),
        ({"author": Author("")}, "message.author.platform_id"),
        ({"author": Author("a", "n\x00me")}, "message.author.display_name"),
        ({"event": "Not A Slug"}, "message.event"),
        ({"rating": 5.5}, "message.rating"),
        ({"rating": float("nan")}, "message.rating"),
        ({"attachments": (Attachment("IMAGE"),) * 11}, "message.attachments"),
        ({"author": Author("a", roles=("r",) * 17)}, "message.author.roles"),
    ],
)
def test_a_bad_field_is_named(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_draft(draft(**changes), NOW)
    assert refusal.value.violations[0].field == field


def test_the_first_delivery_is_revision_one_and_the_same_again_repeats_it() -> None:
    assert admit(draft(), []) == 1
    assert admit(draft(), [known()]) == known()


def test_other_text_without_an_edit_time_conflicts() -> None:
    with pytest.raises(AlreadyExists) as refusal:
        admit(draft(text="autre"), [known()])
    assert "edit_time" in refusal.value.message


def test_a_later_edit_is_a_new_revision_and_an_earlier_one_is_not() -> None:
    edited = known("autre", 2, NOW)
    assert admit(draft(text="autre", edit_time=NOW), [known()]) == 2
    assert admit(draft(text="encore", edit_time=NOW + timedelta(seconds=1)), [known(), edited]) == 3
    with pytest.raises(AlreadyExists):
        admit(draft(text="encore", edit_time=NOW - timedelta(seconds=1)), [known(), edited])


def test_a_late_redelivery_of_an_older_revision_gets_its_own_answer() -> None:
    assert admit(draft(), [known(), known("autre", 2, NOW)]) == known()


def test_editing_back_to_the_first_text_is_a_revision_of_its_own() -> None:
    assert admit(draft(edit_time=NOW + timedelta(seconds=5)), [known(), known("autre", 2, NOW)]) == 3


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 5)), max_size=12))
def test_revisions_only_ever_count_up_by_one(deliveries: list[tuple[str, int]]) -> None:
    held: list[Known] = []
    for text, second in deliveries:
        time = NOW + timedelta(seconds=second) if second else None
        try:
            outcome = admit(draft(text=text, edit_time=time), held)
        except AlreadyExists:
            continue
        if isinstance(outcome, int):
            assert outcome == len(held) + 1
            held.append(known(text, outcome, time))
        else:
            assert outcome in held


def test_an_author_is_the_same_inside_a_brand_and_nobody_across_brands() -> None:
    secret = b"0123456789abcdef"
    assert author_key(secret, "a", "twitch", "1") == author_key(secret, "a", "twitch", "1")
    assert author_key(secret, "a", "twitch", "1") != author_key(secret, "b", "twitch", "1")
    assert author_key(secret, "a", "twitch", "1") != author_key(b"another-secret-key", "a", "twitch", "1")
