"""Signing what goes out and checking what comes in, as the Standard Webhooks specification says
(https://github.com/standard-webhooks/standard-webhooks): HMAC-SHA256 over `id.timestamp.body`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from apaise_kit.core.errors import Unauthenticated

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE: Final = timedelta(minutes=5)
# Seconds before the next attempt, by the number of those that failed; the last failure is final.
BACKOFF: Final = (5, 30, 120, 600, 3600, 6 * 3600, 16 * 3600)
_PREFIX: Final = "whsec_"


def key_of(secret: str) -> bytes:
    """The key of a secret written `whsec_<base64>`, or of any other text.

    Raises:
        ValueError: the part after `whsec_` is not base64, or the key has fewer than 24 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if secret.startswith(_PREFIX) else b""
    except binascii.Error:
        raise ValueError("what follows whsec_ must be base64") from None
    key = key or secret.encode()
    if len(key) < 24:
        raise ValueError("a webhook's secret has 24 bytes or more")
    return key


def sign(key: bytes, identifier: str, time: datetime, body: bytes) -> dict[str, str]:
    """The three headers of a webhook."""
    stamp = str(int(time.timestamp()))
    return {ID: identifier, TIMESTAMP: stamp, SIGNATURE: f"v1,{_digest(key, identifier, stamp, body)}"}


def check(key: bytes, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The id of a webhook that its sender signed with this key in the last five minutes.

    Raises:
        Unauthenticated: anything is missing, old or wrong; it does not say which.
    """
    identifier, stamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    expected = _digest(key, identifier, stamp, body)
    given = [part.removeprefix("v1,") for part in headers.get(SIGNATURE, "").split() if part.startswith("v1,")]
    right = any(hmac.compare_digest(expected.encode(), part.encode()) for part in given)
    if not (identifier and right and _recent(stamp, now)):
        raise Unauthenticated("The webhook's signature or its time is wrong. Sign id.timestamp.body with the secret.")
    return identifier


def _digest(key: bytes, identifier: str, stamp: str, body: bytes) -> str:
    content = f"{identifier}.{stamp}.".encode() + body
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def _recent(stamp: str, now: datetime) -> bool:
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return False
    return abs(now - datetime.fromtimestamp(int(stamp), UTC)) <= TOLERANCE


def next_attempt(failed: int, now: datetime) -> datetime | None:
    """When to try again after so many failures, None when that was the last."""
    return now + timedelta(seconds=BACKOFF[failed - 1]) if failed <= len(BACKOFF) else None
