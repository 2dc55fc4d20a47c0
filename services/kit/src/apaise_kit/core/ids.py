"""Identifiers: 26 characters of lower-case Crockford base32, safe in a resource name, a file name and a URL."""

import hashlib
import secrets
from datetime import datetime
from typing import Final

from apaise_kit.core.clock import Clock, SystemClock

ID_LENGTH: Final = 26
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # ASCII order is numeric order, so ids sort as their numbers do
_SYSTEM_CLOCK: Final = SystemClock()


def _base32(number: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (ID_LENGTH - 1), -1, -5))


def new_id(clock: Clock = _SYSTEM_CLOCK) -> str:
    """A fresh id, 48 bits of milliseconds then 80 random bits: ids sort by time, to the millisecond."""
    return id_at(clock.now())


def id_at(time: datetime) -> str:
    """A fresh id as if made at an instant."""
    return _base32(int(time.timestamp() * 1000) << 80 | secrets.randbits(80))


def message_id(brand: str, channel: str, external_id: str) -> str:
    """The id of a platform's message: the same three values give the same id, for ever.

    Each part is preceded by its length, so that moving a character from one part to the next changes the id.
    """
    digest = hashlib.sha256()
    for part in (brand, channel, external_id):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return _base32(int.from_bytes(digest.digest(), "big") >> (256 - 5 * ID_LENGTH))
