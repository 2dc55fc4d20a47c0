"""Ports: chosen free once per home, kept, chosen again only when taken."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Final

# Below Linux's and macOS's ranges for outgoing connections (from 32768 and 49152): a port a mesh keeps must not be
# handed to somebody's client while its process is being restarted. Above Ray's own default worker ports.
FIRST: Final = 20_000
LAST: Final = 32_700


def is_free(port: int) -> bool:
    """Whether nothing listens on this port, on any interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A port just left lingers in TIME_WAIT, which is no reason to give it up.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def choose(
    names: Iterable[str], kept: Mapping[str, int], seed: str, free: Callable[[int], bool] = is_free
) -> dict[str, int]:
    """A free port for each name: the kept one if it still is free, else the next free one from the seed's place on.

    The search starts at a place drawn from the seed, so that two meshes that start at the same moment look elsewhere.

    Raises:
        OSError: when the whole range is taken.
    """
    wanted = list(names)
    chosen = {name: kept[name] for name in wanted if name in kept and free(kept[name])}
    taken = set(chosen.values())
    candidates = (port for port in _from_place_of(seed) if port not in taken and free(port))
    for name in wanted:
        if name not in chosen:
            port = next(candidates, None)
            if port is None:
                raise OSError(f"no free port between {FIRST} and {LAST}")
            chosen[name] = port
            taken.add(port)
    return chosen


def _from_place_of(seed: str) -> Iterable[int]:
    size = LAST - FIRST
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % size
    return (FIRST + (start + step) % size for step in range(size))
