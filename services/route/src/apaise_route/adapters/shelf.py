"""Compiled charters at hand: versions never change, so each is compiled once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.core.names import CHARTER
from apaise_kit.runtime.logs import get_logger
from apaise_route.adapters import store
from apaise_route.adapters.charter_yaml import compile_charter, default_charter
from apaise_route.domain.charter import CompiledCharter

_KEPT: Final = 1000
_log = get_logger(__name__)


class Shelf:
    """The default charter, and the last thousand versions that decided something."""

    def __init__(self) -> None:
        """Compiles the default charter."""
        self.default = default_charter()
        self._kept: OrderedDict[tuple[str, int], CompiledCharter] = OrderedDict()

    async def in_force(self, conn: AsyncConnection, brands: Collection[str]) -> dict[str, CompiledCharter]:
        """The charter each brand lives by."""
        versions = await store.in_force(conn, brands)
        return {b: await self.version(conn, b, versions[b].version if b in versions else 0) for b in brands}

    async def one_in_force(self, conn: AsyncConnection, brand: str) -> CompiledCharter:
        """The charter one brand lives by."""
        return (await self.in_force(conn, [brand]))[brand]

    async def version(self, conn: AsyncConnection, brand: str, version: int) -> CompiledCharter:
        """One version of a brand's charter; 0 is the default charter."""
        if version == 0:
            return self.default
        kept = self._kept.get((brand, version))
        if kept is None:
            kept = self._kept[brand, version] = await self._compile(conn, brand, version)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end((brand, version))
        return kept

    async def _compile(self, conn: AsyncConnection, brand: str, version: int) -> CompiledCharter:
        stored = await store.read_charter(conn, brand, version)
        name = CHARTER.format(brand, str(version))
        try:
            # What is kept did compile; a later release that reads charters more strictly must not stop a brand.
            return await asyncio.to_thread(compile_charter, stored.source if stored else "", name)
        except ValueError:
            _log.error("charter_does_not_compile", charter=name)
            return self.default
