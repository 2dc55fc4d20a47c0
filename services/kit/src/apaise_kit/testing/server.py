"""A server in the test's own process, with every real interceptor, reached over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from apaise_kit.runtime.client import open_channel
from apaise_kit.runtime.server import KitServer, Service, build_server
from apaise_kit.runtime.settings import KitSettings
from apaise_kit.runtime.telemetry import Telemetry
from apaise_kit.testing.tokens import MemoryTokens


@dataclass
class Running:
    """A server that is up. Channels opened through it are closed with it."""

    server: KitServer
    tokens: MemoryTokens
    telemetry: Telemetry
    _channels: list[grpc.aio.Channel] = field(default_factory=list)

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.server.port}"

    def token(self, actor: str = "tester", roles: Iterable[str] = ("operator",), brands: Iterable[str] = ("*",)) -> str:
        """A token this server accepts."""
        return self.tokens.issue(actor, roles, brands)

    def channel(
        self,
        actor: str = "tester",
        roles: Iterable[str] = ("operator",),
        brands: Iterable[str] = ("*",),
        *,
        token: str | None = None,
        idempotent: Sequence[str] = (),
        timeout: float = 10.0,
    ) -> grpc.aio.Channel:
        """A channel for this caller; `token=""` sends none."""
        secret = self.token(actor, roles, brands) if token is None else token
        channel = open_channel(
            self.address, secret or None, telemetry=self.telemetry, idempotent=idempotent, timeout=timeout
        )
        self._channels.append(channel)
        return channel


@asynccontextmanager
async def running(
    *services: Service, settings: KitSettings | None = None, telemetry: Telemetry | None = None
) -> AsyncIterator[Running]:
    """Serve `services` on a free port until the block ends; already started and SERVING.

    Args:
        services: what to serve.
        settings: limits; the port must stay 0 for tests to run side by side.
        telemetry: where spans go; by default nowhere.
    """
    settings = settings or KitSettings(drain_seconds=0.5)
    tokens = MemoryTokens()
    telemetry = telemetry or Telemetry.off()
    server = build_server(settings, services, tokens=tokens, telemetry=telemetry)
    await server.start()
    server.open()
    await server.set_serving(True)
    up = Running(server, tokens, telemetry)
    try:
        yield up
    finally:
        for channel in up._channels:
            await channel.close()
        await server.drain()
