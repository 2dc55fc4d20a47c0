"""Between the contract and the domain: the only module that sees both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import islice
from typing import Final, TypedDict, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from apaise.route.v1 import charter_service_pb2 as charters_pb
from apaise.route.v1 import decision_pb2 as decisions_pb
from apaise.route.v1 import review_service_pb2 as reviews_pb
from apaise.route.v1 import route_service_pb2 as routes_pb
from apaise.type.v1 import assessment_pb2, message_pb2
from apaise_kit.core.errors import ApaiseError, invalid_field
from apaise_kit.core.labels import LABEL_SET
from apaise_kit.core.names import CHANNEL, GOLDEN_ITEM, LIVE_WORD, MESSAGE, REVIEW_ITEM, WILDCARD, Name, check_slug
from apaise_kit.runtime.status import status_of, status_ok
from apaise_route.adapters.charter_store import LiveWord
from apaise_route.adapters.store import ItemView
from apaise_route.app.charters import CharterView
from apaise_route.app.golden import GoldenView
from apaise_route.app.live import TTL, WINDOW, LiveView
from apaise_route.app.rechecks import Recheck
from apaise_route.app.reviews import Resolved, review_name
from apaise_route.app.shadows import DiffView, ShadowView
from apaise_route.domain.charter import Problem, Severity
from apaise_route.domain.model import (
    Absence,
    ActionState,
    Assessment,
    Attachment,
    Audience,
    Author,
    Channel,
    ChannelKind,
    Correction,
    Decision,
    Message,
    Moderation,
    Outcome,
    Provenance,
    Queue,
    Resolution,
    Review,
    ReviewReason,
    ReviewState,
    RouteInput,
    Score,
    Verdict,
    Visibility,
    decision_name,
)
from apaise_route.domain.replay import MAX_EXAMPLES, Change

_MAX_TEXT_BYTES: Final = 32 * 1024
_MAX_DETAIL: Final = 256
# Two revisions may be on trial against each other: who judges them is not told whose reading it was.
_BLIND: Final = frozenset({ReviewReason.AUDIT, ReviewReason.SECOND_LOOK})
_LATEST_SECONDS: Final = int(datetime(2900, 1, 1, tzinfo=UTC).timestamp())
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/@+=*,#~-]{0,100}")
# A table, not Verdict(…): an assessment has forty labels and a batch five hundred assessments.
_VERDICTS: Final = {int(verdict): verdict for verdict in Verdict}
_SEVERITIES: Final = {
    Severity.WARNING: charters_pb.CharterProblem.SEVERITY_WARNING,
    Severity.ERROR: charters_pb.CharterProblem.SEVERITY_ERROR,
}
E = TypeVar("E", bound=IntEnum)


class ResolvedFields(TypedDict):
    """The fields ResolveReviewItemResponse and UndoResolutionResponse share."""

    review_item: reviews_pb.ReviewItem
    review: reviews_pb.Review
    decision: decisions_pb.Decision


# -- small things


def time_of(value: Timestamp, field: str) -> datetime:
    """A time.

    Raises:
        InvalidArgument: it lies outside 1970 to 2900.
    """
    # Bounded well below year 9999, so that adding a delay to it cannot overflow.
    if not 0 <= value.seconds < _LATEST_SECONDS or not 0 <= value.nanos < 1_000_000_000:
        raise invalid_field(field, "must be a time between 1970 and 2900")
    return value.ToDatetime(tzinfo=UTC)


def stamp(target: Timestamp, value: datetime | None) -> None:
    """Write a time; none leaves the field absent."""
    if value is not None:
        target.FromDatetime(value)


def clean(text: str) -> str:
    """PostgreSQL keeps every character but U+0000."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in text else text


def member(kind: type[E], value: int, field: str) -> E:
    """An enumeration's value.

    Raises:
        InvalidArgument: it is left out, or unknown to this version.
    """
    try:
        return kind(value)
    except ValueError:
        raise invalid_field(field, "is not one of the values of the contract, or was left out") from None


def optional_member(kind: type[E], value: int, field: str) -> E | None:
    """An enumeration's value, None when left out.

    Raises:
        InvalidArgument: a value this version does not know.
    """
    return member(kind, value, field) if value else None


def request_id(value: str) -> str:
    """A caller's request id.

    Raises:
        InvalidArgument: it is too long, or holds spaces or other characters ids do not have.
    """
    if not _REQUEST_ID.fullmatch(value):
        raise invalid_field("request_id", "must be at most 100 letters, digits and ._:/@+=*,#~- without spaces")
    return value


def lease(request: reviews_pb.ClaimReviewItemRequest) -> timedelta | None:
    """How long to hold an item, None when left out."""
    if not request.HasField("lease"):
        return None
    value: Duration = request.lease
    # Bounded before conversion: a Duration reaches ten thousand years, a timedelta computes with less.
    return timedelta(seconds=min(max(value.seconds, 0), 86_400), microseconds=value.nanos // 1000)


# -- names


def decision_key(name: str) -> tuple[str, str, int]:
    """Brand, message and sequence of a decision's name.

    Raises:
        InvalidArgument: it is not written like one.
    """
    match name.split("/"):
        case ["brands", brand, "messages", message, "decisions", sequence]:
            if sequence.isascii() and sequence.isdigit() and len(sequence) < 10:
                return check_slug(brand, "name"), check_slug(message, "name"), int(sequence)
    raise invalid_field("name", "must look like brands/{brand}/messages/{message}/decisions/{decision}")


def message_parent(parent: str) -> tuple[str, str | None]:
    """Brand and message of a list's parent; the message is None for `brands/{brand}/messages/-`.

    Raises:
        InvalidArgument: it is neither.
    """
    match parent.split("/"):
        case ["brands", brand, "messages", "-"]:
            return check_slug(brand, "parent"), None
    return MESSAGE.parse(parent, "parent")


def item_name(name: str) -> Name:
    """Brand and id of a review item to claim: the id, and with it the brand, may be "-".

    Raises:
        InvalidArgument: it is not written like one.
    """
    match name.split("/"):
        case ["brands", brand, "reviewItems", "-"]:
            return Name(brand if brand == WILDCARD else check_slug(brand, "name"), WILDCARD)
    return REVIEW_ITEM.parse(name)


def charter_key(name: str) -> tuple[str, str]:
    """Brand and version of a charter's name.

    Raises:
        InvalidArgument: it is not written like one.
    """
    match name.split("/"):
        case ["brands", brand, "charters", version]:
            return check_slug(brand, "name"), check_slug(version, "name")
    raise invalid_field("name", "must look like brands/{brand}/charters/{version}")


# -- decoding


def route_inputs(request: routes_pb.BatchRouteRequest) -> list[RouteInput | ApaiseError]:
    """The inputs of a batch; one that is wrong is its own refusal and hurts no other."""
    return [_input_or_error(entry) for entry in request.inputs]


def _input_or_error(entry: routes_pb.RouteInput) -> RouteInput | ApaiseError:
    try:
        return route_input(entry)
    except ApaiseError as error:
        return error


def route_input(entry: routes_pb.RouteInput) -> RouteInput:
    """One input.

    Raises:
        InvalidArgument: a field is missing or does not fit the others.
    """
    message = _message(entry.message)
    channel = _channel(entry.channel)
    if (channel.brand, channel.id) != (message.brand, message.channel):
        raise invalid_field("channel.name", "must be the message's own channel")
    given = entry.HasField("assessment")
    absence = optional_member(Absence, entry.absence, "absence") or Absence.NONE
    if given == (absence is not Absence.NONE):
        raise invalid_field("absence", "give an assessment or the reason for its absence, exactly one of the two")
    return RouteInput(message, channel, assessment(entry.assessment) if given else None, absence)


def _message(pb: message_pb2.Message) -> Message:
    brand, message_id = MESSAGE.parse(pb.name, "message.name")
    channel = CHANNEL.parse(pb.channel, "message.channel")
    if channel.brand != brand:
        raise invalid_field("message.channel", "must be a channel of the message's brand")
    if pb.edit_revision < 1:
        raise invalid_field("message.edit_revision", "counts from 1")
    if not pb.HasField("received_time"):
        raise invalid_field("message.received_time", "is what clocks count from; ingest fills it in")
    if len(pb.text) > _MAX_TEXT_BYTES // 4 and len(pb.text.encode()) > _MAX_TEXT_BYTES:
        raise invalid_field("message.text", f"must be at most {_MAX_TEXT_BYTES} bytes")
    return Message(
        brand=brand,
        id=message_id,
        channel=channel.id,
        edit_revision=pb.edit_revision,
        text=clean(pb.text),
        external_id=clean(pb.external_id),
        received_time=time_of(pb.received_time, "message.received_time"),
        author=_author(pb.author),
        event=clean(pb.event),
        thread=clean(pb.thread),
        parent=clean(pb.parent),
        permalink=clean(pb.permalink),
        language_hint=clean(pb.language_hint),
        language=clean(pb.language),
        language_confidence=pb.language_confidence,
        attachments=tuple(Attachment(a.kind, clean(a.uri), clean(a.alt_text)) for a in pb.attachments),
        rating=pb.rating if pb.HasField("rating") else None,
        published_time=time_of(pb.published_time, "message.published_time") if pb.HasField("published_time") else None,
        published_time_trusted=pb.published_time_trusted,
        edit_time=time_of(pb.edit_time, "message.edit_time") if pb.HasField("edit_time") else None,
        may_train=pb.may_train if pb.HasField("may_train") else None,
        gone=pb.gone,
    )


def _author(pb: message_pb2.Author) -> Author:
    return Author(
        platform_id=clean(pb.platform_id),
        display_name=clean(pb.display_name),
        author_key=clean(pb.author_key),
        account_create_time=time_of(pb.account_create_time, "message.author.account_create_time")
        if pb.HasField("account_create_time")
        else None,
        follows_page=pb.follows_page if pb.HasField("follows_page") else None,
        roles=tuple(map(clean, pb.roles)),
    )


def _channel(pb: message_pb2.Channel) -> Channel:
    brand, channel_id = CHANNEL.parse(pb.name, "channel.name")
    return Channel(
        brand=brand,
        id=channel_id,
        kind=member(ChannelKind, pb.kind, "channel.kind"),
        audience=member(Audience, pb.audience, "channel.audience"),
        moderation=member(Moderation, pb.moderation_mode, "channel.moderation_mode"),
        platform=clean(pb.platform),
    )


def assessment(pb: assessment_pb2.Assessment) -> Assessment:
    """An assessment; labels this version does not know are left out, an unset verdict reads as UNSURE.

    Probabilities are rounded to 3 decimals here, before any condition reads them.
    """
    p = pb.provenance
    return Assessment(
        scores={
            label: Score(round(score.probability, 3), _VERDICTS.get(score.verdict, Verdict.UNSURE), score.holds)
            for label, score in pb.labels.items()
            if label in LABEL_SET
        },
        language=pb.language,
        truncated=pb.truncated,
        fallback=pb.fallback,
        fallback_reason=pb.fallback_reason,
        provenance=Provenance(p.encoder, p.adapter, p.thresholds, p.normalizer, p.precedents),
    )


def outcome(pb: decisions_pb.ActionOutcome, now: datetime) -> Outcome:
    """What a platform did; without a time, now.

    Raises:
        InvalidArgument: no state, or a detail over 256 characters.
    """
    if len(pb.detail) > _MAX_DETAIL:
        raise invalid_field("outcome.detail", f"must be at most {_MAX_DETAIL} characters")
    when = time_of(pb.time, "outcome.time") if pb.HasField("time") else now
    return Outcome(member(ActionState, pb.state, "outcome.state"), when, clean(pb.detail))


def item_filters(
    request: reviews_pb.ListReviewItemsRequest,
) -> tuple[Queue | None, ReviewState | None, ReviewReason | None]:
    """Queue, state and reason a list is narrowed to."""
    return (
        optional_member(Queue, request.queue, "queue"),
        optional_member(ReviewState, request.state, "state"),
        optional_member(ReviewReason, request.reason, "reason"),
    )


Resolving = reviews_pb.ResolveReviewItemRequest | reviews_pb.ResolveDuplicatesRequest


def resolved(request: Resolving) -> tuple[Resolution, Correction | None]:
    """What the person does, and what is right instead."""
    return _resolution(request), _correction(request)


def _resolution(request: Resolving) -> Resolution:
    """What the person does.

    Raises:
        InvalidArgument: none of CONFIRM, CORRECT, SKIP.
    """
    value = member(Resolution, request.resolution, "resolution")
    if value is Resolution.UNDO:
        raise invalid_field("resolution", "must be CONFIRM, CORRECT or SKIP; UndoResolution takes one back")
    return value


def _correction(request: Resolving) -> Correction | None:
    """What is right instead, None when left out.

    Raises:
        InvalidArgument: no visibility.
    """
    if not request.HasField("correction"):
        return None
    pb = request.correction
    if pb.visibility not in (1, 2, 3, 4):
        raise invalid_field("correction.visibility", "must be KEEP, HOLD, HIDE or DELETE")
    return Correction(Visibility(pb.visibility), dict(pb.labels), pb.clause)


# -- encoding


def results(answers: Iterable[Decision | ApaiseError]) -> routes_pb.BatchRouteResponse:
    """BatchRoute's response."""
    response = routes_pb.BatchRouteResponse()
    for answer in answers:
        if isinstance(answer, ApaiseError):
            response.results.add(status=status_of(answer))
        else:
            response.results.add(status=status_ok(), decision=decision_pb(answer))
    return response


def decision_pb(decision: Decision) -> decisions_pb.Decision:
    """A decision."""
    ruling = decision.ruling
    pb = decisions_pb.Decision(
        name=decision.name,
        message=MESSAGE.format(decision.brand, decision.message),
        edit_revision=decision.edit_revision,
        sequence=decision.sequence,
        cause=int(decision.cause),  # type: ignore[arg-type]
        actor=decision.actor,
        supersedes=decision.supersedes,
        visibility=int(ruling.visibility),  # type: ignore[arg-type]
        ground=int(ruling.ground),  # type: ignore[arg-type]
        automated=decision.automated,
        clause=ruling.clause,
        queue=int(ruling.queue),  # type: ignore[arg-type]
        priority=ruling.priority,
        reply_posture=ruling.reply_posture,
        hold_then=int(ruling.hold_then),  # type: ignore[arg-type]
        charter=decision.charter,
        charter_digest=decision.charter_digest,
        absence=int(decision.absence),  # type: ignore[arg-type]
        channel=CHANNEL.format(decision.brand, decision.channel),
        external_id=decision.external_id,
        review_item=REVIEW_ITEM.format(decision.brand, decision.review_item) if decision.review_item else "",
        explanation=ruling.explanation,
        notify=map(int, ruling.notify),  # type: ignore[arg-type]
    )
    if ruling.silence is not None:
        silence = ruling.silence
        pb.silence.CopyFrom(
            decisions_pb.Silence(clause=silence.clause, reason=silence.reason, reviewer=silence.reviewer)
        )
    for reason in ruling.reasons:
        pb.reasons.add(clause=reason.clause, visibility=int(reason.visibility), evidence=reason.evidence)
    stamp(pb.create_time, decision.create_time)
    stamp(pb.due_time, ruling.due_time)
    stamp(pb.hold_expire_time, ruling.hold_expire_time)
    if decision.provenance is not None:
        pb.provenance.CopyFrom(_provenance_pb(decision.provenance))
    if decision.outcome is not None:
        pb.outcome.state = int(decision.outcome.state)  # type: ignore[assignment]
        pb.outcome.detail = decision.outcome.detail
        stamp(pb.outcome.time, decision.outcome.time)
    return pb


def _provenance_pb(value: Provenance) -> assessment_pb2.Provenance:
    return assessment_pb2.Provenance(
        encoder=value.encoder,
        adapter=value.adapter,
        thresholds=value.thresholds,
        normalizer=value.normalizer,
        precedents=value.precedents,
    )


def assessment_pb(value: Assessment) -> assessment_pb2.Assessment:
    """An assessment."""
    pb = assessment_pb2.Assessment(
        language=value.language,
        truncated=value.truncated,
        fallback=value.fallback,
        fallback_reason=value.fallback_reason,  # type: ignore[arg-type]
        provenance=_provenance_pb(value.provenance),
    )
    for label, score in value.scores.items():
        pb.labels[label].probability = score.probability
        pb.labels[label].verdict = int(score.verdict)  # type: ignore[assignment]
    return pb


def message_pb(value: Message) -> message_pb2.Message:
    """A message."""
    author = value.author
    pb = message_pb2.Message(
        name=value.name,
        channel=value.channel_name,
        event=value.event,
        external_id=value.external_id,
        thread=value.thread,
        parent=value.parent,
        permalink=value.permalink,
        text=value.text,
        language_hint=value.language_hint,
        language=value.language,
        language_confidence=value.language_confidence,
        author=message_pb2.Author(
            platform_id=author.platform_id,
            display_name=author.display_name,
            author_key=author.author_key,
            follows_page=author.follows_page,
            roles=author.roles,
        ),
        rating=value.rating,
        edit_revision=value.edit_revision,
        may_train=value.may_train,
        published_time_trusted=value.published_time_trusted,
        gone=value.gone,
    )
    for a in value.attachments:
        pb.attachments.add(kind=a.kind, uri=a.uri, alt_text=a.alt_text)
    stamp(pb.author.account_create_time, author.account_create_time)
    stamp(pb.published_time, value.published_time)
    stamp(pb.received_time, value.received_time)
    stamp(pb.edit_time, value.edit_time)
    return pb


def item_pb(view: ItemView, now: datetime) -> reviews_pb.ReviewItem:
    """A review item as it stands at an instant."""
    item = view.item
    state = item.state_at(now)
    pb = reviews_pb.ReviewItem(
        name=REVIEW_ITEM.format(item.brand, item.id),
        message=message_pb(view.message),
        decision=decision_pb(view.decision),
        reason=int(item.reason),  # type: ignore[arg-type]
        sampling_probability=item.sampling_probability,
        queue=int(item.queue),  # type: ignore[arg-type]
        priority=item.priority,
        expected_harm=item.harm,
        state=int(state),  # type: ignore[arg-type]
        etag=str(item.version),
    )
    if view.assessment is not None:
        pb.assessment.CopyFrom(assessment_pb(view.assessment))
    if item.waiting and item.reason in _BLIND:
        pb.decision.ClearField("provenance")
        pb.assessment.ClearField("provenance")
    if state is ReviewState.CLAIMED:
        pb.claim_actor = item.claim_actor
        stamp(pb.lease_expire_time, item.lease_expire_time)
    stamp(pb.due_time, item.due_time)
    stamp(pb.create_time, item.create_time)
    return pb


def review_pb(review: Review) -> reviews_pb.Review:
    """A review."""
    brand = review.brand
    pb = reviews_pb.Review(
        name=review_name(review),
        review_item=REVIEW_ITEM.format(brand, review.review_item),
        message=MESSAGE.format(brand, review.message),
        edit_revision=review.edit_revision,
        resolution=int(review.resolution),  # type: ignore[arg-type]
        undoes=f"brands/{brand}/reviews/{review.undoes}" if review.undoes else "",
        actor=review.actor,
        visibility_before=int(review.visibility_before),  # type: ignore[arg-type]
        visibility_after=int(review.visibility_after),  # type: ignore[arg-type]
        clause=review.clause,
        labels_before=_floats(review.labels_before),
        labels_after=dict(review.labels_after),
        reason=int(review.reason),  # type: ignore[arg-type]
        sampling_probability=review.sampling_probability,
        second_look=review.second_look,
    )
    if review.decision_sequence:
        pb.decision = decision_name(brand, review.message, review.decision_sequence)
    if review.provenance is not None:
        pb.provenance.CopyFrom(_provenance_pb(review.provenance))
    stamp(pb.create_time, review.create_time)
    return pb


def golden_pb(view: GoldenView) -> reviews_pb.GoldenItem:
    """A golden item."""
    golden = view.golden
    pb = reviews_pb.GoldenItem(
        name=GOLDEN_ITEM.format(golden.brand, golden.id),
        message=message_pb(view.message),
        visibility=int(golden.visibility),  # type: ignore[arg-type]
        clause=golden.clause,
        create_actor=golden.create_actor,
        answered=view.tally.answered,
        right=view.tally.right,
    )
    stamp(pb.create_time, golden.create_time)
    stamp(pb.withdraw_time, golden.withdraw_time)
    return pb


def resolved_pb(value: Resolved, now: datetime) -> ResolvedFields:
    """What a resolution or its undo left behind, as the fields of either response."""
    return {
        "review_item": item_pb(value.item, now),
        "review": review_pb(value.review),
        "decision": decision_pb(value.decision),
    }


def followed_review(found: tuple[Review, Message, Audience] | None, cursor: str) -> reviews_pb.FollowReviewsResponse:
    """One step of the stream of reviews."""
    if found is None:
        return reviews_pb.FollowReviewsResponse(cursor=cursor)
    review, message, audience = found
    return reviews_pb.FollowReviewsResponse(
        review=review_pb(review),
        message=message_pb(message),
        cursor=cursor,
        audience=int(audience),  # type: ignore[arg-type]
    )


def _floats(values: Mapping[str, float]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items()}


def charter_pb(view: CharterView) -> charters_pb.Charter:
    """A charter."""
    pb = charters_pb.Charter(
        name=view.name,
        source=view.source,
        digest=view.digest,
        active=view.active,
        create_actor=view.create_actor,
        etag=view.etag,
    )
    stamp(pb.create_time, view.create_time)
    return pb


def problems_pb(problems: Iterable[Problem]) -> list[charters_pb.CharterProblem]:
    """A charter's problems."""
    return [
        charters_pb.CharterProblem(severity=_SEVERITIES[p.severity], line=p.line, message=p.message) for p in problems
    ]


# -- charters at work


def diff_pb(view: DiffView) -> charters_pb.DiffCharterResponse:
    """DiffCharter's response."""
    found = view.difference
    labels = [label for label, _ in found.labels_changed.most_common()]
    queues = [q for q in Queue if found.queues_before[q] != found.queues_after[q]]
    return charters_pb.DiffCharterResponse(
        charter=view.charter,
        compared=found.compared,
        changed=found.changed,
        changes=_changes_pb(found.changes),
        labels=[
            charters_pb.LabelChange(label=label, messages=found.labels[label], changed=found.labels_changed[label])
            for label in labels
        ],
        queues=[
            charters_pb.QueueChange(queue=int(q), before=found.queues_before[q], after=found.queues_after[q])  # type: ignore[arg-type]
            for q in queues
        ],
        examples=[
            charters_pb.ChangedMessage(
                message=example.message,
                change=_change_pb(example.change),
                clause_before=example.clause_before,
                clause_after=example.clause_after,
            )
            for example in found.examples
        ],
        warnings=problems_pb(view.warnings),
    )


def recheck_pb(found: Recheck) -> routes_pb.RecheckDecisionsResponse:
    """Which decisions do not come out the same."""
    response = routes_pb.RecheckDecisionsResponse(
        checked=found.checked, left_out=found.left_out, different=len(found.different)
    )
    for decision, names in islice(found.different.items(), MAX_EXAMPLES):
        response.examples.add(decision=decision, fields=names)
    return response


def shadow_pb(view: ShadowView) -> charters_pb.Shadow:
    """A shadow."""
    changed = {change: number for change, number in view.counts.items() if change.differs}
    pb = charters_pb.Shadow(
        charter=view.charter,
        compared=sum(view.counts.values()),
        changed=sum(changed.values()),
        changes=_changes_pb(changed),
    )
    stamp(pb.start_time, view.start_time)
    return pb


def _changes_pb(counts: Mapping[Change, int]) -> list[charters_pb.CharterChange]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [_change_pb(change, number) for change, number in ordered]


def _change_pb(change: Change, number: int = 1) -> charters_pb.CharterChange:
    return charters_pb.CharterChange(
        visibility_before=int(change.visibility_before),  # type: ignore[arg-type]
        visibility_after=int(change.visibility_after),  # type: ignore[arg-type]
        queue_before=int(change.queue_before),  # type: ignore[arg-type]
        queue_after=int(change.queue_after),  # type: ignore[arg-type]
        messages=number,
    )


def live_word(request: charters_pb.AddLiveWordRequest) -> tuple[str, int, str, timedelta]:
    """List, kind, word and time of a word to add.

    Raises:
        InvalidArgument: the kind is left out or unknown.
    """
    given = request.live_word
    if given.kind not in charters_pb.WordKind.values() or not given.kind:
        raise invalid_field("live_word.kind", "must be WORD, NAME or HASHTAG")
    seconds = min(max(request.ttl.seconds, 0), 366 * 86_400)
    ttl = timedelta(seconds=seconds) if request.HasField("ttl") else TTL
    return given.list, int(given.kind), clean(given.word).strip(), ttl


def live_view_pb(view: LiveView) -> charters_pb.AddLiveWordResponse:
    """AddLiveWord's response."""
    response = charters_pb.AddLiveWordResponse(live_word=live_word_pb(view.word), hits=view.hits, seen=view.seen)
    response.window.FromTimedelta(WINDOW)
    return response


def live_word_pb(word: LiveWord) -> charters_pb.LiveWord:
    """A live word; one that was not kept has no name."""
    pb = charters_pb.LiveWord(
        name=LIVE_WORD.format(word.brand, word.id) if word.id else "",
        list=word.list,
        word=word.word,
        kind=word.kind,  # type: ignore[arg-type]
        create_actor=word.create_actor,
    )
    stamp(pb.create_time, word.create_time)
    stamp(pb.expire_time, word.expire_time)
    return pb
