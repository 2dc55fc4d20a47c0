"""The three services of route. Each method decodes, calls one use case, encodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TypeAlias

import grpc

from apaise.route.v1 import charter_service_pb2 as charters_pb
from apaise.route.v1 import review_service_pb2 as reviews_pb
from apaise.route.v1 import route_service_pb2 as routes_pb
from apaise.route.v1.charter_service_pb2_grpc import CharterServiceServicer
from apaise.route.v1.review_service_pb2_grpc import ReviewServiceServicer
from apaise.route.v1.route_service_pb2_grpc import RouteServiceServicer
from apaise_kit.core.names import GOLDEN_ITEM, LIVE_WORD, MESSAGE, REVIEW_ITEM, parse_brand
from apaise_route.app import charters, decisions, golden, live, rechecks, reviews, shadows
from apaise_route.app.deps import Deps
from apaise_route.domain.model import Queue, Visibility
from apaise_route.transport import codec

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class RouteServicer(RouteServiceServicer):
    """RouteService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def BatchRoute(self, request: routes_pb.BatchRouteRequest, context: Context) -> routes_pb.BatchRouteResponse:
        """See the contract."""
        return codec.results(await decisions.batch_route(self._deps, codec.route_inputs(request)))

    async def GetDecision(
        self, request: routes_pb.GetDecisionRequest, context: Context
    ) -> routes_pb.GetDecisionResponse:
        """See the contract."""
        decision = await decisions.get_decision(self._deps, codec.decision_key(request.name))
        return routes_pb.GetDecisionResponse(decision=codec.decision_pb(decision))

    async def ListDecisions(
        self, request: routes_pb.ListDecisionsRequest, context: Context
    ) -> routes_pb.ListDecisionsResponse:
        """See the contract."""
        brand, message = codec.message_parent(request.parent)
        page, token = await decisions.list_decisions(self._deps, brand, message, request.page_size, request.page_token)
        return routes_pb.ListDecisionsResponse(decisions=map(codec.decision_pb, page), next_page_token=token)

    async def FollowDecisions(
        self, request: routes_pb.FollowDecisionsRequest, context: Context
    ) -> AsyncIterator[routes_pb.FollowDecisionsResponse]:
        """See the contract."""
        brand = parse_brand(request.parent, "parent", wildcard=True)
        async with aclosing(decisions.follow_decisions(self._deps, brand, request.cursor)) as stream:
            async for decision, cursor in stream:
                found = codec.decision_pb(decision) if decision else None
                yield routes_pb.FollowDecisionsResponse(decision=found, cursor=cursor)

    async def RecheckDecisions(
        self, request: routes_pb.RecheckDecisionsRequest, context: Context
    ) -> routes_pb.RecheckDecisionsResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent")
        return codec.recheck_pb(await rechecks.recheck_decisions(self._deps, brand, request.decisions))

    async def ReportActionOutcome(
        self, request: routes_pb.ReportActionOutcomeRequest, context: Context
    ) -> routes_pb.ReportActionOutcomeResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        outcome = codec.outcome(request.outcome, self._deps.clock.now())
        decision = await decisions.report_outcome(self._deps, codec.decision_key(request.name), outcome)
        return routes_pb.ReportActionOutcomeResponse(decision=codec.decision_pb(decision))


class CharterServicer(CharterServiceServicer):
    """CharterService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def CreateCharter(
        self, request: charters_pb.CreateCharterRequest, context: Context
    ) -> charters_pb.CreateCharterResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        brand = parse_brand(request.parent, "parent")
        view, warnings = await charters.create_charter(self._deps, brand, request.charter.source)
        return charters_pb.CreateCharterResponse(charter=codec.charter_pb(view), warnings=codec.problems_pb(warnings))

    async def GetCharter(
        self, request: charters_pb.GetCharterRequest, context: Context
    ) -> charters_pb.GetCharterResponse:
        """See the contract."""
        view = await charters.get_charter(self._deps, *codec.charter_key(request.name))
        return charters_pb.GetCharterResponse(charter=codec.charter_pb(view))

    async def ListCharters(
        self, request: charters_pb.ListChartersRequest, context: Context
    ) -> charters_pb.ListChartersResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent")
        page, token = await charters.list_charters(self._deps, brand, request.page_size, request.page_token)
        return charters_pb.ListChartersResponse(charters=map(codec.charter_pb, page), next_page_token=token)

    async def ActivateCharter(
        self, request: charters_pb.ActivateCharterRequest, context: Context
    ) -> charters_pb.ActivateCharterResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        view = await charters.activate_charter(self._deps, *codec.charter_key(request.name), request.etag)
        return charters_pb.ActivateCharterResponse(charter=codec.charter_pb(view))

    async def LintCharter(
        self, request: charters_pb.LintCharterRequest, context: Context
    ) -> charters_pb.LintCharterResponse:
        """See the contract."""
        parse_brand(request.parent, "parent")
        problems = await charters.lint_charter(request.source)
        return charters_pb.LintCharterResponse(problems=codec.problems_pb(problems))

    async def RollbackCharter(
        self, request: charters_pb.RollbackCharterRequest, context: Context
    ) -> charters_pb.RollbackCharterResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        brand = parse_brand(request.parent, "parent")
        view = await charters.rollback_charter(self._deps, brand, request.etag)
        return charters_pb.RollbackCharterResponse(charter=codec.charter_pb(view))

    async def DiffCharter(
        self, request: charters_pb.DiffCharterRequest, context: Context
    ) -> charters_pb.DiffCharterResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent")
        return codec.diff_pb(await shadows.diff_charter(self._deps, brand, request.source, request.messages))

    async def StartShadow(
        self, request: charters_pb.StartShadowRequest, context: Context
    ) -> charters_pb.StartShadowResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        view = await shadows.start_shadow(self._deps, *codec.charter_key(request.name))
        return charters_pb.StartShadowResponse(shadow=codec.shadow_pb(view))

    async def GetShadow(self, request: charters_pb.GetShadowRequest, context: Context) -> charters_pb.GetShadowResponse:
        """See the contract."""
        view = await shadows.get_shadow(self._deps, parse_brand(request.parent, "parent"))
        return charters_pb.GetShadowResponse(shadow=codec.shadow_pb(view))

    async def StopShadow(
        self, request: charters_pb.StopShadowRequest, context: Context
    ) -> charters_pb.StopShadowResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        await shadows.stop_shadow(self._deps, parse_brand(request.parent, "parent"))
        return charters_pb.StopShadowResponse()

    async def AddLiveWord(
        self, request: charters_pb.AddLiveWordRequest, context: Context
    ) -> charters_pb.AddLiveWordResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        brand, word = parse_brand(request.parent, "parent"), codec.live_word(request)
        view = await live.add_live_word(self._deps, brand, *word, validate_only=request.validate_only)
        return codec.live_view_pb(view)

    async def ListLiveWords(
        self, request: charters_pb.ListLiveWordsRequest, context: Context
    ) -> charters_pb.ListLiveWordsResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent")
        page, token = await live.list_live_words(self._deps, brand, request.page_size, request.page_token)
        return charters_pb.ListLiveWordsResponse(live_words=map(codec.live_word_pb, page), next_page_token=token)

    async def RemoveLiveWord(
        self, request: charters_pb.RemoveLiveWordRequest, context: Context
    ) -> charters_pb.RemoveLiveWordResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        await live.remove_live_word(self._deps, *LIVE_WORD.parse(request.name))
        return charters_pb.RemoveLiveWordResponse()


class ReviewServicer(ReviewServiceServicer):
    """ReviewService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def ListReviewItems(
        self, request: reviews_pb.ListReviewItemsRequest, context: Context
    ) -> reviews_pb.ListReviewItemsResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent", wildcard=True)
        wanted = codec.item_filters(request)
        page, token = await reviews.list_items(self._deps, brand, *wanted, request.page_size, request.page_token)
        now = self._deps.clock.now()
        items = [codec.item_pb(view, now) for view in page]
        return reviews_pb.ListReviewItemsResponse(review_items=items, next_page_token=token)

    async def GetReviewItem(
        self, request: reviews_pb.GetReviewItemRequest, context: Context
    ) -> reviews_pb.GetReviewItemResponse:
        """See the contract."""
        view, duplicates = await reviews.get_item(self._deps, *REVIEW_ITEM.parse(request.name))
        item = codec.item_pb(view, self._deps.clock.now())
        return reviews_pb.GetReviewItemResponse(review_item=item, duplicates=duplicates)

    async def ClaimReviewItem(
        self, request: reviews_pb.ClaimReviewItemRequest, context: Context
    ) -> reviews_pb.ClaimReviewItemResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        queue = codec.optional_member(Queue, request.queue, "queue")
        brand, item_id = codec.item_name(request.name)
        view = await reviews.claim_item(self._deps, brand, item_id, codec.lease(request), queue)
        return reviews_pb.ClaimReviewItemResponse(review_item=codec.item_pb(view, self._deps.clock.now()))

    async def ReleaseReviewItem(
        self, request: reviews_pb.ReleaseReviewItemRequest, context: Context
    ) -> reviews_pb.ReleaseReviewItemResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        view = await reviews.release_item(self._deps, *REVIEW_ITEM.parse(request.name), request.etag)
        return reviews_pb.ReleaseReviewItemResponse(review_item=codec.item_pb(view, self._deps.clock.now()))

    async def ResolveReviewItem(
        self, request: reviews_pb.ResolveReviewItemRequest, context: Context
    ) -> reviews_pb.ResolveReviewItemResponse:
        """See the contract."""
        brand, item_id = REVIEW_ITEM.parse(request.name)
        done, request_id = codec.resolved(request), codec.request_id(request.request_id)
        resolved = await reviews.resolve_item(self._deps, brand, item_id, request.etag, *done, request_id)
        return reviews_pb.ResolveReviewItemResponse(**codec.resolved_pb(resolved, self._deps.clock.now()))

    async def ResolveDuplicates(
        self, request: reviews_pb.ResolveDuplicatesRequest, context: Context
    ) -> reviews_pb.ResolveDuplicatesResponse:
        """See the contract."""
        brand, item_id = REVIEW_ITEM.parse(request.name)
        done, request_id = codec.resolved(request), codec.request_id(request.request_id)
        found = await reviews.resolve_duplicates(self._deps, brand, item_id, request.etag, *done, request_id)
        return reviews_pb.ResolveDuplicatesResponse(
            review=codec.review_pb(found.first.review),
            decision=codec.decision_pb(found.first.decision),
            duplicates=map(codec.review_pb, found.duplicates),
            left=found.left,
        )

    async def AskSecondOpinion(
        self, request: reviews_pb.AskSecondOpinionRequest, context: Context
    ) -> reviews_pb.AskSecondOpinionResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        name, leaning = REVIEW_ITEM.parse(request.name), codec.optional_member(Visibility, request.leaning, "leaning")
        view = await reviews.ask_second_opinion(self._deps, *name, request.etag, leaning)
        return reviews_pb.AskSecondOpinionResponse(review_item=codec.item_pb(view, self._deps.clock.now()))

    async def UndoResolution(
        self, request: reviews_pb.UndoResolutionRequest, context: Context
    ) -> reviews_pb.UndoResolutionResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        resolved = await reviews.undo_resolution(self._deps, *REVIEW_ITEM.parse(request.name), request.etag)
        return reviews_pb.UndoResolutionResponse(**codec.resolved_pb(resolved, self._deps.clock.now()))

    async def AddGoldenItem(
        self, request: reviews_pb.AddGoldenItemRequest, context: Context
    ) -> reviews_pb.AddGoldenItemResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        brand, message = MESSAGE.parse(request.message, "message")
        right = codec.member(Visibility, request.visibility, "visibility")
        view = await golden.add_golden_item(self._deps, brand, message, right)
        return reviews_pb.AddGoldenItemResponse(golden_item=codec.golden_pb(view))

    async def ListGoldenItems(
        self, request: reviews_pb.ListGoldenItemsRequest, context: Context
    ) -> reviews_pb.ListGoldenItemsResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent")
        page, token = await golden.list_golden_items(self._deps, brand, request.page_size, request.page_token)
        return reviews_pb.ListGoldenItemsResponse(golden_items=map(codec.golden_pb, page), next_page_token=token)

    async def WithdrawGoldenItem(
        self, request: reviews_pb.WithdrawGoldenItemRequest, context: Context
    ) -> reviews_pb.WithdrawGoldenItemResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        view = await golden.withdraw_golden_item(self._deps, *GOLDEN_ITEM.parse(request.name))
        return reviews_pb.WithdrawGoldenItemResponse(golden_item=codec.golden_pb(view))

    async def FollowReviews(
        self, request: reviews_pb.FollowReviewsRequest, context: Context
    ) -> AsyncIterator[reviews_pb.FollowReviewsResponse]:
        """See the contract."""
        brand = parse_brand(request.parent, "parent", wildcard=True)
        async with aclosing(reviews.follow_reviews(self._deps, brand, request.cursor)) as stream:
            async for found, cursor in stream:
                yield codec.followed_review(found, cursor)
