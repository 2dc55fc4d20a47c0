"""Builders for tests: messages, channels and assessments that are right unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from apaise.route.v1 import decision_pb2 as decisions_pb
from apaise.route.v1 import route_service_pb2 as routes_pb
from apaise.type.v1 import assessment_pb2, message_pb2
from apaise_kit.core.ids import message_id
from apaise_kit.core.labels import LABELS
from apaise_kit.core.names import CHANNEL, MESSAGE
from apaise_route.domain.model import (
    Absence,
    Assessment,
    Audience,
    Author,
    Channel,
    ChannelKind,
    Message,
    Moderation,
    Provenance,
    RouteInput,
    Score,
    Verdict,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def reading(
    yes: Iterable[str] = (), unsure: Iterable[str] = (), at: Mapping[str, float] | None = None, adapter: str = "house"
) -> Assessment:
    """An assessment: YES labels at 0.9, UNSURE at 0.5, the rest NO at 0.05; `at` gives others (YES from 0.5)."""
    scores = {label: Score(0.05, Verdict.NO, False) for label in LABELS}
    scores |= {label: Score(0.9, Verdict.YES, True) for label in yes}
    scores |= {label: Score(0.5, Verdict.UNSURE, False) for label in unsure}
    scores |= {label: Score(p, Verdict.YES if p >= 0.5 else Verdict.NO, p >= 0.5) for label, p in (at or {}).items()}
    return Assessment(scores, "fr", provenance=Provenance("enc", adapter, "t1", "n1", "none"))


def entry(
    assessment: Assessment | None = None,
    absence: Absence = Absence.NONE,
    *,
    text: str = "bonjour",
    kind: ChannelKind = ChannelKind.LIVE_CHAT,
    audience: Audience = Audience.PUBLIC,
    moderation: Moderation = Moderation.POST,
    **message: Any,
) -> RouteInput:
    """An input of brand `b`; other keyword arguments are the message's."""
    fields: dict[str, Any] = {
        "brand": "b",
        "id": "m",
        "channel": "c",
        "edit_revision": 1,
        "text": text,
        "external_id": "x1",
        "received_time": START,
        "author": Author("p1", "Someone", "k1"),
    }
    channel = Channel("b", "c", kind, audience, moderation)
    return RouteInput(Message(**fields | message), channel, assessment, absence)


def input_pb(
    brand: str,
    external_id: str,
    assessment: Assessment | None = None,
    absence: decisions_pb.AssessmentAbsence.ValueType = decisions_pb.ASSESSMENT_ABSENCE_UNSPECIFIED,
    *,
    text: str = "bonjour à tous",
    moderation: message_pb2.ModerationMode.ValueType = message_pb2.MODERATION_MODE_POST,
    kind: message_pb2.ChannelKind.ValueType = message_pb2.CHANNEL_KIND_LIVE_CHAT,
    audience: message_pb2.Audience.ValueType = message_pb2.AUDIENCE_PUBLIC,
    revision: int = 1,
    gone: bool = False,
    received: datetime = START,
) -> routes_pb.RouteInput:
    """An input as ingest sends it, in channel `live` of the brand."""
    channel = CHANNEL.format(brand, "live")
    entry = routes_pb.RouteInput(
        message=message_pb2.Message(
            name=MESSAGE.format(brand, message_id(brand, "live", external_id)),
            channel=channel,
            external_id=external_id,
            text=text,
            language="fr",
            author=message_pb2.Author(platform_id="p1", display_name="Someone", author_key="k1"),
            edit_revision=revision,
            gone=gone,
        ),
        channel=message_pb2.Channel(
            name=channel, platform="twitch", kind=kind, audience=audience, moderation_mode=moderation
        ),
        absence=absence,
    )
    entry.message.received_time.FromDatetime(received)
    if assessment is not None:
        entry.assessment.CopyFrom(reading_pb(assessment))
    return entry


def reading_pb(assessment: Assessment) -> assessment_pb2.Assessment:
    """An assessment as classify sends it."""
    p = assessment.provenance
    pb = assessment_pb2.Assessment(
        language=assessment.language,
        provenance=assessment_pb2.Provenance(
            encoder=p.encoder,
            adapter=p.adapter,
            thresholds=p.thresholds,
            normalizer=p.normalizer,
            precedents=p.precedents,
        ),
    )
    for label, score in assessment.scores.items():
        pb.labels[label].probability = score.probability
        pb.labels[label].verdict = int(score.verdict)  # type: ignore[assignment]
        pb.labels[label].holds = score.holds
    return pb
