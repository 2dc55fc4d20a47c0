"""Signatures, and when to try again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.errors import Unauthenticated
from apaise_route.domain.webhooks import BACKOFF, ID, SIGNATURE, TIMESTAMP, TOLERANCE, check, key_of, next_attempt, sign

KEY = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOW = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'


def test_the_specifications_own_example() -> None:
    headers = sign(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW, BODY)
    assert headers[SIGNATURE] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=200), st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True))
def test_what_is_signed_is_accepted(body: bytes, identifier: str) -> None:
    assert check(KEY, sign(KEY, identifier, NOW, body), body, NOW) == identifier


def test_one_of_several_signatures_is_enough() -> None:
    headers = sign(KEY, "i", NOW, BODY)
    headers[SIGNATURE] = f"v1,AAAA v2,BBBB {headers[SIGNATURE]}"
    assert check(KEY, headers, BODY, NOW) == "i"


@pytest.mark.parametrize(
    "changed",
    [
        {ID: "j"},
        {ID: ""},
        {TIMESTAMP: "1614265331"},
        {TIMESTAMP: ""},
        {TIMESTAMP: "-1"},
        {TIMESTAMP: "9" * 11},
        {SIGNATURE: ""},
        {SIGNATURE: "v1,"},
        {SIGNATURE: "v1,é"},
        {SIGNATURE: "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
    ],
)
def test_what_was_changed_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        check(KEY, sign(KEY, "i", NOW, BODY) | changed, BODY, NOW)


def test_another_body_or_another_key_is_refused() -> None:
    headers = sign(KEY, "i", NOW, BODY)
    for key, body in ((KEY, b"{}"), (key_of("another-secret-of-24-bytes"), BODY)):
        with pytest.raises(Unauthenticated):
            check(key, headers, body, NOW)


@pytest.mark.parametrize("late", [TOLERANCE + timedelta(seconds=1), -TOLERANCE - timedelta(seconds=1)])
def test_an_old_one_is_refused(late: timedelta) -> None:
    headers = sign(KEY, "i", NOW, BODY)
    assert check(KEY, headers, BODY, NOW + TOLERANCE) == "i"
    with pytest.raises(Unauthenticated):
        check(KEY, headers, BODY, NOW + late)


@pytest.mark.parametrize("wrong", ["", "short", "whsec_AAAA", "whsec_not base64 at all, really"])
def test_a_secret_must_be_long_enough(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"whsec_|24 bytes"):
        key_of(wrong)


def test_attempts_go_on_for_a_day_and_end() -> None:
    times = [next_attempt(failed, NOW) for failed in range(1, len(BACKOFF) + 2)]
    assert times[-1] is None
    delays = [time - NOW for time in times if time]
    assert delays == sorted(delays)
    assert timedelta(hours=20) < sum(delays, timedelta()) < timedelta(hours=28)
