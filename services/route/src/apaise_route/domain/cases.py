"""A case: a hand-off to another team, from the message that opened it to the reply its author reads.

    open -> assigned -> answered -> returned -> closed, and back by reopening

A case is loaded with the number of its last entry, moved and saved: what is new is in `added`. Nothing here removes an
entry; a tombstone blanks texts in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from apaise_kit.core.errors import Aborted, FailedPrecondition
from apaise_kit.core.names import CASE
from apaise_route.domain.model import ActionState, Assessment, Audience, ChannelKind, Queue, Ruling

MAX_ENTRIES: Final = 200


class CaseState(IntEnum):
    """Where a case stands."""

    OPEN = 1
    ASSIGNED = 2
    ANSWERED = 3
    RETURNED = 4
    CLOSED = 5


class Tension(IntEnum):
    """How heated a message is."""

    CALM = 1
    TENSE = 2
    CRISIS = 3


class EntryKind(IntEnum):
    """What a line of a case's history is."""

    OPENED = 1
    ASSIGNED = 2
    NOTE = 3
    ANSWER = 4
    REPLY = 5
    OUTCOME = 6
    LATE = 7
    CLOSED = 8
    REOPENED = 9
    UNDELIVERED = 10


Delays = Mapping[ChannelKind, Mapping[Tension, timedelta]]


def _row(calm: int, tense: int, crisis: int) -> dict[Tension, timedelta]:
    minutes = {Tension.CALM: calm, Tension.TENSE: tense, Tension.CRISIS: crisis}
    return {tension: timedelta(minutes=value) for tension, value in minutes.items()}


# How long until the reply should be where its author reads it; a brand's desk may say otherwise.
DELAYS: Final[Delays] = {
    ChannelKind.LIVE_CHAT: _row(20, 10, 5),
    ChannelKind.COMMENT: _row(4 * 60, 60, 20),
    ChannelKind.PRIVATE_MESSAGE: _row(4 * 60, 60, 20),
    ChannelKind.REVIEW: _row(24 * 60, 8 * 60, 2 * 60),
    ChannelKind.EMAIL: _row(24 * 60, 8 * 60, 2 * 60),
    ChannelKind.FORUM: _row(12 * 60, 4 * 60, 60),
}
_IN_CRISIS: Final = ("distress", "self_harm", "threat", "boycott")
_TENSE: Final = ("anger", "frustration", "worry", "insult", "harassment")


def tension_of(ruling: Ruling, assessment: Assessment | None) -> Tension:
    """How heated a message reads: by its labels, and by whose business its decision made it."""
    said = assessment.says if assessment else lambda _: False
    if ruling.queue is Queue.CRISIS or any(said(label) for label in _IN_CRISIS):
        return Tension.CRISIS
    return Tension.TENSE if any(said(label) for label in _TENSE) else Tension.CALM


def due_time(
    start: datetime, kind: ChannelKind, tension: Tension, promised: datetime | None, delays: Delays = DELAYS
) -> datetime:
    """When the reply is owed: what the charter promised, sooner when the tension asks for it.

    Args:
        start: what the clock runs from.
        kind: the channel's.
        tension: the message's.
        promised: the decision's due time, if its clause gave one.
        delays: by channel kind and tension; what is missing is the house's.
    """
    delay = delays.get(kind, {}).get(tension) or DELAYS[kind][tension]
    owed = start + delay
    if promised is None:
        return owed
    return promised if tension is Tension.CALM else min(promised, owed)


@dataclass(frozen=True, slots=True)
class Case:
    """One hand-off. `platform`, `kind` and `audience` are those of the message's channel; `entries` counts its history;
    `pending` is the number of the reply that is on its way, or 0."""

    brand: str
    id: str
    message: str
    edit_revision: int
    author_key: str
    channel: str
    platform: str
    kind: ChannelKind
    audience: Audience
    team: Queue
    tension: Tension
    due_time: datetime
    open_actor: str
    open_time: datetime
    state: CaseState = CaseState.OPEN
    assignee: str = ""
    late: bool = False
    answer_time: datetime | None = None
    return_time: datetime | None = None
    close_time: datetime | None = None
    pending: int = 0
    entries: int = 0
    version: int = 0

    @property
    def name(self) -> str:
        """Resource name."""
        return CASE.format(self.brand, self.id)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a case's history. `request_id` and `request_digest` make its request repeatable."""

    number: int
    kind: EntryKind
    actor: str
    create_time: datetime
    text: str = ""
    audience: Audience | None = None
    team: Queue = Queue.NONE
    assignee: str = ""
    rule: str = ""
    outcome: ActionState | None = None
    detail: str = ""
    external_id: str = ""
    request_id: str = ""
    request_digest: str = ""


@dataclass
class CaseFile:
    """A case and what one transaction adds to it. Every move raises FailedPrecondition where the state forbids it."""

    case: Case
    added: list[Entry] = field(default_factory=list)

    def open(self, note: str, actor: str, now: datetime) -> None:
        """Begin the history, with a first note if there is one."""
        self._add(Entry(0, EntryKind.OPENED, actor, now, team=self.case.team))
        if note:
            self._add(Entry(0, EntryKind.NOTE, actor, now, text=note))

    def assign(self, team: Queue, assignee: str, actor: str, now: datetime) -> None:
        """Give it to a team (NONE: the one that has it) and a person."""
        self._require("assigned", CaseState.OPEN, CaseState.ASSIGNED)
        self._change(state=CaseState.ASSIGNED, team=team or self.case.team, assignee=assignee)
        self._add(Entry(0, EntryKind.ASSIGNED, actor, now, team=self.case.team, assignee=assignee))

    def note(self, text: str, actor: str, now: datetime) -> None:
        """Add an internal note, in any state."""
        self._add(Entry(0, EntryKind.NOTE, actor, now, text=text))

    def answer(self, text: str, audience: Audience | None, actor: str, now: datetime) -> None:
        """The team's answer; a later one takes its place until a reply is on its way."""
        self._require("answered", CaseState.OPEN, CaseState.ASSIGNED, CaseState.ANSWERED)
        self._require_no_reply()
        self._change(state=CaseState.ANSWERED, answer_time=now)
        self._add(Entry(0, EntryKind.ANSWER, actor, now, text=text, audience=audience))

    def reply(self, text: str, audience: Audience, rule: str, actor: str, now: datetime) -> None:
        """Send a reply towards its author; the caller has checked that the platform lets it."""
        self._require("brought back", CaseState.ANSWERED)
        self._require_no_reply()
        self._add(Entry(0, EntryKind.REPLY, actor, now, text=text, audience=audience, rule=rule))
        self._change(pending=self.case.entries)

    def report(self, outcome: ActionState, external_id: str, detail: str, actor: str, now: datetime) -> None:
        """What became of the reply: applied, the case is RETURNED; otherwise another way is open."""
        if not self.case.pending:
            raise self._refusal("No reply of this case is on its way: there is nothing to report.")
        returned = {"state": CaseState.RETURNED, "return_time": now} if outcome is ActionState.APPLIED else {}
        self._change(pending=0, **returned)
        self._add(Entry(0, EntryKind.OUTCOME, actor, now, outcome=outcome, detail=detail, external_id=external_id))

    def close(self, reason: str, actor: str, now: datetime) -> None:
        """End it. Leaving an author without a reply is a decision, so it has a reason."""
        self._require("closed", *(state for state in CaseState if state is not CaseState.CLOSED))
        self._require_no_reply()
        if self.case.state is not CaseState.RETURNED and not reason:
            raise self._refusal("Its author has no reply yet: say why it is closed all the same.")
        self._change(state=CaseState.CLOSED, close_time=now)
        self._add(Entry(0, EntryKind.CLOSED, actor, now, text=reason))

    def reopen(self, reason: str, due: datetime, actor: str, now: datetime) -> None:
        """Begin again, with a new clock."""
        self._require("reopened", CaseState.RETURNED, CaseState.CLOSED)
        state = CaseState.ASSIGNED if self.case.assignee else CaseState.OPEN
        fresh = {"answer_time": None, "return_time": None, "close_time": None}
        self._change(state=state, due_time=due, late=False, **fresh)
        self._add(Entry(0, EntryKind.REOPENED, actor, now, text=reason))

    def run_late(self, actor: str, now: datetime) -> None:
        """Its time passed and its author has no reply."""
        self._change(late=True)
        self._add(Entry(0, EntryKind.LATE, actor, now))

    def undelivered(self, actor: str, now: datetime) -> None:
        """The desk's address accepted nothing for a day."""
        self._add(Entry(0, EntryKind.UNDELIVERED, actor, now))

    def remember_request(self, request_id: str, digest: str) -> None:
        """Bind the first new entry to its request, so that the same request again gets the same answer."""
        self.added[0] = replace(self.added[0], request_id=request_id, request_digest=digest)

    def _add(self, entry: Entry) -> None:
        if self.case.entries >= MAX_ENTRIES and entry.kind is EntryKind.NOTE:
            raise self._refusal(f"It holds {MAX_ENTRIES} entries already: close it and open another.")
        self._change(entries=self.case.entries + 1)
        self.added.append(replace(entry, number=self.case.entries))

    def _change(self, **fields: object) -> None:
        self.case = replace(self.case, **fields)  # type: ignore[arg-type]

    def _require(self, what: str, *states: CaseState) -> None:
        if self.case.state not in states:
            allowed = ", ".join(state.name for state in states)
            raise self._refusal(f"It is {self.case.state.name}; only what is {allowed} can be {what}.")

    def _require_no_reply(self) -> None:
        if self.case.pending:
            raise self._refusal("A reply is on its way: wait for its outcome, or report it.")

    def _refusal(self, why: str) -> FailedPrecondition:
        return FailedPrecondition(f"{self.case.name}: {why}", metadata={"state": self.case.state.name})


def check_case_etag(case: Case, etag: str) -> None:
    """Refuse an etag that is not the case's current one; an empty one passes.

    Raises:
        Aborted: (ETAG_MISMATCH) it changed meanwhile.
    """
    if etag and etag != str(case.version):
        raise Aborted(f"{case.name} changed since it was read. Read it again, then decide again.")
