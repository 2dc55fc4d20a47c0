"""The JSON Schema of charters, for editors: made from the same tables that the reader uses."""

from __future__ import annotations

import json
from typing import Any, Final

from apaise_kit.core.labels import LABELS
from apaise_route.adapters import charter_yaml as reader
from apaise_route.domain.charter import LANGUAGES, POSTURES
from apaise_route.domain.replies import INTENTS

Schema = dict[str, Any]
_DURATION: Final[Schema] = {"type": "string", "pattern": r"^\d{1,6}\s*[smhd]$", "examples": ["20m", "12h"]}
_ID: Final[Schema] = {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,62}$"}
_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_SHARE: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1}
_FLAG: Final[Schema] = {"type": "boolean"}
_TIME: Final[Schema] = {"type": "string", "examples": ["2026-11-28T18:00:00+01:00"]}


def schema() -> Schema:
    """The schema, as a document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Apaise charter",
        "description": "What a brand hides, holds, answers, and to whom it hands what. See docs/charter.md.",
        **_object(_top(), required=["name", "language", "clauses"]),
        "$defs": {
            "override": _object(_override()),
            "clause": _object(_clause(), required=["id", "when"]),
            "place": _place(),
        },
    }


def text() -> str:
    """The schema as the file that ships."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _map(keys: Schema, values: Schema) -> Schema:
    return {"type": "object", "propertyNames": keys, "additionalProperties": values}


def _one_of(words: Any) -> Schema:
    return {"enum": list(words)}


def _place() -> Schema:
    return {"anyOf": [_one_of(reader.KINDS), {"type": "string", "pattern": "^id:[a-z0-9][a-z0-9_-]{0,62}$"}]}


def _override() -> Schema:
    queues = _one_of(reader.QUEUES)
    return {
        "thresholds": _map(_one_of(LABELS), {"type": "number", "minimum": 0.01, "maximum": 1}),
        "delays": _map(queues, _DURATION),
        "hold": _object(
            {"expire_after": _DURATION, "then": _one_of(v for v in reader.VISIBILITIES if v != "HOLD")},
        ),
        "audit_share": _SHARE,
        "quota": _object({"actions": {"type": "integer", "minimum": 0}, "per": _DURATION}, ["actions", "per"]),
        "without": _list(_ID),
    }


def _top() -> Schema:
    policies = _one_of(reader.POLICIES)
    overridden = {key: value for key, value in _override().items() if key != "without"}
    words = _list(_TEXT)
    return {
        "name": _TEXT,
        "language": _one_of(LANGUAGES),
        "voice": _TEXT,
        **overridden,
        "failure_policy": {"anyOf": [policies, _map(_one_of(("default", "pre", *reader.KINDS)), policies)]},
        "business_hours": _object(
            {
                "timezone": {"type": "string", "examples": ["Europe/Paris"]},
                "open": _map({"pattern": "^(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?$"}, _TEXT),
                "closed": _list({"type": "string", "examples": ["2026-12-25"]}),
                "queues": _list(_one_of(reader.QUEUES)),
            },
            ["timezone", "open", "queues"],
        ),
        "autonomy": _map(_one_of(("hold", "hide", "delete")), _one_of(reader.AUTONOMIES)),
        "replies": _object(
            {"alone": _list(_one_of(INTENTS)), "most": {"type": "integer", "minimum": 0}, "per": _DURATION}
        ),
        "training": _object({"private_messages": _FLAG}),
        "lists": _map(
            {"pattern": "^[a-z][a-z0-9_]{0,62}$"},
            _object({"words": words, "names": words, "hashtags": words, "live": _FLAG}),
        ),
        "channels": _map({"$ref": "#/$defs/place"}, {"$ref": "#/$defs/override"}),
        "events": _list(_object(_event(), ["id", "start", "end"])),
        "clauses": _list({"$ref": "#/$defs/clause"}),
    }


def _event() -> Schema:
    clauses = _list({"$ref": "#/$defs/clause"})
    return {"id": _ID, "start": _TIME, "end": _TIME, "event": _TEXT, **_override(), "clauses": clauses}


def _clause() -> Schema:
    return {
        "id": _ID,
        "when": {"type": "string", "maxLength": 2000, "examples": ["yes.insult && yes.remove", "labels.spam >= 0.85"]},
        "channels": _list({"$ref": "#/$defs/place"}),
        "visibility": _one_of(reader.VISIBILITIES),
        "queue": _one_of(reader.QUEUES),
        "priority": {"type": "integer", "minimum": 0, "maximum": 100},
        "due": _DURATION,
        "reply_posture": _one_of(POSTURES),
        "review": _FLAG,
        "illegal": _FLAG,
        "notify": _list(_one_of(reader.QUEUES)),
        "silence": _object({"reason": _TEXT, "reviewer": _TEXT}, ["reason", "reviewer"]),
        "explain": _object(dict.fromkeys(LANGUAGES, _TEXT)),
    }
