"""Arguments several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.screen import Screen

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

Brand = Annotated[str, typer.Option("--brand", "-b", help="The brand's id.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why, for the ledger.")]


class _Enum(Protocol):
    def Value(self, name: str) -> Any: ...
    def items(self) -> Iterable[tuple[str, Any]]: ...


def choice(enum: _Enum, prefix: str, text: str | None, option: str) -> Any:
    """The enum value a word means: `hide` is VISIBILITY_HIDE; no word means the unspecified one, 0.

    Raises:
        typer.BadParameter: for another word; it names the known ones.
    """
    if text is None:
        return 0
    known = {name.removeprefix(prefix).lower(): name for name, value in enum.items() if value}
    name = known.get(text.lower().replace("-", "_"))
    if name is None:
        raise typer.BadParameter(f"there are: {', '.join(known)}", param_hint=option)
    return enum.Value(name)


def clock(time: Timestamp) -> str:
    """A time as the wall clock here shows it, or "-" when there is none."""
    return time.ToDatetime(UTC).astimezone().strftime("%d/%m %H:%M") if time.seconds else "-"


def short(name: str) -> str:
    """The last part of a resource name."""
    return name.rsplit("/", 1)[-1]


def named(text: str, brand: str | None, collection: str) -> str:
    """A resource name from a name or, with the brand, its last part.

    Raises:
        CliError: for a bare id without a brand.
    """
    if text.startswith("brands/"):
        return text
    if not brand:
        raise CliError(f"{text!r} is no full name.", f"Give brands/…/{collection}/… or --brand.", code="USAGE")
    return f"brands/{brand}/{collection}/{text}"


def here(ctx: typer.Context) -> tuple[Screen, Home]:
    """The screen and the home of this command."""
    screen: Screen = ctx.obj
    return screen, Home.from_environment()
