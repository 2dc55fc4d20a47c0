"""ForwardService over what is kept."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from apaise.route.v1 import forward_service_pb2 as pb
from apaise.type.v1 import message_pb2
from apaise_kit.runtime.status import failure_of
from apaise_route.testing import input_pb, reading

QUESTION = reading(["question"])
TEXT = "Est-ce que la tasse bleue passe au lave-vaisselle sans s'abîmer ?"


async def listed(door: Any, brand: str, **fields: Any) -> list[pb.Forward]:
    response = await door.forward().ListForward(pb.ListForwardRequest(parent=f"brands/{brand}", **fields))
    return list(response.forwards)


async def test_what_shows_is_brought_forward_with_its_reason(clocked: Any, brand: str) -> None:
    await clocked.decide(
        input_pb(brand, "good", QUESTION, text=TEXT),
        input_pb(brand, "hidden", reading(["question", "threat", "remove"]), text=f"{TEXT} Sinon…"),
        input_pb(
            brand,
            "private",
            QUESTION,
            text=f"En privé : {TEXT}",
            kind=message_pb2.CHANNEL_KIND_PRIVATE_MESSAGE,
            audience=message_pb2.AUDIENCE_PRIVATE,
        ),
        input_pb(brand, "edited", QUESTION, text=f"Avant : {TEXT}"),
        input_pb(brand, "gone", QUESTION, text=f"Partie : {TEXT}"),
    )
    await clocked.decide(
        input_pb(brand, "edited", reading(["joy"]), text="autre chose, tout simplement", revision=2),
        input_pb(brand, "gone", reading(), text="", gone=True),
    )
    (found,) = await listed(clocked, brand)
    assert (found.message.external_id, found.reason) == ("good", pb.FORWARD_REASON_QUESTION)
    assert found.score == pytest.approx(0.9)
    assert set(found.explanation) == {"fr", "en"}


async def test_only_since_then_and_only_so_many(clocked: Any, brand: str) -> None:
    await clocked.decide(*[input_pb(brand, f"x{n}", QUESTION, text=f"{TEXT} n° {n}") for n in range(12)])
    assert len(await listed(clocked, brand)) == 10
    assert len(await listed(clocked, brand, page_size=3)) == 3
    clocked.clock.advance(hours=25)
    assert await listed(clocked, brand) == []
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(clocked, brand, page_size=101)
    assert failure_of(refused.value).violations[0].field == "page_size"
