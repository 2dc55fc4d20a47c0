"""What a moderator types besides `case`: figures, forward, preflight, draft, review, live words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from apaise.route.v1 import charter_service_pb2 as charters
from apaise.route.v1 import charter_service_pb2_grpc as charters_rpc
from apaise.route.v1 import decision_pb2 as decisions
from apaise.route.v1 import figures_service_pb2 as figures
from apaise.route.v1 import figures_service_pb2_grpc as figures_rpc
from apaise.route.v1 import forward_service_pb2 as forward
from apaise.route.v1 import forward_service_pb2_grpc as forward_rpc
from apaise.route.v1 import preflight_service_pb2 as preflight
from apaise.route.v1 import preflight_service_pb2_grpc as preflight_rpc
from apaise.route.v1 import reply_service_pb2 as replies
from apaise.route.v1 import reply_service_pb2_grpc as replies_rpc
from apaise.route.v1 import review_service_pb2 as reviews
from apaise.route.v1 import review_service_pb2_grpc as reviews_rpc
from apaise.route.v1 import route_service_pb2 as routes
from apaise.route.v1 import route_service_pb2_grpc as routes_rpc
from apaise.type.v1 import assessment_pb2, message_pb2
from apaise_cli.commands import review as review_commands
from apaise_cli.main import run
from apaise_kit.core.errors import FailedPrecondition, not_found
from apaise_kit.runtime.server import Service
from apaise_kit.testing import running

Context = grpc.aio.ServicerContext[Any, Any]
Captured = pytest.CaptureFixture[str]
ITEM = "brands/demo/reviewItems/i1"


class Desk:
    """What was asked, whatever the service, and what to answer."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answers: dict[str, Any] = {}


def answering(servicer: type[Any], desk: Desk, **methods: type[Any]) -> Any:
    """A servicer that keeps what it is asked and gives the desk's answer, or an empty one."""

    def method(name: str, response: type[Any]) -> Any:
        async def answer(self: Any, request: Any, context: Context) -> Any:
            desk.asked.append(request)
            found = desk.answers.get(name, response())
            if isinstance(found, Exception):
                raise found
            return found

        return answer

    return type("Fake", (servicer,), {name: method(name, response) for name, response in methods.items()})()


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    made = Desk()
    found = answering(figures_rpc.FiguresServiceServicer, made, GetFigures=figures.GetFiguresResponse)
    good = answering(forward_rpc.ForwardServiceServicer, made, ListForward=forward.ListForwardResponse)
    before = answering(
        preflight_rpc.PreflightServiceServicer, made, PreflightMessage=preflight.PreflightMessageResponse
    )
    drafts = answering(replies_rpc.ReplyServiceServicer, made, DraftReply=replies.DraftReplyResponse)
    queue = answering(
        reviews_rpc.ReviewServiceServicer,
        made,
        ListReviewItems=reviews.ListReviewItemsResponse,
        GetReviewItem=reviews.GetReviewItemResponse,
        ClaimReviewItem=reviews.ClaimReviewItemResponse,
        ReleaseReviewItem=reviews.ReleaseReviewItemResponse,
        AskSecondOpinion=reviews.AskSecondOpinionResponse,
        ResolveReviewItem=reviews.ResolveReviewItemResponse,
        ResolveDuplicates=reviews.ResolveDuplicatesResponse,
        UndoResolution=reviews.UndoResolutionResponse,
    )
    words = answering(
        charters_rpc.CharterServiceServicer,
        made,
        AddLiveWord=charters.AddLiveWordResponse,
        ListLiveWords=charters.ListLiveWordsResponse,
        RemoveLiveWord=charters.RemoveLiveWordResponse,
    )
    route = answering(routes_rpc.RouteServiceServicer, made, RecheckDecisions=routes.RecheckDecisionsResponse)
    services = (
        Service(figures_rpc.add_FiguresServiceServicer_to_server, found, "apaise.route.v1.FiguresService"),
        Service(forward_rpc.add_ForwardServiceServicer_to_server, good, "apaise.route.v1.ForwardService"),
        Service(preflight_rpc.add_PreflightServiceServicer_to_server, before, "apaise.route.v1.PreflightService"),
        Service(replies_rpc.add_ReplyServiceServicer_to_server, drafts, "apaise.route.v1.ReplyService"),
        Service(reviews_rpc.add_ReviewServiceServicer_to_server, queue, "apaise.route.v1.ReviewService"),
        Service(charters_rpc.add_CharterServiceServicer_to_server, words, "apaise.route.v1.CharterService"),
        Service(routes_rpc.add_RouteServiceServicer_to_server, route, "apaise.route.v1.RouteService"),
    )
    async with running(*services) as server:
        monkeypatch.setenv("APAISE_HOME", str(tmp_path))
        monkeypatch.setenv("APAISE_TOKEN", server.token(roles=("moderator", "lead")))
        monkeypatch.setenv("APAISE_ROUTE_ADDRESS", server.address)
        yield made


async def apaise(*arguments: str) -> int:
    return await asyncio.to_thread(run, list(arguments))


def delay(**fields: Any) -> figures.Delay:
    found = figures.Delay(count=4, with_deadline=4, within_deadline=3)
    for name, value in fields.items():
        getattr(found, name).FromTimedelta(value)
    return found


async def test_figures_are_read_as_rates_and_minutes(desk: Desk, capfd: Captured) -> None:
    found = figures.GetFiguresResponse(decided=200, automated=150, hidden=12, restored=2)
    found.review.CopyFrom(delay(median=timedelta(seconds=90), p90=timedelta(minutes=12)))
    found.reply.CopyFrom(figures.Delay(with_deadline=2))
    found.queues.add(queue=decisions.QUEUE_CARE, waiting=7).oldest.FromTimedelta(timedelta(minutes=31))
    overridden = figures.Rate(count=8, hits=2, low=0.07, high=0.59)
    found.clauses.add(clause="insult", reviewed=8, overridden=2, override=overridden)
    few = figures.Rate(count=9, hits=3)
    found.reviewers.add(actor="ana", reviewed=9, overridden=3, skipped=1, undone=1, override=few)
    desk.answers["GetFigures"] = found
    assert await apaise("figures", "--brand", "demo", "--hours", "3") == 0
    shown = " ".join(capfd.readouterr().out.split())
    for said in (
        "200 messages, 75 % by the machine alone",
        "12 by the machine; 2 shown again by people",
        "4; half in 1.5 min, nine of ten in 12.0 min; 75 % within their deadline",
        "none; 2 beyond their deadline",
        "care 7 31.0 min",
        "insult 8 25 % of 8 (7–59 %) none none",
        "ana 9 1 1 3 of 9: not enough none none",
    ):
        assert said in shown
    (request,) = desk.asked
    assert request.name == "brands/demo"
    assert request.end_time.seconds - request.start_time.seconds == 3 * 3600


async def test_figures_of_a_quiet_brand_divide_by_nothing(desk: Desk, capfd: Captured) -> None:
    assert await apaise("figures", "--brand", "demo") == 0
    assert "0 messages, none by the machine alone" in (shown := capfd.readouterr().out)
    assert "reviewer" not in shown


async def test_forward_shows_the_reason_in_both_languages(desk: Desk, capfd: Captured) -> None:
    why = {"fr": "Utile", "en": "Useful"}
    one = forward.Forward(reason=forward.FORWARD_REASON_QUESTION, score=0.915, explanation=why)
    one.message.text = "il y aura un [b]replay[/b] ?"
    desk.answers["ListForward"] = forward.ListForwardResponse(forwards=[one])
    assert await apaise("forward", "--brand", "demo", "--hours", "2", "--limit", "5") == 0
    shown = capfd.readouterr().out
    assert "Utile / Useful" in shown
    assert "il y aura un [b]replay[/b] ?" in shown
    (request,) = desk.asked
    assert (request.parent, request.page_size) == ("brands/demo", 5)
    assert await apaise("forward", "--brand", "demo", "--limit", "101") == 2
    desk.answers.clear()
    assert await apaise("forward", "--brand", "demo") == 0
    assert "Nothing to bring forward." in capfd.readouterr().out


async def test_preflight_says_why_and_how_it_would_pass(desk: Desk, capfd: Captured) -> None:
    text = "rendez l'argent bande de voleurs"
    answer = preflight.PreflightMessageResponse(
        visibility=decisions.VISIBILITY_HOLD, explanation="Insulte : retenu.", proposals=["Rendez l'argent."]
    )
    answer.spans.add(start=16, end=32)
    desk.answers["PreflightMessage"] = answer
    assert await apaise("preflight", text, "--brand", "demo", "--kind", "live_chat", "--language", "fr") == 0
    shown = capfd.readouterr().out
    for said in (text, "Insulte : retenu.", "It would show as:", "  - Rendez l'argent."):
        assert said in shown
    (request,) = desk.asked
    assert (request.parent, request.text, request.language) == ("brands/demo", text, "fr")
    assert request.kind == message_pb2.CHANNEL_KIND_LIVE_CHAT
    assert await apaise("preflight", text, "--brand", "demo", "--json") == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["visibility"], document["spans"][0]["start"]) == ("HOLD", 16)
    assert await apaise("preflight", text, "--brand", "demo", "--kind", "letter") == 2


async def test_a_draft_says_why_there_is_none_or_another_posture(desk: Desk, capfd: Captured) -> None:
    desk.answers["DraftReply"] = replies.DraftReplyResponse(
        text="Nous sommes désolés.", posture="apologise", note=replies.DRAFT_NOTE_NO_HUMOUR
    )
    assert await apaise("draft", "m1", "--brand", "demo", "--posture", "light_humour") == 0
    shown = capfd.readouterr().out
    assert "Nous sommes désolés." in shown
    assert "(no humour)" in shown
    (request,) = desk.asked
    assert (request.message, request.posture) == ("brands/demo/messages/m1", "light_humour")
    desk.answers["DraftReply"] = replies.DraftReplyResponse(note=replies.DRAFT_NOTE_A_PERSON_FIRST)
    assert await apaise("draft", "brands/demo/messages/m1") == 0
    assert "No draft.\n(a person first)" in capfd.readouterr().out
    assert await apaise("draft", "m1") == 2


def item(**fields: Any) -> reviews.ReviewItem:
    found = reviews.ReviewItem(name=ITEM, etag="e7", priority=80, queue=decisions.QUEUE_CARE, **fields)
    found.message.name, found.message.text = "brands/demo/messages/m1", "toujours [i]rien[/i] reçu"
    found.message.channel, found.message.author.display_name = "brands/demo/channels/chat", "pantoufle"
    found.decision.visibility = decisions.VISIBILITY_HOLD
    found.decision.explanation = "Réclamation (0,91) : retenu.\nAu service client, sous 20 min : régler le problème."
    return found


async def test_show_has_all_a_person_needs_to_decide(desk: Desk, capfd: Captured) -> None:
    found = item(reason=reviews.REVIEW_REASON_HOLD, state=reviews.REVIEW_STATE_CLAIMED, claim_actor="ana")
    for label, p, verdict in (
        ("anger", 0.7, assessment_pb2.VERDICT_UNSURE),
        ("complaint", 0.91, assessment_pb2.VERDICT_YES),
        ("joy", 0.02, assessment_pb2.VERDICT_NO),
    ):
        found.assessment.labels[label].CopyFrom(assessment_pb2.LabelScore(probability=p, verdict=verdict))
    desk.answers["GetReviewItem"] = reviews.GetReviewItemResponse(review_item=found, duplicates=7)
    assert await apaise("review", "show", "i1", "--brand", "demo") == 0
    shown = " ".join(capfd.readouterr().out.split())
    for said in (
        "brands/demo/messages/m1",
        "chat, pantoufle,",
        "toujours [i]rien[/i] reçu",
        "hold Réclamation (0,91) : retenu. Au service client",
        "complaint 0.91, anger? 0.70",
        "care, priority 80, due -",
        "it is held until someone reads it",
        "claimed by ana until",
        "7 more waiting items say the same",
    ):
        assert said in shown
    assert "joy" not in shown
    assert await apaise("review", "show", ITEM, "--json") == 0
    assert json.loads(capfd.readouterr().out)["duplicates"] == 7


def test_every_reason_has_words() -> None:
    names = [name.removeprefix("REVIEW_REASON_").lower() for name, number in reviews.ReviewReason.items() if number]
    assert sorted(review_commands._WHY) == sorted(names)


async def test_a_list_over_all_brands_shows_full_names(desk: Desk, capfd: Captured) -> None:
    desk.answers["ListReviewItems"] = reviews.ListReviewItemsResponse(review_items=[item(), item()])
    assert await apaise("review", "list", "--brand", "demo", "--queue", "care") == 0
    assert ITEM not in capfd.readouterr().out
    assert await apaise("review", "list") == 0
    assert capfd.readouterr().out.count(ITEM) == 2
    assert [request.parent for request in desk.asked] == ["brands/demo", "brands/-"]


async def test_asking_for_a_second_opinion_and_giving_back(desk: Desk, capfd: Captured) -> None:
    desk.answers["AskSecondOpinion"] = reviews.AskSecondOpinionResponse(review_item=item())
    desk.answers["ReleaseReviewItem"] = reviews.ReleaseReviewItemResponse(review_item=item())
    assert await apaise("review", "ask", "i1", "--brand", "demo", "--etag", "e7") == 0
    assert await apaise("review", "release", ITEM) == 0
    assert capfd.readouterr().out.splitlines() == [
        "i1: waits for somebody else's opinion.",
        "i1: given back; anybody may take it.",
    ]
    asked, released = desk.asked  # whoever gives an etag holds the item already
    assert (asked.name, asked.etag, released.name) == (ITEM, "e7", ITEM)
    desk.answers["ClaimReviewItem"] = reviews.ClaimReviewItemResponse(review_item=item())
    assert await apaise("review", "ask", ITEM) == 0
    assert [type(request).__name__ for request in desk.asked[2:]] == [
        "ClaimReviewItemRequest",
        "AskSecondOpinionRequest",
    ]
    assert desk.asked[-1].etag == "e7"
    desk.answers["ClaimReviewItem"] = FailedPrecondition("Someone else holds it.")
    assert await apaise("review", "ask", ITEM) == 1
    assert "Someone else holds it." in capfd.readouterr().err


async def test_an_empty_queue_is_said_in_words(desk: Desk, capfd: Captured) -> None:
    desk.answers["ClaimReviewItem"] = not_found("brands/demo/reviewItems/-")
    assert await apaise("review", "claim", "--brand", "demo") == 1
    assert "Nothing is open for you. apaise review list shows" in capfd.readouterr().err
    assert await apaise("review", "claim", "i9", "--brand", "demo") == 1
    assert "does not exist" in capfd.readouterr().err
    desk.answers["ClaimReviewItem"] = FailedPrecondition("Not now.")
    assert await apaise("review", "claim", "--brand", "demo") == 1
    assert "Not now." in capfd.readouterr().err


@pytest.mark.parametrize(
    ("line", "resolution"),
    [(["confirm"], reviews.RESOLUTION_CONFIRM), (["correct", "-v", "hide"], reviews.RESOLUTION_CORRECT)],
)
async def test_duplicates_are_settled_with_the_item(
    desk: Desk, line: list[str], resolution: reviews.Resolution.ValueType, capfd: Captured
) -> None:
    desk.answers["ClaimReviewItem"] = reviews.ClaimReviewItemResponse(review_item=item())
    answer = reviews.ResolveDuplicatesResponse(duplicates=[reviews.Review(), reviews.Review()], left=1)
    answer.decision.visibility = decisions.VISIBILITY_HIDE
    desk.answers["ResolveDuplicates"] = answer
    command, *options = line
    assert await apaise("review", command, "i1", *options, "--duplicates", "--brand", "demo") == 0
    assert "now hide. 2 duplicates the same; 1 left to who holds them." in capfd.readouterr().out
    claimed, asked = desk.asked
    assert isinstance(claimed, reviews.ClaimReviewItemRequest)
    assert isinstance(asked, reviews.ResolveDuplicatesRequest)
    assert (asked.name, asked.etag, asked.resolution) == (ITEM, "e7", resolution)
    assert asked.request_id


async def test_undo_reads_the_item_for_its_etag(desk: Desk, capfd: Captured) -> None:
    desk.answers["GetReviewItem"] = reviews.GetReviewItemResponse(review_item=item())
    answer = reviews.UndoResolutionResponse(review_item=item())
    answer.decision.visibility = decisions.VISIBILITY_KEEP
    desk.answers["UndoResolution"] = answer
    assert await apaise("review", "undo", "i1", "--brand", "demo") == 0
    assert capfd.readouterr().out == "i1: taken back; now keep.\n"
    assert [type(request) for request in desk.asked] == [reviews.GetReviewItemRequest, reviews.UndoResolutionRequest]
    assert desk.asked[1].etag == "e7"


def looked() -> charters.AddLiveWordResponse:
    answer = charters.AddLiveWordResponse(hits=3, seen=120)
    answer.window.FromTimedelta(timedelta(minutes=10))
    answer.live_word.name = "brands/demo/liveWords/w1"
    answer.live_word.expire_time.FromSeconds(1_800_000_000)
    return answer


async def test_a_word_is_added_after_telling_what_it_would_hit(desk: Desk, capfd: Captured) -> None:
    desk.answers["AddLiveWord"] = looked()
    line = ("charter", "words", "add", "#flop", "--kind", "hashtag", "--list", "tonight", "--for", "30m")
    assert await apaise(*line, "--brand", "demo", "--yes") == 0
    out, err = capfd.readouterr()
    assert "It would have hit 3 of 120 messages of the last 10 minutes." in err
    assert out.startswith("brands/demo/liveWords/w1 counts until 15/01 ")
    first, second = desk.asked
    assert (first.validate_only, second.validate_only) == (True, False)
    assert (second.live_word.word, second.live_word.kind) == ("#flop", charters.WORD_KIND_HASHTAG)
    assert second.ttl.ToTimedelta() == timedelta(minutes=30)
    assert second.request_id


@pytest.mark.parametrize(("said", "code", "asked"), [("y\n", 0, 2), ("n\n", 1, 1)])
async def test_a_word_is_added_only_when_one_agrees(
    desk: Desk, said: str, code: int, asked: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk.answers["AddLiveWord"] = looked()
    (tmp_path / "said").write_text(said)
    with (tmp_path / "said").open() as keyboard:
        monkeypatch.setattr("sys.stdin", keyboard)
        assert await apaise("charter", "words", "add", "flop", "--list", "tonight", "--brand", "demo") == code
    assert len(desk.asked) == asked


async def test_words_are_listed_and_taken_out(desk: Desk, capfd: Captured) -> None:
    word = charters.LiveWord(name="brands/demo/liveWords/w1", list="tonight", word="flop", kind=charters.WORD_KIND_WORD)
    word.expire_time.FromSeconds(1_800_000_000)
    desk.answers["ListLiveWords"] = charters.ListLiveWordsResponse(live_words=[word])
    assert await apaise("charter", "words", "list", "--brand", "demo") == 0
    assert "brands/demo/liveWords/w1  tonight: flop (word), until 15/01 " in capfd.readouterr().out
    assert await apaise("charter", "words", "remove", "w1", "--brand", "demo") == 0
    assert desk.asked[1].name == "brands/demo/liveWords/w1"
    for wrong in (["--for", "soon"], ["--kind", "emoji"]):
        assert await apaise("charter", "words", "add", "x", "--list", "t", "--brand", "demo", *wrong) == 2


@pytest.mark.parametrize("different", [0, 1])
async def test_recheck_is_exit_code_1_when_a_decision_does_not_repeat(
    desk: Desk, different: int, capfd: Captured
) -> None:
    answer = routes.RecheckDecisionsResponse(checked=9, left_out=1, different=different)
    if different:
        answer.examples.add(decision="brands/demo/messages/m1/decisions/1", fields=["visibility", "clause"])
    desk.answers["RecheckDecisions"] = answer
    assert await apaise("charter", "recheck", "--brand", "demo", "--decisions", "10") == different
    out = capfd.readouterr().out
    assert f"9 made again, {different} came out otherwise; 1 left out" in out
    assert ("m1/decisions/1: visibility, clause" in out) == bool(different)
    assert (desk.asked[0].parent, desk.asked[0].decisions) == ("brands/demo", 10)
