"""What can be said of a condition without any message: which comparisons never or always hold, which exclude each
other, and whether one condition implies another.

A condition is read as `and`, `or` and `not` over comparisons of one fact with a constant. Whatever else CEL can say is
an atom that may be true or false: nothing is claimed of it but that it is not both. Methods from propositional logic
(disjunctive normal form) and interval arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple

_MAX_CASES: Final = 256
_TOKEN: Final = re.compile(
    r"\s+|//[^\n]*|(?P<string>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<op>&&|\|\||==|!=|<=|>=|[-+*/%<>!()\[\]{}.,?:])"
)
_MIRRORED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
_OPPOSITE: Final = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}
# The least and the largest a numeric fact can be.
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "message.rating": (-1.0, float("inf")),
    "message.text_length": (0.0, float("inf")),
    "author.account_age_days": (-1.0, float("inf")),
}
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "message.kind": ("LIVE_CHAT", "COMMENT", "PRIVATE_MESSAGE", "REVIEW", "EMAIL", "FORUM"),
    "message.audience": ("PUBLIC", "PRIVATE"),
    "message.moderation": ("PRE", "POST"),
}


class Unreadable(Exception):
    """The condition is beyond this reader: nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Atom:
    """`fact op value`, or with op "" a thing that is true or false; `line` counts from 1 within the condition."""

    fact: str
    op: str = ""
    value: float | str | bool = True
    line: int = 1

    def __str__(self) -> str:
        if not self.op:
            return self.fact if self.value else f"!{self.fact}"
        value = f"'{self.value}'" if isinstance(self.value, str) else f"{self.value:g}"
        return f"{self.fact} {self.op} {value}"

    def negated(self) -> Atom:
        """What holds exactly when it does not."""
        if not self.op:
            return Atom(self.fact, "", not self.value, self.line)
        return Atom(self.fact, _OPPOSITE[self.op], self.value, self.line)


class Join(NamedTuple):
    """`and` or `or` of parts; negation is pushed down to the atoms."""

    every: bool
    parts: tuple[Node, ...]


Node = Atom | Join | bool
Case = tuple[Atom, ...]


class Conflict(NamedTuple):
    """Why a case cannot be: where, and in words with a way out."""

    line: int
    message: str


class _Tokens:
    def __init__(self, source: str) -> None:
        self.kinds: list[tuple[str, str, int]] = []
        at = 0
        while at < len(source):
            found = _TOKEN.match(source, at)
            if found is None:
                raise Unreadable
            if found.lastgroup:
                self.kinds.append((found.lastgroup, found.group(), source.count("\n", 0, at) + 1))
            at = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.kinds[self.at][1] if self.at < len(self.kinds) else ""

    def take(self, *wanted: str) -> str:
        if self.peek() in wanted:
            self.at += 1
            return self.kinds[self.at - 1][1]
        return ""

    def line(self) -> int:
        return self.kinds[min(self.at, len(self.kinds) - 1)][2]


def parse(source: str) -> Node:
    """Read a condition that compiles.

    Raises:
        Unreadable: it says what this reader does not follow.
    """
    tokens = _Tokens(source)
    node = _either(tokens)
    if tokens.at != len(tokens.kinds):
        raise Unreadable  # a ternary
    return node


def _either(tokens: _Tokens) -> Node:
    parts = [_both(tokens)]
    while tokens.take("||"):
        parts.append(_both(tokens))
    return parts[0] if len(parts) == 1 else Join(False, tuple(parts))


def _both(tokens: _Tokens) -> Node:
    parts = [_single(tokens)]
    while tokens.take("&&"):
        parts.append(_single(tokens))
    return parts[0] if len(parts) == 1 else Join(True, tuple(parts))


def _single(tokens: _Tokens) -> Node:
    if tokens.take("!"):
        return negated(_single(tokens))
    start = tokens.at
    if tokens.take("("):
        inner = _either(tokens)
        if tokens.take(")") and tokens.peek() in ("&&", "||", ")", ""):
            return inner
        tokens.at = start
    return _comparison(tokens)


def _comparison(tokens: _Tokens) -> Node:
    line = tokens.line()
    left, left_is = _operand(tokens)
    op = tokens.take("==", "!=", "<=", ">=", "<", ">", "in")
    if not op:
        return left == "true" if left in ("true", "false") else Atom(left, line=line)
    right, right_is = _operand(tokens)
    if op == "in":
        return _membership(left, left_is, right, line)
    if left_is == "value" and right_is == "fact":
        left, right, left_is, right_is, op = right, left, right_is, left_is, _MIRRORED[op]
    if left_is == "fact" and right_is == "value":
        return Atom(left, op, _value(right), line)
    return Atom(f"{left} {op} {right}", line=line)


def _membership(left: str, left_is: str, right: str, line: int) -> Node:
    values = re.findall(r"'[^']*'|\"[^\"]*\"", right)
    if left_is != "fact" or not values or right != "[" + ", ".join(values) + "]":
        return Atom(f"{left} in {right}", line=line)
    return Join(False, tuple(Atom(left, "==", _value(value), line) for value in values))


def _operand(tokens: _Tokens) -> tuple[str, str]:
    """The text of an operand and what it is: a fact (`a.b`), a value, or else."""
    start, depth = tokens.at, 0
    while tokens.at < len(tokens.kinds):
        text = tokens.peek()
        if depth == 0 and text in ("&&", "||", ")", "]", "}", "==", "!=", "<=", ">=", "<", ">", "in", "?", ":", ","):
            break
        depth += (text in "([{") - (text in ")]}")
        tokens.at += 1
    taken = tokens.kinds[start : tokens.at]
    if not taken:
        raise Unreadable
    kinds, texts = [kind for kind, _, _ in taken], [text for _, text, _ in taken]
    joined = _spelled(texts)
    if kinds == ["name", "op", "name"] and texts[1] == ".":
        return joined, "fact"
    if kinds in (["number"], ["string"]) or (kinds == ["op", "number"] and texts[0] == "-"):
        return joined, "value"
    return joined, "else"


def _spelled(texts: Sequence[str]) -> str:
    """Tokens as one would write them."""
    written = ""
    for text in texts:
        tight = not written or text in (".", "(", ")", "[", "]", ",") or written[-1] in ".(["
        written += text if tight else f" {text}"
    return written


def _value(text: str) -> float | str:
    return text[1:-1] if text[0] in "\"'" else float(text)


def negated(node: Node) -> Node:
    """The opposite of a condition."""
    if isinstance(node, bool):
        return not node
    if isinstance(node, Atom):
        return node.negated()
    return Join(not node.every, tuple(map(negated, node.parts)))


def atoms(node: Node) -> Iterator[Atom]:
    """Every atom, in the order written."""
    if isinstance(node, Atom):
        yield node
    elif isinstance(node, Join):
        for part in node.parts:
            yield from atoms(part)


def cases(node: Node) -> list[Case]:
    """The ways in which it holds: it does when every atom of one of them does.

    Raises:
        Unreadable: they are too many to look at.
    """
    if isinstance(node, bool):
        return [()] if node else []
    if isinstance(node, Atom):
        return [(node,)]
    inner = [cases(part) for part in node.parts]
    size = 1
    for part in inner:
        size = size * len(part) if node.every else size + len(part)
        if size > _MAX_CASES:
            raise Unreadable
    if not node.every:
        return [case for part in inner for case in part]
    return [sum(combination, ()) for combination in product(*inner)]


def conflict(case: Case) -> Conflict | None:
    """Why these atoms cannot hold together, or None when they can as far as this reader knows."""
    by_fact: dict[str, list[Atom]] = {}
    for atom in case:
        by_fact.setdefault(atom.fact, []).append(atom)
    for found in by_fact.values():
        reason = _apart(found)
        if reason is not None:
            return reason
    return None


def _apart(found: Sequence[Atom]) -> Conflict | None:
    """Why atoms of one fact exclude each other."""
    truths = [atom for atom in found if not atom.op]
    if {bool(atom.value) for atom in truths} == {True, False}:
        return Conflict(found[-1].line, f"`{truths[0].fact}` cannot be both true and false; use || or take one out")
    words = [atom for atom in found if atom.op and isinstance(atom.value, str)]
    numbers = [atom for atom in found if atom.op and isinstance(atom.value, float)]
    return _words_apart(words) or _numbers_apart(numbers)


def _words_apart(found: Sequence[Atom]) -> Conflict | None:
    if not found:
        return None
    fact, line = found[0].fact, found[-1].line
    equal = list(dict.fromkeys(str(atom.value) for atom in found if atom.op == "=="))
    excluded = {str(atom.value) for atom in found if atom.op == "!="}
    if len(equal) > 1:
        return Conflict(line, f"`{fact}` cannot be both '{equal[0]}' and '{equal[1]}'; write `{fact} in {equal}`")
    possible = equal or CHOICES.get(fact, ())
    if possible and excluded.issuperset(possible):
        return Conflict(line, f"no value of `{fact}` is left; take one of the comparisons out")
    return None


def _numbers_apart(found: Sequence[Atom]) -> Conflict | None:
    if not found:
        return None
    low, high = span(found[0].fact)
    least, most = Atom(found[0].fact, ">=", low), Atom(found[0].fact, "<=", high)
    for atom in found:
        assert isinstance(atom.value, float)
        if atom.op in (">", ">=", "==") and _tighter(atom, least, 1):
            least = atom
        if atom.op in ("<", "<=", "==") and _tighter(atom, most, -1):
            most = atom
    if _meet(least, most):
        return None
    if least in found and most in found and least != most:
        return Conflict(
            max(least.line, most.line),
            f"`{least}` and `{most}` exclude each other; use || or correct one of the numbers",
        )
    guilty = least if least in found else most
    return Conflict(guilty.line, f"`{guilty}` can never hold: `{guilty.fact}` goes from {low:g} to {high:g}")


def _meet(least: Atom, most: Atom) -> bool:
    low, high = float(least.value), float(most.value)
    return low < high or (low == high and least.op != ">" and most.op != "<")


def _tighter(atom: Atom, than: Atom, direction: int) -> bool:
    difference = (float(atom.value) - float(than.value)) * direction
    return difference > 0 or (difference == 0 and atom.op in ("<", ">"))


def span(fact: str) -> tuple[float, float]:
    """The least and the largest a numeric fact can be."""
    return (0.0, 1.0) if fact.startswith("labels.") else RANGES.get(fact, (float("-inf"), float("inf")))


def holds_never(atom: Atom) -> bool:
    """Whether no value of the fact satisfies this comparison with a number."""
    return isinstance(atom.value, float) and atom.op != "" and conflict((atom,)) is not None


def holds_always(atom: Atom) -> bool:
    """Whether every value of the fact satisfies this comparison with a number."""
    return isinstance(atom.value, float) and atom.op not in ("", "!=", "==") and conflict((atom.negated(),)) is not None


def implies(holding: Sequence[Case], others_opposite: Sequence[Case]) -> bool:
    """Whether a condition (its cases) cannot hold without another, whose opposite's cases are given."""
    return all(conflict((*case, *opposite)) is not None for case in holding for opposite in others_opposite)
