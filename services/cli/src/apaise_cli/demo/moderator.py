"""A moderator with a stack of decisions made beforehand, working the queue through ReviewService like any other."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import grpc
import yaml

from apaise.route.v1 import charter_service_pb2 as charter_pb
from apaise.route.v1 import charter_service_pb2_grpc as charter_rpc
from apaise.route.v1 import decision_pb2
from apaise.route.v1 import review_service_pb2 as pb
from apaise.route.v1 import review_service_pb2_grpc as rpc
from apaise_cli.demo.samples import Correction

_HANDS: Final = 8
_TAKEN_DOWN: Final = (decision_pb2.VISIBILITY_HIDE, decision_pb2.VISIBILITY_DELETE)


async def look_at_everything(route: grpc.aio.Channel, brand: str) -> None:
    """Put a charter in force that sends every message to review: how a brand begins when it wants to teach."""
    service = charter_rpc.CharterServiceStub(route)
    active = await service.GetCharter(charter_pb.GetCharterRequest(name=f"brands/{brand}/charters/active"))
    source = {**yaml.safe_load(active.charter.source), "audit_share": 1.0}
    text = yaml.safe_dump(source, allow_unicode=True, sort_keys=False)
    created = await service.CreateCharter(
        charter_pb.CreateCharterRequest(parent=f"brands/{brand}", charter=charter_pb.Charter(source=text))
    )
    await service.ActivateCharter(charter_pb.ActivateCharterRequest(name=created.charter.name))


async def work_the_queue(
    route: grpc.aio.Channel, brand: str, answers: Mapping[str, Correction], progress: Callable[[], None]
) -> Counter[str]:
    """Claim and resolve the review item of each message there is an answer for (by its id on the platform).

    Returns:
        How many were confirmed and how many corrected.
    """
    service = rpc.ReviewServiceStub(route)
    todo = [item async for item in open_items(service, brand) if item.message.external_id in answers]
    done: Counter[str] = Counter()
    hands = asyncio.Semaphore(_HANDS)

    async def handle(item: pb.ReviewItem) -> None:
        async with hands:
            done[await resolve(service, item, answers[item.message.external_id])] += 1
            progress()

    async with asyncio.TaskGroup() as group:
        for item in todo:
            group.create_task(handle(item))
    return done


async def open_items(service: rpc.ReviewServiceAsyncStub, brand: str) -> AsyncIterator[pb.ReviewItem]:
    """The brand's review items that wait for someone."""
    token = ""
    while True:
        page = await service.ListReviewItems(
            pb.ListReviewItemsRequest(parent=f"brands/{brand}", page_size=200, page_token=token)
        )
        for item in page.review_items:
            yield item
        token = page.next_page_token
        if not token:
            return


async def resolve(service: rpc.ReviewServiceAsyncStub, item: pb.ReviewItem, answer: Correction) -> str:
    """Claim an item and resolve it as the answer says; `confirmed` or `corrected`."""
    claimed = (await service.ClaimReviewItem(pb.ClaimReviewItemRequest(name=item.name))).review_item
    now = claimed.decision.visibility
    right = now in _TAKEN_DOWN if answer.remove else now == decision_pb2.VISIBILITY_KEEP
    wanted = decision_pb2.VISIBILITY_HIDE if answer.remove else decision_pb2.VISIBILITY_KEEP
    request = pb.ResolveReviewItemRequest(
        name=item.name,
        etag=claimed.etag,
        resolution=pb.RESOLUTION_CONFIRM if right else pb.RESOLUTION_CORRECT,
        correction=None if right else pb.Correction(visibility=wanted, labels=answer.labels),
        request_id=secrets.token_hex(13),
    )
    await service.ResolveReviewItem(request)
    return "confirmed" if right else "corrected"
