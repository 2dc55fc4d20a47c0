"""A brand's approved answers, over RPC and PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from apaise.route.v1 import answer_service_pb2 as pb
from apaise.route.v1 import charter_service_pb2 as charters
from apaise.route.v1 import reply_service_pb2 as replies
from apaise.type.v1 import message_pb2
from apaise_kit.runtime.status import failure_of
from apaise_route.testing import input_pb, reading

ASKED = "combien de temps pour recevoir un colis"
TEXT = "Comptez trois jours ouvrés après l'expédition."
QUESTION = reading(["question"])
LEAD: dict[str, Any] = {"actor": "lea", "roles": ["lead"]}
MODERATOR: dict[str, Any] = {"actor": "mo", "roles": ["moderator"]}


async def add(door: Any, brand: str, caller: dict[str, Any], text: str = TEXT, **fields: Any) -> pb.Answer:
    given = pb.Answer(language=fields.pop("language", "fr"), text=text, questions=fields.pop("questions", [ASKED]))
    for name, value in fields.items():
        setattr(given, name, value)
    request = pb.AddAnswerRequest(parent=f"brands/{brand}", answer=given)
    added: pb.Answer = (await door.answer(**caller).AddAnswer(request)).answer
    return added


async def listed(door: Any, brand: str, state: pb.AnswerState.ValueType | None = None) -> list[pb.Answer]:
    request = pb.ListAnswersRequest(parent=f"brands/{brand}", state=state or pb.ANSWER_STATE_UNSPECIFIED)
    return list((await door.answer(**MODERATOR).ListAnswers(request)).answers)


async def message(door: Any, brand: str, text: str = ASKED, assessment: Any = QUESTION, **fields: Any) -> str:
    (decision,) = await door.decide(input_pb(brand, fields.pop("external_id", "x"), assessment, text=text, **fields))
    return str(decision.message)


async def drafted(door: Any, name: str, posture: str = "") -> replies.DraftReplyResponse:
    found: replies.DraftReplyResponse = await door.reply().DraftReply(
        replies.DraftReplyRequest(message=name, posture=posture)
    )
    return found


async def refused(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return failure_of(error.value)


# -- the base


async def test_a_lead_adds_and_it_counts_a_moderator_proposes(door: Any, brand: str) -> None:
    proposed = await add(door, brand, MODERATOR)
    assert (proposed.state, proposed.create_actor, proposed.approve_actor) == (pb.ANSWER_STATE_PROPOSED, "mo", "")
    assert (list(proposed.questions), list(proposed.proposed_questions)) == ([], [ASKED])
    approved = await add(door, brand, LEAD)
    assert (approved.name, approved.state) == (proposed.name, pb.ANSWER_STATE_ACTIVE)
    assert (approved.create_actor, approved.approve_actor) == ("mo", "lea")
    assert (list(approved.questions), approved.origin) == ([ASKED], pb.ANSWER_ORIGIN_WRITTEN)
    assert await listed(door, brand) == [approved]


async def test_the_same_again_changes_nothing(door: Any, brand: str) -> None:
    first = await add(door, brand, LEAD)
    assert await add(door, brand, LEAD, text=f"  {TEXT} ") == first
    assert await add(door, brand, MODERATOR) == first
    many = await asyncio.gather(*(add(door, brand, MODERATOR, "Autre chose.") for _ in range(6)))
    assert {one.etag for one in many} == {"1"}
    assert len(await listed(door, brand)) == 2


async def test_what_a_moderator_adds_to_an_active_answer_waits(clocked: Any, brand: str) -> None:
    await add(clocked, brand, LEAD)
    more = await add(clocked, brand, MODERATOR, questions=["mon paquet met des semaines"])
    assert (more.state, list(more.questions)) == (pb.ANSWER_STATE_ACTIVE, [ASKED])
    assert list(more.proposed_questions) == ["mon paquet met des semaines"]
    assert [one.name for one in await listed(clocked, brand, pb.ANSWER_STATE_PROPOSED)] == [more.name]
    late = await message(clocked, brand, "mon paquet met des semaines")
    assert not (await drafted(clocked, late)).answer
    stub = clocked.answer(**LEAD)
    stale = await refused(stub.ApproveAnswer(pb.ApproveAnswerRequest(name=more.name, etag="1")))
    assert stale.reason == "ETAG_MISMATCH"
    approved = (await stub.ApproveAnswer(pb.ApproveAnswerRequest(name=more.name, etag=more.etag))).answer
    assert sorted(approved.questions) == sorted([ASKED, "mon paquet met des semaines"])
    assert (await drafted(clocked, late)).answer == approved.name
    again = await stub.ApproveAnswer(pb.ApproveAnswerRequest(name=more.name))
    assert again.answer == approved


async def test_a_retired_answer_answers_nothing_and_comes_back_by_a_lead(clocked: Any, brand: str) -> None:
    added, name = await add(clocked, brand, LEAD), await message(clocked, brand)
    assert (await drafted(clocked, name)).answer == added.name
    stub = clocked.answer(**LEAD)
    retired = (await stub.RetireAnswer(pb.RetireAnswerRequest(name=added.name))).answer
    assert retired.state == pb.ANSWER_STATE_RETIRED
    assert (await stub.RetireAnswer(pb.RetireAnswerRequest(name=added.name))).answer == retired
    assert (await drafted(clocked, name)).scenario == "question/explain"
    assert (await refused(stub.ApproveAnswer(pb.ApproveAnswerRequest(name=added.name)))).reason == "WRONG_STATE"
    assert (await add(clocked, brand, MODERATOR)).state == pb.ANSWER_STATE_PROPOSED
    assert not (await drafted(clocked, name)).answer
    assert (await add(clocked, brand, LEAD)).state == pb.ANSWER_STATE_ACTIVE
    assert (await drafted(clocked, name)).answer == added.name


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"text": ""}, "answer.text"),
        ({"text": "x" * 2001}, "answer.text"),
        ({"language": "French"}, "answer.language"),
        ({"questions": []}, "answer.questions"),
        ({"questions": ["y" * 501]}, "answer.questions[0]"),
        ({"questions": [f"q{n}" for n in range(51)]}, "answer.questions"),
        ({"intent": "smalltalk"}, "answer.intent"),
        ({"posture": "ironic"}, "answer.posture"),
        ({"posture": "light_humour"}, "answer.posture"),
        ({"text": "Demandez à marie.dupont@example.org"}, "answer.text"),
        ({"questions": ["Où est la commande n° A-48213 ?"]}, "answer.questions[0]"),
    ],
)
async def test_what_cannot_be_an_answer(door: Any, brand: str, fields: dict[str, Any], field: str) -> None:
    failure = await refused(add(door, brand, LEAD, **fields))
    assert (failure.reason, failure.violations[0].field) == ("INVALID_FIELD", field)
    assert "48213" not in failure.message
    assert "dupont" not in failure.message
    assert await listed(door, brand) == []


async def test_a_brands_own_contacts_are_for_a_lead_to_say(door: Any, brand: str) -> None:
    ours = "Écrivez à aide@boutique.example ou appelez le 01 70 12 34 56."
    assert (await refused(add(door, brand, LEAD, ours))).violations[0].field == "answer.text"
    refusal = await refused(add(door, brand, MODERATOR, ours, own_contacts=True))
    assert refusal.violations[0].field == "answer.own_contacts"
    assert (await add(door, brand, LEAD, ours, own_contacts=True)).state == pb.ANSWER_STATE_ACTIVE
    order = await refused(add(door, brand, LEAD, "Commande 4821399 expédiée.", own_contacts=True))
    assert order.violations[0].field == "answer.text"


async def test_pages_follow_one_another(clocked: Any, brand: str) -> None:
    for n in range(5):
        clocked.clock.advance(seconds=1)
        await add(clocked, brand, LEAD, f"Réponse {n}.")
    token, seen = "", []
    while True:
        page = await clocked.answer().ListAnswers(
            pb.ListAnswersRequest(parent=f"brands/{brand}", page_size=2, page_token=token)
        )
        seen += [one.text for one in page.answers]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"Réponse {n}." for n in (4, 3, 2, 1, 0)]


# -- drafts


async def test_a_draft_is_the_nearest_answer_and_cites_it(clocked: Any, brand: str) -> None:
    added = await add(clocked, brand, LEAD)
    await add(clocked, brand, LEAD, "Oui, dans les trente jours.", questions=["peut-on rendre un article"])
    found = await drafted(clocked, await message(clocked, brand, f"{ASKED.upper()} ?"))
    assert (found.text, found.answer, found.scenario) == (TEXT, added.name, "")
    assert found.similarity == 1
    assert (found.language, found.audience) == ("fr", message_pb2.AUDIENCE_PUBLIC)
    assert clocked.words.asked == [TEXT]


async def test_too_far_is_no_answer(clocked: Any, brand: str) -> None:
    await add(clocked, brand, LEAD)
    found = await drafted(clocked, await message(clocked, brand, "combien de temps dure la pile"))
    assert (found.answer, found.scenario) == ("", "question/explain")


async def test_another_brand_and_another_language_answer_nothing(clocked: Any, brand: str) -> None:
    await add(clocked, f"{brand}-2", LEAD)
    await add(clocked, brand, LEAD, "Three working days.", language="en")
    name = await message(clocked, brand)
    assert (await drafted(clocked, name)).scenario == "question/explain"
    found = await clocked.answer().FindAnswers(pb.FindAnswersRequest(parent=f"brands/{brand}", text=ASKED))
    assert list(found.found) == []
    found = await clocked.answer().FindAnswers(
        pb.FindAnswersRequest(parent=f"brands/{brand}", text=ASKED, language="en")
    )
    assert [one.similarity for one in found.found] == [1]


async def test_an_answer_that_would_not_show_gives_way_to_a_scenario(clocked: Any, brand: str) -> None:
    await add(clocked, brand, LEAD, "Trois jours, canari.")
    clocked.words.words = {"canari": "threat"}
    found = await drafted(clocked, await message(clocked, brand))
    assert (found.answer, found.scenario) == ("", "question/explain")
    clocked.words.words["bonne question"] = "threat"
    found = await drafted(clocked, await message(clocked, brand))
    assert (found.text, found.note) == ("", replies.DRAFT_NOTE_WOULD_NOT_SHOW)


async def test_an_answer_for_one_intent_is_for_that_one(clocked: Any, brand: str) -> None:
    await add(clocked, brand, LEAD, "Nous sommes désolés de ce retard.", intent="complaint", posture="apologise")
    asked = await drafted(clocked, await message(clocked, brand))
    assert asked.scenario == "question/explain"
    grieved = await drafted(clocked, await message(clocked, brand, external_id="y", assessment=reading(["complaint"])))
    assert (grieved.text, grieved.posture) == ("Nous sommes désolés de ce retard.", "apologise")


async def test_distress_is_a_persons_whatever_the_base_holds(clocked: Any, brand: str) -> None:
    await add(clocked, brand, LEAD)
    name = await message(clocked, brand, assessment=reading(["question", "distress"]))
    found = await drafted(clocked, name)
    assert (found.text, found.note) == ("", replies.DRAFT_NOTE_A_PERSON_FIRST)
    kept = await refused(clocked.answer(**LEAD).KeepReply(pb.KeepReplyRequest(message=name, text=TEXT)))
    assert kept.reason == "WRONG_STATE"


async def test_another_encoder_makes_the_vectors_again(clocked: Any, brand: str) -> None:
    added, name = await add(clocked, brand, LEAD), await message(clocked, brand)
    await keep(clocked, LEAD, await message(clocked, brand, "délai de livraison", external_id="y"), TEXT)
    clocked.words.encoder = "the-next-one"
    clocked.words.embedded.clear()
    assert (await drafted(clocked, name)).answer == added.name
    assert sorted(clocked.words.embedded) == sorted([ASKED, ASKED, "délai de livraison"])
    clocked.words.embedded.clear()
    assert (await drafted(clocked, name)).answer == added.name
    assert clocked.words.embedded == [ASKED]


# -- keeping what was replied


async def keep(door: Any, caller: dict[str, Any], name: str, text: str, **fields: Any) -> pb.Answer:
    request = pb.KeepReplyRequest(message=name, text=text, **fields)
    kept: pb.Answer = (await door.answer(**caller).KeepReply(request)).answer
    return kept


async def test_an_accepted_draft_becomes_a_proposal_then_answers_the_like(clocked: Any, brand: str) -> None:
    name = await message(clocked, brand)
    draft = await drafted(clocked, name)
    kept = await keep(clocked, MODERATOR, name, draft.text, scenario=draft.scenario)
    assert (kept.state, kept.origin, kept.intent) == (pb.ANSWER_STATE_PROPOSED, pb.ANSWER_ORIGIN_ACCEPTED, "question")
    assert list(kept.proposed_messages) == [name]
    assert not (await drafted(clocked, name)).answer
    await clocked.answer(**LEAD).ApproveAnswer(pb.ApproveAnswerRequest(name=kept.name))
    found = await drafted(clocked, await message(clocked, brand, ASKED, external_id="y"))
    assert (found.answer, found.similarity) == (kept.name, 1)


async def test_an_edited_draft_is_another_answer_and_a_leads_counts_at_once(clocked: Any, brand: str) -> None:
    added, name = await add(clocked, brand, LEAD, intent="question"), await message(clocked, brand)
    kept = await keep(clocked, LEAD, name, "Comptez deux jours ouvrés.", answer=added.name, questions=["Quel délai ?"])
    assert (kept.state, kept.origin, kept.intent) == (pb.ANSWER_STATE_ACTIVE, pb.ANSWER_ORIGIN_EDITED, "question")
    assert (list(kept.questions), list(kept.messages)) == (["Quel délai ?"], [name])
    same = await keep(clocked, LEAD, name, TEXT, answer=added.name)
    assert (same.name, same.origin, list(same.messages)) == (added.name, pb.ANSWER_ORIGIN_WRITTEN, [name])


async def test_a_reply_to_mockery_is_kept_as_a_joke(clocked: Any, brand: str) -> None:
    pub = "votre pub on dirait mon neveu sous paint"
    mocked = await message(clocked, brand, pub, reading(["mockery"]))
    kept = await keep(clocked, LEAD, mocked, "Votre neveu a du talent, qu'il postule !")
    assert (kept.intent, kept.posture) == ("mockery", "light_humour")
    assert (await drafted(clocked, mocked)).answer == kept.name
    hurt = await message(clocked, brand, pub, reading(["mockery", "complaint"]), external_id="y")
    assert (await drafted(clocked, hurt)).scenario.startswith("complaint/")
    assert (await drafted(clocked, hurt, "light_humour")).note == replies.DRAFT_NOTE_NO_HUMOUR


async def test_nothing_of_a_private_message_is_kept(clocked: Any, brand: str) -> None:
    secret = "mon fils canari attend son colis depuis lundi à Lyon"
    private = {"audience": message_pb2.AUDIENCE_PRIVATE, "kind": message_pb2.CHANNEL_KIND_PRIVATE_MESSAGE}
    name = await message(clocked, brand, secret, **private)
    without = await refused(keep(clocked, LEAD, name, TEXT))
    assert without.violations[0].field == "questions"
    repeated = await refused(keep(clocked, LEAD, name, TEXT, questions=[secret]))
    assert repeated.violations[0].field == "questions[0]"
    said = await refused(keep(clocked, LEAD, name, f"Bonjour, {secret} : trois jours.", questions=["Quel délai ?"]))
    assert said.violations[0].field == "text"
    kept = await keep(clocked, LEAD, name, TEXT, questions=["Quel délai ?"])
    assert (list(kept.questions), list(kept.messages)) == (["Quel délai ?"], [])
    async with clocked.deps.db.read() as conn:
        for table in ("answers", "answer_examples"):
            query = sa.text(f"select string_agg(t::text, '') from {table} t where brand = :brand")
            dump = await conn.scalar(query, {"brand": brand})
            assert dump
            assert "canari" not in str(dump)
            assert name.rpartition("/")[2] not in str(dump)
    public = await message(clocked, brand, "et en public ?", external_id="y")
    elsewhere = await refused(keep(clocked, LEAD, public, f"Comme dit : {secret}"))
    assert elsewhere.violations[0].field == "text"


@pytest.mark.parametrize(
    "text",
    [
        "Bonjour Someone, trois jours.",
        "Bonjour @marie_93 !",
        "Votre commande 20231187 part.",
        "Au 06 12 34 56 78",
    ],
)
async def test_a_person_does_not_enter_the_base(door: Any, brand: str, text: str) -> None:
    name = await message(door, brand)
    assert (await refused(keep(door, LEAD, name, text))).reason == "INVALID_FIELD"
    assert await listed(door, brand) == []


async def test_a_message_that_goes_takes_its_example_along(clocked: Any, brand: str) -> None:
    name = await message(clocked, brand)
    kept = await keep(clocked, LEAD, name, TEXT, questions=["Quel délai ?"])
    await message(clocked, brand, "", reading(), gone=True)
    (left,) = await listed(clocked, brand)
    assert (left.name, list(left.messages), list(left.questions)) == (kept.name, [], ["Quel délai ?"])
    assert (await refused(keep(clocked, LEAD, name, TEXT))).reason == "MESSAGE_GONE"


async def test_what_was_cited_must_be_there(door: Any, brand: str) -> None:
    name = await message(door, brand)
    missing = await refused(keep(door, LEAD, name, TEXT, answer=f"brands/{brand}/answers/none"))
    assert missing.reason == "NOT_FOUND"
    unknown = await refused(keep(door, LEAD, name, TEXT, scenario="question/sing"))
    assert unknown.violations[0].field == "scenario"
    other = await refused(keep(door, LEAD, name, TEXT, answer=f"brands/{brand}-2/answers/none"))
    assert other.violations[0].field == "answer"


async def test_a_language_nobody_knows_is_the_charters(clocked: Any, brand: str) -> None:
    source = "name: t\nlanguage: en\nclauses: []\n"
    made = await clocked.charter().CreateCharter(
        charters.CreateCharterRequest(parent=f"brands/{brand}", charter=charters.Charter(source=source))
    )
    await clocked.charter().ActivateCharter(charters.ActivateCharterRequest(name=made.charter.name))
    added = await add(clocked, brand, LEAD, "Three working days.", language="en")
    await add(clocked, brand, LEAD, language="fr")
    found = await clocked.answer().FindAnswers(pb.FindAnswersRequest(parent=f"brands/{brand}", text=ASKED))
    assert [one.answer.name for one in found.found] == [added.name]
    assert found.found[0].similarity == 1
    assert found.found[0].near_enough
