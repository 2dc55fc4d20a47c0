"""Sending a webhook: one POST, no redirects, a short patience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import aiohttp

UNREACHABLE: Final = 0
_PATIENCE: Final = aiohttp.ClientTimeout(total=10, connect=5)


class Poster:
    """An HTTP client that is opened at its first use and closed with the service."""

    def __init__(self) -> None:
        """Opens nothing yet: aiohttp wants its loop running."""
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer, or UNREACHABLE when there was none."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_PATIENCE)
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return UNREACHABLE

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
