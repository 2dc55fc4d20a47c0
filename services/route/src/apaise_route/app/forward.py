"""Messages worth bringing forward."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from apaise_kit.core.errors import invalid_field
from apaise_route.adapters import store
from apaise_route.app.deps import Deps
from apaise_route.domain.forward import Forward, best, forward_of

_USUAL: Final = timedelta(days=1)
_LOOKED_AT: Final = 2000
_DEFAULT: Final = 10
_MOST: Final = 100


async def list_forward(deps: Deps, brand: str, start: datetime | None, page_size: int) -> list[Forward]:
    """The best of what shows and was decided since `start` (24 hours ago, if not given).

    Raises:
        InvalidArgument: the page size is wrong.
    """
    if not 0 <= page_size <= _MOST:
        raise invalid_field("page_size", f"must be 1 to {_MOST}, or 0 for {_DEFAULT}")
    async with deps.db.read() as conn:
        shown = await store.showing_since(conn, brand, start or deps.clock.now() - _USUAL, _LOOKED_AT)
    found = [forward_of(stored.message, stored.channel, stored.assessment) for stored in shown]
    return best([forward for forward in found if forward is not None], page_size or _DEFAULT)
