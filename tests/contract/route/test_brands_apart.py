"""A token of another brand: on every RPC, what is there reads exactly like what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from apaise.route.v1 import answer_service_pb2 as answers
from apaise.route.v1 import archive_service_pb2 as archives
from apaise.route.v1 import case_service_pb2 as cases
from apaise.route.v1 import charter_service_pb2 as charters
from apaise.route.v1 import decision_pb2 as pb
from apaise.route.v1 import figures_service_pb2 as figures
from apaise.route.v1 import forward_service_pb2 as forwards
from apaise.route.v1 import preflight_service_pb2 as preflights
from apaise.route.v1 import reply_service_pb2 as replies
from apaise.route.v1 import review_service_pb2 as reviews
from apaise.route.v1 import route_service_pb2 as routes
from apaise.type.v1 import message_pb2
from apaise_kit.runtime.status import failure_of, failure_of_status
from apaise_route.testing import input_pb, reading

SOURCE = "name: t\nlanguage: fr\nclauses: []\n"
CALLS: dict[str, Callable[[str, str, str], Any]] = {
    "route/GetDecision": lambda b, d, i: routes.GetDecisionRequest(name=d),
    "route/ListDecisions": lambda b, d, i: routes.ListDecisionsRequest(parent=f"{b}/messages/-"),
    "route/FollowDecisions": lambda b, d, i: routes.FollowDecisionsRequest(parent=b),
    "route/ReportActionOutcome": lambda b, d, i: routes.ReportActionOutcomeRequest(
        name=d, outcome=pb.ActionOutcome(state=pb.ACTION_STATE_APPLIED)
    ),
    "route/RecheckDecisions": lambda b, d, i: routes.RecheckDecisionsRequest(parent=b),
    "charter/CreateCharter": lambda b, d, i: charters.CreateCharterRequest(
        parent=b, charter=charters.Charter(source=SOURCE)
    ),
    "charter/GetCharter": lambda b, d, i: charters.GetCharterRequest(name=f"{b}/charters/1"),
    "charter/ListCharters": lambda b, d, i: charters.ListChartersRequest(parent=b),
    "charter/ActivateCharter": lambda b, d, i: charters.ActivateCharterRequest(name=f"{b}/charters/1"),
    "charter/LintCharter": lambda b, d, i: charters.LintCharterRequest(parent=b, source=SOURCE),
    "charter/RollbackCharter": lambda b, d, i: charters.RollbackCharterRequest(parent=b),
    "charter/DiffCharter": lambda b, d, i: charters.DiffCharterRequest(parent=b, source=SOURCE),
    "charter/StartShadow": lambda b, d, i: charters.StartShadowRequest(name=f"{b}/charters/1"),
    "charter/GetShadow": lambda b, d, i: charters.GetShadowRequest(parent=b),
    "charter/StopShadow": lambda b, d, i: charters.StopShadowRequest(parent=b),
    "charter/AddLiveWord": lambda b, d, i: charters.AddLiveWordRequest(
        parent=b, live_word=charters.LiveWord(list="live", word="zut", kind=charters.WORD_KIND_WORD)
    ),
    "charter/ListLiveWords": lambda b, d, i: charters.ListLiveWordsRequest(parent=b),
    "charter/RemoveLiveWord": lambda b, d, i: charters.RemoveLiveWordRequest(name=f"{b}/liveWords/1"),
    "review/ListReviewItems": lambda b, d, i: reviews.ListReviewItemsRequest(parent=b),
    "review/GetReviewItem": lambda b, d, i: reviews.GetReviewItemRequest(name=i),
    "review/ClaimReviewItem": lambda b, d, i: reviews.ClaimReviewItemRequest(name=i),
    "review/ReleaseReviewItem": lambda b, d, i: reviews.ReleaseReviewItemRequest(name=i, etag="1"),
    "review/ResolveReviewItem": lambda b, d, i: reviews.ResolveReviewItemRequest(
        name=i, etag="1", resolution=reviews.RESOLUTION_CONFIRM
    ),
    "review/ResolveDuplicates": lambda b, d, i: reviews.ResolveDuplicatesRequest(
        name=i, etag="1", resolution=reviews.RESOLUTION_CONFIRM
    ),
    "review/AskSecondOpinion": lambda b, d, i: reviews.AskSecondOpinionRequest(name=i),
    "review/UndoResolution": lambda b, d, i: reviews.UndoResolutionRequest(name=i, etag="1"),
    "review/AddGoldenItem": lambda b, d, i: reviews.AddGoldenItemRequest(
        message=d.rpartition("/decisions/")[0], visibility=pb.VISIBILITY_HIDE
    ),
    "review/ListGoldenItems": lambda b, d, i: reviews.ListGoldenItemsRequest(parent=b),
    "review/WithdrawGoldenItem": lambda b, d, i: reviews.WithdrawGoldenItemRequest(name=f"{b}/goldenItems/g"),
    "review/FollowReviews": lambda b, d, i: reviews.FollowReviewsRequest(parent=b),
    "case/OpenCase": lambda b, d, i: cases.OpenCaseRequest(message=d.rpartition("/decisions/")[0]),
    "case/GetCase": lambda b, d, i: cases.GetCaseRequest(name=f"{b}/cases/c"),
    "case/ListCases": lambda b, d, i: cases.ListCasesRequest(parent=b),
    "case/AssignCase": lambda b, d, i: cases.AssignCaseRequest(name=f"{b}/cases/c"),
    "case/AddCaseNote": lambda b, d, i: cases.AddCaseNoteRequest(name=f"{b}/cases/c", text="x"),
    "case/AnswerCase": lambda b, d, i: cases.AnswerCaseRequest(name=f"{b}/cases/c", text="x"),
    "case/ReturnCase": lambda b, d, i: cases.ReturnCaseRequest(
        name=f"{b}/cases/c", audience=message_pb2.AUDIENCE_PUBLIC
    ),
    "case/ReportCaseReply": lambda b, d, i: cases.ReportCaseReplyRequest(
        name=f"{b}/cases/c", outcome=pb.ACTION_STATE_APPLIED
    ),
    "case/CloseCase": lambda b, d, i: cases.CloseCaseRequest(name=f"{b}/cases/c", reason="x"),
    "case/ReopenCase": lambda b, d, i: cases.ReopenCaseRequest(name=f"{b}/cases/c"),
    "preflight/PreflightMessage": lambda b, d, i: preflights.PreflightMessageRequest(parent=b, text="x"),
    "forward/ListForward": lambda b, d, i: forwards.ListForwardRequest(parent=b),
    "reply/DraftReply": lambda b, d, i: replies.DraftReplyRequest(message=d.rpartition("/decisions/")[0]),
    "answer/AddAnswer": lambda b, d, i: answers.AddAnswerRequest(
        parent=b, answer=answers.Answer(language="fr", text="x", questions=["y"])
    ),
    "answer/KeepReply": lambda b, d, i: answers.KeepReplyRequest(message=d.rpartition("/decisions/")[0], text="x"),
    "answer/ListAnswers": lambda b, d, i: answers.ListAnswersRequest(parent=b),
    "answer/FindAnswers": lambda b, d, i: answers.FindAnswersRequest(parent=b, text="x"),
    "answer/ApproveAnswer": lambda b, d, i: answers.ApproveAnswerRequest(name=f"{b}/answers/a"),
    "answer/RetireAnswer": lambda b, d, i: answers.RetireAnswerRequest(name=f"{b}/answers/a"),
    "figures/GetFigures": lambda b, d, i: figures.GetFiguresRequest(name=b),
    "archive/ListExhibits": lambda b, d, i: archives.ListExhibitsRequest(parent=b),
    "archive/GetExhibit": lambda b, d, i: archives.GetExhibitRequest(name=f"{b}/exhibits/e"),
    "case/FollowCases": lambda b, d, i: cases.FollowCasesRequest(parent=b),
}


def test_every_rpc_is_here() -> None:
    modules = {
        "route": routes,
        "charter": charters,
        "review": reviews,
        "case": cases,
        "figures": figures,
        "preflight": preflights,
        "forward": forwards,
        "reply": replies,
        "answer": answers,
        "archive": archives,
    }
    methods = {
        f"{name}/{method.name}"
        for name, module in modules.items()
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods == set(CALLS) | {"route/BatchRoute"}


async def refusal(stub: Any, method: str, request: Any) -> grpc.aio.AioRpcError:
    call = getattr(stub, method)(request)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (call.read() if method.startswith("Follow") else call)
    return refused.value


@pytest.mark.parametrize("path", sorted(CALLS))
async def test_another_brands_thing_is_a_missing_thing(door: Any, brand: str, path: str) -> None:
    (decision,) = await door.decide(input_pb(brand, "x", reading(["threat", "remove"])))
    await door.charter().CreateCharter(
        charters.CreateCharterRequest(parent=f"brands/{brand}", charter=charters.Charter(source=SOURCE))
    )
    service, method = path.split("/")
    request = CALLS[path](f"brands/{brand}", decision.name, decision.review_item)
    stub = getattr(door, service)(actor="spy", brands=["spies-own"])
    there = failure_of(await refusal(stub, method, request))
    assert (there.code, there.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    nowhere = f"{brand}-not"
    missing = CALLS[path](
        f"brands/{nowhere}",
        decision.name.replace(brand, nowhere),
        decision.review_item.replace(brand, nowhere),
    )
    absent = failure_of(await refusal(stub, method, missing))
    assert there.message == absent.message.replace(nowhere, brand)


async def test_a_batch_item_of_another_brand_is_missing_and_stays_undecided(door: Any, brand: str) -> None:
    stub = door.route(roles=["service"], brands=["spies-own"])
    response = await stub.BatchRoute(routes.BatchRouteRequest(inputs=[input_pb(brand, "x", reading())]))
    failure = failure_of_status(response.results[0].status)
    assert failure is not None
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    (decision,) = await door.decide(input_pb(brand, "x", reading()))
    assert decision.sequence == 1


@pytest.mark.parametrize("service", ["decisions", "items"])
async def test_all_brands_means_all_of_ones_own(door: Any, brand: str, service: str) -> None:
    await door.decide(input_pb(brand, "x", reading(["threat", "remove"])))
    if service == "items":
        page = await door.review(brands=["spies-own"]).ListReviewItems(
            reviews.ListReviewItemsRequest(parent="brands/-", page_size=500)
        )
        assert list(page.review_items) == []
        page = await door.review(brands=[brand]).ListReviewItems(reviews.ListReviewItemsRequest(parent="brands/-"))
        assert len(page.review_items) == 1
    else:
        failure = failure_of(
            await refusal(door.route(), "ListDecisions", routes.ListDecisionsRequest(parent="brands/-/messages/-"))
        )
        assert failure.reason == "INVALID_FIELD"


@pytest.mark.parametrize(
    ("service", "method", "request_", "role"),
    [
        ("route", "BatchRoute", routes.BatchRouteRequest(), "moderator"),
        ("charter", "CreateCharter", charters.CreateCharterRequest(), "moderator"),
        ("review", "FollowReviews", reviews.FollowReviewsRequest(), "lead"),
        ("review", "AddGoldenItem", reviews.AddGoldenItemRequest(), "moderator"),
        ("review", "ListGoldenItems", reviews.ListGoldenItemsRequest(), "moderator"),
        ("review", "WithdrawGoldenItem", reviews.WithdrawGoldenItemRequest(), "operator"),
        ("review", "ClaimReviewItem", reviews.ClaimReviewItemRequest(), "service"),
        ("case", "ReturnCase", cases.ReturnCaseRequest(), "service"),
        ("case", "AnswerCase", cases.AnswerCaseRequest(), "operator"),
        ("answer", "ApproveAnswer", answers.ApproveAnswerRequest(), "moderator"),
        ("answer", "RetireAnswer", answers.RetireAnswerRequest(), "moderator"),
        *[
            ("archive", method, request, role)
            for method, request in (
                ("ListExhibits", archives.ListExhibitsRequest()),
                ("GetExhibit", archives.GetExhibitRequest()),
            )
            for role in ("moderator", "lead", "operator", "ml_engineer", "service")
        ],
    ],
)
async def test_a_role_that_may_not(door: Any, service: str, method: str, request_: Any, role: str) -> None:
    failure = failure_of(await refusal(getattr(door, service)(roles=[role]), method, request_))
    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
