"""Page sizes and stream positions, the same for every list and stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final

from apaise_kit.core import cursor
from apaise_kit.core.caller import current_caller
from apaise_kit.core.errors import invalid_field
from apaise_kit.runtime.db import Database, Event
from apaise_route.domain.model import Message

_DEFAULT: Final = 50
_LARGEST: Final = 500
NOW: Final = "now"
_PAGE_BYTES: Final = 1024 * 1024


def page_limit(page_size: int) -> int:
    """How many rows a page holds.

    Raises:
        InvalidArgument: outside 0 to 500.
    """
    if not 0 <= page_size <= _LARGEST:
        raise invalid_field("page_size", f"must be 1 to {_LARGEST}, or 0 for {_DEFAULT}")
    return page_size or _DEFAULT


def fitting(texts: Sequence[Message]) -> int:
    """How many of a page, one at least, stay well below the size of a gRPC message with texts of up to 32 KiB each."""
    total = 0
    for count, message in enumerate(texts):
        total += len(message.text.encode())
        if total > _PAGE_BYTES and count:
            return count
    return len(texts)


class Follower:
    """One stream over the events of one kind: where it starts, and batches of events with the cursor after each."""

    def __init__(self, db: Database, kind: str, brand: str) -> None:
        """`brand` is a slug, or "-" for all the caller sees.

        Raises:
            NotFound: when the caller does not see the brand.
        """
        self._db = db
        self._kind = kind
        self._scope = f"follow {kind} {brand}"
        self._brands = current_caller().visible(brand)

    async def start(self, token: str) -> int:
        """The sequence a cursor stands for: the beginning when empty, the end of now for `now`."""
        if token == NOW:
            return await self._db.last_sequence()
        return int(cursor.decode(token, self._scope, "cursor").get("sequence", 0))

    def cursor(self, sequence: int) -> str:
        """The cursor to go on after a sequence."""
        return cursor.encode({"sequence": sequence}, self._scope)

    def batches(self, after: int) -> AsyncIterator[list[Event]]:
        """Events after a sequence, in commit order; never ends by itself."""
        kinds: Collection[str] = (self._kind,)
        return self._db.follow(after, kinds, self._brands)
