"""`apaise review golden …`: messages whose right answer is known, among what reviewers see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from apaise_cli.commands.arguments import Brand, choice, here, named, short
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise.route.v1 import review_service_pb2_grpc as rpc

BrandOption = Annotated[str | None, typer.Option("--brand", "-b", help="The brand's id, for a bare id.")]

group = typer.Typer(
    help="Golden items: messages with a known answer that tell how sure reviewers are.", no_args_is_help=True
)


@asynccontextmanager
async def _service(home: Home) -> AsyncIterator[rpc.ReviewServiceAsyncStub]:
    from apaise.route.v1 import review_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "lead") as channel:
        yield rpc.ReviewServiceStub(channel)


@group.command()
def add(
    ctx: typer.Context,
    message: Annotated[str, typer.Argument(help="The message: its full name, or its id with --brand.")],
    visibility: Annotated[str, typer.Option("--visibility", "-v", help="What is right: keep, hide or delete.")],
    brand: BrandOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Put a decided message among what reviewers see; each is given it once, and cannot tell.

    Example: `apaise review golden add brands/demo-esport/messages/01k… --visibility keep`
    """
    from apaise.route.v1 import decision_pb2
    from apaise.route.v1 import review_service_pb2 as pb

    screen, home = here(ctx)
    right = choice(decision_pb2.Visibility, "VISIBILITY_", visibility, "--visibility")
    request = pb.AddGoldenItemRequest(message=named(message, brand, "messages"), visibility=right)

    async def put() -> pb.GoldenItem:
        async with _service(home) as reviews:
            return (await reviews.AddGoldenItem(request)).golden_item

    _show(screen, asyncio.run(put()))


@group.command("list")
def list_items(
    ctx: typer.Context,
    brand: Brand,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1, max=500)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List golden items, newest first, with how they were answered.

    Example: `apaise review golden list --brand demo-esport`
    """
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    request = pb.ListGoldenItemsRequest(parent=f"brands/{brand}")

    async def read() -> list[pb.GoldenItem]:
        found: list[pb.GoldenItem] = []
        async with _service(home) as reviews:
            while len(found) < limit:
                request.page_size = limit - len(found)
                page = await reviews.ListGoldenItems(request)
                found += page.golden_items
                request.page_token = page.next_page_token
                if not page.next_page_token:
                    break
        return found

    items = asyncio.run(read())
    document = {"golden_items": [documents.of(item) for item in items]}
    screen.result(document, _table(items) if items else "There are none.")


@group.command()
def withdraw(
    ctx: typer.Context,
    item: Annotated[str, typer.Argument(help="The golden item: its full name, or its id with --brand.")],
    brand: BrandOption = None,
    as_json: JsonFlag = False,
) -> None:
    """End a golden item: nobody is given it any more, and its answers no longer count.

    Example: `apaise review golden withdraw 01k… --brand demo-esport`
    """
    from apaise.route.v1 import review_service_pb2 as pb

    screen, home = here(ctx)
    request = pb.WithdrawGoldenItemRequest(name=named(item, brand, "goldenItems"))

    async def end() -> pb.GoldenItem:
        async with _service(home) as reviews:
            return (await reviews.WithdrawGoldenItem(request)).golden_item

    _show(screen, asyncio.run(end()))


def _show(screen: Any, item: pb.GoldenItem) -> None:
    from apaise_cli import documents

    screen.result({"golden_item": documents.of(item)}, _table([item]))


def _table(items: list[pb.GoldenItem]) -> Table:
    from apaise.route.v1 import decision_pb2

    shown = Table(box=None, padding=(0, 2))
    for heading in ("golden item", "right", "answered", "rightly", "since", "text"):
        shown.add_column(heading, no_wrap=heading != "text")
    for item in items:
        right = decision_pb2.Visibility.Name(item.visibility).removeprefix("VISIBILITY_").lower()
        since = "withdrawn" if item.HasField("withdraw_time") else item.create_time.ToDatetime().strftime("%Y-%m-%d")
        counts = str(item.answered), str(item.right)
        shown.add_row(Text(short(item.name)), right, *counts, since, Text(item.message.text))
    return shown
