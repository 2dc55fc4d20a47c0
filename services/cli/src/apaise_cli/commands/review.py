"""`apaise review …`: what the console does, scriptable."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from apaise_cli.commands import golden
from apaise_cli.commands.arguments import choice, clock, here, named, short
from apaise_cli.errors import CliError
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise.route.v1 import review_service_pb2_grpc as rpc

BrandOption = Annotated[
    str | None, typer.Option("--brand", "-b", help="The brand's id; without it, all the token sees.")
]
Item = Annotated[str, typer.Argument(help="The item: its full name, or its id with --brand.")]
Etag = Annotated[str | None, typer.Option(help="The etag as last read: refuse if someone changed the item since.")]

_DONE: Final = {"confirm": "confirmed", "correct": "corrected", "skip": "skipped"}
# Why an item waits, in words.
_WHY: Final = {
    "clause": "a rule asks for a person",
    "hold": "it is held until someone reads it",
    "unsure": "the model is not sure",
    "no_assessment": "nobody could read it",
    "audit": "drawn at random",
    "illegal": "found illegal",
    "edited": "edited after a person had decided",
    "second_opinion": "a colleague asks for another opinion",
    "second_look": "drawn at random, for another pair of eyes",
}
_UNSURE_SHOWN: Final = 5

Duplicates = Annotated[
    bool, typer.Option("--duplicates", help="And the same for every waiting item whose message says the same.")
]

group = typer.Typer(
    help="The review queue: list, show, claim, confirm, correct, skip, ask, release, undo; golden items.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add this group."""
    group.add_typer(golden.group, name="golden")
    app.add_typer(group, name="review", rich_help_panel="Messages")


@asynccontextmanager
async def _service(home: Home) -> AsyncIterator[rpc.ReviewServiceAsyncStub]:
    from apaise.route.v1 import review_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "route", "moderator") as channel:
        yield rpc.ReviewServiceStub(channel)


@group.command("list")
def list_items(
    ctx: typer.Context,
    brand: BrandOption = None,
    queue: Annotated[str | None, typer.Option(help="Only this queue: moderator, care, legal, sales…")] = None,
    state: Annotated[
        str | None, typer.Option(help="open, claimed, resolved or withdrawn; open and claimed if not given.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason: clause, hold, unsure, audit…")] = None,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List review items, most urgent first.

    Example: `apaise review list --brand demo-retail --queue care`
    """
    from apaise.route.v1 import decision_pb2
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    request = pb.ListReviewItemsRequest(
        parent=f"brands/{brand or '-'}",
        queue=choice(decision_pb2.Queue, "QUEUE_", queue, "--queue"),
        state=choice(pb.ReviewState, "REVIEW_STATE_", state, "--state"),
        reason=choice(pb.ReviewReason, "REVIEW_REASON_", reason, "--reason"),
    )
    items = asyncio.run(_list(home, request, limit))
    screen.result(
        {"review_items": [documents.of(item) for item in items]},
        _table(items, full=brand is None) if items else "Nothing waits.",
    )


async def _list(home: Home, request: pb.ListReviewItemsRequest, limit: int) -> list[pb.ReviewItem]:
    async with _service(home) as reviews:
        return [item async for item in _pages(reviews, request, limit)]


async def _pages(
    reviews: rpc.ReviewServiceAsyncStub, request: pb.ListReviewItemsRequest, limit: int
) -> AsyncIterator[pb.ReviewItem]:
    left = limit
    while left > 0:
        request.page_size = min(left, 500)
        page = await reviews.ListReviewItems(request)
        for item in page.review_items:
            yield item
        left -= len(page.review_items)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return


@group.command()
def show(ctx: typer.Context, item: Item, brand: BrandOption = None, as_json: JsonFlag = False) -> None:
    """An item with its message, what was decided and why, what was understood, and how many say the same.

    Example: `apaise review show 01k… --brand demo-retail`
    """
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)

    async def read() -> pb.GetReviewItemResponse:
        async with _service(home) as reviews:
            return await reviews.GetReviewItem(pb.GetReviewItemRequest(name=named(item, brand, "reviewItems")))

    found = asyncio.run(read())
    screen.result(documents.of(found), _details(found.review_item, found.duplicates))


@group.command()
def claim(
    ctx: typer.Context,
    item: Annotated[str | None, typer.Argument(help="The item; without it, the brand's most urgent open one.")] = None,
    brand: BrandOption = None,
    queue: Annotated[str | None, typer.Option(help="From this queue, when the most urgent one is asked for.")] = None,
    minutes: Annotated[float, typer.Option(help="For how long.", min=0.2, max=60)] = 5,
    as_json: JsonFlag = False,
) -> None:
    """Take an item for a while; claiming your own again extends it.

    Example: `apaise review claim --brand demo-retail`
    """
    from apaise.route.v1 import decision_pb2
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    request = pb.ClaimReviewItemRequest(
        name=named(item or "-", brand, "reviewItems"),
        queue=choice(decision_pb2.Queue, "QUEUE_", queue, "--queue"),
    )
    request.lease.FromMilliseconds(int(minutes * 60_000))

    async def take() -> pb.ReviewItem:
        async with _service(home) as reviews:
            return (await reviews.ClaimReviewItem(request)).review_item

    taken = asyncio.run(take()) if item else _most_urgent(take)
    screen.result({"review_item": documents.of(taken)}, _details(taken))


def _most_urgent(take: Callable[[], Coroutine[Any, Any, pb.ReviewItem]]) -> pb.ReviewItem:
    import grpc

    try:
        return asyncio.run(take())
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        raise CliError(
            "Nothing is open for you.", "apaise review list shows what waits and who holds it.", code="NOT_FOUND"
        ) from error


@group.command()
def release(ctx: typer.Context, item: Item, brand: BrandOption = None, as_json: JsonFlag = False) -> None:
    """Give a claimed item back.

    Example: `apaise review release brands/demo-retail/reviewItems/01k…`
    """
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)

    async def give_back() -> pb.ReviewItem:
        async with _service(home) as reviews:
            request = pb.ReleaseReviewItemRequest(name=named(item, brand, "reviewItems"))
            return (await reviews.ReleaseReviewItem(request)).review_item

    free = asyncio.run(give_back())
    screen.result({"review_item": documents.of(free)}, f"{short(free.name)}: given back; anybody may take it.")


@group.command()
def ask(
    ctx: typer.Context,
    item: Item,
    leaning: Annotated[
        str | None,
        typer.Option(
            "--leaning", help="What you would do: keep, hide or delete. Shown to nobody, compared with the answer."
        ),
    ] = None,
    brand: BrandOption = None,
    etag: Etag = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask for a second opinion: the item goes back, to anybody but you. Takes it first if you do not hold it.

    Example: `apaise review ask 01k… --brand demo-retail --leaning keep`
    """
    from apaise.route.v1 import decision_pb2
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    name = named(item, brand, "reviewItems")
    request = pb.AskSecondOpinionRequest(
        name=name, leaning=choice(decision_pb2.Visibility, "VISIBILITY_", leaning, "--leaning")
    )

    async def give_back() -> pb.ReviewItem:
        async with _service(home) as reviews:
            request.etag = etag or await _claimed(reviews, name)
            return (await reviews.AskSecondOpinion(request)).review_item

    free = asyncio.run(give_back())
    screen.result({"review_item": documents.of(free)}, f"{short(free.name)}: waits for somebody else's opinion.")


@group.command()
def confirm(
    ctx: typer.Context,
    item: Item,
    duplicates: Duplicates = False,
    brand: BrandOption = None,
    etag: Etag = None,
    as_json: JsonFlag = False,
) -> None:
    """The decision was right. Takes the item first if you do not hold it.

    Example: `apaise review confirm 01k… --brand demo-retail`
    """
    _resolve(ctx, item, brand, etag, "confirm", duplicates=duplicates)


@group.command()
def skip(
    ctx: typer.Context, item: Item, brand: BrandOption = None, etag: Etag = None, as_json: JsonFlag = False
) -> None:
    """Not for me, or nothing to learn from: the decision stands and no example is made.

    Example: `apaise review skip 01k… --brand demo-retail`
    """
    _resolve(ctx, item, brand, etag, "skip")


@group.command()
def correct(
    ctx: typer.Context,
    item: Item,
    visibility: Annotated[
        str, typer.Option("--visibility", "-v", help="What should become of it: keep, hold, hide or delete.")
    ],
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="A label set right: insult=no (repeatable).")
    ] = None,
    clause: Annotated[str, typer.Option(help="The charter's clause that applies.")] = "",
    duplicates: Duplicates = False,
    brand: BrandOption = None,
    etag: Etag = None,
    as_json: JsonFlag = False,
) -> None:
    """The decision was wrong: say what is right. The brand's adapter learns from it.

    Example: `apaise review correct 01k… --brand demo-esport --visibility keep --label insult=no --label banter=yes`
    """
    from apaise.route.v1 import decision_pb2
    from apaise.route.v1 import review_service_pb2 as pb

    right = pb.Correction(
        visibility=choice(decision_pb2.Visibility, "VISIBILITY_", visibility, "--visibility"),
        labels=dict(_label(text) for text in label or ()),
        clause=clause,
    )
    _resolve(ctx, item, brand, etag, "correct", right, duplicates=duplicates)


def _label(text: str) -> tuple[str, bool]:
    name, _, value = text.partition("=")
    words = {"": True, "yes": True, "true": True, "no": False, "false": False}
    if not name or value.lower() not in words:
        raise typer.BadParameter("write insult=yes or insult=no", param_hint="--label")
    return name, words[value.lower()]


def _resolve(
    ctx: typer.Context,
    item: str,
    brand: str | None,
    etag: str | None,
    how: str,
    right: pb.Correction | None = None,
    *,
    duplicates: bool = False,
) -> None:
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    name = named(item, brand, "reviewItems")
    resolution = choice(pb.Resolution, "RESOLUTION_", how, "resolution")

    async def settle() -> pb.ResolveReviewItemResponse | pb.ResolveDuplicatesResponse:
        async with _service(home) as reviews:
            found = etag or await _claimed(reviews, name)
            fields = {"name": name, "etag": found, "resolution": resolution, "request_id": secrets.token_hex(13)}
            if duplicates:
                return await reviews.ResolveDuplicates(pb.ResolveDuplicatesRequest(correction=right, **fields))
            return await reviews.ResolveReviewItem(pb.ResolveReviewItemRequest(correction=right, **fields))

    answer = asyncio.run(settle())
    said = f"{short(name)}: {_DONE[how]}; now {_visibility(answer.decision)}."
    if isinstance(answer, pb.ResolveDuplicatesResponse):
        said += f" {len(answer.duplicates)} duplicates the same; {answer.left} left to who holds them."
    screen.result(documents.of(answer), said)


@group.command()
def undo(
    ctx: typer.Context, item: Item, brand: BrandOption = None, etag: Etag = None, as_json: JsonFlag = False
) -> None:
    """Take a resolution back: the decision before holds again, the item is open, the example is withdrawn.

    Example: `apaise review undo 01k… --brand demo-retail`
    """
    from apaise.route.v1 import review_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    name = named(item, brand, "reviewItems")

    async def take_back() -> pb.UndoResolutionResponse:
        async with _service(home) as reviews:
            current = etag or await _etag_of(reviews, name)
            request = pb.UndoResolutionRequest(name=name, etag=current, request_id=secrets.token_hex(13))
            return await reviews.UndoResolution(request)

    answer = asyncio.run(take_back())
    screen.result(documents.of(answer), f"{short(name)}: taken back; now {_visibility(answer.decision)}.")


async def _claimed(reviews: rpc.ReviewServiceAsyncStub, name: str) -> str:
    """Take an item, or go on holding it; its etag."""
    from apaise.route.v1 import review_service_pb2 as pb

    return (await reviews.ClaimReviewItem(pb.ClaimReviewItemRequest(name=name))).review_item.etag


async def _etag_of(reviews: rpc.ReviewServiceAsyncStub, name: str) -> str:
    from apaise.route.v1 import review_service_pb2 as pb

    return (await reviews.GetReviewItem(pb.GetReviewItemRequest(name=name))).review_item.etag


def _table(items: list[pb.ReviewItem], *, full: bool) -> Table:
    """Items in a table; `full` names tell brands apart."""
    from apaise.route.v1 import decision_pb2
    from apaise.route.v1 import review_service_pb2 as pb

    shown = Table(box=None, padding=(0, 2))
    for heading in ("item", "queue", "prio", "harm", "due", "why", "state", "now", "text"):
        shown.add_column(heading, no_wrap=heading != "text")
    for item in items:
        shown.add_row(
            Text(item.name if full else short(item.name)),
            _short_enum(decision_pb2.Queue.Name(item.queue), "QUEUE_"),
            str(item.priority),
            f"{item.expected_harm:.2f}",
            clock(item.due_time),
            _short_enum(pb.ReviewReason.Name(item.reason), "REVIEW_REASON_"),
            _short_enum(pb.ReviewState.Name(item.state), "REVIEW_STATE_"),
            _visibility(item.decision),
            Text(item.message.text),
        )
    return shown


def _details(item: pb.ReviewItem, duplicates: int = 0) -> Table:
    """One item, as much as a person needs to decide."""
    from apaise.route.v1 import decision_pb2
    from apaise.route.v1 import review_service_pb2 as pb

    message, decision = item.message, item.decision
    queue = _short_enum(decision_pb2.Queue.Name(item.queue), "QUEUE_")
    reason = _short_enum(pb.ReviewReason.Name(item.reason), "REVIEW_REASON_")
    shown = Table(box=None, padding=(0, 2), show_header=False)
    shown.add_row("item", Text(item.name))
    shown.add_row("message", Text(message.name))
    shown.add_row("written", Text(f"{short(message.channel)}, {_author(message)}, {clock(_origin(message))}"))
    shown.add_row("text", Text(message.text, style="bold"))
    shown.add_row("now", Text(f"{_visibility(decision)}\n{decision.explanation}"))
    shown.add_row("understood", Text(_understood(item)))
    shown.add_row("queue", f"{queue}, priority {item.priority}, due {clock(item.due_time)}")
    shown.add_row("why here", _WHY.get(reason, reason))
    shown.add_row("state", Text(_held_by(item)))
    if duplicates:
        shown.add_row("the same", f"{duplicates} more waiting items say the same: --duplicates settles them as well")
    return shown


def _author(message: Any) -> str:
    return message.author.display_name or message.author.platform_id or "somebody"


def _origin(message: Any) -> Any:
    return message.published_time if message.published_time_trusted else message.received_time


def _understood(item: pb.ReviewItem) -> str:
    """The labels that hold, surest first, then a few of those that might, with a question mark."""
    from apaise.type.v1 import assessment_pb2

    if not item.HasField("assessment"):
        return "nobody could read it"
    ranked = sorted(item.assessment.labels.items(), key=lambda found: -found[1].probability)
    sure = [f"{label} {p.probability:.2f}" for label, p in ranked if p.verdict == assessment_pb2.VERDICT_YES]
    unsure = [f"{label}? {p.probability:.2f}" for label, p in ranked if p.verdict == assessment_pb2.VERDICT_UNSURE]
    return ", ".join([*sure, *unsure[:_UNSURE_SHOWN]]) or "nothing in particular"


def _held_by(item: pb.ReviewItem) -> str:
    from apaise.route.v1 import review_service_pb2 as pb

    state = _short_enum(pb.ReviewState.Name(item.state), "REVIEW_STATE_")
    if item.state != pb.REVIEW_STATE_CLAIMED:
        return state
    return f"{state} by {item.claim_actor} until {clock(item.lease_expire_time)}"


def _visibility(decision: Any) -> str:
    from apaise.route.v1 import decision_pb2

    return _short_enum(decision_pb2.Visibility.Name(decision.visibility), "VISIBILITY_")


def _short_enum(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).replace("UNSPECIFIED", "-").lower()
