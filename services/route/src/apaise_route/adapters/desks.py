"""Who answers for a brand: the file of desks, read again when it changes.

desks:
  - brand: demo-retail
    url: https://care.example/apaise        # where cases go; signed with the secret
    reply_url: https://tools.example/reply  # where replies to post go; without it they are followed by gRPC
    secret: whsec_…                         # 24 bytes or more; also checks what comes back
    opens: [care]                           # queues whose messages become cases by themselves
    delays: {live_chat: {calm: 20m, tense: 10m, crisis: 5m}}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator

from apaise_kit.runtime.logs import get_logger
from apaise_route.adapters.platform_rules import read_duration
from apaise_route.domain.cases import DELAYS, Delays, Tension
from apaise_route.domain.model import ChannelKind, Queue
from apaise_route.domain.webhooks import key_of

_NEVER: Final = (0, 0, 0)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a brand's cases go. Addresses may be empty: then nothing leaves by webhook."""

    url: str = ""
    reply_url: str = ""
    key: bytes = field(default=b"", repr=False)
    opens: frozenset[Queue] = frozenset()
    delays: Delays = field(default_factory=lambda: DELAYS)


NO_DESK: Final = Desk()


class Desks(Protocol):
    """Finds a brand's desk."""

    def of(self, brand: str) -> Desk:
        """The brand's desk, or one that has no address."""
        ...


class NoDesks:
    """No brand has a desk."""

    def of(self, brand: str) -> Desk:
        """A desk without an address."""
        return NO_DESK


def _queue(value: object) -> Queue:
    return Queue[str(value).upper()]


def _delays(value: Any) -> Delays:
    return {
        ChannelKind[str(kind).upper()]: {Tension[str(t).upper()]: read_duration(str(d)) for t, d in row.items()}
        for kind, row in dict(value).items()
    }


class _DeskEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    brand: str
    url: str = Field("", pattern=r"^(https?://\S+)?$")
    reply_url: str = Field("", pattern=r"^(https?://\S+)?$")
    secret: SecretStr
    opens: frozenset[Annotated[Queue, BeforeValidator(_queue)]] = frozenset()
    delays: Annotated[Mapping[ChannelKind, Mapping[Tension, timedelta]], BeforeValidator(_delays)] = Field(
        default_factory=dict
    )

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr) -> SecretStr:
        key_of(secret.get_secret_value())
        return secret

    def desk(self) -> Desk:
        return Desk(self.url, self.reply_url, key_of(self.secret.get_secret_value()), self.opens, self.delays)


class _DeskDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    desks: tuple[_DeskEntry, ...]


class DeskFile:
    """A file of desks. One that becomes unreadable keeps the last good desks and is logged once per change."""

    def __init__(self, path: Path) -> None:
        """Read the file; one that is not there yet means no desks until it is.

        Raises:
            ValueError: it is there and not a file of desks.
        """
        self._path = path
        self._stamp = self._current_stamp()
        self._desks = self._read() if self._stamp != _NEVER else {}

    def of(self, brand: str) -> Desk:
        """The brand's desk, or one that has no address."""
        stamp = self._current_stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self._refresh()
        return self._desks.get(brand, NO_DESK)

    def _refresh(self) -> None:
        try:
            self._desks = self._read() if self._stamp != _NEVER else {}
        except (OSError, ValueError) as error:
            _log.error("desks_file_unreadable", path=str(self._path), error=error)

    def _current_stamp(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self._path)
        except OSError:
            return _NEVER
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> dict[str, Desk]:
        try:
            document = _DeskDocument.model_validate(yaml.safe_load(self._path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, ValidationError, KeyError) as error:
            raise ValueError(f"{self._path} is not a file of desks ({type(error).__name__})") from None
        return {entry.brand: entry.desk() for entry in document.desks}
