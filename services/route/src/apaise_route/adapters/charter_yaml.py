"""A charter's YAML: read section by section; every problem has its line and a way out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from yaml.nodes import MappingNode, Node, ScalarNode

from apaise_kit.core.labels import LABELS
from apaise_route.adapters import cel
from apaise_route.adapters.charter_checks import ReadClause, between_clauses, within_clause
from apaise_route.adapters.charter_tree import Tree, line_of, meant
from apaise_route.domain.charter import (
    HOUSE_COMPLAINT,
    LANGUAGES,
    MESH_RULES,
    POSTURES,
    Autonomy,
    Charter,
    Clause,
    CompiledCharter,
    EventOverride,
    FailurePolicies,
    FailurePolicy,
    HoldRule,
    Override,
    Place,
    Problem,
    Quota,
    ReplyAlone,
    Severity,
    Silence,
)
from apaise_route.domain.hours import BusinessHours
from apaise_route.domain.lists import WordList, WordLists
from apaise_route.domain.model import HOUSE_CHARTERS, ChannelKind, Queue, Visibility
from apaise_route.domain.replies import INTENTS

MAX_CLAUSES: Final = 200
MAX_WORDS: Final = 5000
MAX_EVENTS: Final = 50
DEFAULT_VERSION: Final = 1

TOP: Final = (
    "name",
    "language",
    "voice",
    "thresholds",
    "failure_policy",
    "audit_share",
    "hold",
    "delays",
    "business_hours",
    "autonomy",
    "quota",
    "replies",
    "training",
    "lists",
    "channels",
    "events",
    "clauses",
)
CLAUSE: Final = (
    "id",
    "when",
    "channels",
    "visibility",
    "queue",
    "priority",
    "due",
    "reply_posture",
    "review",
    "illegal",
    "notify",
    "silence",
    "explain",
)
OVERRIDE: Final = ("thresholds", "delays", "hold", "audit_share", "quota", "without")
EVENT: Final = ("id", "start", "end", "event", *OVERRIDE, "clauses")
HOURS: Final = ("timezone", "open", "closed", "queues")
REPLIES: Final = ("alone", "most", "per")
LIST: Final = ("words", "names", "hashtags", "live")
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
VISIBILITIES: Final = {v.name: v for v in Visibility if v}
QUEUES: Final = {q.name.lower(): q for q in Queue if q}
KINDS: Final = {kind.name.lower(): kind for kind in ChannelKind}
POLICIES: Final = {policy.value: policy for policy in FailurePolicy}
AUTONOMIES: Final = {level.value: level for level in Autonomy}
_ACTIONS: Final = {v.name.lower(): v for v in Visibility if v > Visibility.KEEP}
_ID: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LIST_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_CHANNEL: Final = re.compile(r"id:([a-z0-9][a-z0-9_-]{0,62})")
_NEVER: Final = (datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC))
_HOURS_EXAMPLES: Final = {
    "timezone": ": write `timezone: Europe/Paris`",
    "open": ": write `open: {mon-fri: 09:00-18:00}`",
    "queues": ", the teams it binds: write `queues: [care]`",
}
_SPAN: Final = re.compile(r"(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)")


@dataclass
class Read:
    """A charter as far as it could be read: it is accepted when `problems` holds no error.

    `program` is None when something was not understood. Where it is there beside errors, the charter would work and
    could not do what its author wanted: a version kept by an earlier, less strict release still decides.
    """

    charter: Charter | None
    program: cel.Program | None
    problems: list[Problem]

    @property
    def errors(self) -> list[Problem]:
        """The problems for which it is refused."""
        return [problem for problem in self.problems if problem.severity is Severity.ERROR]


def digest(source: str) -> str:
    """SHA-256 of a charter's text."""
    return hashlib.sha256(source.encode()).hexdigest()


def read_charter(source: str) -> Read:
    """Read a charter's YAML and compile its conditions; never raises on bad text."""
    return _Reader().read(source)


def compile_charter(source: str, name: str) -> CompiledCharter:
    """A charter ready to decide, from a text that was accepted before.

    Args:
        source: the YAML.
        name: resource name that decisions will cite.

    Raises:
        ValueError: when the text does not compile.
    """
    read = read_charter(source)
    if read.charter is None or read.program is None:
        raise ValueError(f"{name} does not compile")
    return CompiledCharter(read.charter, read.program, WordLists(read.charter.lists), name, digest(source))


def default_source() -> str:
    """The charter of brands that have none."""
    return resources.files("apaise_route").joinpath("charters", "default.yaml").read_text("utf-8")


def default_charter() -> CompiledCharter:
    """The default charter, compiled."""
    return compile_charter(default_source(), f"{HOUSE_CHARTERS}/charters/{DEFAULT_VERSION}")


@dataclass
class _Reader(Tree):
    """Reads the sections of a charter."""

    paths: set[tuple[str, str]] = field(default_factory=set)
    clauses: list[ReadClause] = field(default_factory=list)
    offs: list[tuple[Node, str]] = field(default_factory=list)

    def read(self, source: str) -> Read:
        root = self.compose(source)
        charter = self._charter(root) if root is not None else None
        program = self._program(charter) if charter is not None and not self.fatal else None
        self.problems.sort(key=lambda problem: (problem.line, problem.severity is Severity.WARNING))
        return Read(charter, program, self.problems)

    def _charter(self, root: MappingNode) -> Charter:
        top = self.mapping(root, TOP, "the charter")
        for key in ("name", "language", "clauses"):
            if key not in top:
                self.error(root, f"`{key}` is missing: add `{key}: …` at the left margin")
        lists = self._lists(top.get("lists"))
        channels = self._channels(top.get("channels"))
        self._clauses(top.get("clauses"), lists)
        events = self._events(top.get("events"), lists)
        self._look_over()
        return Charter(
            name=self.text(top.get("name"), "name"),
            language=self.choice(top.get("language"), {x: x for x in LANGUAGES}, "language", LANGUAGES[0]),
            clauses=tuple(read.clause for read in self.clauses),
            voice=self.text(top.get("voice"), "voice"),
            thresholds=self._thresholds(top.get("thresholds")),
            failure=self._failure(top.get("failure_policy")),
            audit_share=self._share(top.get("audit_share")) if "audit_share" in top else 0.02,
            hold=self._hold(top.get("hold")) or HoldRule(),
            delays=self._delays(top.get("delays")),
            lists=lists,
            channels=channels,
            events=events,
            hours=self._hours(top.get("business_hours")),
            autonomy=self._autonomy(top.get("autonomy")),
            quota=self._quota(top.get("quota")),
            train_private=self._training(top.get("training")),
            replies=self._replies(top.get("replies")),
        )

    # -- what channels and events may override

    def _override(self, found: dict[str, Node]) -> Override:
        off = self.items(found.get("without"), "without")
        self.offs += [(node, str(node.value)) for node in off if isinstance(node, ScalarNode)]
        return Override(
            thresholds=self._thresholds(found.get("thresholds")),
            delays=self._delays(found.get("delays")),
            hold=self._hold(found.get("hold")),
            audit_share=self._share(found.get("audit_share")) if "audit_share" in found else None,
            quota=self._quota(found.get("quota")),
            off=frozenset(self.text(node, "a clause to do without") for node in off),
        )

    def _thresholds(self, node: Node | None) -> dict[str, float]:
        found = self.mapping(node, LABELS, "thresholds") if node is not None else {}
        read = {key: self.number(value, f"threshold of {key}", 0.01, 1, 1.0) for key, value in found.items()}
        if read.get("complaint", 0.0) > HOUSE_COMPLAINT:
            self.doubt(
                found["complaint"],
                True,
                f"a charter cannot raise the threshold of complaint above the house's, {HOUSE_COMPLAINT:g}: take the "
                "line out, or write a lower number to protect more complaints",
            )
        return read

    def _share(self, node: Node | None) -> float:
        return self.number(node, "audit_share", 0, 1, 0.02)

    def _hold(self, node: Node | None) -> HoldRule | None:
        if node is None:
            return None
        default = HoldRule()
        found = self.mapping(node, ("expire_after", "then"), "hold")
        endings = {name: v for name, v in VISIBILITIES.items() if v is not Visibility.HOLD}
        return HoldRule(
            self.duration(found.get("expire_after"), "hold.expire_after") or default.expire_after,
            self.choice(found.get("then"), endings, "hold.then", default.then),
        )

    def _delays(self, node: Node | None) -> dict[Queue, timedelta]:
        found = self.mapping(node, QUEUES, "delays") if node is not None else {}
        read = {QUEUES[key]: self.duration(value, f"delay of {key}") for key, value in found.items()}
        return {queue: delay for queue, delay in read.items() if delay is not None}

    def _quota(self, node: Node | None) -> Quota | None:
        if node is None:
            return None
        found = self.mapping(node, ("actions", "per"), "quota")
        for key in ("actions", "per"):
            if key not in found:
                self.error(node, f"quota needs `{key}`: write `quota: {{actions: 30, per: 1m}}`")
        per = self.duration(found.get("per"), "quota.per") or timedelta(minutes=1)
        return Quota(int(self.number(found.get("actions"), "quota.actions", 0, 100_000, 0)), per)

    # -- other sections

    def _failure(self, node: Node | None) -> FailurePolicies:
        default = FailurePolicies()
        if node is None or isinstance(node, ScalarNode):
            return FailurePolicies(self.choice(node, POLICIES, "failure_policy", default.default))
        found = self.mapping(node, ("default", "pre", *KINDS), "failure_policy")
        policies = {k: self.choice(v, POLICIES, f"failure_policy of {k}", default.default) for k, v in found.items()}
        kinds = {KINDS[key]: policy for key, policy in policies.items() if key in KINDS}
        return FailurePolicies(policies.get("default", default.default), policies.get("pre"), kinds)

    def _autonomy(self, node: Node | None) -> dict[Visibility, Autonomy]:
        found = self.mapping(node, _ACTIONS, "autonomy") if node is not None else {}
        return {
            _ACTIONS[key]: self.choice(value, AUTONOMIES, f"autonomy of {key}", Autonomy.ALONE)
            for key, value in found.items()
        }

    def _replies(self, node: Node | None) -> ReplyAlone:
        if node is None:
            return ReplyAlone()
        found, usual = self.mapping(node, REPLIES, "replies"), ReplyAlone().quota
        given = self.items(found.get("alone"), "replies.alone")
        intents = [self.choice(one, {x: x for x in INTENTS}, "replies.alone", "") for one in given]
        for one, intent in zip(given, intents, strict=True):
            if intent == "complaint":
                self.warn(one, "complaints will be answered without a person: take `complaint` out unless you mean it")
        most = int(self.number(found.get("most"), "replies.most", 0, 10_000, usual.actions))
        quota = Quota(most, self.duration(found.get("per"), "replies.per") or usual.per)
        return ReplyAlone(frozenset(filter(None, intents)), quota)

    def _training(self, node: Node | None) -> bool:
        found = self.mapping(node, ("private_messages",), "training") if node is not None else {}
        return self.flag(found.get("private_messages"), "training.private_messages")

    def _lists(self, node: Node | None) -> dict[str, WordList]:
        lists: dict[str, WordList] = {}
        for key, value in (self.mapping(node, None, "lists") if node is not None else {}).items():
            if not _LIST_ID.fullmatch(key):
                self.error(value, f"list id `{key[:40]}` must be a-z, 0-9 and _, starting with a letter")
            found = self.mapping(value, LIST, f"list {key[:40]}")
            words, names, tags = (self._words(found.get(kind), kind) for kind in LIST[:3])
            lists[key] = WordList(words, names, tags, self.flag(found.get("live"), f"live of list {key[:40]}"))
            if not lists[key] and not lists[key].live:
                self.warn(value, f"list `{key[:40]}` holds no word: it never matches; fill it, or say `live: true`")
        if sum(map(len, lists.values())) > MAX_WORDS:
            self.error(node or 0, f"the lists hold more than {MAX_WORDS} words together; take some out")
        return lists

    def _words(self, node: Node | None, what: str) -> tuple[str, ...]:
        return tuple(self.text(word, f"a word of {what}") for word in self.items(node, what))

    def _hours(self, node: Node | None) -> BusinessHours | None:
        if node is None:
            return None
        found = self.mapping(node, HOURS, "business_hours")
        for key in ("timezone", "open", "queues"):
            if key not in found:
                self.error(node, f"business_hours needs `{key}`{_HOURS_EXAMPLES[key]}")
        week: dict[int, tuple[tuple[time, time], ...]] = {}
        opened = found.get("open")
        for key, value in (self.mapping(opened, None, "open") if opened is not None else {}).items():
            spans = self._spans(value, key)
            week |= dict.fromkeys(self._days(value, key), spans)
        queues = {self.choice(n, QUEUES, "queues", Queue.NONE) for n in self.items(found.get("queues"), "queues")}
        closed = {self._date(n) for n in self.items(found.get("closed"), "closed")}
        return BusinessHours(self._zone(found.get("timezone")), week, frozenset(closed), frozenset(queues))

    def _zone(self, node: Node | None) -> ZoneInfo:
        zones = {name: name for name in available_timezones()}
        return ZoneInfo(self.choice(node, zones, "timezone", "UTC"))

    def _days(self, node: Node, key: str) -> list[int]:
        first, _, last = key.partition("-")
        for day in (first, last or first):
            if day not in DAYS:
                self.error(node, f"open knows no day `{day[:20]}`{meant(day, DAYS)}")
                return []
        start, end = DAYS.index(first), DAYS.index(last or first)
        return list(range(start, end + 1)) if start <= end else [*range(start, 7), *range(end + 1)]

    def _spans(self, node: Node, key: str) -> tuple[tuple[time, time], ...]:
        spans = []
        for part in self.text(node, f"open of {key}", "00:00-24:00").split(","):
            found = _SPAN.fullmatch(part.strip())
            numbers = [int(number) for number in found.groups()] if found else [0, 0, 0, 0]
            start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
            if not 0 <= start < end <= 24 * 60 or max(numbers[1::2]) > 59:
                self.error(
                    node, f"open of {key} must be hours of one day such as 09:00-18:00 or 09:00-12:00, 14:00-18:00"
                )
                return ()
            spans.append((time(*divmod(start, 60)), time(*divmod(end % (24 * 60), 60))))
        return tuple(sorted(spans))

    def _date(self, node: Node) -> date:
        try:
            return date.fromisoformat(self.text(node, "a closed day"))
        except ValueError:
            self.error(node, "a closed day must be a date such as 2026-12-25")
            return date.min

    # -- channels and events

    def _channels(self, node: Node | None) -> dict[Place, Override]:
        found = self.mapping(node, None, "channels") if node is not None else {}
        read: dict[Place, Override] = {}
        for key, value in found.items():
            place = self._place(value, key)
            if place is not None:
                read[place] = self._override(self.mapping(value, OVERRIDE, f"channel {key[:40]}"))
        return read

    def _place(self, node: Node, key: str) -> Place | None:
        one = _CHANNEL.fullmatch(key)
        if one is None and key not in KINDS:
            self.error(
                node, f"no kind of channel is called `{key[:40]}`{meant(key, KINDS)} One channel is `id:<its id>`"
            )
            return None
        return one.group(1) if one else KINDS[key]

    def _events(self, node: Node | None, lists: Collection[str]) -> tuple[EventOverride, ...]:
        nodes = self.items(node, "events")
        if len(nodes) > MAX_EVENTS:
            self.error(nodes[MAX_EVENTS], f"a charter has at most {MAX_EVENTS} events; take out those that are over")
            return ()
        events: list[EventOverride] = []
        for item in nodes:
            event = self._event(item, lists)
            if any(event.id == other.id for other in events):
                self.error(item, f"event id `{event.id}` is already used; choose another")
            events.append(event)
        return tuple(events)

    def _event(self, node: Node, lists: Collection[str]) -> EventOverride:
        found = self.mapping(node, EVENT, "an event")
        for key in ("id", "start", "end"):
            if key not in found:
                self.error(node, f"an event needs `{key}`")
        start, end = self.instant(found.get("start"), "start"), self.instant(found.get("end"), "end")
        if start is not None and end is not None and end <= start:
            self.error(found["end"], "the event ends before it starts; exchange start and end")
        event_id = self._id(found["id"]) if "id" in found else ""
        self._clauses(found.get("clauses"), lists, event_id)
        never = _NEVER if start is None or end is None else (start, end)
        return EventOverride(event_id, *never, self._override(found), self.text(found.get("event"), "event"))

    # -- clauses

    def _clauses(self, node: Node | None, lists: Collection[str], event: str = "") -> None:
        nodes = self.items(node, "clauses")
        if len(self.clauses) + len(nodes) > MAX_CLAUSES:
            self.error(nodes[0], f"a charter has at most {MAX_CLAUSES} clauses; join some with ||")
            return
        for item in nodes:
            read = self._clause(item, lists, event)
            twin = next((other for other in self.clauses if other.clause.id == read.clause.id), None)
            if twin is not None:
                self.error(item, f"clause id `{twin.clause.id}` is already used at line {twin.line}; choose another")
            self.clauses.append(read)
        if node is not None and not nodes and not event and not self.fatal:
            self.warn(node, "the charter has no clause: every message is kept; add one with `- id:` and `when:`")

    def _clause(self, node: Node, lists: Collection[str], event: str) -> ReadClause:
        found = self.mapping(node, CLAUSE, "a clause")
        id_node, when_node = found.get("id"), found.get("when")
        for key in ("id", "when"):
            if key not in found:
                self.error(node, f"a clause needs `{key}`")
        reading = self._condition(when_node, lists) if when_node is not None else None
        clause = Clause(
            id=self._id(id_node) if id_node is not None else "",
            when=str(when_node.value) if isinstance(when_node, ScalarNode) else "",
            visibility=self.choice(found.get("visibility"), VISIBILITIES, "visibility", Visibility.NONE),
            queue=self.choice(found.get("queue"), QUEUES, "queue", Queue.NONE),
            priority=int(self.number(found.get("priority"), "priority", 0, 100, 0)),
            due=self.duration(found.get("due"), "due"),
            reply_posture=self.choice(found.get("reply_posture"), {p: p for p in POSTURES}, "reply_posture", ""),
            review=self.flag(found.get("review"), "review"),
            illegal=self.flag(found.get("illegal"), "illegal"),
            notify=self._notify(found.get("notify")),
            silence=self._silence(found.get("silence")),
            channels=self._where(found.get("channels")),
            event=event,
            explain=self._explain(found.get("explain")),
            reads=reading.labels if reading else (),
            reads_unsure=reading.reads_unsure if reading else False,
        )
        return ReadClause(clause, line_of(node), self._first_line(when_node or node), reading)

    def _id(self, node: Node) -> str:
        value = self.text(node, "id")
        if value in MESH_RULES:
            self.error(node, f"`{value}` is a rule of the mesh itself; choose another id")
        elif value and not _ID.fullmatch(value):
            self.error(node, f"id `{value[:40]}` must be a-z, 0-9, - and _, starting with a letter, 63 at most")
        return value

    def _condition(self, node: Node, lists: Collection[str]) -> cel.Reading | None:
        source = self.text(node, "when")
        if not source:
            return None
        reading = cel.read_condition(source, lists)
        first = self._first_line(node)
        for line, message in reading.problems:
            self.error(first + line - 1, message)
        for line, is_error, message in reading.doubts:
            self.doubt(first + line - 1, is_error, message)
        self.paths |= reading.paths
        return reading

    def _first_line(self, node: Node) -> int:
        # In a block scalar (| or >) the text starts on the line below its mark.
        return line_of(node) + (1 if isinstance(node, ScalarNode) and node.style in ("|", ">") else 0)

    def _notify(self, node: Node | None) -> tuple[Queue, ...]:
        return tuple(self.choice(n, QUEUES, "notify", Queue.NONE) for n in self.items(node, "notify"))

    def _silence(self, node: Node | None) -> Silence | None:
        if node is None:
            return None
        found = self.mapping(node, ("reason", "reviewer"), "silence")
        for key in ("reason", "reviewer"):
            if key not in found:
                self.error(node, f"silence needs `{key}`: not answering is a decision somebody answers for")
        return Silence(self.text(found.get("reason"), "reason"), self.text(found.get("reviewer"), "reviewer"))

    def _where(self, node: Node | None) -> frozenset[Place]:
        places = [self._place(n, self.text(n, "a channel")) for n in self.items(node, "channels")]
        return frozenset(place for place in places if place is not None)

    def _explain(self, node: Node | None) -> dict[str, str]:
        found = self.mapping(node, LANGUAGES, "explain") if node is not None else {}
        return {key: self.text(value, f"explain.{key}") for key, value in found.items()}

    def _look_over(self) -> None:
        """What can be said of clauses once all are read."""
        known = [read.clause.id for read in self.clauses]
        for node, off in self.offs:
            if off not in known:
                self.error(node, f"without names no clause `{off[:40]}`{meant(off, known)}")
        for read in self.clauses:
            for line, is_error, message in within_clause(read):
                self.doubt(line, is_error, message)
        switched = {off for _, off in self.offs}
        for line, is_error, message in between_clauses(self.clauses, switched):
            self.doubt(line, is_error, message)

    def _program(self, charter: Charter) -> cel.Program | None:
        try:
            return cel.Program(charter.clauses, self.paths)
        except ValueError:
            self.error(0, "the conditions do not compile together: one is nested too deep; split it")
            return None


def as_fields(problems: Collection[Problem]) -> list[tuple[str, str]]:
    """Problems as (field, description) pairs for an InvalidArgument."""
    return [(f"charter.source:{problem.line}", problem.message) for problem in problems]
