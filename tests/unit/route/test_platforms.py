"""Where a reply may go."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from apaise_route.adapters.platform_rules import platform_rules, read_duration
from apaise_route.domain.model import Audience, ChannelKind
from apaise_route.domain.platforms import LegVerdict, Situation, rule_for

RULES = platform_rules()
COMMENT = Situation("facebook", ChannelKind.COMMENT, Audience.PUBLIC, timedelta(hours=1))
ALLOWED, DENIED, DEPENDS = LegVerdict


def verdict(towards: Audience, **changes: object) -> tuple[LegVerdict, str]:
    rule = rule_for(RULES, towards, replace(COMMENT, **changes))  # type: ignore[arg-type]
    return rule.verdict, rule.id


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (ALLOWED, "facebook-private-reply")),
        ({"age": timedelta(days=8)}, (DENIED, "facebook-closed")),
        ({"age": timedelta(days=8), "follows": True}, (DEPENDS, "facebook-follower")),
        ({"answered_in_private": True}, (DENIED, "facebook-closed")),
        ({"kind": ChannelKind.REVIEW}, (DENIED, "facebook-closed")),
        ({"platform": "youtube"}, (DENIED, "youtube-no-private")),
        ({"platform": "youtube", "kind": ChannelKind.LIVE_CHAT}, (DENIED, "youtube-no-private")),
        ({"platform": "x"}, (DEPENDS, "x-settings")),
        ({"platform": "instagram"}, (DEPENDS, "instagram-private-reply")),
        ({"platform": "instagram", "age": timedelta(days=8)}, (DENIED, "instagram-closed")),
        ({"platform": "twitch", "kind": ChannelKind.LIVE_CHAT}, (DEPENDS, "twitch-whisper")),
        ({"platform": "twitch", "sent": {"twitch-whisper": 40}}, (DENIED, "twitch-whisper")),
        ({"platform": "twitch", "sent": {"twitch-whisper": 39}}, (DEPENDS, "twitch-whisper")),
        ({"platform": "tiktok"}, (DEPENDS, "tiktok-age")),
        ({"platform": "forum.example"}, (DEPENDS, "unknown-platform")),
    ],
)
def test_a_private_reply_to_a_public_message(changes: dict[str, object], expected: tuple[LegVerdict, str]) -> None:
    assert verdict(Audience.PRIVATE, **changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (ALLOWED, "in-thread")),
        ({"platform": "youtube"}, (ALLOWED, "youtube-comment")),
        ({"platform": "youtube", "sent": {"youtube-comment": 200}}, (DENIED, "youtube-comment")),
        ({"platform": "forum.example"}, (ALLOWED, "in-thread")),
    ],
)
def test_a_public_reply(changes: dict[str, object], expected: tuple[LegVerdict, str]) -> None:
    assert verdict(Audience.PUBLIC, **changes) == expected


@pytest.mark.parametrize("platform", [*RULES, "email", ""])
def test_what_was_private_stays_private_on_every_platform(platform: str) -> None:
    private = {"platform": platform, "audience": Audience.PRIVATE, "kind": ChannelKind.PRIVATE_MESSAGE}
    assert verdict(Audience.PUBLIC, **private) == (DENIED, "private-stays-private")
    assert verdict(Audience.PRIVATE, **private) == (ALLOWED, "same-conversation")


@pytest.mark.parametrize("rule", [rule for rules in RULES.values() for rule in rules], ids=lambda rule: rule.id)
def test_every_rule_says_where_it_is_written_and_when_that_was_read(rule: object) -> None:
    assert rule.source.startswith("https://")  # type: ignore[attr-defined]
    assert date(2015, 1, 1) < rule.source_date <= date(2026, 11, 26)  # type: ignore[attr-defined]
    assert set(rule.explanation) == {"fr", "en"}  # type: ignore[attr-defined]


def test_rules_have_one_id_each() -> None:
    ids = [rule.id for rules in RULES.values() for rule in rules]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("wrong", ["", "m", "5", "5s", "-5m", "5 m", "1234567m", "٣m"])
def test_a_wrong_duration(wrong: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        read_duration(wrong)
