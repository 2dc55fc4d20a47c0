"""`apaise answer add|list|find|approve|retire`: what a brand says to what people ask."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from apaise_cli.commands.arguments import Brand, choice, here, named, short
from apaise_cli.home import Home
from apaise_cli.screen import JsonFlag

if TYPE_CHECKING:
    from apaise.route.v1 import answer_service_pb2 as pb
    from apaise.route.v1.answer_service_pb2_grpc import AnswerServiceAsyncStub

_PAGE: Final = 500
T = TypeVar("T")
AnswerName = Annotated[str, typer.Argument(help="The answer: its full name, or its id with --brand.")]
SomeBrand = Annotated[str | None, typer.Option("--brand", "-b", help="The brand's id.")]
Language = Annotated[str, typer.Option("--language", "-l", help="Two or three letters: fr, en.")]

group = typer.Typer(
    help="A brand's approved answers: add, list, find, approve, retire. `apaise draft` takes its drafts from them.\n\n"
    'Example: `apaise answer find "où est mon colis ?" --brand demo-retail`',
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add this group."""
    app.add_typer(group, name="answer", rich_help_panel="Messages")


def call(home: Home, role: str, step: Callable[[AnswerServiceAsyncStub], Awaitable[T]]) -> T:
    """One call to AnswerService, as this role."""

    async def run() -> T:
        from apaise.route.v1 import answer_service_pb2_grpc as rpc
        from apaise_cli.remote import connect

        async with connect(home, "route", role) as channel:
            return await step(rpc.AnswerServiceStub(channel))

    return asyncio.run(run())


@group.command()
def add(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="What is said, word for word.")],
    brand: Brand,
    question: Annotated[list[str], typer.Option("--question", "-q", help="What people ask; give several wordings.")],
    language: Language = "fr",
    intent: Annotated[str, typer.Option(help="Only for messages read as: complaint, question, praise…")] = "",
    posture: Annotated[str, typer.Option(help="reassure, explain, solve, apologise or light_humour.")] = "",
    own_contacts: Annotated[bool, typer.Option("--own-contacts", help="Addresses in it are the brand's own.")] = False,
    propose: Annotated[bool, typer.Option("--propose", help="As a moderator: a lead approves it later.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add an answer, or more questions to the one that says the same. Personal data is refused.

    Example: `apaise answer add "Trois jours ouvrés." -q "Quel délai de livraison ?" --brand demo-retail`
    """
    from apaise.route.v1 import answer_service_pb2 as pb

    given = pb.Answer(
        language=language, text=text, questions=question, intent=intent, posture=posture, own_contacts=own_contacts
    )
    request = pb.AddAnswerRequest(parent=f"brands/{brand}", answer=given, request_id=secrets.token_hex(13))
    _, home = here(ctx)
    show_answer(ctx, call(home, "moderator" if propose else "lead", lambda stub: stub.AddAnswer(request)).answer)


@group.command("list")
def list_answers(
    ctx: typer.Context,
    brand: Brand,
    state: Annotated[str | None, typer.Option(help="proposed (what waits for a lead), active or retired.")] = None,
    language: Language = "",
    limit: Annotated[int, typer.Option(help="At most this many.", min=1, max=_PAGE)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List answers, the newest first.

    Example: `apaise answer list --state proposed --brand demo-retail`
    """
    from apaise.route.v1 import answer_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    wanted = choice(pb.AnswerState, "ANSWER_STATE_", state, "--state")
    request = pb.ListAnswersRequest(parent=f"brands/{brand}", state=wanted, language=language, page_size=limit)
    found = call(home, "moderator", lambda stub: stub.ListAnswers(request)).answers
    screen.result({"answers": list(map(documents.of, found))}, _table(found) if found else "No answer.")


def _table(found: Iterable[pb.Answer]) -> Table:
    shown = Table(box=None, padding=(0, 2))
    for heading in ("answer", "state", "", "asked", "said"):
        shown.add_column(heading, no_wrap=heading in ("answer", "state", ""))
    for one in found:
        state, waiting = _standing(one)
        asked = "; ".join([*one.questions, *one.proposed_questions])
        stands = f"{state} (+{waiting})" if waiting else state
        shown.add_row(short(one.name), stands, one.language, Text(asked), Text(one.text))
    return shown


def _standing(answer: pb.Answer) -> tuple[str, int]:
    """Its state, and how much of what it answers waits for a lead."""
    from apaise.route.v1 import answer_service_pb2 as pb

    state = pb.AnswerState.Name(answer.state).removeprefix("ANSWER_STATE_").lower()
    return state, len(answer.proposed_questions) + len(answer.proposed_messages)


@group.command()
def find(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="What is asked.")],
    brand: Brand,
    language: Annotated[str, typer.Option("--language", "-l", help="The charter's, if not given.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """The active answers nearest to a text, and whether a draft would be taken from them; nothing is kept.

    Example: `apaise answer find "où est mon colis ?" --brand demo-retail`
    """
    from apaise.route.v1 import answer_service_pb2 as pb
    from apaise_cli import documents

    screen, home = here(ctx)
    request = pb.FindAnswersRequest(parent=f"brands/{brand}", text=text, language=language)
    found = call(home, "moderator", lambda stub: stub.FindAnswers(request))
    lines = [_line(one) for one in found.found]
    screen.result(documents.of(found), *(lines or [Text("No active answer in this language.")]))


def _line(one: pb.FoundAnswer) -> Text:
    verdict = "would answer" if one.near_enough else "not sure enough"
    return Text(f"{one.similarity:.3f} {verdict}: {one.answer.text}")


@group.command()
def approve(
    ctx: typer.Context,
    answer: AnswerName,
    brand: SomeBrand = None,
    etag: Annotated[str, typer.Option(help="The etag as last read: refuse if it changed since.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Approve a proposal, or what was proposed for an answer that is active.

    Example: `apaise answer approve 0f3a… --brand demo-retail`
    """
    from apaise.route.v1 import answer_service_pb2 as pb

    _, home = here(ctx)
    name = named(answer, brand, "answers")
    request = pb.ApproveAnswerRequest(name=name, etag=etag, request_id=secrets.token_hex(13))
    show_answer(ctx, call(home, "lead", lambda stub: stub.ApproveAnswer(request)).answer)


@group.command()
def retire(
    ctx: typer.Context,
    answer: AnswerName,
    brand: SomeBrand = None,
    as_json: JsonFlag = False,
) -> None:
    """Take an answer out: nothing is drafted from it any more.

    Example: `apaise answer retire 0f3a… --brand demo-retail`
    """
    from apaise.route.v1 import answer_service_pb2 as pb

    _, home = here(ctx)
    request = pb.RetireAnswerRequest(name=named(answer, brand, "answers"), request_id=secrets.token_hex(13))
    show_answer(ctx, call(home, "lead", lambda stub: stub.RetireAnswer(request)).answer)


def show_answer(ctx: typer.Context, answer: pb.Answer) -> None:
    """One answer: where it stands."""
    from apaise_cli import documents

    screen, _ = here(ctx)
    state, waiting = _standing(answer)
    more = f", {waiting} of what it answers wait for a lead" if waiting and state == "active" else ""
    screen.result(documents.of(answer), Text(f"{answer.name} is {state}{more}."))
