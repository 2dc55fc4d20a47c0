"""CharterService at work: going back, looking before one leaps, words for an evening."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from apaise.route.v1 import charter_service_pb2 as charters
from apaise.route.v1 import decision_pb2 as pb
from apaise_kit.runtime.status import failure_of
from apaise_route.testing import input_pb, reading

MILD = """\
name: mild
language: en
audit_share: 0
lists: {tonight: {live: true}, fixed: {words: [zut]}}
clauses:
  - {id: praise, when: yes.praise, queue: animation, explain: {en: Praise}}
  - {id: tonight, when: lists.tonight, visibility: HIDE, explain: {en: A word of tonight}}
"""
STRICT = MILD.replace("queue: animation", "visibility: HIDE")
BROKEN = MILD.replace("yes.praise", "yes.prais")


async def create(door: Any, brand: str, source: str) -> str:
    request = charters.CreateCharterRequest(parent=f"brands/{brand}", charter=charters.Charter(source=source))
    return str((await door.charter().CreateCharter(request)).charter.name)


async def apply(door: Any, brand: str, source: str) -> str:
    name = await create(door, brand, source)
    await door.charter().ActivateCharter(charters.ActivateCharterRequest(name=name))
    return name


async def rollback(door: Any, brand: str, etag: str = "") -> charters.Charter:
    request = charters.RollbackCharterRequest(parent=f"brands/{brand}", etag=etag)
    response: charters.RollbackCharterResponse = await door.charter().RollbackCharter(request)
    return response.charter


async def add(door: Any, brand: str, word: str, only: bool = False, **more: Any) -> charters.AddLiveWordResponse:
    given = charters.LiveWord(list=more.pop("list", "tonight"), word=word, kind=more.pop("kind", 1))
    request = charters.AddLiveWordRequest(parent=f"brands/{brand}", live_word=given, validate_only=only, **more)
    response: charters.AddLiveWordResponse = await door.charter(actor="lea").AddLiveWord(request)
    return response


async def shadow(door: Any, brand: str) -> charters.Shadow:
    response: charters.GetShadowResponse = await door.charter().GetShadow(
        charters.GetShadowRequest(parent=f"brands/{brand}")
    )
    return response.shadow


async def test_rolling_back_puts_what_was_before_in_force(door: Any, brand: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rollback(door, brand)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    first = await apply(door, brand, MILD)
    second = await apply(door, brand, STRICT)
    back = await rollback(door, brand)
    assert (back.name, back.active) == (first, True)
    (decision,) = await door.decide(input_pb(brand, "x", reading(["praise"])))
    assert (decision.charter, decision.visibility) == (first, pb.VISIBILITY_KEEP)
    assert (await rollback(door, brand)).name == second


async def test_the_first_charter_rolls_back_to_the_default_one(door: Any, brand: str) -> None:
    await apply(door, brand, STRICT)
    assert (await rollback(door, brand)).name == "defaults/charters/1"
    (decision,) = await door.decide(input_pb(brand, "x", reading(["praise"])))
    assert decision.charter == "defaults/charters/1"


async def test_a_rollback_on_an_old_etag_is_refused(door: Any, brand: str) -> None:
    await apply(door, brand, MILD)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rollback(door, brand, "0")
    assert refused.value.code() == grpc.StatusCode.ABORTED


async def test_a_diff_tells_what_would_change_and_changes_nothing(door: Any, brand: str) -> None:
    await apply(door, brand, MILD)
    said = [["praise"], ["praise", "joy"], ["complaint"], []]
    await door.decide(*[input_pb(brand, f"x{n}", reading(labels)) for n, labels in enumerate(said)])
    request = charters.DiffCharterRequest(parent=f"brands/{brand}", source=STRICT)
    diff = await door.charter().DiffCharter(request)
    assert (diff.charter, diff.compared, diff.changed) == (f"brands/{brand}/charters/1", 4, 2)
    (change,) = diff.changes
    assert (change.visibility_before, change.visibility_after) == (pb.VISIBILITY_KEEP, pb.VISIBILITY_HIDE)
    assert {(found.label, found.messages, found.changed) for found in diff.labels} == {("praise", 2, 2), ("joy", 1, 1)}
    assert {(found.queue, found.before, found.after) for found in diff.queues} == {
        (pb.QUEUE_UNSPECIFIED, 2, 4),
        (pb.QUEUE_ANIMATION, 2, 0),
    }
    assert {example.clause_after for example in diff.examples} == {"praise"}
    same = await door.charter().DiffCharter(charters.DiffCharterRequest(parent=f"brands/{brand}", source=MILD))
    assert (same.compared, same.changed) == (4, 0)
    listed = await door.charter().ListCharters(charters.ListChartersRequest(parent=f"brands/{brand}"))
    assert len(listed.charters) == 1


async def test_a_diff_of_a_text_that_does_not_compile(door: Any, brand: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await door.charter().DiffCharter(charters.DiffCharterRequest(parent=f"brands/{brand}", source=BROKEN))
    assert failure_of(refused.value).reason == "CHARTER_INVALID"


async def test_a_shadow_counts_and_does_not_act(door: Any, brand: str) -> None:
    await apply(door, brand, MILD)
    name = await create(door, brand, STRICT)
    await door.charter().StartShadow(charters.StartShadowRequest(name=name))
    said = [["praise"], ["complaint"], ["praise"]]
    decided = await door.decide(*[input_pb(brand, f"x{n}", reading(labels)) for n, labels in enumerate(said)])
    assert {decision.visibility for decision in decided} == {pb.VISIBILITY_KEEP}
    await door.decide(input_pb(brand, "x0", reading(["praise"])))  # a repeat is decided, and counted, once
    found = await shadow(door, brand)
    assert (found.charter, found.compared, found.changed) == (name, 3, 2)
    (change,) = found.changes
    assert (change.visibility_after, change.messages) == (pb.VISIBILITY_HIDE, 2)
    await door.charter().StopShadow(charters.StopShadowRequest(parent=f"brands/{brand}"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shadow(door, brand)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_live_word_says_what_it_would_have_hit_then_counts_at_once(door: Any, brand: str) -> None:
    await apply(door, brand, MILD)
    await door.decide(
        *[input_pb(brand, f"x{n}", reading(), text=t) for n, t in enumerate(["Flûte !", "ah", "f.l.u.t.e"])]
    )
    looked = await add(door, brand, "flute", only=True)
    assert (looked.hits, looked.seen, looked.live_word.name) == (2, 3, "")
    (before,) = await door.decide(input_pb(brand, "y1", reading(), text="flute"))
    assert before.visibility == pb.VISIBILITY_KEEP
    added = await add(door, brand, "flute")
    assert added.live_word.create_actor == "lea"
    assert added.live_word.expire_time.seconds - added.live_word.create_time.seconds == 4 * 3600
    (after,) = await door.decide(input_pb(brand, "y2", reading(), text="flute"))
    assert (after.visibility, after.clause) == (pb.VISIBILITY_HIDE, "tonight")
    listed = await door.charter().ListLiveWords(charters.ListLiveWordsRequest(parent=f"brands/{brand}"))
    assert [word.word for word in listed.live_words] == ["flute"]
    for _ in range(2):
        await door.charter().RemoveLiveWord(charters.RemoveLiveWordRequest(name=added.live_word.name))
    (gone,) = await door.decide(input_pb(brand, "y3", reading(), text="flute"))
    assert gone.visibility == pb.VISIBILITY_KEEP


async def test_a_live_word_expires(clocked: Any, brand: str) -> None:
    await apply(clocked, brand, MILD)
    await add(clocked, brand, "flute", ttl=Duration(seconds=3600))
    clocked.clock.advance(minutes=59)
    (during,) = await clocked.decide(input_pb(brand, "y1", reading(), text="flute"))
    clocked.clock.advance(minutes=1)
    (after,) = await clocked.decide(input_pb(brand, "y2", reading(), text="flute"))
    assert [d.visibility for d in (during, after)] == [pb.VISIBILITY_HIDE, pb.VISIBILITY_KEEP]


@pytest.mark.parametrize(
    ("word", "more", "code", "hint"),
    [
        ("flute", {"list": "tonigt"}, "FAILED_PRECONDITION", "Did you mean tonight?"),
        ("flute", {"list": "fixed"}, "FAILED_PRECONDITION", "There are: tonight."),
        ("...", {}, "INVALID_ARGUMENT", "a letter or a digit"),
        ("flute", {"kind": 0}, "INVALID_ARGUMENT", "WORD, NAME or HASHTAG"),
        ("flute", {"ttl": Duration(seconds=1)}, "INVALID_ARGUMENT", "one minute to 30 days"),
    ],
)
async def test_a_live_word_that_could_not_count_is_refused(
    door: Any, brand: str, word: str, more: dict[str, Any], code: str, hint: str
) -> None:
    await apply(door, brand, MILD)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await add(door, brand, word, **more)
    failure = failure_of(refused.value)
    assert refused.value.code().name == code
    assert hint in failure.message + "".join(violation.description for violation in failure.violations)


async def test_a_quota_counts_what_was_taken_down_in_the_channel(clocked: Any, brand: str) -> None:
    await apply(clocked, brand, STRICT + "quota: {actions: 2, per: 1m}\n")
    batch = await clocked.decide(*[input_pb(brand, f"x{n}", reading(["praise"])) for n in range(3)])
    assert [d.clause for d in batch] == ["praise", "praise", "action-quota"]
    (still,) = await clocked.decide(input_pb(brand, "y", reading(["praise"])))
    assert (still.clause, still.review_item != "") == ("action-quota", True)
    clocked.clock.advance(minutes=2)
    (later,) = await clocked.decide(input_pb(brand, "z", reading(["praise"])))
    assert later.clause == "praise"


async def test_a_decision_tells_whom_to_notify_and_why_nobody_answers(door: Any, brand: str) -> None:
    clauses = (
        "  - {id: hush, when: yes.provocation, priority: 9, notify: [legal], "
        "silence: {reason: politics, reviewer: lea}, explain: {en: Bait}}\n"
    )
    await apply(door, brand, MILD + clauses)
    (decision,) = await door.decide(input_pb(brand, "x", reading(["provocation"])))
    assert (decision.silence.clause, decision.silence.reason, decision.silence.reviewer) == ("hush", "politics", "lea")
    assert list(decision.notify) == [pb.QUEUE_LEGAL]
    (again,) = await door.decide(input_pb(brand, "x", reading(["provocation"])))
    assert again == decision
