"""A charter's YAML tree: read with the line of every problem, and with a way out for each."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Final, TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from apaise_route.domain.charter import Problem, Severity

MAX_SOURCE_BYTES: Final = 256 * 1024
DURATION: Final = re.compile(r"(\d{1,6})\s*(s|m|h|d)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MAX_DEPTH: Final = 20
# The C reader where PyYAML was built with it: ten times faster.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

T = TypeVar("T")


@dataclass
class Tree:
    """Walks a YAML tree once, keeping a problem for each thing it did not understand.

    `fatal`: something was not understood, so that what was read cannot be used. A `doubt` of severity ERROR is none:
    the charter works, and does not do what its author wanted.
    """

    problems: list[Problem] = field(default_factory=list)
    fatal: bool = False

    def error(self, where: Node | int, message: str) -> None:
        """A problem that keeps the charter from being used."""
        self.fatal = True
        self.problems.append(Problem(line_of(where), Severity.ERROR, message))

    def doubt(self, where: Node | int, is_error: bool, message: str) -> None:
        """Something that works and cannot be meant."""
        self.problems.append(Problem(line_of(where), Severity.ERROR if is_error else Severity.WARNING, message))

    def warn(self, where: Node | int, message: str) -> None:
        """Something to look at."""
        self.problems.append(Problem(line_of(where), Severity.WARNING, message))

    # -- the tree

    def compose(self, source: str) -> MappingNode | None:
        """The root of the tree, or None when there is none to walk."""
        if len(source.encode()) > MAX_SOURCE_BYTES:
            self.error(
                0, f"the charter is over {MAX_SOURCE_BYTES // 1024} KiB; move word lists that are not needed out"
            )
            return None
        try:
            refused = self._refused_event(source)
            root = None if refused else yaml.compose(source, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.error(
                mark.line + 1 if mark else 0, f"not valid YAML: {_yaml_hint(error.problem or error.context or '')}"
            )
            return None
        except yaml.YAMLError:
            self.error(0, "not valid YAML: it holds characters YAML refuses")
            return None
        if refused:
            return None
        if not isinstance(root, MappingNode):
            self.error(
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
                self.error(line, "anchors and aliases are not accepted; repeat the value")
                return True
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                self.error(line, f"nested too deep: a charter needs no more than {_MAX_DEPTH} levels")
                return True
        return False

    def mapping(self, node: Node, known: Collection[str] | None, what: str) -> dict[str, Node]:
        """Keys and values of a mapping; unknown and repeated keys are problems."""
        if not isinstance(node, MappingNode):
            self.error(node, f"{what} must be a mapping of `key: value`")
            return {}
        found: dict[str, Node] = {}
        for key_node, value in node.value:
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else ""
            if not key:
                self.error(key_node, f"a key of {what} must be a plain word")
            elif known is not None and key not in known:
                self.error(key_node, f"unknown key `{key}` in {what}{meant(key, known)}")
            elif key in found:
                self.error(key_node, f"`{key}` is there twice in {what}; keep one")
            else:
                found[key] = value
        return found

    def items(self, node: Node | None, what: str) -> list[Node]:
        """The items of a list."""
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            self.error(node, f"{what} must be a list: one `- …` a line")
            return []
        return list(node.value)

    # -- values

    def text(self, node: Node | None, what: str, default: str = "") -> str:
        """A text that is not empty."""
        if node is None:
            return default
        if str(node.tag).startswith("!"):
            self.error(node, f"{what} starts with `!`, which YAML takes for itself; put it between quotes")
            return default
        if not isinstance(node, ScalarNode) or not str(node.value).strip():
            self.error(node, f"{what} must be a text that is not empty")
            return default
        return str(node.value)

    def choice(self, node: Node | None, choices: Mapping[str, T], what: str, default: T) -> T:
        """One of some words."""
        if node is None:
            return default
        value = str(node.value) if isinstance(node, ScalarNode) else ""
        if value not in choices:
            self.error(node, f"{what} cannot be `{value[:40]}`{meant(value, choices)}")
            return default
        return choices[value]

    def flag(self, node: Node | None, what: str) -> bool:
        """true or false."""
        return self.choice(node, {"true": True, "false": False}, what, False)

    def number(self, node: Node | None, what: str, low: float, high: float, default: float) -> float:
        """A number within bounds."""
        if node is None:
            return default
        try:
            value = float(str(node.value)) if isinstance(node, ScalarNode) else float("nan")
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            self.error(node, f"{what} must be a number from {low:g} to {high:g}")
            return default
        return value

    def duration(self, node: Node | None, what: str) -> timedelta | None:
        """A duration such as 20m."""
        if node is None:
            return None
        found = DURATION.fullmatch(str(node.value).strip()) if isinstance(node, ScalarNode) else None
        if not found or int(found.group(1)) == 0:
            bare = str(node.value).strip() if isinstance(node, ScalarNode) else ""
            hint = f": did you mean `{bare}m`?" if bare.isdigit() and int(bare) else ""
            self.error(node, f"{what} must be a duration such as 90s, 20m, 12h or 2d{hint}")
            return None
        return timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})

    def instant(self, node: Node | None, what: str) -> datetime | None:
        """A date with its time and offset."""
        if node is None:
            return None
        try:
            value = datetime.fromisoformat(str(node.value)) if isinstance(node, ScalarNode) else None
        except ValueError:
            value = None
        if value is None or value.tzinfo is None:
            self.error(node, f"{what} must be a date, a time and an offset such as 2026-11-26T18:00:00+01:00")
            return None
        return value


def _yaml_hint(problem: str) -> str:
    if "mapping values" in problem:
        return f"{problem}; a text that holds `: ` goes between quotes"
    if "cannot start any token" in problem:
        return f"{problem}; indent with spaces, and put texts that start with @, ` or % between quotes"
    return f"{problem}; look for a missing bracket, quote or indent above"


def meant(value: str, known: Collection[str]) -> str:
    """A hint at what a misspelt word was to be."""
    folded = {name.lower(): name for name in known}
    close = get_close_matches(value.lower(), list(folded), n=1, cutoff=0.6)
    if close:
        return f": did you mean `{folded[close[0]]}`?"
    return f": choose among {', '.join(known)}" if 0 < len(known) <= 12 else ""


def line_of(where: Node | int) -> int:
    """The line of a node, from 1."""
    return where if isinstance(where, int) else int(where.start_mark.line) + 1
