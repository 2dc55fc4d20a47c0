"""The two services train talks to, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC
from typing import Final

import grpc

from apaise.classify.v1 import classify_service_pb2 as classify_pb
from apaise.classify.v1.classify_service_pb2_grpc import ClassifyServiceStub
from apaise.route.v1 import review_service_pb2 as review_pb
from apaise.route.v1.review_service_pb2_grpc import ReviewServiceStub
from apaise_kit.core.names import ADAPTER, BRAND, MESSAGE
from apaise_kit.runtime.status import failure_of
from apaise_train.domain.examples import Example, weight_of
from apaise_train.domain.ports import Followed, ReviewKind
from apaise_train.domain.runs import Revision

# A replica reads, checks and warms the adapter before it answers; the first one also builds the pool.
_ACTIVATE_SECONDS: Final = 60.0
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
    review, message = response.review, response.message
    if not response.HasField("review"):
        return Followed(response.cursor)
    brand, message_id = MESSAGE.parse(review.message)
    gone = (brand, message_id) if message.gone else None
    if review.resolution == review_pb.RESOLUTION_UNDO:
        return Followed(response.cursor, ReviewKind.UNDO, undoes=(brand, _last(review.undoes)), gone=gone)
    # Without a text there is nothing to learn: it may not train, or it was blanked.
    if review.resolution not in _LEARNT_FROM or not message.text or "remove" not in review.labels_after:
        return Followed(response.cursor, gone=gone)
    labels = dict(review.labels_after)
    example = Example(
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
    )
    return Followed(response.cursor, ReviewKind.EXAMPLE, example, gone=gone)


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


def _adapter(revision: Revision) -> classify_pb.Adapter:
    return classify_pb.Adapter(
        name=ADAPTER.format(revision.brand, revision.id),
        artifact_uri=revision.artifact_uri,
        digest=revision.digest,
        encoder=revision.encoder,
    )


def _last(name: str) -> str:
    return name.rpartition("/")[2]
