"""The contract and the domain say the same."""

from __future__ import annotations

from datetime import timedelta
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise.route.v1 import (
    answer_service_pb2,
    case_service_pb2,
    decision_pb2,
    forward_service_pb2,
    reply_service_pb2,
    review_service_pb2,
    route_service_pb2,
)
from apaise.type.v1 import assessment_pb2, message_pb2
from apaise_kit.core.errors import InvalidArgument
from apaise_route.adapters import rows
from apaise_route.adapters.charter_yaml import default_charter
from apaise_route.domain import answers, cases, forward, model, platforms, replies
from apaise_route.domain.thread import Thread
from apaise_route.testing import START, entry, input_pb, reading
from apaise_route.transport import codec

ENUMS: list[tuple[type[IntEnum], Any, str]] = [
    (model.Visibility, decision_pb2.Visibility, "VISIBILITY_"),
    (model.Queue, decision_pb2.Queue, "QUEUE_"),
    (model.Cause, decision_pb2.Cause, "CAUSE_"),
    (model.Ground, decision_pb2.Ground, "GROUND_"),
    (model.Absence, decision_pb2.AssessmentAbsence, "ASSESSMENT_ABSENCE_"),
    (model.ActionState, decision_pb2.ActionState, "ACTION_STATE_"),
    (model.ChannelKind, message_pb2.ChannelKind, "CHANNEL_KIND_"),
    (model.Audience, message_pb2.Audience, "AUDIENCE_"),
    (model.Moderation, message_pb2.ModerationMode, "MODERATION_MODE_"),
    (model.Verdict, assessment_pb2.Verdict, "VERDICT_"),
    (model.ReviewReason, review_service_pb2.ReviewReason, "REVIEW_REASON_"),
    (model.ReviewState, review_service_pb2.ReviewState, "REVIEW_STATE_"),
    (model.Resolution, review_service_pb2.Resolution, "RESOLUTION_"),
    (cases.CaseState, case_service_pb2.CaseState, "CASE_STATE_"),
    (cases.Tension, case_service_pb2.Tension, "TENSION_"),
    (cases.EntryKind, case_service_pb2.CaseEntryKind, "CASE_ENTRY_KIND_"),
    (forward.ForwardReason, forward_service_pb2.ForwardReason, "FORWARD_REASON_"),
    (answers.AnswerState, answer_service_pb2.AnswerState, "ANSWER_STATE_"),
    (answers.AnswerOrigin, answer_service_pb2.AnswerOrigin, "ANSWER_ORIGIN_"),
    (replies.DraftNote, reply_service_pb2.DraftNote, "DRAFT_NOTE_"),
    (platforms.LegVerdict, case_service_pb2.LegVerdict, "LEG_VERDICT_"),
]


@pytest.mark.parametrize(("ours", "theirs", "prefix"), ENUMS)
def test_enumerations_carry_the_numbers_of_the_contract(ours: type[IntEnum], theirs: Any, prefix: str) -> None:
    assert {m.name: m.value for m in ours if m.value} == {
        name.removeprefix(prefix): number for name, number in theirs.items() if number
    }


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
times = st.datetimes(START.replace(tzinfo=None), START.replace(year=2899, tzinfo=None)).map(
    lambda t: t.replace(tzinfo=START.tzinfo)
)
messages = st.builds(
    model.Message,
    brand=st.just("b"),
    id=st.just("m"),
    channel=st.just("c"),
    edit_revision=st.integers(1, 9),
    text=texts,
    external_id=texts,
    received_time=times,
    author=st.builds(
        model.Author,
        texts,
        texts,
        texts,
        st.none() | times,
        st.none() | st.booleans(),
        st.lists(texts, max_size=2).map(tuple),
    ),
    event=texts,
    thread=texts,
    parent=texts,
    permalink=texts,
    language_hint=texts,
    language=texts,
    language_confidence=st.floats(0, 1),
    attachments=st.lists(st.builds(model.Attachment, st.integers(0, 6), texts, texts), max_size=2).map(tuple),
    rating=st.none() | st.floats(0, 5),
    published_time=st.none() | times,
    published_time_trusted=st.booleans(),
    edit_time=st.none() | times,
    may_train=st.none() | st.booleans(),
    gone=st.booleans(),
)


@given(messages)
def test_a_message_survives_the_wire_and_the_rows(message: model.Message) -> None:
    sent = input_pb("b", "x", reading(["complaint"]))
    sent.message.CopyFrom(codec.message_pb(message))
    sent.channel.name = "brands/b/channels/c"
    received = codec.route_input(sent)
    assert received.message == message
    kept = rows.message_row(received, START)
    assert rows.message_of(kept) == message
    assert rows.assessment_of(kept["assessment"]) == received.assessment == reading(["complaint"])


def test_decisions_items_and_reviews_survive_the_rows() -> None:
    thread = Thread("b", "m")
    charter = default_charter()
    given = entry(reading(["complaint", "insult", "remove"]), moderation=model.Moderation.PRE)
    decision = thread.route(given, charter, START, lambda: "i1")
    row = rows.decision_row(decision)
    assert rows.decision_of(row | {"create_time": decision.create_time}) == decision
    assert thread.item is not None
    item = thread.item
    times = {"create_time": item.create_time, "due_time": item.due_time}
    assert rows.item_of(rows.item_row(item) | times) == item
    review = thread.resolve(item, model.Resolution.CONFIRM, None, given.assessment, charter, "ana", START, lambda: "r1")
    assert rows.review_of(rows.review_row(review) | {"create_time": review.create_time}) == review


def test_a_nul_does_not_reach_the_database() -> None:
    sent = input_pb("b", "x", reading(), text="a\0b")
    assert codec.route_input(sent).message.text == "a\N{REPLACEMENT CHARACTER}b"


def test_unknown_labels_are_left_out_and_probabilities_rounded() -> None:
    pb = assessment_pb2.Assessment()
    pb.labels["insult"].probability = 0.49996
    pb.labels["brand_new"].probability = 1.0
    read = codec.assessment(pb)
    assert read.scores == {"insult": model.Score(0.5, model.Verdict.UNSURE, False)}


def broken(change: str) -> route_service_pb2.RouteInput:
    sent = input_pb("b", "x", reading())
    match change:
        case "name":
            sent.message.name = "brands/b/nope/x"
        case "brand":
            sent.message.channel = "brands/other/channels/live"
        case "channel":
            sent.channel.name = "brands/b/channels/else"
        case "kind":
            sent.channel.kind = message_pb2.CHANNEL_KIND_UNSPECIFIED
        case "revision":
            sent.message.edit_revision = 0
        case "time":
            sent.message.ClearField("received_time")
        case "end of time":
            sent.message.published_time.seconds = 253_402_300_799
        case "both":
            sent.absence = decision_pb2.ASSESSMENT_ABSENCE_TOO_LATE
        case "none":
            sent.ClearField("assessment")
        case "long":
            sent.message.text = "é" * 16_385
    return sent


@pytest.mark.parametrize(
    "change", ["name", "brand", "channel", "kind", "revision", "time", "end of time", "both", "none", "long"]
)
def test_a_wrong_input_is_refused_by_field(change: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        codec.route_input(broken(change))
    assert refused.value.violations


@pytest.mark.parametrize("value", ["a b", "é", "x" * 101, "a\nb"])
def test_a_request_id_is_an_id(value: str) -> None:
    with pytest.raises(InvalidArgument):
        codec.request_id(value)


def test_an_endless_lease_is_too_long_and_no_accident() -> None:
    request = review_service_pb2.ClaimReviewItemRequest()
    request.lease.seconds = 315_000_000_000
    assert codec.lease(request) == timedelta(days=1)
