"""Between domain values and the JSON kept in rows. Times are ISO 8601; enumerations are their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from apaise_route.domain.harm import priority_of, urgency
from apaise_route.domain.model import (
    Absence,
    Assessment,
    Attachment,
    Audience,
    Author,
    Cause,
    Channel,
    ChannelKind,
    Decision,
    Ground,
    Message,
    Moderation,
    Outcome,
    Provenance,
    Queue,
    Reason,
    Resolution,
    Review,
    ReviewItem,
    ReviewReason,
    ReviewState,
    RouteInput,
    Ruling,
    Score,
    Unanswered,
    Verdict,
    Visibility,
)

Json = dict[str, Any]
Record = Mapping[Any, Any]
_NEVER_DUE = (1 << 63) - 1


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def message_row(entry: RouteInput, now: datetime) -> Json:
    """A row of `messages`."""
    message = entry.message
    allowed = message.may_train if message.may_train is not None else entry.channel.audience is Audience.PUBLIC
    return {
        "brand": message.brand,
        "message": message.id,
        "edit_revision": message.edit_revision,
        "author_key": message.author.author_key,
        "text": message.text,
        "may_train": allowed,
        "gone": message.gone,
        "detail": _detail(message) | {"place": _place(entry.channel)},
        "assessment": assessment_json(entry.assessment) if entry.assessment else None,
        "create_time": now.isoformat(),
    }


def _place(channel: Channel) -> list[int | str]:
    return [int(channel.kind), int(channel.audience), int(channel.moderation), channel.platform]


def place_of(row: Record) -> Channel | None:
    """The channel of a row of `messages` as it was then; rows of the first release do not tell."""
    place = row["detail"].get("place")
    if place is None:
        return None
    kind, audience, moderation, platform = place
    names = row["brand"], row["detail"]["channel"]
    return Channel(*names, ChannelKind(kind), Audience(audience), Moderation(moderation), platform)


def _detail(message: Message) -> Json:
    author = message.author
    return {
        "channel": message.channel,
        "external_id": message.external_id,
        "received_time": _iso(message.received_time),
        "author": {
            "platform_id": author.platform_id,
            "display_name": author.display_name,
            "account_create_time": _iso(author.account_create_time),
            "follows_page": author.follows_page,
            "roles": author.roles,
        },
        "event": message.event,
        "thread": message.thread,
        "parent": message.parent,
        "permalink": message.permalink,
        "language_hint": message.language_hint,
        "language": message.language,
        "language_confidence": message.language_confidence,
        "attachments": [{"kind": a.kind, "uri": a.uri, "alt_text": a.alt_text} for a in message.attachments],
        "rating": message.rating,
        "published_time": _iso(message.published_time),
        "published_time_trusted": message.published_time_trusted,
        "edit_time": _iso(message.edit_time),
        "may_train": message.may_train,
    }


def message_of(row: Record) -> Message:
    """The message of a row of `messages`."""
    detail = dict(row["detail"])
    detail.pop("place", None)
    author = detail.pop("author")
    received = datetime.fromisoformat(detail.pop("received_time"))
    return Message(
        brand=row["brand"],
        id=row["message"],
        edit_revision=row["edit_revision"],
        text=row["text"],
        gone=row["gone"],
        received_time=received,
        published_time=_time(detail.pop("published_time")),
        edit_time=_time(detail.pop("edit_time")),
        attachments=tuple(
            Attachment(a["kind"], a.get("uri", ""), a.get("alt_text", "")) for a in detail.pop("attachments")
        ),
        author=Author(
            platform_id=author["platform_id"],
            display_name=author["display_name"],
            author_key=row["author_key"],
            account_create_time=_time(author["account_create_time"]),
            follows_page=author["follows_page"],
            roles=tuple(author["roles"]),
        ),
        **detail,
    )


def assessment_json(assessment: Assessment) -> Json:
    """An assessment as kept beside its message."""
    return {
        "scores": {
            label: [score.probability, int(score.verdict), score.holds] for label, score in assessment.scores.items()
        },
        "language": assessment.language,
        "truncated": assessment.truncated,
        "fallback": assessment.fallback,
        "fallback_reason": assessment.fallback_reason,
        "provenance": _provenance_json(assessment.provenance),
    }


def assessment_of(value: Json | None) -> Assessment | None:
    """The assessment kept beside a message, if there was one."""
    if value is None:
        return None
    rest = {key: value[key] for key in ("language", "truncated", "fallback", "fallback_reason")}
    scores = {label: Score(p, Verdict(v), holds) for label, (p, v, holds) in value["scores"].items()}
    return Assessment(scores=scores, provenance=Provenance(**value["provenance"]), **rest)


def _provenance_json(provenance: Provenance) -> Json:
    return {name: getattr(provenance, name) for name in Provenance.__slots__}


def decision_row(decision: Decision) -> Json:
    """A row of `decisions`."""
    return {
        "brand": decision.brand,
        "message": decision.message,
        "sequence": decision.sequence,
        "edit_revision": decision.edit_revision,
        "cause": int(decision.cause),
        "actor": decision.actor,
        "visibility": int(decision.ruling.visibility),
        "review_item": decision.review_item,
        "create_time": decision.create_time.isoformat(),
        "body": {
            "ruling": _ruling_json(decision.ruling),
            "charter": decision.charter,
            "charter_digest": decision.charter_digest,
            "channel": decision.channel,
            "external_id": decision.external_id,
            "provenance": _provenance_json(decision.provenance) if decision.provenance else None,
            "absence": int(decision.absence),
        },
    }


def decision_of(row: Record, outcome: Outcome | None = None) -> Decision:
    """The decision of a row of `decisions`."""
    body = row["body"]
    return Decision(
        brand=row["brand"],
        message=row["message"],
        sequence=row["sequence"],
        edit_revision=row["edit_revision"],
        cause=Cause(row["cause"]),
        actor=row["actor"],
        ruling=_ruling_of(body["ruling"]),
        charter=body["charter"],
        charter_digest=body["charter_digest"],
        create_time=row["create_time"],
        channel=body["channel"],
        external_id=body["external_id"],
        provenance=Provenance(**body["provenance"]) if body["provenance"] else None,
        absence=Absence(body["absence"]),
        review_item=row["review_item"],
        outcome=outcome,
    )


def _ruling_json(ruling: Ruling) -> Json:
    return {
        "visibility": int(ruling.visibility),
        "clause": ruling.clause,
        "reasons": [[r.clause, int(r.visibility), r.evidence] for r in ruling.reasons],
        "ground": int(ruling.ground),
        "queue": int(ruling.queue),
        "priority": ruling.priority,
        "due_time": _iso(ruling.due_time),
        "reply_posture": ruling.reply_posture,
        "hold_expire_time": _iso(ruling.hold_expire_time),
        "hold_then": int(ruling.hold_then),
        "hold_finally": int(ruling.hold_finally),
        "explanation": ruling.explanation,
        "notify": [int(queue) for queue in ruling.notify],
        "harm": ruling.harm,
        "silence": [getattr(ruling.silence, name) for name in Unanswered.__slots__] if ruling.silence else None,
    }


def _ruling_of(value: Json) -> Ruling:
    return Ruling(
        visibility=Visibility(value["visibility"]),
        clause=value["clause"],
        reasons=tuple(Reason(c, Visibility(v), evidence) for c, v, evidence in value["reasons"]),
        ground=Ground(value["ground"]),
        queue=Queue(value["queue"]),
        priority=value["priority"],
        due_time=_time(value["due_time"]),
        reply_posture=value["reply_posture"],
        hold_expire_time=_time(value["hold_expire_time"]),
        hold_then=Visibility(value["hold_then"]),
        hold_finally=Visibility(value["hold_finally"]),
        explanation=value["explanation"],
        # Rows of earlier releases do not know these.
        notify=tuple(map(Queue, value.get("notify", ()))),
        silence=Unanswered(*value["silence"]) if value.get("silence") else None,
        harm=value.get("harm", 0.0),
    )


def item_row(item: ReviewItem) -> Json:
    """A row of `review_items`."""
    return {
        "brand": item.brand,
        "id": item.id,
        "message": item.message,
        "edit_revision": item.edit_revision,
        "sequence": item.sequence,
        "reason": int(item.reason),
        "sampling_probability": item.sampling_probability,
        "queue": int(item.queue),
        "urgency": -urgency(item.priority, item.harm),
        "expected_harm": item.harm,
        "due_key": _NEVER_DUE if item.due_time is None else int(item.due_time.timestamp() * 1_000_000),
        "due_time": _iso(item.due_time),
        "create_time": _iso(item.create_time),
        "state": int(item.state),
        "claim_actor": item.claim_actor,
        "lease_expire_time": _iso(item.lease_expire_time),
        "version": item.version,
        "asked_by": item.asked_by,
        "for_actor": item.for_actor,
    }


def item_of(row: Record) -> ReviewItem:
    """The item of a row of `review_items`."""
    return ReviewItem(
        brand=row["brand"],
        id=row["id"],
        message=row["message"],
        edit_revision=row["edit_revision"],
        sequence=row["sequence"],
        reason=ReviewReason(row["reason"]),
        sampling_probability=row["sampling_probability"],
        queue=Queue(row["queue"]),
        priority=priority_of(-row["urgency"]),
        harm=row["expected_harm"],
        due_time=row["due_time"],
        create_time=row["create_time"],
        state=ReviewState(row["state"]),
        claim_actor=row["claim_actor"],
        lease_expire_time=row["lease_expire_time"],
        version=row["version"],
        asked_by=row["asked_by"],
        for_actor=row["for_actor"],
    )


def review_row(review: Review) -> Json:
    """A row of `reviews`."""
    return {
        "brand": review.brand,
        "id": review.id,
        "review_item": review.review_item,
        "message": review.message,
        "edit_revision": review.edit_revision,
        "resolution": int(review.resolution),
        "actor": review.actor,
        "create_time": review.create_time.isoformat(),
        "request_id": review.request_id,
        "request_digest": review.request_digest,
        "body": {
            "visibility_before": int(review.visibility_before),
            "visibility_after": int(review.visibility_after),
            "clause": review.clause,
            "labels_before": dict(review.labels_before),
            "labels_after": dict(review.labels_after),
            "reason": int(review.reason),
            "sampling_probability": review.sampling_probability,
            "provenance": _provenance_json(review.provenance) if review.provenance else None,
            "undoes": review.undoes,
            "decision_sequence": review.decision_sequence,
            "second_look": review.second_look,
        },
    }


def review_of(row: Record) -> Review:
    """The review of a row of `reviews`."""
    body = dict(row["body"])
    provenance = body.pop("provenance")
    return Review(
        brand=row["brand"],
        id=row["id"],
        review_item=row["review_item"],
        message=row["message"],
        edit_revision=row["edit_revision"],
        resolution=Resolution(row["resolution"]),
        actor=row["actor"],
        create_time=row["create_time"],
        request_id=row["request_id"],
        request_digest=row["request_digest"],
        visibility_before=Visibility(body.pop("visibility_before")),
        visibility_after=Visibility(body.pop("visibility_after")),
        reason=ReviewReason(body.pop("reason")),
        provenance=Provenance(**provenance) if provenance else None,
        **body,
    )
