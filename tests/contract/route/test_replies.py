"""ReplyService over what is kept."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from apaise.route.v1 import reply_service_pb2 as pb
from apaise.type.v1 import message_pb2
from apaise_kit.runtime.status import failure_of
from apaise_route.testing import input_pb, reading

ANGRY = reading(["complaint", "anger"])


async def drafted(door: Any, brand: str, assessment: Any = ANGRY, posture: str = "", **fields: Any) -> Any:
    (decision,) = await door.decide(input_pb(brand, "x", assessment, **fields))
    return await door.reply().DraftReply(pb.DraftReplyRequest(message=decision.message, posture=posture))


async def test_a_draft_cites_its_scenario_and_quotes_nothing(clocked: Any, brand: str) -> None:
    found = await drafted(clocked, brand, text="canari, toujours rien reçu")
    assert (found.scenario, found.posture, found.language) == ("complaint/apologise", "apologise", "fr")
    assert found.audience == message_pb2.AUDIENCE_PUBLIC
    assert "canari" not in found.text
    assert clocked.words.asked == [found.text]


async def test_a_draft_that_would_not_show_is_not_given(clocked: Any, brand: str) -> None:
    clocked.words.words = {"désolés": "threat"}
    found = await drafted(clocked, brand)
    assert (found.text, found.note) == ("", pb.DRAFT_NOTE_WOULD_NOT_SHOW)


async def test_distress_is_a_persons(clocked: Any, brand: str) -> None:
    found = await drafted(clocked, brand, reading(["mockery", "distress"]), "light_humour")
    assert (found.text, found.note) == ("", pb.DRAFT_NOTE_A_PERSON_FIRST)


async def test_what_is_gone_or_unknown_has_no_draft(clocked: Any, brand: str) -> None:
    await drafted(clocked, brand)
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await drafted(clocked, brand, reading(), text="", gone=True)
    assert failure_of(gone.value).reason == "MESSAGE_GONE"
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await clocked.reply().DraftReply(pb.DraftReplyRequest(message=f"brands/{brand}/messages/none"))
    assert failure_of(unknown.value).reason == "NOT_FOUND"


async def test_a_posture_nobody_knows(clocked: Any, brand: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await drafted(clocked, brand, posture="ironic")
    assert failure_of(refused.value).violations[0].field == "posture"
