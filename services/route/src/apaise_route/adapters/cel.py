"""Conditions in CEL: checked one by one, compiled into one program per charter, evaluated at once.

Handing the facts over dominates the cost, so a program is given only the facts its conditions name; naming is checked
statically (an unknown key would only fail at run time), which is why computed keys and comprehensions are refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

import cel

from apaise_kit.core.labels import LABELS
from apaise_route.adapters import logic
from apaise_route.domain.charter import Clause, Conditions, Evaluation

MAX_CONDITION: Final = 2000
LABEL_MAPS: Final = ("labels", "yes", "unsure")
MESSAGE_FACTS: Final[dict[str, Any]] = {
    "text": "",
    "text_length": 0,
    "language": "fr",
    "has_attachment": False,
    "rating": -1.0,
    "kind": "COMMENT",
    "audience": "PUBLIC",
    "moderation": "POST",
    "event": "",
    "is_reply": False,
    "read": True,
    "channel": "",
    "open": True,
}
AUTHOR_FACTS: Final[dict[str, Any]] = {"account_age_days": -1, "follows": False, "roles": []}

_STRING: Final = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'")
_COMMENT: Final = re.compile(r"//[^\n]*")
_PATH: Final = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*(?:\.\s*([A-Za-z_]\w*)(\s*\()?|(\[))?")
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter", "reduce"})


class Reading(NamedTuple):
    """What a condition names, and what is wrong with it.

    `problems` (line within the condition, what to do) keep it from being evaluated; `doubts` (line, is an error, what
    to do) do not: it works, and cannot mean what its author wanted.
    """

    labels: tuple[str, ...]
    reads_unsure: bool
    paths: frozenset[tuple[str, str]]
    problems: tuple[tuple[int, str], ...]
    doubts: tuple[tuple[int, bool, str], ...] = ()
    logic: Logic | None = None


class Logic(NamedTuple):
    """What is known of a condition without any message: the cases in which it holds, and those in which it does not."""

    atoms: tuple[logic.Atom, ...]
    cases: tuple[logic.Case, ...]
    opposite: tuple[logic.Case, ...]


def read_condition(source: str, lists: Collection[str]) -> Reading:
    """Check one condition without any real message.

    Args:
        source: the CEL text.
        lists: ids of the charter's word lists.
    """
    if len(source) > MAX_CONDITION:
        return _refused(f"the condition has {len(source)} characters; {MAX_CONDITION} at most. Split the clause.")
    try:
        program = cel.compile(source)
    except ValueError as error:
        return _refused(*_syntax(str(error)))
    paths, problems = _named(source, program, lists)
    known = _logic(source)
    if not problems and known is not None:
        problems = list(_mistyped(known))
    if not problems:
        problems = list(_tried(program, paths))
    doubts = list(_pointless(known)) if known is not None and not problems else []
    labels = tuple(dict.fromkeys(key for root, key in sorted(paths) if root in LABEL_MAPS))
    return Reading(
        labels, any(root == "unsure" for root, _ in paths), frozenset(paths), tuple(problems), tuple(doubts), known
    )


def _refused(message: str, line: int = 1) -> Reading:
    return Reading((), False, frozenset(), ((line, message),))


def _syntax(message: str) -> tuple[str, int]:
    """The parser's first complaint, without the source it repeats."""
    found = re.search(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)", message)
    if not found:
        return "the condition is not CEL: check its quotes, parentheses and operators", 1
    cause = re.sub(r" expecting .*", "", found.group(3))
    hint = "look for a missing quote, parenthesis or operator there."
    if "'= " in cause or "'='" in cause:
        hint = "Equality is written ==."
    elif re.search(r"'(and|or|not)'", cause, re.IGNORECASE):
        hint = "and, or, not are written &&, ||, !."
    return f"the condition is not CEL: {cause} at column {found.group(2)}. {hint}", int(found.group(1))


def _named(
    source: str, program: cel.Program, lists: Collection[str]
) -> tuple[set[tuple[str, str]], list[tuple[int, str]]]:
    """Every `root.key` the condition names, and the names nobody knows."""
    known = _known(lists)
    blank = _COMMENT.sub("", _STRING.sub(lambda s: "''" + " " * (len(s.group()) - 2), source))
    if any(f".{macro}(" in re.sub(r"\s", "", blank) for macro in _MACROS):
        return set(), [(1, "comprehensions (all, exists, map, filter) are not accepted; write `'vip' in author.roles`")]
    paths: set[tuple[str, str]] = set()
    problems: list[tuple[int, str]] = []
    for found in _PATH.finditer(blank):
        root, key, call, bracket = found.groups()
        line = blank.count("\n", 0, found.start()) + 1
        if root not in known:
            if root in program.variables():
                problems.append((line, f"unknown name `{root}`{_meant(root, known)}"))
        elif bracket or key is None or call:
            problems.append((line, f"write `{root}.<name>`: a key must be named, not computed"))
        elif key not in known[root]:
            problems.append((line, f"unknown {_kind(root)} `{key}`{_meant(key, known[root])}"))
        else:
            paths.add((root, key))
    unknown = set(program.variables()) - set(known) - {f.group(1) for f in _PATH.finditer(blank)}
    problems += [(1, f"unknown name `{name}`{_meant(name, known)}") for name in sorted(unknown)]
    return paths, problems


def _known(lists: Collection[str]) -> dict[str, Collection[str]]:
    labels = dict.fromkeys(LABEL_MAPS, LABELS)
    return {**labels, "lists": lists, "message": MESSAGE_FACTS, "author": AUTHOR_FACTS}


def _kind(root: str) -> str:
    return {"lists": "word list", "message": "message fact", "author": "author fact"}.get(root, "label")


def _meant(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    if close:
        return f": did you mean `{close[0]}`?"
    choices = ", ".join(sorted(known)) if len(known) <= 12 else "the registry of labels"
    return f": it is not one of {choices}" if known else ": the charter has no `lists`"


def _tried(program: cel.Program, paths: Collection[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    """Evaluate on made-up messages of both extremes: what cannot work on any is found here."""
    for high in (False, True):
        try:
            answer = program.execute(_sample(paths, high))
        except ZeroDivisionError:
            yield 1, "the condition divides by zero on some messages"
            return
        except Exception as error:  # the CEL engine raises whatever its types and functions raise
            yield 1, _runtime(error)
            return
        if not isinstance(answer, bool):
            hint = (
                "compare it, as in `labels.insult >= 0.8`"
                if isinstance(answer, int | float)
                else "it must be true or false"
            )
            yield 1, f"the condition gives a {type(answer).__name__}, not a boolean: {hint}"
            return


def _runtime(error: Exception) -> str:
    text = str(error)
    if isinstance(error, TypeError):
        return "the condition compares or combines values of different types; convert with double(), int() or string()"
    function = re.search(r"Undefined variable or function: '(\w+)'", text)
    if function:
        return f"unknown function `{function.group(1)}`{_meant(function.group(1), _FUNCTIONS)}"
    if "regex" in text:
        return "the regular expression given to matches() is not valid"
    return "the condition cannot be evaluated: check functions and types"


_FUNCTIONS: Final = ("contains", "startsWith", "endsWith", "matches", "size", "int", "double", "string")


def _sample(paths: Collection[tuple[str, str]], high: bool) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = {}
    for root, key in paths:
        facts.setdefault(root, {})[key] = _sample_value(root, key, high)
    return facts


def _sample_value(root: str, key: str, high: bool) -> Any:
    match root:
        case "labels":
            return 1.0 if high else 0.0
        case "yes" | "unsure" | "lists":
            return high
        case _:
            value = (MESSAGE_FACTS if root == "message" else AUTHOR_FACTS)[key]
            return _HIGH.get(type(value), value) if high else value


_HIGH: Final[dict[type, Any]] = {bool: True, int: 400, float: 5.0, str: "un message assez long", list: ["moderator"]}


def _logic(source: str) -> Logic | None:
    try:
        node = logic.parse(source)
        opposite = logic.cases(logic.negated(node))
        return Logic(tuple(logic.atoms(node)), tuple(logic.cases(node)), tuple(opposite))
    except logic.Unreadable:
        return None


def _mistyped(known: Logic) -> Iterator[tuple[int, str]]:
    """Comparisons of a thing with what it is not."""
    for atom in known.atoms:
        root, _, key = atom.fact.partition(".")
        if not key.isidentifier():
            continue
        if root == "labels" and not atom.op:
            yield (
                atom.line,
                f"`{atom.fact}` is a probability, not a boolean: compare it, as in `{atom.fact} >= 0.8`",
            )
        elif root == "labels" and isinstance(atom.value, str):
            yield (
                atom.line,
                f"`{atom.fact}` is a number from 0 to 1, not a text: write `{atom.fact} >= 0.8`",
            )
        elif root in ("yes", "unsure", "lists") and atom.op:
            way_out = f"write `{atom.fact}`" + (f", or `labels.{key} >= 0.8`" if root != "lists" else "")
            yield atom.line, f"`{atom.fact}` is true or false, not something to compare: {way_out}"
        elif atom.fact in logic.CHOICES and isinstance(atom.value, str) and atom.op:
            choices = logic.CHOICES[atom.fact]
            if atom.value not in choices:
                yield (
                    atom.line,
                    f"`{atom.fact}` is never '{atom.value}'{_meant(atom.value.upper(), choices)}",
                )


def _pointless(known: Logic) -> Iterator[tuple[int, bool, str]]:
    """Thresholds that never or always hold, and conditions that never or always do."""
    found = False
    for atom in known.atoms:
        low, high = logic.span(atom.fact)
        if logic.holds_never(atom) or logic.holds_always(atom):
            found = True
            what = "can never be reached" if logic.holds_never(atom) else "always holds"
            hint = f"write a number such as `{atom.fact} >= 0.8`" if high == 1 else "correct the number or take it out"
            yield (
                atom.line,
                True,
                f"this threshold, `{atom}`, {what}: `{atom.fact}` goes from {low:g} to {high:g}; {hint}",
            )
    if found or not known.atoms:
        return
    conflicts = [logic.conflict(case) for case in known.cases]
    if conflicts and conflicts[0] is not None and all(conflicts):
        line, why = conflicts[0]
        yield line, True, f"the condition can never hold, so its clause is never reached: {why}"
    elif all(logic.conflict(case) is not None for case in known.opposite):
        yield 1, False, "the condition holds for every message; write `true` if that is meant"


class Program(Conditions):
    """A charter's conditions as one CEL list, with each alone as a fallback when the list cannot be evaluated."""

    def __init__(self, clauses: Sequence[Clause], paths: Collection[tuple[str, str]]) -> None:
        """`clauses` have been checked by `read_condition`; `paths` are all the facts they name.

        Raises:
            ValueError: when the conditions do not compile together (nested too deep).
        """
        self._all = cel.compile("[" + ",\n".join(f"(\n{clause.when}\n)" for clause in clauses) + "]")
        self._each = [cel.compile(clause.when) for clause in clauses]
        self._keys: dict[str, list[str]] = {}
        for root, key in sorted(paths):
            self._keys.setdefault(root, []).append(key)

    def evaluate(self, facts: Mapping[str, Mapping[str, Any]]) -> Evaluation:
        """Evaluate every condition; one that fails on this message does not hold and is reported."""
        context = {root: {key: facts[root][key] for key in keys} for root, keys in self._keys.items()}
        try:
            return Evaluation([held is True for held in self._all.execute(context)], frozenset())
        except Exception:  # whatever one condition raised, the others still count
            return self._one_by_one(context)

    def _one_by_one(self, context: dict[str, dict[str, Any]]) -> Evaluation:
        holds, failed = [], set()
        for index, program in enumerate(self._each):
            try:
                holds.append(program.execute(context) is True)
            except Exception:  # as above
                holds.append(False)
                failed.add(index)
        return Evaluation(holds, frozenset(failed))
