"""The hand-off against a care desk that is not ours: webhooks out and back, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web

from apaise.route.v1 import case_service_pb2 as pb
from apaise.route.v1 import decision_pb2 as decisions
from apaise.type.v1 import message_pb2
from apaise_kit.core.caller import acting_as, system_caller
from apaise_route.adapters import case_store
from apaise_route.adapters.desks import Desk
from apaise_route.adapters.post import Poster
from apaise_route.app import deliveries
from apaise_route.domain.model import Queue
from apaise_route.domain.webhooks import BACKOFF
from apaise_route.testing import input_pb, reading
from apaise_route.transport.webhook import WebhookServer

ANGRY = reading(["complaint", "anger"])
SECRET = b"a secret of a care desk, 24+"


class Died(BaseException):
    """The process ends here."""


def signature(identifier: str, stamp: str, body: bytes, secret: bytes = SECRET) -> str:
    """Written anew from the specification, so that it does not agree with a mistake of ours."""
    digest = hmac.new(secret, b".".join([identifier.encode(), stamp.encode(), body]), hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


@dataclass
class CareDesk:
    """A desk with its own HTTP server; `statuses` are what it answers next, then 200."""

    statuses: list[int] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        given = request.headers
        expected = signature(given["webhook-id"], given["webhook-timestamp"], body)
        if not hmac.compare_digest(expected, given["webhook-signature"]):
            return web.Response(status=401)
        self.seen.append(given["webhook-id"])
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.cases.append(json.loads(body))
        return web.Response(status=status)


@dataclass
class Setting:
    """Route, its door for webhooks, a desk."""

    door: Any
    desk: CareDesk
    address: str
    post: Poster

    async def deliver(self) -> int:
        total = 0
        with acting_as(system_caller("route")):
            while tried := await deliveries.deliver(self.door.deps, self.post):
                total += tried
        return total

    async def tell(
        self, brand: str, body: dict[str, Any], identifier: str = "evt_1", secret: bytes = SECRET, age: int = 0
    ) -> tuple[int, dict[str, Any]]:
        """The desk calls back with what it signed `age` seconds ago."""
        content = json.dumps(body).encode()
        stamp = str(int(self.door.clock.now().timestamp()) - age)
        headers = {
            "webhook-id": identifier,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(identifier, stamp, content, secret),
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.address}/webhooks/{brand}", data=content, headers=headers) as answer,
        ):
            return answer.status, await answer.json()


@asynccontextmanager
async def listening(desk: CareDesk) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/in", desk.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    await runner.cleanup()


@pytest.fixture
async def setting(clocked: Any, brand: str) -> AsyncIterator[Setting]:
    desk, post = CareDesk(), Poster()
    server = WebhookServer(clocked.deps, "127.0.0.1", 0)
    async with listening(desk) as url:
        clocked.desks[brand] = Desk(url, url, SECRET, frozenset({Queue.CARE}))
        port = await server.start()
        yield Setting(clocked, desk, f"http://127.0.0.1:{port}", post)
        await server.stop()
        await post.close()


async def the_case(setting: Setting, brand: str) -> pb.GetCaseResponse:
    page = await setting.door.case().ListCases(pb.ListCasesRequest(parent=f"brands/{brand}"))
    (case,) = page.cases
    response: pb.GetCaseResponse = await setting.door.case().GetCase(pb.GetCaseRequest(name=case.name))
    return response


async def test_from_the_message_to_the_thread_and_back(setting: Setting, brand: str) -> None:
    await setting.door.decide(input_pb(brand, "x", ANGRY, text="Toujours pas livré !"))
    assert await setting.deliver() == 1
    (told,) = setting.desk.cases
    assert (told["type"], told["message"]["text"], told["case"]["team"]) == (
        "case.opened",
        "Toujours pas livré !",
        "CARE",
    )
    name = told["case"]["name"]
    answer = {"type": "case.answered", "case": name, "text": "Il part demain.", "etag": told["case"]["etag"]}
    assert await setting.tell(brand, answer) == (200, {"case": name, "state": "ANSWERED", "etag": "2"})
    assert await setting.tell(brand, answer) == (200, {"case": name, "state": "ANSWERED", "etag": "2"})

    request = pb.ReturnCaseRequest(name=name, audience=message_pb2.AUDIENCE_PUBLIC)
    await setting.door.case(actor="ana", roles=["moderator"]).ReturnCase(request)
    assert await setting.deliver() == 1
    posted = setting.desk.cases[-1]
    assert posted["type"] == "reply.requested"
    assert posted["reply"] == {"text": "Il part demain.", "audience": "PUBLIC", "rule": "twitch-chat"}
    assert (posted["message"]["external_id"], posted["message"]["platform"]) == ("x", "twitch")

    report = {"type": "reply.reported", "case": name, "outcome": "APPLIED", "external_id": "reply-1"}
    assert (await setting.tell(brand, report, "evt_2"))[1]["state"] == "RETURNED"
    view = await the_case(setting, brand)
    assert [pb.CaseEntryKind.Name(e.kind).removeprefix("CASE_ENTRY_KIND_") for e in view.entries] == [
        "OPENED",
        "ANSWER",
        "REPLY",
        "OUTCOME",
    ]
    assert [entry.actor for entry in view.entries] == ["tester", f"desk:{brand}", "ana", f"desk:{brand}"]
    closed = await setting.door.case().CloseCase(pb.CloseCaseRequest(name=name))
    assert closed.case.state == pb.CASE_STATE_CLOSED
    await setting.deliver()
    assert [case["type"] for case in setting.desk.cases] == [
        "case.opened",
        "reply.requested",
        "case.reported",
        "case.closed",
    ]


async def test_a_desk_that_fails_is_tried_again_with_the_same_id(setting: Setting, brand: str) -> None:
    setting.desk.statuses = [500, 302, 200]
    await setting.door.decide(input_pb(brand, "x", ANGRY))
    assert await setting.deliver() == 1
    assert await setting.deliver() == 0
    setting.door.clock.advance(seconds=BACKOFF[0] - 1)
    assert await setting.deliver() == 0
    setting.door.clock.advance(seconds=1)
    assert await setting.deliver() == 1
    setting.door.clock.advance(seconds=BACKOFF[1])
    assert await setting.deliver() == 1
    setting.door.clock.advance(days=2)
    assert len(set(setting.desk.seen)) == 1
    assert len(setting.desk.seen) == 3


async def test_a_desk_that_is_not_there_is_given_up_in_the_end_and_someone_is_told(
    setting: Setting, brand: str
) -> None:
    setting.door.desks[brand] = Desk("http://127.0.0.1:9/in", "", SECRET, frozenset({Queue.CARE}))
    await setting.door.decide(input_pb(brand, "x", ANGRY))
    tried = await setting.deliver()
    for seconds in BACKOFF:
        setting.door.clock.advance(seconds=seconds)
        tried += await setting.deliver()
    setting.door.clock.advance(days=2)
    assert await setting.deliver() == 0
    assert tried == len(BACKOFF) + 1
    assert (await the_case(setting, brand)).entries[-1].kind == pb.CASE_ENTRY_KIND_UNDELIVERED


async def test_who_died_while_sending_is_taken_over(setting: Setting, brand: str) -> None:
    await setting.door.decide(input_pb(brand, "x", ANGRY))

    async def dies(url: str, headers: Any, body: bytes) -> int:
        raise Died

    with acting_as(system_caller("route")), pytest.raises(Died):
        await deliveries.deliver(setting.door.deps, dies)
    assert await setting.deliver() == 0
    setting.door.clock.advance(seconds=60)
    assert await setting.deliver() == 1
    assert len(setting.desk.cases) == 1


async def test_what_is_gone_does_not_leave(setting: Setting, brand: str) -> None:
    await setting.door.decide(input_pb(brand, "x", ANGRY, text="canari"))
    await setting.door.decide(input_pb(brand, "x", reading(), text="", gone=True))
    await setting.deliver()
    assert setting.desk.seen == []


async def test_no_decision_no_webhook(setting: Setting, brand: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outbox is written in the decision's own transaction: when that fails, nothing is owed."""
    real = case_store.add_deliveries

    async def written_then_failed(*arguments: Any) -> None:
        await real(*arguments)
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(case_store, "add_deliveries", written_then_failed)
        with pytest.raises(grpc.aio.AioRpcError):
            await setting.door.decide(input_pb(brand, "x", ANGRY))
    assert await setting.deliver() == 0
    await setting.door.decide(input_pb(brand, "x", ANGRY))
    assert await setting.deliver() == 1


@pytest.mark.parametrize("which", ["another secret", "a brand without a desk", "an old one"])
async def test_a_webhook_nobody_signed_changes_nothing(setting: Setting, brand: str, which: str) -> None:
    await setting.door.decide(input_pb(brand, "x", ANGRY))
    view = await the_case(setting, brand)
    body = {"type": "case.answered", "case": view.case.name, "text": "x"}
    secret = b"another secret, long enough" if which == "another secret" else SECRET
    target = f"{brand}-not" if which == "a brand without a desk" else brand
    status, answer = await setting.tell(target, body, secret=secret, age=301 if which == "an old one" else 0)
    assert (status, answer["reason"]) == (401, "UNAUTHENTICATED")
    assert len((await the_case(setting, brand)).entries) == 1


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "INVALID_FIELD"),
        ({"type": "case.deleted", "case": "brands/{brand}/cases/c"}, 400, "INVALID_FIELD"),
        ({"type": "case.answered", "case": "brands/{brand}/cases/c"}, 400, "INVALID_FIELD"),
        ({"type": "case.answered", "case": "brands/{brand}/cases/c", "text": " "}, 400, "INVALID_FIELD"),
        ({"type": "case.answered", "case": "brands/{brand}/cases/c", "text": "x"}, 404, "NOT_FOUND"),
        ({"type": "case.answered", "case": "brands/other/cases/c", "text": "x"}, 404, "NOT_FOUND"),
        ({"type": "reply.reported", "case": "{case}", "outcome": "APPLIED"}, 409, "WRONG_STATE"),
        ({"type": "case.answered", "case": "{case}", "text": "x", "etag": "99"}, 409, "ETAG_MISMATCH"),
        ({"type": "case.assigned", "case": "{case}", "assignee": "cleo"}, 200, None),
    ],
)
async def test_what_a_desk_may_say(
    setting: Setting, brand: str, body: dict[str, str], status: int, reason: str | None
) -> None:
    await setting.door.decide(input_pb(brand, "x", ANGRY))
    case = (await the_case(setting, brand)).case.name
    told = {key: value.replace("{brand}", brand).replace("{case}", case) for key, value in body.items()}
    answered, document = await setting.tell(brand, told)
    assert (answered, document.get("reason")) == (status, reason)


async def test_only_the_queues_a_desk_takes_open_cases(setting: Setting, brand: str) -> None:
    await setting.door.decide(input_pb(brand, "x", reading(["praise"])), input_pb(brand, "y", ANGRY))
    view = await the_case(setting, brand)
    assert view.case.team == decisions.QUEUE_CARE
    assert view.message.external_id == "y"
