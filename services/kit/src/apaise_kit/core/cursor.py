"""Opaque page tokens and stream cursors. They are not secrets: the brand checks are made again on every call."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping

from apaise_kit.core.errors import InvalidArgument, Reason, Violation

_NOT_OURS = "is not a token this list gave; start again from the first page"


def encode(values: Mapping[str, str | int], scope: str = "") -> str:
    """Write a position as a token.

    Args:
        values: the position (last key seen, sequence number).
        scope: what the position belongs to (list name and filters): the token is refused under any other scope.
    """
    data = json.dumps([_fingerprint(scope), dict(values)], separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(data.encode()).decode().rstrip("=")


def decode(token: str, scope: str = "", field: str = "page_token") -> dict[str, str | int]:
    """Read a token back; an empty one means the beginning and gives {}.

    Raises:
        InvalidArgument: (BAD_CURSOR) when it was not made by `encode` under the same scope.
    """
    if not token:
        return {}
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        content = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise _bad(field) from None
    match content:
        case [str(fingerprint), dict(values)] if fingerprint == _fingerprint(scope):
            if all(isinstance(value, str | int) and not isinstance(value, bool) for value in values.values()):
                return values
    raise _bad(field)


def _fingerprint(scope: str) -> str:
    return hashlib.sha256(scope.encode()).hexdigest()[:8]


def _bad(field: str) -> InvalidArgument:
    return InvalidArgument(f"{field} {_NOT_OURS}.", reason=Reason.BAD_CURSOR, violations=(Violation(field, _NOT_OURS),))
