"""A charter's YAML: read with the line of every problem, and with a way out for each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from importlib import resources
from typing import Final, TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from apaise_kit.core.labels import LABELS
from apaise_route.adapters import cel
from apaise_route.domain.charter import (
    LANGUAGES,
    MESH_RULES,
    POSTURES,
    Charter,
    Clause,
    CompiledCharter,
    FailurePolicies,
    FailurePolicy,
    HoldRule,
    Problem,
    Severity,
)
from apaise_route.domain.lists import WordLists
from apaise_route.domain.model import HOUSE_CHARTERS, ChannelKind, Queue, Visibility

MAX_SOURCE_BYTES: Final = 256 * 1024
MAX_CLAUSES: Final = 200
MAX_WORDS: Final = 5000
DEFAULT_VERSION: Final = 1

_TOP: Final = (
    "name",
    "language",
    "voice",
    "thresholds",
    "failure_policy",
    "audit_share",
    "hold",
    "delays",
    "lists",
    "clauses",
)
_CLAUSE: Final = (
    "id",
    "when",
    "visibility",
    "queue",
    "priority",
    "due",
    "reply_posture",
    "review",
    "illegal",
    "explain",
)
_ID: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LIST_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DURATION: Final = re.compile(r"(\d{1,6})\s*(s|m|h|d)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_VISIBILITIES: Final = {v.name: v for v in Visibility if v}
_QUEUES: Final = {q.name.lower(): q for q in Queue if q}
_KINDS: Final = {kind.name.lower(): kind for kind in ChannelKind}
_POLICIES: Final = {policy.value: policy for policy in FailurePolicy}

_MAX_DEPTH: Final = 20
# The C reader where PyYAML was built with it: ten times faster.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

T = TypeVar("T")


@dataclass
class Read:
    """A charter as far as it could be read: usable when `problems` holds no error."""

    charter: Charter | None
    program: cel.Program | None
    problems: list[Problem]

    @property
    def errors(self) -> list[Problem]:
        """The problems that keep it from deciding."""
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
    if read.charter is None or read.program is None or read.errors:
        raise ValueError(f"{name} does not compile")
    return CompiledCharter(read.charter, read.program, WordLists(read.charter.lists), name, digest(source))


def default_source() -> str:
    """The charter of brands that have none."""
    return resources.files("apaise_route").joinpath("charters", "default.yaml").read_text("utf-8")


def default_charter() -> CompiledCharter:
    """The default charter, compiled."""
    return compile_charter(default_source(), f"{HOUSE_CHARTERS}/charters/{DEFAULT_VERSION}")


@dataclass
class _Reader:
    """Walks the YAML tree once, keeping what it understood and a problem for each thing it did not."""

    problems: list[Problem] = field(default_factory=list)
    paths: set[tuple[str, str]] = field(default_factory=set)

    def read(self, source: str) -> Read:
        root = self._compose(source)
        charter = self._charter(root) if root is not None else None
        program = self._program(charter) if charter is not None and not self._failed() else None
        self.problems.sort(key=lambda problem: (problem.line, problem.severity is Severity.WARNING))
        return Read(charter, program, self.problems)

    def _failed(self) -> bool:
        return any(problem.severity is Severity.ERROR for problem in self.problems)

    def _error(self, where: Node | int, message: str) -> None:
        self.problems.append(Problem(_line(where), Severity.ERROR, message))

    def _warn(self, where: Node | int, message: str) -> None:
        self.problems.append(Problem(_line(where), Severity.WARNING, message))

    # -- the tree

    def _compose(self, source: str) -> MappingNode | None:
        if len(source.encode()) > MAX_SOURCE_BYTES:
            self._error(
                0, f"the charter is over {MAX_SOURCE_BYTES // 1024} KiB; move word lists that are not needed out"
            )
            return None
        try:
            refused = self._refused_event(source)
            root = None if refused else yaml.compose(source, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._error(mark.line + 1 if mark else 0, f"not valid YAML: {error.problem or error.context}")
            return None
        except yaml.YAMLError:
            self._error(0, "not valid YAML: it holds characters YAML refuses")
            return None
        if refused:
            return None
        if not isinstance(root, MappingNode):
            self._error(
                1 if root is None else root, "a charter is a mapping; start with `name:`, `language:` and `clauses:`"
            )
            return None
        return root

    def _refused_event(self, source: str) -> bool:
        """Whether it holds what no charter needs and a machine should not chew on."""
        depth = 0
        for event in yaml.parse(source, Loader=_LOADER):
            line = (event.start_mark.line if event.start_mark else 0) + 1
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                self._error(line, "anchors and aliases are not accepted; repeat the value")
                return True
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                self._error(line, f"nested too deep: a charter needs no more than {_MAX_DEPTH} levels")
                return True
        return False

    def _mapping(self, node: Node, known: Collection[str] | None, what: str) -> dict[str, Node]:
        """Keys and values of a mapping; unknown and repeated keys are problems."""
        if not isinstance(node, MappingNode):
            self._error(node, f"{what} must be a mapping of `key: value`")
            return {}
        found: dict[str, Node] = {}
        for key_node, value in node.value:
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else ""
            if not key:
                self._error(key_node, f"a key of {what} must be a plain word")
            elif known is not None and key not in known:
                self._error(key_node, f"unknown key `{key}` in {what}{_meant(key, known)}")
            elif key in found:
                self._error(key_node, f"`{key}` is there twice in {what}; keep one")
            else:
                found[key] = value
        return found

    def _items(self, node: Node | None, what: str) -> list[Node]:
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            self._error(node, f"{what} must be a list: one `- …` a line")
            return []
        return list(node.value)

    # -- values

    def _text(self, node: Node | None, what: str, default: str = "") -> str:
        if node is None:
            return default
        if str(node.tag).startswith("!"):
            self._error(node, f"{what} starts with `!`, which YAML takes for itself; put it between quotes")
            return default
        if not isinstance(node, ScalarNode) or not str(node.value).strip():
            self._error(node, f"{what} must be a text that is not empty")
            return default
        return str(node.value)

    def _choice(self, node: Node | None, choices: Mapping[str, T], what: str, default: T) -> T:
        if node is None:
            return default
        value = str(node.value) if isinstance(node, ScalarNode) else ""
        if value not in choices:
            self._error(node, f"{what} cannot be `{value[:40]}`{_meant(value, choices)}")
            return default
        return choices[value]

    def _flag(self, node: Node | None, what: str) -> bool:
        return self._choice(node, {"true": True, "false": False}, what, False)

    def _number(self, node: Node | None, what: str, low: float, high: float, default: float) -> float:
        if node is None:
            return default
        try:
            value = float(str(node.value)) if isinstance(node, ScalarNode) else float("nan")
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            self._error(node, f"{what} must be a number from {low:g} to {high:g}")
            return default
        return value

    def _duration(self, node: Node | None, what: str) -> timedelta | None:
        if node is None:
            return None
        found = _DURATION.fullmatch(str(node.value).strip()) if isinstance(node, ScalarNode) else None
        if not found or int(found.group(1)) == 0:
            self._error(node, f"{what} must be a duration such as 90s, 20m, 12h or 2d")
            return None
        return timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})

    # -- sections

    def _charter(self, root: MappingNode) -> Charter:
        top = self._mapping(root, _TOP, "the charter")
        for key in ("name", "language", "clauses"):
            if key not in top:
                self._error(root, f"`{key}` is missing")
        lists = self._lists(top.get("lists"))
        return Charter(
            name=self._text(top.get("name"), "name"),
            language=self._choice(top.get("language"), {x: x for x in LANGUAGES}, "language", LANGUAGES[0]),
            clauses=self._clauses(top.get("clauses"), lists),
            voice=self._text(top.get("voice"), "voice"),
            thresholds=self._thresholds(top.get("thresholds")),
            failure=self._failure(top.get("failure_policy")),
            audit_share=self._number(top.get("audit_share"), "audit_share", 0, 1, 0.02),
            hold=self._hold(top.get("hold")),
            delays=self._delays(top.get("delays")),
            lists=lists,
        )

    def _thresholds(self, node: Node | None) -> dict[str, float]:
        found = self._mapping(node, LABELS, "thresholds") if node is not None else {}
        return {key: self._number(value, f"threshold of {key}", 0.01, 1, 1.0) for key, value in found.items()}

    def _failure(self, node: Node | None) -> FailurePolicies:
        default = FailurePolicies()
        if node is None or isinstance(node, ScalarNode):
            return FailurePolicies(self._choice(node, _POLICIES, "failure_policy", default.default))
        found = self._mapping(node, ("default", "pre", *_KINDS), "failure_policy")
        policies = {k: self._choice(v, _POLICIES, f"failure_policy of {k}", default.default) for k, v in found.items()}
        kinds = {_KINDS[key]: policy for key, policy in policies.items() if key in _KINDS}
        return FailurePolicies(policies.get("default", default.default), policies.get("pre"), kinds)

    def _hold(self, node: Node | None) -> HoldRule:
        default = HoldRule()
        found = self._mapping(node, ("expire_after", "then"), "hold") if node is not None else {}
        endings = {name: v for name, v in _VISIBILITIES.items() if v is not Visibility.HOLD}
        return HoldRule(
            self._duration(found.get("expire_after"), "hold.expire_after") or default.expire_after,
            self._choice(found.get("then"), endings, "hold.then", default.then),
        )

    def _delays(self, node: Node | None) -> dict[Queue, timedelta]:
        found = self._mapping(node, _QUEUES, "delays") if node is not None else {}
        read = {_QUEUES[key]: self._duration(value, f"delay of {key}") for key, value in found.items()}
        return {queue: delay for queue, delay in read.items() if delay is not None}

    def _lists(self, node: Node | None) -> dict[str, tuple[str, ...]]:
        lists: dict[str, tuple[str, ...]] = {}
        for key, value in (self._mapping(node, None, "lists") if node is not None else {}).items():
            if not _LIST_ID.fullmatch(key):
                self._error(value, f"list id `{key[:40]}` must be a-z, 0-9 and _, starting with a letter")
            words = self._mapping(value, ("words",), f"list {key[:40]}").get("words")
            lists[key] = tuple(self._text(word, f"a word of list {key[:40]}") for word in self._items(words, "words"))
            if not lists[key]:
                self._warn(value, f"list `{key[:40]}` holds no word: it never matches")
        if sum(map(len, lists.values())) > MAX_WORDS:
            self._error(node or 0, f"the lists hold more than {MAX_WORDS} words together")
        return lists

    # -- clauses

    def _clauses(self, node: Node | None, lists: Collection[str]) -> tuple[Clause, ...]:
        nodes = self._items(node, "clauses")
        if len(nodes) > MAX_CLAUSES:
            self._error(nodes[MAX_CLAUSES], f"a charter has at most {MAX_CLAUSES} clauses")
            return ()
        seen: dict[str, int] = {}
        clauses = []
        for item in nodes:
            clause = self._clause(item, lists)
            if clause.id in seen:
                self._error(item, f"clause id `{clause.id}` is already used at line {seen[clause.id]}; choose another")
            seen.setdefault(clause.id, _line(item))
            clauses.append(clause)
        if node is not None and not nodes and not self._failed():
            self._warn(node, "the charter has no clause: every message is kept")
        return tuple(clauses)

    def _clause(self, node: Node, lists: Collection[str]) -> Clause:
        found = self._mapping(node, _CLAUSE, "a clause")
        id_node, when_node = found.get("id"), found.get("when")
        for key in ("id", "when"):
            if key not in found:
                self._error(node, f"a clause needs `{key}`")
        reading = self._condition(when_node, lists) if when_node is not None else None
        clause = Clause(
            id=self._clause_id(id_node) if id_node is not None else "",
            when=str(when_node.value) if isinstance(when_node, ScalarNode) else "",
            visibility=self._choice(found.get("visibility"), _VISIBILITIES, "visibility", Visibility.NONE),
            queue=self._choice(found.get("queue"), _QUEUES, "queue", Queue.NONE),
            priority=int(self._number(found.get("priority"), "priority", 0, 100, 0)),
            due=self._duration(found.get("due"), "due"),
            reply_posture=self._choice(found.get("reply_posture"), {p: p for p in POSTURES}, "reply_posture", ""),
            review=self._flag(found.get("review"), "review"),
            illegal=self._flag(found.get("illegal"), "illegal"),
            explain=self._explain(found.get("explain")),
            reads=reading.labels if reading else (),
            reads_unsure=reading.reads_unsure if reading else False,
        )
        self._look_over(node, clause, reading)
        return clause

    def _clause_id(self, node: Node) -> str:
        value = self._text(node, "id")
        if value in MESH_RULES:
            self._error(node, f"`{value}` is a rule of the mesh itself; choose another id")
        elif value and not _ID.fullmatch(value):
            self._error(node, f"id `{value[:40]}` must be a-z, 0-9, - and _, starting with a letter, 63 at most")
        return value

    def _condition(self, node: Node, lists: Collection[str]) -> cel.Reading | None:
        source = self._text(node, "when")
        if not source:
            return None
        reading = cel.read_condition(source, lists)
        # In a block scalar (| or >) the text starts on the line below its mark.
        first = _line(node) + (1 if isinstance(node, ScalarNode) and node.style in ("|", ">") else 0)
        for line, is_error, message in reading.problems:
            (self._error if is_error else self._warn)(first + line - 1, message)
        self.paths |= reading.paths
        return reading

    def _explain(self, node: Node | None) -> dict[str, str]:
        found = self._mapping(node, LANGUAGES, "explain") if node is not None else {}
        return {key: self._text(value, f"explain.{key}") for key, value in found.items()}

    def _look_over(self, node: Node, clause: Clause, reading: cel.Reading | None) -> None:
        for is_error, message in _contradictions(clause, reading):
            (self._error if is_error else self._warn)(node, message)

    def _program(self, charter: Charter) -> cel.Program | None:
        try:
            return cel.Program(charter.clauses, self.paths)
        except ValueError:
            self._error(0, "the conditions do not compile together: one is nested too deep; split it")
            return None


def _contradictions(clause: Clause, reading: cel.Reading | None) -> Iterator[tuple[bool, str]]:
    strict = clause.visibility > Visibility.HOLD
    if clause.illegal and not strict:
        yield True, f"clause `{clause.id}` is illegal but takes nothing down; add `visibility: HIDE` or `DELETE`"
    if clause.illegal and clause.reads and not re.search(r">=?\s*(0?\.9\d*|1\.0*)", clause.when):
        yield False, f"clause `{clause.id}` goes past the complaint cap; ask for a high precision: `labels.… >= 0.95`"
    if not (clause.visibility or clause.queue or clause.review or clause.priority or clause.reply_posture):
        yield False, f"clause `{clause.id}` does nothing; give it a visibility, a queue or `review: true`"
    if clause.due and not clause.queue:
        yield False, f"clause `{clause.id}` has a due time and no queue: nobody owes the step"
    if strict and not clause.illegal and re.search(r"(?<![!\w.])(yes|labels)\s*\.\s*complaint\b(?!\s*<)", clause.when):
        yield False, f"clause `{clause.id}` would hide complaints: the mesh caps it at HOLD; hand them to care instead"
    if clause.reads and reading and any(root == "lists" for root, _ in reading.paths):
        yield (
            False,
            (
                f"clause `{clause.id}` mixes word lists and labels: it does not apply when there is no assessment; "
                "put the list in a clause of its own if it should"
            ),
        )
    if not clause.explain:
        yield False, f"clause `{clause.id}` has no `explain`: people will read its id"


def _meant(value: str, known: Collection[str]) -> str:
    folded = {name.lower(): name for name in known}
    close = get_close_matches(value.lower(), list(folded), n=1, cutoff=0.6)
    if close:
        return f": did you mean `{folded[close[0]]}`?"
    return f": choose among {', '.join(known)}" if len(known) <= 12 else ""


def _line(where: Node | int) -> int:
    return where if isinstance(where, int) else int(where.start_mark.line) + 1


def as_fields(problems: Collection[Problem]) -> list[tuple[str, str]]:
    """Problems as (field, description) pairs for an InvalidArgument."""
    return [(f"charter.source:{problem.line}", problem.message) for problem in problems]
