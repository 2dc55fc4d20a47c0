"""Between the contract's cases and the domain's."""

from __future__ import annotations

import re
from typing import Final

from apaise.route.v1 import case_service_pb2 as pb
from apaise_kit.core.errors import invalid_field
from apaise_kit.core.names import CASE, CHANNEL, MESSAGE
from apaise_route.app.cases import CaseView
from apaise_route.domain.cases import Case, CaseState, Entry, Tension
from apaise_route.domain.model import Audience, Message, Queue
from apaise_route.domain.platforms import PlatformRule
from apaise_route.transport import codec

_MAX_BYTES: Final = 8 * 1024
_ASSIGNEE: Final = re.compile(r"[A-Za-z0-9._:@-]{0,64}")


def words(value: str, field: str, *, required: bool = True) -> str:
    """What a person writes.

    Raises:
        InvalidArgument: it is empty though required, or over 8 KiB.
    """
    value = codec.clean(value.strip())
    if required and not value:
        raise invalid_field(field, "must not be empty")
    if len(value.encode()) > _MAX_BYTES:
        raise invalid_field(field, f"must be at most {_MAX_BYTES} bytes")
    return value


def assignee(value: str) -> str:
    """Who has a case, as their team calls them.

    Raises:
        InvalidArgument: it is longer than 64 or holds anything but letters, digits and `._:@-`.
    """
    if not _ASSIGNEE.fullmatch(value):
        raise invalid_field("assignee", "must be at most 64 letters, digits and ._:@-: a pseudonym")
    return value


def external_id(value: str) -> str:
    """The platform's id of a reply.

    Raises:
        InvalidArgument: it is over 256 characters.
    """
    return _short(value, "external_id")


def detail(value: str) -> str:
    """Why a platform did what it did.

    Raises:
        InvalidArgument: it is over 256 characters.
    """
    return _short(value, "detail")


def _short(value: str, field: str) -> str:
    if len(value) > 256:
        raise invalid_field(field, "must be at most 256 characters")
    return codec.clean(value)


def tension(value: int) -> Tension | None:
    """A tension, None when left out.

    Raises:
        InvalidArgument: a value this version does not know.
    """
    return codec.optional_member(Tension, value, "tension")


def audience(value: int) -> Audience | None:
    """An audience, None when left out.

    Raises:
        InvalidArgument: a value this version does not know.
    """
    return codec.optional_member(Audience, value, "audience")


def some_audience(value: int) -> Audience:
    """An audience.

    Raises:
        InvalidArgument: it is left out or unknown.
    """
    found = audience(value)
    if found is None:
        raise invalid_field("audience", "say PUBLIC or PRIVATE")
    return found


def filters(request: pb.ListCasesRequest) -> tuple[Queue | None, CaseState | None, bool]:
    """Team, state and lateness a list is narrowed to."""
    team = codec.optional_member(Queue, request.team, "team")
    return team, codec.optional_member(CaseState, request.state, "state"), request.late


def team(value: int) -> Queue:
    """A team, NONE when left out.

    Raises:
        InvalidArgument: a value this version does not know.
    """
    return codec.optional_member(Queue, value, "team") or Queue.NONE


def case_pb(case: Case) -> pb.Case:
    """A case."""
    found = pb.Case(
        name=CASE.format(case.brand, case.id),
        message=MESSAGE.format(case.brand, case.message),
        channel=CHANNEL.format(case.brand, case.channel),
        team=int(case.team),  # type: ignore[arg-type]
        assignee=case.assignee,
        state=int(case.state),  # type: ignore[arg-type]
        tension=int(case.tension),  # type: ignore[arg-type]
        late=case.late,
        reply_pending=bool(case.pending),
        open_actor=case.open_actor,
        etag=str(case.version),
    )
    for field in ("due_time", "open_time", "answer_time", "return_time", "close_time"):
        codec.stamp(getattr(found, field), getattr(case, field))
    return found


def entry_pb(entry: Entry) -> pb.CaseEntry:
    """One line of a history."""
    found = pb.CaseEntry(
        number=entry.number,
        kind=int(entry.kind),  # type: ignore[arg-type]
        actor=entry.actor,
        text=entry.text,
        audience=int(entry.audience or 0),  # type: ignore[arg-type]
        team=int(entry.team),  # type: ignore[arg-type]
        assignee=entry.assignee,
        rule=entry.rule,
        outcome=int(entry.outcome or 0),  # type: ignore[arg-type]
        detail=entry.detail,
        external_id=entry.external_id,
    )
    codec.stamp(found.create_time, entry.create_time)
    return found


def leg_pb(rule: PlatformRule) -> pb.ReplyLeg:
    """Whether a reply may go one way."""
    return pb.ReplyLeg(
        audience=int(rule.audience),  # type: ignore[arg-type]
        verdict=int(rule.verdict),  # type: ignore[arg-type]
        rule=rule.id,
        explanation=rule.explanation,
        source=rule.source,
        source_date=rule.source_date.isoformat() if rule.source_date else "",
    )


def view_pb(view: CaseView) -> pb.GetCaseResponse:
    """A case with all that belongs to it."""
    return pb.GetCaseResponse(
        case=case_pb(view.case),
        message=codec.message_pb(view.message),
        decision=codec.decision_pb(view.decision),
        entries=map(entry_pb, view.entries),
        legs=map(leg_pb, view.legs),
    )


def followed(found: tuple[Case, Entry, Message] | None, cursor: str) -> pb.FollowCasesResponse:
    """One step of the stream of cases."""
    if found is None:
        return pb.FollowCasesResponse(cursor=cursor)
    case, entry, message = found
    return pb.FollowCasesResponse(
        case=case_pb(case), entry=entry_pb(entry), message=codec.message_pb(message), cursor=cursor
    )
