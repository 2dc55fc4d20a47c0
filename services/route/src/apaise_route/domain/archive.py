"""What was found illegal, as evidence: the message as it was, what was understood, who decided, by which clause."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from apaise_kit.core.names import EXHIBIT
from apaise_route.domain.charter import Charter
from apaise_route.domain.model import Assessment, Channel, Correction, Decision, Ground, Message, Visibility

FORMAT: Final = "apaise-exhibit/1"


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A message archived by one decision. `content` is JSON; `digest` the SHA-256 of its UTF-8 bytes, hex."""

    brand: str
    id: str
    message: str
    edit_revision: int
    sequence: int
    author_key: str
    clause: str
    reason: str
    charter: str
    charter_digest: str
    actor: str
    create_time: datetime
    digest: str
    content: str

    @property
    def name(self) -> str:
        """Resource name."""
        return EXHIBIT.format(self.brand, self.id)


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of an archived message since."""

    exhibit: Exhibit
    visibility: Visibility
    ground: Ground


def illegal_clauses(charter: Charter) -> frozenset[str]:
    """Ids of the clauses whose ground is the law."""
    return frozenset(clause.id for clause in charter.clauses if clause.illegal)


def names_illegal(correction: Correction, charter: Charter) -> bool:
    """Whether a person takes a message down on the ground of the law."""
    return correction.visibility > Visibility.HOLD and correction.clause in illegal_clauses(charter)


def unlawful(decision: Decision, illegal: frozenset[str]) -> str:
    """The first illegal clause among a decision's reasons, strictest first, or ""."""
    return next((reason.clause for reason in decision.ruling.reasons if reason.clause in illegal), "")


def exhibit_of(
    message: Message,
    channel: Channel | None,
    assessment: Assessment | None,
    decision: Decision,
    clause: str,
    new_id: Callable[[], str],
) -> Exhibit:
    """The exhibit of a message that a decision found illegal by a clause."""
    found = {
        "format": FORMAT,
        "clause": clause,
        "message": message,
        "channel": channel,
        "assessment": assessment,
        "decision": decision,
    }
    content = json.dumps(_plain(found), ensure_ascii=False, sort_keys=True, indent=1)
    return Exhibit(
        brand=message.brand,
        id=new_id(),
        message=message.id,
        edit_revision=message.edit_revision,
        sequence=decision.sequence,
        author_key=message.author.author_key,
        clause=clause,
        reason=decision.ruling.explanation,
        charter=decision.charter,
        charter_digest=decision.charter_digest,
        actor=decision.actor,
        create_time=decision.create_time,
        digest=hashlib.sha256(content.encode()).hexdigest(),
        content=content,
    )


def _plain(value: Any) -> Any:
    """A value as JSON knows it: enumerations by their names, times in ISO 8601."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.name
    return value.isoformat() if isinstance(value, datetime) else value
