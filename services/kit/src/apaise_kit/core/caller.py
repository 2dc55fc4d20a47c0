"""Who is calling. It comes from the bearer token, never from a request's body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from apaise_kit.core.errors import Unauthenticated, not_found
from apaise_kit.core.names import WILDCARD

ALL_BRANDS: Final = frozenset({"*"})
_caller: ContextVar[Caller | None] = ContextVar("apaise_caller", default=None)


@dataclass(frozen=True, slots=True)
class Caller:
    """The actor of a request, what it may do, which brands it sees, and the request's id."""

    actor: str
    roles: frozenset[str]
    brands: frozenset[str]
    request_id: str

    def sees(self, brand: str) -> bool:
        """Whether this caller sees the brand (a slug)."""
        return brand in self.brands or "*" in self.brands

    def require(self, brand: str, name: str | None = None) -> None:
        """Refuse a brand this caller does not see, in the words of a missing thing.

        Raises:
            NotFound: naming `name`, or the brand itself.
        """
        if not self.sees(brand):
            raise not_found(name or f"brands/{brand}")

    def visible(self, brand: str = WILDCARD) -> frozenset[str] | None:
        """The brands to look in for a list over `brands/{brand}`: one brand, the caller's, or None for every brand.

        Raises:
            NotFound: when one brand is asked for and the caller does not see it.
        """
        if brand == WILDCARD:
            return None if "*" in self.brands else self.brands
        self.require(brand)
        return frozenset({brand})


def system_caller(service: str, request_id: str = "") -> Caller:
    """The actor of a service's own background work: `system:<service>`, all brands."""
    return Caller(f"system:{service}", frozenset({"service"}), ALL_BRANDS, request_id)


def current_caller() -> Caller:
    """The caller of the request being served.

    Raises:
        Unauthenticated: outside a request and outside `acting_as`.
    """
    caller = _caller.get()
    if caller is None:
        raise Unauthenticated("No caller: this code runs outside a request. Use acting_as(system_caller(...)).")
    return caller


def set_caller(caller: Caller) -> None:
    """Bind the caller to the current task; the server does it once per request."""
    _caller.set(caller)


@contextmanager
def acting_as(caller: Caller) -> Iterator[Caller]:
    """Run a block as this caller: background loops, start-up work, tests."""
    token = _caller.set(caller)
    try:
        yield caller
    finally:
        _caller.reset(token)
