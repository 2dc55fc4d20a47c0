"""`apaise figures`: what a brand's moderation did, in numbers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from apaise_cli.commands.arguments import Brand, here
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import figures_service_pb2 as pb


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel="Messages")(figures)


def figures(
    ctx: typer.Context,
    brand: Brand,
    hours: Annotated[float, typer.Option(help="Over the last so many hours, 2 208 at most.", min=0.01)] = 24,
    as_json: JsonFlag = False,
) -> None:
    """Response times, deadlines, queues, automation, overrides and agreement by clause and reviewer, hidden, restored.

    Example: `apaise figures --brand demo-retail --hours 3`
    """
    from apaise_cli import documents

    screen, home = here(ctx)
    found = asyncio.run(_read(home, brand, timedelta(hours=hours)))
    screen.result(documents.of(found), *tables(found))


def tables(found: pb.GetFiguresResponse) -> list[Table]:
    """The figures as they are shown."""
    return [table for table in (_summary(found), _queues(found), _clauses(found), _reviewers(found)) if table.rows]


async def _read(home: Home, brand: str, span: timedelta) -> pb.GetFiguresResponse:
    from apaise.route.v1 import figures_service_pb2 as pb
    from apaise.route.v1 import figures_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    end = datetime.now(UTC)
    request = pb.GetFiguresRequest(name=f"brands/{brand}")
    request.end_time.FromDatetime(end)
    request.start_time.FromDatetime(end - span)
    async with connect(home, "route", "lead") as channel:
        return await rpc.FiguresServiceStub(channel).GetFigures(request)


def _summary(found: pb.GetFiguresResponse) -> Table:
    shown = Table(box=None, padding=(0, 2), show_header=False)
    shown.add_row("decided", f"{found.decided} messages, {_share(found.automated, found.decided)} by the machine alone")
    shown.add_row("hidden", f"{found.hidden} by the machine; {found.restored} shown again by people")
    shown.add_row("reviews", _delay(found.review))
    shown.add_row("replies", _delay(found.reply))
    return shown


def _delay(delay: pb.Delay) -> str:
    if not delay.HasField("median"):
        return f"none; {delay.with_deadline - delay.within_deadline} beyond their deadline"
    times = f"half in {_minutes(delay.median.ToTimedelta())}, nine of ten in {_minutes(delay.p90.ToTimedelta())}"
    return f"{delay.count}; {times}; {_share(delay.within_deadline, delay.with_deadline)} within their deadline"


def _minutes(value: timedelta) -> str:
    return f"{value.total_seconds() / 60:.1f} min"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"


def _queues(found: pb.GetFiguresResponse) -> Table:
    from apaise.route.v1 import decision_pb2

    shown = _table("queue", "waiting", "oldest")
    for queue in found.queues:
        name = decision_pb2.Queue.Name(queue.queue).removeprefix("QUEUE_").lower()
        shown.add_row(name, str(queue.waiting), _minutes(queue.oldest.ToTimedelta()))
    return shown


def _clauses(found: pb.GetFiguresResponse) -> Table:
    shown = _table("clause", "reviewed", "overridden", "opinions agree", "golden right")
    for clause in found.clauses:
        rates = _rate(clause.override), _rate(clause.agreement), _rate(clause.golden)
        shown.add_row(Text(clause.clause), str(clause.reviewed), *rates)
    return shown


def _reviewers(found: pb.GetFiguresResponse) -> Table:
    shown = _table("reviewer", "reviewed", "skipped", "taken back", "overridden", "opinions agree", "golden right")
    for who in found.reviewers:
        counts = str(who.reviewed), str(who.skipped), str(who.undone)
        shown.add_row(Text(who.actor), *counts, _rate(who.override), _rate(who.agreement), _rate(who.golden))
    return shown


def _rate(rate: pb.Rate) -> str:
    """A share of how many, and between what it lies; below the least count, that it is not enough."""
    if not rate.count:
        return "none"
    if not rate.HasField("low"):
        return f"{rate.hits} of {rate.count}: not enough"
    return f"{_share(rate.hits, rate.count)} of {rate.count} ({100 * rate.low:.0f}–{100 * rate.high:.0f} %)"


def _table(*headings: str) -> Table:
    shown = Table(box=None, padding=(0, 2))
    for heading in headings:
        shown.add_column(heading)
    return shown
