"""The two services train talks to, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Final, TypeVar

import grpc

from apaise.classify.v1 import classify_service_pb2 as classify_pb
from apaise.classify.v1.classify_service_pb2_grpc import ClassifyServiceStub
from apaise.route.v1 import decision_pb2 as decision_pb
from apaise.route.v1 import figures_service_pb2 as figures_pb
from apaise.route.v1 import review_service_pb2 as review_pb
from apaise.route.v1.figures_service_pb2_grpc import FiguresServiceStub
from apaise.route.v1.review_service_pb2_grpc import ReviewServiceStub
from apaise.type.v1 import message_pb2 as message_pb
from apaise_kit.core.clock import Clock
from apaise_kit.core.names import ADAPTER, BRAND, MESSAGE, PRECEDENT
from apaise_kit.runtime.status import failure_of
from apaise_train.domain.corrections import DANGERS, Correction
from apaise_train.domain.examples import Example, weight_of
from apaise_train.domain.health import Arm, Health
from apaise_train.domain.ports import Followed, ReviewKind
from apaise_train.domain.runs import Revision
from apaise_train.domain.trust import Tally

# A replica reads, checks and warms the adapter before it answers; the first one also builds the pool.
_ACTIVATE_SECONDS: Final = 60.0
_PRECEDENT_SECONDS: Final = 30.0
_HEALTH_SECONDS: Final = 5.0
_FIGURES_SECONDS: Final = 30.0
_LOOKED_BACK: Final = timedelta(days=92)  # what GetFigures counts over at most
T = TypeVar("T")
_LEARNT_FROM: Final = frozenset({review_pb.RESOLUTION_CONFIRM, review_pb.RESOLUTION_CORRECT})


class GrpcReviews:
    """ReviewService as the stream of reviews."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ReviewServiceStub(channel)

    async def follow(self, cursor: str) -> AsyncGenerator[Followed, None]:
        """See `Reviews.follow`."""
        request = review_pb.FollowReviewsRequest(parent="brands/-", cursor=cursor)
        call = self._stub.FollowReviews(request)
        try:
            async for response in call:
                yield followed_from(response)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None
        finally:
            call.cancel()


def followed_from(response: review_pb.FollowReviewsResponse) -> Followed:
    """What one response of the stream means to train."""
    if not response.HasField("review"):
        return Followed(response.cursor)
    review, message = response.review, response.message
    brand, message_id = MESSAGE.parse(review.message)
    known = Followed(
        response.cursor, gone=(brand, message_id) if message.gone else None, correction=_correction(review)
    )
    if review.resolution == review_pb.RESOLUTION_UNDO:
        return replace(known, kind=ReviewKind.UNDO, undoes=(brand, _last(review.undoes)))
    # A second look measures the machine and teaches nothing: its person was not shown what holds.
    if review.reason == review_pb.REVIEW_REASON_SECOND_LOOK:
        return known
    # Without a text there is nothing to learn: it may not train, or it was blanked.
    if review.resolution not in _LEARNT_FROM or not message.text or "remove" not in review.labels_after:
        return known
    return replace(known, kind=ReviewKind.EXAMPLE, example=_example(response))


def _correction(review: review_pb.Review) -> Correction:
    brand, message_id = MESSAGE.parse(review.message)
    return Correction(
        brand=brand,
        review=_last(review.name),
        message=message_id,
        edit_revision=review.edit_revision,
        resolution=_word(review_pb.Resolution.Name(review.resolution), "RESOLUTION_"),
        undoes=_last(review.undoes) or None,
        actor=review.actor,
        review_time=review.create_time.ToDatetime(UTC),
        clause=review.clause,
        visibility_before=_word(decision_pb.Visibility.Name(review.visibility_before), "VISIBILITY_"),
        visibility_after=_word(decision_pb.Visibility.Name(review.visibility_after), "VISIBILITY_"),
        labels_before=dict(review.labels_before),
        labels_after=dict(review.labels_after),
        reason=_word(review_pb.ReviewReason.Name(review.reason), "REVIEW_REASON_"),
        sampling_probability=review.sampling_probability,
        encoder=review.provenance.encoder,
        adapter=review.provenance.adapter,
        second_look=review.second_look,
    )


def _example(response: review_pb.FollowReviewsResponse) -> Example:
    review, message = response.review, response.message
    brand, message_id = MESSAGE.parse(review.message)
    before, labels = review.labels_before, dict(review.labels_after)
    return Example(
        review=_last(review.name),
        brand=brand,
        message=message_id,
        author_key=message.author.author_key,
        edit_revision=review.edit_revision,
        text=message.text,
        remove=labels.pop("remove"),
        labels=labels,
        weight=weight_of(review.sampling_probability),
        review_time=review.create_time.ToDatetime(UTC),
        published_time=message.published_time.ToDatetime(UTC) if message.HasField("published_time") else None,
        actor=review.actor,
        model_remove=before.get("remove"),
        danger=max((before[label] for label in DANGERS if label in before), default=0.0),
        audit=review.reason == review_pb.REVIEW_REASON_AUDIT,
        private=response.audience != message_pb.AUDIENCE_PUBLIC,
    )


class GrpcGoldens:
    """FiguresService as what is known of reviewers."""

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self._stub = FiguresServiceStub(channel)
        self._clock = clock

    async def of(self, brand: str) -> dict[str, Tally]:
        """See `Goldens.of`."""
        request = figures_pb.GetFiguresRequest(name=BRAND.format(brand))
        end = self._clock.now()
        request.start_time.FromDatetime(end - _LOOKED_BACK)
        request.end_time.FromDatetime(end)
        try:
            found = await self._stub.GetFigures(request, timeout=_FIGURES_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None
        return {who.actor: Tally(who.golden.count, who.golden.hits) for who in found.reviewers if who.golden.count}


class GrpcPrecedents:
    """ClassifyService as what hears precedents."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ClassifyServiceStub(channel)

    async def put(self, brand: str, examples: Sequence[Example]) -> str:
        """See `Precedents.put`."""
        request = classify_pb.PutPrecedentsRequest(parent=BRAND.format(brand), precedents=map(_precedent, examples))
        return str((await self._answered(self._stub.PutPrecedents(request, timeout=_PRECEDENT_SECONDS))).encoder)

    async def take_back(self, brand: str, reviews: Sequence[str]) -> None:
        """See `Precedents.take_back`."""
        names = [PRECEDENT.format(brand, review) for review in reviews]
        request = classify_pb.DeletePrecedentsRequest(parent=BRAND.format(brand), names=names)
        await self._answered(self._stub.DeletePrecedents(request, timeout=_PRECEDENT_SECONDS))

    async def encoder(self) -> str:
        """See `Precedents.encoder`."""
        call = self._stub.Embed(classify_pb.EmbedRequest(texts=["?"]), timeout=_PRECEDENT_SECONDS)
        return str((await self._answered(call)).encoder)

    async def _answered(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None


def _precedent(example: Example) -> classify_pb.Precedent:
    made = classify_pb.Precedent(
        name=PRECEDENT.format(example.brand, example.review),
        message=MESSAGE.format(example.brand, example.message),
        author_key=example.author_key,
        text=example.text,
        labels={**example.labels, "remove": example.remove},
        private=example.private,
    )
    made.review_time.FromDatetime(example.review_time)
    return made


class GrpcServing:
    """ClassifyService as what serves adapters."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ClassifyServiceStub(channel)

    async def serve(self, brand: str, revision: Revision | None, request_id: str) -> None:
        """See `Serving.serve`."""
        try:
            if revision is None:
                house = classify_pb.RollbackAdapterRequest(parent=BRAND.format(brand), request_id=request_id)
                await self._stub.RollbackAdapter(house, timeout=_ACTIVATE_SECONDS)
            else:
                wanted = classify_pb.ActivateAdapterRequest(adapter=_adapter(revision), request_id=request_id)
                await self._stub.ActivateAdapter(wanted, timeout=_ACTIVATE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None

    async def trial(self, brand: str, revision: Revision | None, share: float, request_id: str) -> None:
        """See `Trying.trial`."""
        adapter = _adapter(revision) if revision is not None else None
        request = classify_pb.SetCanaryRequest(
            parent=BRAND.format(brand), adapter=adapter, share=share if adapter else 0.0, request_id=request_id
        )
        try:
            await self._stub.SetCanary(request, timeout=_ACTIVATE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None

    async def health(self, brand: str) -> Health | None:
        """See `Trying.health`."""
        request = classify_pb.GetCanaryRequest(parent=BRAND.format(brand))
        try:
            found = await self._stub.GetCanary(request, timeout=_HEALTH_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error).as_error() from None
        return Health(_last(found.adapter), _arm(found.canary), _arm(found.champion)) if found.adapter else None


def _arm(arm: classify_pb.CanaryArm) -> Arm:
    seconds = (each.ToTimedelta().total_seconds() for each in (arm.p90, arm.p95))
    return Arm(arm.reads, arm.failures, arm.timed, *seconds)


def _adapter(revision: Revision) -> classify_pb.Adapter:
    return classify_pb.Adapter(
        name=ADAPTER.format(revision.brand, revision.id),
        artifact_uri=revision.artifact_uri,
        digest=revision.digest,
        encoder=revision.encoder,
    )


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix)


def _last(name: str) -> str:
    return name.rpartition("/")[2]
