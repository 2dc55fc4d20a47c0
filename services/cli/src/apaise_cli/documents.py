"""Contract messages as JSON documents: proto field names, enums without their prefix, times in RFC 3339."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from apaise.type.v1 import assessment_pb2


def of(message: Message) -> dict[str, Any]:
    """A message as a document. Fields at their default are there too; absent messages are not."""
    document: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _shorten(document, message.DESCRIPTOR)
    return document


def _shorten(document: dict[str, Any], descriptor: Any) -> None:
    for field in descriptor.fields:
        value = document.get(field.name)
        if value is None:
            continue
        if field.type == FieldDescriptor.TYPE_ENUM and isinstance(value, str):
            document[field.name] = _word(value, field.enum_type)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict):
                    _shorten(item, field.message_type)


def _is_map(field: Any) -> bool:
    return bool(field.message_type.GetOptions().map_entry)


def _word(name: str, enum: Any) -> str:
    zero: str = enum.values_by_number[0].name
    return name.removeprefix(zero.removesuffix("UNSPECIFIED"))


def of_assessment(assessment: assessment_pb2.Assessment) -> dict[str, Any]:
    """An assessment; labels by falling probability."""
    ordered = sorted(assessment.labels.items(), key=lambda item: (-item[1].probability, item[0]))
    document: dict[str, Any] = {
        "labels": {
            label: {
                "probability": score.probability,
                "holds": score.holds,
                "verdict": assessment_pb2.Verdict.Name(score.verdict).removeprefix("VERDICT_"),
            }
            for label, score in ordered
        },
        "provenance": of(assessment.provenance),
        "fallback": assessment.fallback,
    }
    if assessment.fallback:
        document["fallback_reason"] = assessment_pb2.FallbackReason.Name(assessment.fallback_reason).removeprefix(
            "FALLBACK_REASON_"
        )
    if assessment.spans:
        document["spans"] = [of(span) for span in assessment.spans]
    return {**document, "language": assessment.language, "truncated": assessment.truncated}
