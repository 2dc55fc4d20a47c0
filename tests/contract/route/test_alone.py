"""Replies without a person, over PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

from apaise.route.v1 import answer_service_pb2 as answers
from apaise.route.v1 import case_service_pb2 as cases
from apaise.route.v1 import charter_service_pb2 as charters
from apaise.type.v1 import message_pb2
from apaise_kit.core.caller import acting_as, system_caller
from apaise_route.app.alone import reply_alone, reply_to
from apaise_route.testing import input_pb, reading

ASKED = "combien de temps pour recevoir un colis"
TEXT = "Comptez trois jours ouvrés."
QUESTION = reading(["question"])
HIDES = "[{id: threat, when: yes.threat, visibility: HIDE, explain: {fr: Menace, en: Threat}}]"
LEAVE = "replies: {alone: [question], most: 2, per: 1h}\n"


async def prepared(door: Any, brand: str, leave: str = LEAVE) -> str:
    source = f"name: t\nlanguage: fr\naudit_share: 0\nclauses: {HIDES}\n{leave}"
    request = charters.CreateCharterRequest(parent=f"brands/{brand}", charter=charters.Charter(source=source))
    made = (await door.charter().CreateCharter(request)).charter
    await door.charter().ActivateCharter(charters.ActivateCharterRequest(name=made.name))
    given = answers.Answer(language="fr", text=TEXT, questions=[ASKED])
    added = await door.answer().AddAnswer(answers.AddAnswerRequest(parent=f"brands/{brand}", answer=given))
    return str(added.answer.name)


async def asked(door: Any, brand: str, external_id: str = "x", assessment: Any = QUESTION, **fields: Any) -> str:
    fields = {"text": ASKED, **fields}
    (decision,) = await door.decide(input_pb(brand, external_id, assessment, **fields))
    return str(decision.message).rpartition("/")[2]


async def replied(door: Any, brand: str, message: str) -> bool:
    with acting_as(system_caller("route")):
        return await reply_to(door.deps, brand, message)


async def sent(door: Any, brand: str) -> list[cases.GetCaseResponse]:
    found = await door.case().ListCases(cases.ListCasesRequest(parent=f"brands/{brand}"))
    return [await door.case().GetCase(cases.GetCaseRequest(name=case.name)) for case in found.cases]


async def test_a_reply_goes_by_the_return_leg_and_says_where_it_comes_from(clocked: Any, brand: str) -> None:
    answer = await prepared(clocked, brand)
    message = await asked(clocked, brand)
    assert await replied(clocked, brand, message)
    (view,) = await sent(clocked, brand)
    kinds = [cases.CaseEntryKind.Name(entry.kind).removeprefix("CASE_ENTRY_KIND_") for entry in view.entries]
    assert kinds == ["OPENED", "NOTE", "ANSWER", "REPLY"]
    assert answer in view.entries[1].text
    assert (view.entries[3].text, view.entries[3].actor) == (TEXT, "system:route")
    assert view.entries[3].audience == message_pb2.AUDIENCE_PUBLIC
    assert not await replied(clocked, brand, message)
    assert len(await sent(clocked, brand)) == 1


async def test_nothing_is_sent_without_leave(clocked: Any, brand: str) -> None:
    await prepared(clocked, brand, "")
    assert not await replied(clocked, brand, await asked(clocked, brand))
    assert await sent(clocked, brand) == []


async def test_nothing_is_sent_from_a_scenario_or_a_far_answer(clocked: Any, brand: str) -> None:
    await prepared(clocked, brand)
    assert not await replied(clocked, brand, await asked(clocked, brand, text="combien de temps dure la pile"))


async def test_a_complaint_and_distress_wait_for_a_person(clocked: Any, brand: str) -> None:
    await prepared(clocked, brand)
    for number, labels in enumerate((["question", "complaint"], ["question", "distress"], ["question", "anger"])):
        assert not await replied(clocked, brand, await asked(clocked, brand, f"x{number}", reading(labels)))
    assert await sent(clocked, brand) == []


async def test_the_quota_is_kept(clocked: Any, brand: str) -> None:
    await prepared(clocked, brand)
    messages = [await asked(clocked, brand, f"x{number}") for number in range(4)]
    assert [await replied(clocked, brand, message) for message in messages] == [True, True, False, False]
    clocked.clock.advance(hours=1, seconds=1)
    assert await replied(clocked, brand, messages[2])


async def test_a_reply_that_would_not_show_stays(clocked: Any, brand: str) -> None:
    await prepared(clocked, brand)
    clocked.words.words = {"ouvrés": "threat"}
    message = await asked(clocked, brand)
    assert not await replied(clocked, brand, message)
    clocked.words.words = {}
    assert await replied(clocked, brand, message)


async def test_a_reply_that_repeats_what_is_private_stays(clocked: Any, brand: str) -> None:
    await prepared(clocked, brand)
    private = {"audience": message_pb2.AUDIENCE_PRIVATE, "kind": message_pb2.CHANNEL_KIND_PRIVATE_MESSAGE}
    await asked(clocked, brand, "p", text="comptez trois jours ouvrés", **private)
    assert not await replied(clocked, brand, await asked(clocked, brand))


async def test_who_has_a_case_has_people(clocked: Any, brand: str) -> None:
    await prepared(clocked, brand)
    message = await asked(clocked, brand)
    await clocked.case().OpenCase(cases.OpenCaseRequest(message=f"brands/{brand}/messages/{message}"))
    assert not await replied(clocked, brand, message)


async def test_what_is_decided_from_now_on_is_answered(clocked: Any, brand: str) -> None:
    await prepared(clocked, brand)
    before = await asked(clocked, brand, "before")
    with acting_as(system_caller("route")):
        listening = asyncio.create_task(reply_alone(clocked.deps))
    found: list[cases.GetCaseResponse] = []
    for number in range(60):
        await asked(clocked, brand, f"after{number}")
        await asyncio.sleep(0.3)
        if found := await sent(clocked, brand):
            break
    listening.cancel()
    await asyncio.wait({listening})
    assert found
    assert not [view for view in found if view.message.name.endswith(before)]
