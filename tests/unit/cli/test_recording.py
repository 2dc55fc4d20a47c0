"""Reading a recording, fresh ids, moving it to now."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer import BadParameter

from apaise_cli.commands.replay import _passes, parse_speed
from apaise_cli.replay.recording import BrokenLine, Entry, due, moved, read, renamed
from apaise_cli.replay.run import batches
from apaise_cli.replay.wire import to_message

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def line(**changes: Any) -> dict[str, Any]:
    return {
        "brand": "demo",
        "channel": "live",
        "external_id": "m-1",
        "text": "bonsoir",
        "published_time": "2026-01-01T20:00:00Z",
        "author": {"platform_id": "u-1", "display_name": "Ana", "account_created_time": "2025-12-31T20:00:00Z"},
        **changes,
    }


def recording(folder: Path, *lines: dict[str, Any] | bytes) -> Path:
    file = folder / "event.jsonl"
    raw = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines]
    file.write_bytes(b"\n".join(raw))
    return file


def entry(external_id: str = "m-1", published: datetime | None = NOW, **more: Any) -> Entry:
    author: dict[str, Any] = {"platform_id": "u", "display_name": "", "follows_page": None, "roles": []}
    return Entry(1, "demo", "live", external_id, "hi", published, author, **more)


def test_a_line_becomes_the_contracts_message(tmp_path: Path) -> None:
    file = recording(
        tmp_path,
        line(
            parent="m-0",
            rating=4,
            language_hint="fr",
            may_train=False,
            edit_time="2026-01-01T20:01:00Z",
            attachments=[{"kind": "IMAGE", "uri": "https://example.invalid/a", "alt_text": "a cat"}],
        ),
    )
    (found,) = read(file)
    assert isinstance(found, Entry)
    message = to_message(found)
    assert message.channel == "brands/demo/channels/live"
    assert message.author.platform_id == "u-1"
    assert message.author.account_create_time.ToDatetime(UTC) == datetime(2025, 12, 31, 20, tzinfo=UTC)
    assert not message.author.HasField("follows_page")
    assert message.published_time.ToDatetime(UTC) == datetime(2026, 1, 1, 20, tzinfo=UTC)
    assert message.edit_time.ToDatetime(UTC) == datetime(2026, 1, 1, 20, 1, tzinfo=UTC)
    assert message.rating == 4
    assert message.HasField("may_train")
    assert not message.may_train
    assert message.attachments[0].alt_text == "a cat"


def test_what_the_platform_did_not_tell_stays_absent(tmp_path: Path) -> None:
    bare = {"brand": "b", "channel": "c", "external_id": "1", "author": {"platform_id": "u"}}
    (found,) = read(recording(tmp_path, bare))
    assert isinstance(found, Entry)
    message = to_message(found)
    for field in ("published_time", "edit_time", "rating", "may_train"):
        assert not message.HasField(field)


def test_the_brand_can_be_replaced(tmp_path: Path) -> None:
    (found,) = read(recording(tmp_path, line(brand="")), brand="other")
    assert isinstance(found, Entry)
    assert found.brand == "other"


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (b'{"brand": "demo', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (line(external_id=""), "external_id is missing"),
        (line(text=3), "text is no text"),
        (line(author={}), "author.platform_id is missing"),
        (line(author=["u"]), "not a JSON object"),
        (line(published_time="yesterday"), "published_time is no RFC 3339 time"),
        (line(rating="four"), "rating is no number"),
        (line(may_train="yes"), "may_train is neither"),
        (line(attachments=[{"kind": "SMELL"}]), "attachment.kind is none of"),
    ],
)
def test_a_broken_line_is_told_with_its_number_and_the_rest_goes_on(
    tmp_path: Path, broken: dict[str, Any] | bytes, problem: str
) -> None:
    first, second, third = read(recording(tmp_path, line(), broken, line(external_id="m-3")))
    assert isinstance(first, Entry)
    assert isinstance(second, BrokenLine)
    assert second.number == 2
    assert problem in second.problem
    assert isinstance(third, Entry)
    assert third.number == 3


def test_empty_lines_are_nothing(tmp_path: Path) -> None:
    assert len(list(read(recording(tmp_path, line(), b"   ", line(external_id="m-2"))))) == 2


def test_fresh_ids_keep_the_thread_of_talk() -> None:
    first, answer, stray = renamed([entry("a"), entry("b", parent="a"), entry("c", parent="elsewhere")], "-x")
    assert (first.external_id, answer.parent, stray.parent) == ("a-x", "a-x", "elsewhere")


gaps = st.lists(st.integers(0, 5000), min_size=1, max_size=30)


@given(gaps, st.sampled_from([0.5, 1.0, 2.0, 60.0, None]))
def test_a_moved_recording_keeps_its_spacing_and_never_lies_ahead(seconds: list[int], speed: float | None) -> None:
    old = datetime(2020, 1, 1, tzinfo=UTC)
    entries = [
        entry(str(i), old + timedelta(seconds=s), account_created=old - timedelta(days=1))
        for i, s in enumerate(sorted(seconds))
    ]
    shifted = moved(entries, NOW, speed)
    for before, after, sent in zip(entries, shifted, due(shifted, speed), strict=True):
        assert before.published is not None
        assert after.published is not None
        assert after.account_created is not None
        assert after.published <= NOW + timedelta(seconds=sent, microseconds=10)
        assert after.published - after.account_created == before.published - timedelta(days=-1) - old
    spacing = [a.published - b.published for a, b in zip(entries[1:], entries, strict=False)]  # type: ignore[operator]
    assert spacing == [a.published - b.published for a, b in zip(shifted[1:], shifted, strict=False)]  # type: ignore[operator]


def test_at_speed_one_the_first_message_is_written_now() -> None:
    shifted = moved([entry("a", NOW - timedelta(days=9)), entry("b", NOW - timedelta(days=8))], NOW, 1.0)
    assert [e.published for e in shifted] == [NOW, NOW + timedelta(days=1)]


def test_a_recording_without_times_stays_as_it_is() -> None:
    assert moved([entry(published=None)], NOW, None) == [entry(published=None)]
    assert due([entry(published=None)], 1.0) == [0.0]


def test_when_to_send() -> None:
    entries = [entry("a"), entry("b", NOW + timedelta(seconds=10)), entry("c", None)]
    assert due(entries, 1.0) == [0.0, 10.0, 10.0]
    assert due(entries, 5.0) == [0.0, 2.0, 2.0]
    assert due(entries, None) == [0.0, 0.0, 0.0]


def test_batches_hold_what_is_due_together_within_the_limits() -> None:
    entries = [entry(str(i)) for i in range(250)]
    assert [(moment, len(batch)) for moment, batch in batches(entries, [0.0] * 250)] == [
        (0.0, 100),
        (0.0, 100),
        (0.0, 50),
    ]
    spread = list(batches(entries[:3], [0.0, 0.01, 2.0]))
    assert [(moment, len(batch)) for moment, batch in spread] == [(0.0, 2), (2.0, 1)]


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("1", 1.0), ("x4", 4.0), ("×2.5", 2.5), ("10x", 10.0)])
def test_speeds(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "inf", "nan"])
def test_other_speeds_are_refused(text: str) -> None:
    with pytest.raises(BadParameter):
        parse_speed(text)


def test_each_pass_has_its_own_ids_and_its_own_time() -> None:
    entries = [entry("a"), entry("b", NOW + timedelta(seconds=30))]
    first, second = _passes(entries, 2, 1.0, same_ids=False, keep_times=False)
    assert len({e.external_id for e in first + second}) == 4
    assert first[0].published is not None
    assert second[0].published is not None
    assert second[0].published - first[0].published == timedelta(seconds=30)
    kept = _passes(entries, 2, None, same_ids=True, keep_times=True)
    assert kept == [entries, entries]
