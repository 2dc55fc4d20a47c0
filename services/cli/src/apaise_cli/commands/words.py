"""`apaise charter words add|list|remove`: words in a charter's lists while an event runs."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from apaise_cli.commands.arguments import Brand, choice, clock, here, named
from apaise_cli.errors import CliError, Refused
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise.route.v1.charter_service_pb2_grpc import CharterServiceAsyncStub

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
T = TypeVar("T")

group = typer.Typer(
    help="Words added to a charter's lists while an event runs.\n\n"
    "Example: `apaise charter words add flute --list tonight --brand demo-esport --for 3h`",
    no_args_is_help=True,
)


def _call(home: Home, step: Callable[[CharterServiceAsyncStub], Awaitable[T]]) -> T:
    async def run() -> T:
        from apaise.route.v1 import charter_service_pb2_grpc as rpc
        from apaise_cli.remote import connect

        async with connect(home, "route", "lead") as channel:
            return await step(rpc.CharterServiceStub(channel))

    return asyncio.run(run())


@group.command()
def add(
    ctx: typer.Context,
    word: Annotated[str, typer.Argument(help="The word, phrase, name or hashtag.")],
    brand: Brand,
    list_id: Annotated[str, typer.Option("--list", "-l", help="A list the charter marks `live: true`.")],
    kind: Annotated[str, typer.Option(help="word, name or hashtag.")] = "word",
    lasting: Annotated[str, typer.Option("--for", help="How long it counts: 30m, 4h, 2d.")] = "4h",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Tell what a word would have hit in the last minutes, then add it: it counts from the next message on.

    Example: `apaise charter words add "fin du boss" --list divulgache --brand demo-esport --for 3h`
    """
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    given = pb.LiveWord(list=list_id, word=word, kind=choice(pb.WordKind, "WORD_KIND_", kind, "--kind"))
    request = pb.AddLiveWordRequest(parent=f"brands/{brand}", live_word=given, validate_only=True)
    request.ttl.FromTimedelta(_length(lasting))
    looked = _call(home, lambda stub: stub.AddLiveWord(request))
    minutes = looked.window.seconds // 60
    told = f"It would have hit {looked.hits} of {looked.seen} messages of the last {minutes} minutes."
    screen.note(told)
    if not yes and not as_json and not typer.confirm("Add it?", err=True):
        raise Refused("Not added.", {"added": False, "hits": looked.hits, "seen": looked.seen})
    request.validate_only, request.request_id = False, secrets.token_hex(13)
    added = _call(home, lambda stub: stub.AddLiveWord(request))
    document = {"added": True, "hits": looked.hits, "seen": looked.seen, "live_word": documents.of(added.live_word)}
    screen.result(document, f"{added.live_word.name} counts until {clock(added.live_word.expire_time)}.")


def _length(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([mhd])", text.strip())
    if found is None:
        raise CliError(f"{text!r} is no length of time.", "Write 30m, 4h or 2d.", code="USAGE")
    return timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})


@group.command(name="list")
def list_words(ctx: typer.Context, brand: Brand, as_json: JsonFlag = False) -> None:
    """List the words in force, the first to expire first.

    Example: `apaise charter words list --brand demo-esport`
    """
    from apaise.route.v1 import charter_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    request = pb.ListLiveWordsRequest(parent=f"brands/{brand}", page_size=500)
    words = _call(home, lambda stub: stub.ListLiveWords(request)).live_words
    document = {"live_words": [documents.of(word) for word in words]}
    screen.result(document, *(map(_line, words) if words else ["No live word."]))


def _line(word: pb.LiveWord) -> str:
    from apaise.route.v1 import charter_service_pb2 as pb

    kind = pb.WordKind.Name(word.kind).removeprefix("WORD_KIND_").lower()
    return f"{word.name}  {word.list}: {word.word} ({kind}), until {clock(word.expire_time)}"


@group.command()
def remove(
    ctx: typer.Context,
    word: Annotated[str, typer.Argument(help="The word's name, as `list` shows it, or its last part with --brand.")],
    brand: Annotated[str | None, typer.Option("--brand", "-b", help="The brand's id.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take a word out before its time.

    Example: `apaise charter words remove brands/demo-esport/liveWords/0abc`
    """
    from apaise.route.v1 import charter_service_pb2 as pb

    screen, home = here(ctx)
    name = named(word, brand, "liveWords")
    request = pb.RemoveLiveWordRequest(name=name, request_id=secrets.token_hex(13))
    _call(home, lambda stub: stub.RemoveLiveWord(request))
    screen.result({"removed": name}, f"{name} no longer counts.")
