"""CaseService: a hand-off from the message to the reply its author reads."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from apaise.route.v1 import case_service_pb2 as pb
from apaise.route.v1 import decision_pb2 as decisions
from apaise.type.v1 import message_pb2
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.runtime.status import failure_of
from apaise_route.app import cases
from apaise_route.testing import START, input_pb, reading

ANGRY = reading(["complaint", "anger"])
PUBLIC, PRIVATE = message_pb2.AUDIENCE_PUBLIC, message_pb2.AUDIENCE_PRIVATE
APPLIED, REFUSED = decisions.ACTION_STATE_APPLIED, decisions.ACTION_STATE_REFUSED
IN_PRIVATE: dict[str, Any] = {"audience": PRIVATE, "kind": message_pb2.CHANNEL_KIND_PRIVATE_MESSAGE}


async def opened(door: Any, brand: str, external_id: str = "x", platform: str = "twitch", **fields: Any) -> pb.Case:
    """A case opened by Ana from a complaint."""
    entry = input_pb(brand, external_id, ANGRY, **fields)
    entry.channel.platform = platform
    (decision,) = await door.decide(entry)
    response: pb.OpenCaseResponse = await door.case(actor="ana").OpenCase(pb.OpenCaseRequest(message=decision.message))
    return response.case


async def call(door: Any, method: str, name: str, actor: str = "ana", **fields: Any) -> pb.Case:
    """Move a case."""
    response = await getattr(door.case(actor=actor), method)(getattr(pb, f"{method}Request")(name=name, **fields))
    found: pb.Case = response.case
    return found


async def get(door: Any, name: str) -> pb.GetCaseResponse:
    response: pb.GetCaseResponse = await door.case().GetCase(pb.GetCaseRequest(name=name))
    return response


async def refused(awaitable: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await awaitable
    return failure_of(error.value)


async def test_opened_from_a_message_it_knows_whose_it_is_and_when_it_is_due(clocked: Any, brand: str) -> None:
    case = await opened(clocked, brand)
    assert (case.state, case.team, case.tension) == (pb.CASE_STATE_OPEN, decisions.QUEUE_CARE, pb.TENSION_TENSE)
    assert (case.open_actor, case.late, case.reply_pending) == ("ana", False, False)
    assert case.due_time.seconds == int(START.timestamp()) + 600  # live and tense: ten minutes from publication
    view = await get(clocked, case.name)
    assert (view.message.text, view.message.name) == ("bonjour à tous", case.message)
    assert view.decision.message == case.message
    assert [(e.number, e.kind, e.actor) for e in view.entries] == [(1, pb.CASE_ENTRY_KIND_OPENED, "ana")]


async def test_a_message_has_one_open_case_even_when_many_open_it_at_once(door: Any, brand: str) -> None:
    (decision,) = await door.decide(input_pb(brand, "x", ANGRY))
    request = pb.OpenCaseRequest(message=decision.message, note="a first note")
    found = await asyncio.gather(*[door.case(actor=f"m{n}").OpenCase(request) for n in range(6)])
    assert len({response.case.name for response in found}) == 1
    view = await get(door, found[0].case.name)
    assert [entry.kind for entry in view.entries] == [pb.CASE_ENTRY_KIND_OPENED, pb.CASE_ENTRY_KIND_NOTE]


async def test_a_message_nobody_decided_opens_nothing(door: Any, brand: str) -> None:
    failure = await refused(door.case().OpenCase(pb.OpenCaseRequest(message=f"brands/{brand}/messages/none")))
    assert failure.reason == "NOT_FOUND"


async def test_the_whole_way(door: Any, brand: str) -> None:
    name = (await opened(door, brand)).name
    case = await call(door, "AssignCase", name, assignee="cleo")
    assert (case.state, case.assignee, case.team) == (pb.CASE_STATE_ASSIGNED, "cleo", decisions.QUEUE_CARE)
    await call(door, "AddCaseNote", name, text="regular customer, second complaint this month")
    case = await call(door, "AnswerCase", name, actor="care", text="Votre colis repart demain.")
    assert case.state == pb.CASE_STATE_ANSWERED
    case = await call(door, "ReturnCase", name, audience=PUBLIC)
    assert (case.state, case.reply_pending) == (pb.CASE_STATE_ANSWERED, True)
    case = await call(door, "ReportCaseReply", name, actor="tool", outcome=APPLIED, external_id="r1")
    assert (case.state, case.reply_pending) == (pb.CASE_STATE_RETURNED, False)
    assert case.HasField("return_time")
    case = await call(door, "CloseCase", name)
    assert case.state == pb.CASE_STATE_CLOSED
    entries = (await get(door, name)).entries
    reply = entries[4]
    assert (reply.text, reply.audience, reply.rule) == ("Votre colis repart demain.", PUBLIC, "twitch-chat")
    assert (entries[5].outcome, entries[5].external_id) == (APPLIED, "r1")
    again = await call(door, "ReopenCase", name, reason="she writes again")
    assert (again.state, again.HasField("return_time")) == (pb.CASE_STATE_ASSIGNED, False)


async def test_a_refused_reply_leaves_another_way(door: Any, brand: str) -> None:
    name = (await opened(door, brand)).name
    await call(door, "AnswerCase", name, text="Écrivez-nous, nous réglons cela.")
    await call(door, "ReturnCase", name, audience=PRIVATE)
    case = await call(door, "ReportCaseReply", name, outcome=REFUSED, detail="whispers_closed")
    assert (case.state, case.reply_pending) == (pb.CASE_STATE_ANSWERED, False)
    assert (await call(door, "ReturnCase", name, audience=PUBLIC)).reply_pending


@pytest.mark.parametrize(
    ("platform", "audience", "rule"),
    [("youtube", PRIVATE, "youtube-no-private"), ("facebook", PRIVATE, "facebook-closed")],
)
async def test_where_the_platform_forbids_it_nothing_leaves(
    clocked: Any, brand: str, platform: str, audience: Any, rule: str
) -> None:
    name = (await opened(clocked, brand, platform=platform)).name
    await call(clocked, "AnswerCase", name, text="Nous vous écrivons.")
    clocked.clock.advance(days=8)
    failure = await refused(call(clocked, "ReturnCase", name, audience=audience))
    assert (failure.reason, failure.metadata["rule"]) == ("WRONG_STATE", rule)
    view = await get(clocked, name)
    assert not view.case.reply_pending
    (private,) = [leg for leg in view.legs if leg.audience == PRIVATE]
    assert (private.verdict, private.rule) == (pb.LEG_VERDICT_DENIED, rule)
    assert set(private.explanation) == {"fr", "en"}
    assert private.source.startswith("https://")


async def test_one_private_reply_is_one(door: Any, brand: str) -> None:
    name = (await opened(door, brand, platform="facebook", kind=message_pb2.CHANNEL_KIND_COMMENT)).name
    await call(door, "AnswerCase", name, text="Nous vous écrivons.")
    await call(door, "ReturnCase", name, audience=PRIVATE)
    await call(door, "ReportCaseReply", name, outcome=REFUSED)
    assert (await refused(call(door, "ReturnCase", name, audience=PRIVATE))).metadata["rule"] == "facebook-closed"


async def test_what_was_private_stays_private(door: Any, brand: str) -> None:
    name = (await opened(door, brand, **IN_PRIVATE)).name
    await call(door, "AnswerCase", name, text="Nous avons vérifié votre dossier.")
    failure = await refused(call(door, "ReturnCase", name, audience=PUBLIC))
    assert failure.metadata["rule"] == "private-stays-private"
    assert (await call(door, "ReturnCase", name, audience=PRIVATE)).reply_pending


async def test_an_answer_meant_for_private_does_not_go_out_in_public(door: Any, brand: str) -> None:
    name = (await opened(door, brand)).name
    said = "Votre commande 4412 part demain matin de l'entrepôt de Lyon."
    await call(door, "AnswerCase", name, text=said, audience=PRIVATE)
    for text in ("", said, f"Bonjour ! {said}"):
        failure = await refused(call(door, "ReturnCase", name, text=text, audience=PUBLIC))
        assert failure.reason == "WRONG_STATE"
    assert (
        await call(door, "ReturnCase", name, text="C'est réglé, voyez vos messages.", audience=PUBLIC)
    ).reply_pending


async def test_neither_a_note_nor_what_the_author_wrote_in_private_is_repeated(door: Any, brand: str) -> None:
    secret = "mon fils est allergique et votre étiquette ne le disait pas"
    await door.decide(input_pb(brand, "in-private", ANGRY, text=secret, **IN_PRIVATE))
    name = (await opened(door, brand)).name
    note = "cliente connue du service juridique depuis mars dernier"
    await call(door, "AddCaseNote", name, text=note)
    await call(door, "AnswerCase", name, text=f"Vous disiez : « {secret} »")
    assert (await refused(call(door, "ReturnCase", name, audience=PUBLIC))).reason == "WRONG_STATE"
    for audience in (PUBLIC, PRIVATE):
        failure = await refused(call(door, "ReturnCase", name, text=f"Vous êtes {note}.", audience=audience))
        assert failure.reason == "WRONG_STATE"
    assert (await call(door, "ReturnCase", name, audience=PRIVATE)).reply_pending


async def test_the_same_request_again_is_the_same_answer(door: Any, brand: str) -> None:
    name = (await opened(door, brand)).name
    for _ in range(2):
        await call(door, "AnswerCase", name, text="une réponse", request_id="r1")
    assert [e.kind for e in (await get(door, name)).entries].count(pb.CASE_ENTRY_KIND_ANSWER) == 1
    failure = await refused(call(door, "AnswerCase", name, text="une autre", request_id="r1"))
    assert failure.reason == "REQUEST_ID_REUSED"


async def test_of_two_on_the_same_etag_one_wins(door: Any, brand: str) -> None:
    case = await opened(door, brand)
    racing = [call(door, "AnswerCase", case.name, actor=f"m{n}", text=f"n° {n}", etag=case.etag) for n in range(4)]
    results = await asyncio.gather(*racing, return_exceptions=True)
    lost = [failure_of(r).reason for r in results if isinstance(r, grpc.aio.AioRpcError)]
    assert lost == ["ETAG_MISMATCH"] * 3


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("AnswerCase", {"text": ""}),
        ("AnswerCase", {"text": "é" * 5000}),
        ("AnswerCase", {"text": "x", "audience": 9}),
        ("AddCaseNote", {"text": "  "}),
        ("ReturnCase", {"text": "x"}),
        ("ReturnCase", {"audience": PUBLIC}),
        ("AssignCase", {"assignee": "Cléo Martin"}),
        ("ReportCaseReply", {}),
        ("CloseCase", {"reason": "x", "request_id": "with a space"}),
    ],
)
async def test_what_is_wrong_is_named(door: Any, brand: str, method: str, fields: dict[str, Any]) -> None:
    name = (await opened(door, brand)).name
    if method == "ReturnCase" and "audience" in fields:
        failure = await refused(call(door, method, name, **fields))
        assert (failure.reason, failure.violations[0].field) == ("INVALID_FIELD", "text")
        return
    failure = await refused(call(door, method, name, **fields))
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT


async def test_closing_without_a_reply_needs_a_reason(door: Any, brand: str) -> None:
    name = (await opened(door, brand)).name
    assert (await refused(call(door, "CloseCase", name))).reason == "WRONG_STATE"
    case = await call(door, "CloseCase", name, reason="provocation: the brand stays silent")
    assert case.state == pb.CASE_STATE_CLOSED
    assert (await get(door, name)).entries[-1].text == "provocation: the brand stays silent"


async def test_the_list_is_by_due_time_and_pages(clocked: Any, brand: str) -> None:
    urgent = await opened(clocked, brand, "live")
    calm = [await opened(clocked, brand, f"c{n}", kind=message_pb2.CHANNEL_KIND_EMAIL) for n in range(4)]
    names, token = [], ""
    while True:
        request = pb.ListCasesRequest(parent=f"brands/{brand}", page_size=2, page_token=token)
        page = await clocked.case().ListCases(request)
        names += [case.name for case in page.cases]
        token = page.next_page_token
        if not token:
            break
    assert names[0] == urgent.name
    assert sorted(names[1:]) == sorted(case.name for case in calm)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, 1),
        ({"team": decisions.QUEUE_CARE}, 1),
        ({"team": decisions.QUEUE_LEGAL}, 0),
        ({"state": pb.CASE_STATE_OPEN}, 1),
        ({"state": pb.CASE_STATE_CLOSED}, 1),
        ({"late": True}, 0),
    ],
)
async def test_filters(door: Any, brand: str, filters: dict[str, Any], found: int) -> None:
    await opened(door, brand, "x1")
    await call(door, "CloseCase", (await opened(door, brand, "x2")).name, reason="twice the same")
    page = await door.case().ListCases(pb.ListCasesRequest(parent=f"brands/{brand}", **filters))
    assert len(page.cases) == found


async def run_late(door: Any) -> None:
    with acting_as(system_caller("route")):
        while await cases.run_late(door.deps):
            pass


async def test_late_is_told_once_and_an_answer_in_time_is_not_late(clocked: Any, brand: str) -> None:
    late, answered = await opened(clocked, brand, "x1"), await opened(clocked, brand, "x2")
    await call(clocked, "AnswerCase", answered.name, text="Voilà.")
    await call(clocked, "ReturnCase", answered.name, audience=PUBLIC)
    await call(clocked, "ReportCaseReply", answered.name, outcome=APPLIED)
    clocked.clock.set(START)
    clocked.clock.advance(seconds=599)
    await run_late(clocked)
    assert not (await get(clocked, late.name)).case.late
    clocked.clock.advance(seconds=1)
    await run_late(clocked)
    await run_late(clocked)
    view = await get(clocked, late.name)
    assert view.case.late
    assert [e.kind for e in view.entries].count(pb.CASE_ENTRY_KIND_LATE) == 1
    assert not (await get(clocked, answered.name)).case.late
    page = await clocked.case().ListCases(pb.ListCasesRequest(parent=f"brands/{brand}", late=True))
    assert [case.name for case in page.cases] == [late.name]


async def test_changes_are_followed_with_the_case_and_its_message(door: Any, brand: str) -> None:
    name = (await opened(door, brand)).name
    await call(door, "AnswerCase", name, text="Voilà.")
    call_ = door.case(roles=["service"]).FollowCases(pb.FollowCasesRequest(parent=f"brands/{brand}"), timeout=20)
    start, first, second = [await asyncio.wait_for(call_.read(), 10) for _ in range(3)]
    call_.cancel()
    assert not start.HasField("case")
    assert (first.entry.kind, second.entry.kind) == (pb.CASE_ENTRY_KIND_OPENED, pb.CASE_ENTRY_KIND_ANSWER)
    assert (second.case.name, second.entry.text, second.message.text) == (name, "Voilà.", "bonjour à tous")


async def test_when_the_message_is_gone_what_was_written_about_it_is_blank(clocked: Any, brand: str) -> None:
    name = (await opened(clocked, brand)).name
    await call(clocked, "AddCaseNote", name, text="canari note")
    await call(clocked, "AnswerCase", name, text="canari réponse")
    await clocked.decide(input_pb(brand, "x", reading(), text="", gone=True))
    view = await get(clocked, name)
    assert view.message.gone
    assert [entry.text for entry in view.entries] == ["", "", ""]
    assert (await refused(call(clocked, "ReturnCase", name, text="x", audience=PUBLIC))).reason == "MESSAGE_GONE"
    assert (await refused(call(clocked, "AddCaseNote", name, text="canari"))).reason == "MESSAGE_GONE"
    async with clocked.deps.db.read() as conn:
        for table in ("cases", "case_entries", "case_deliveries"):
            dump = await conn.scalar(sa.text(f"select coalesce(string_agg(t::text, ''), '') from {table} t"))
            assert "canari" not in str(dump)


async def test_quotas_are_counted_by_brand(clocked: Any, brand: str) -> None:
    for n in range(40):
        name = (await opened(clocked, brand, f"x{n}")).name
        await call(clocked, "AnswerCase", name, text="Voilà.")
        await call(clocked, "ReturnCase", name, audience=PRIVATE)
    name = (await opened(clocked, brand, "one-more")).name
    await call(clocked, "AnswerCase", name, text="Voilà.")
    assert (await refused(call(clocked, "ReturnCase", name, audience=PRIVATE))).metadata["rule"] == "twitch-whisper"
    clocked.clock.advance(days=1, seconds=1)
    assert (await call(clocked, "ReturnCase", name, audience=PRIVATE)).reply_pending


async def test_the_lists_use_their_indexes(clocked: Any, brand: str) -> None:
    name = (await opened(clocked, brand)).name
    async with clocked.deps.db.engine.begin() as conn:
        await conn.execute(
            sa.text(
                "insert into cases select (jsonb_populate_record(c, jsonb_build_object("
                "'id', 'n' || n, 'message', 'm' || n, 'due_time', c.due_time + n * interval '1 second', "
                "'brand', case when n % 20 = 0 then c.brand else 'other-' || n % 20 end))).* "
                "from cases c, generate_series(1, 10000) n where c.id = :id"
            ),
            {"id": name.rpartition("/")[2]},
        )
        await conn.execute(sa.text("analyze cases"))
        plans = {
            "ix_cases_brand_due": f"select * from cases where state < 5 and brand in ('{brand}') "
            "and (due_time, id) > (timestamptz '2026-01-01', 'a') order by due_time, id limit 51",
            "ix_cases_owed": "select * from cases where state < 4 and not late and due_time <= "
            "timestamptz '2026-01-01' order by due_time limit 100",
        }
        for index, query in plans.items():
            plan = "\n".join(row[0] for row in await conn.execute(sa.text(f"explain {query}")))
            assert index in plan
            assert "Sort" not in plan.replace("Incremental Sort", "")
        await conn.execute(sa.text("delete from cases where id like 'n%'"))
