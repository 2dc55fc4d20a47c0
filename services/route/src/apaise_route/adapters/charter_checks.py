"""What lint says of clauses that compile: what a clause cannot mean, and what two clauses mean together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from apaise_route.adapters import cel, logic
from apaise_route.domain.charter import HOUSE_COMPLAINT, Clause
from apaise_route.domain.model import Visibility

_PRECISE: Final = re.compile(r">=?\s*(0?\.9\d*|1\.0*)")
# Pairs of cases looked at per charter: beyond, clauses are no longer compared. About a second.
_MOST_COMPARED: Final = 100_000
Doubt = tuple[int, bool, str]


class ReadClause(NamedTuple):
    """A clause, its line, the first line of its condition, and what is known of that."""

    clause: Clause
    line: int
    when_line: int
    reading: cel.Reading | None


def within_clause(read: ReadClause) -> Iterator[Doubt]:
    """What is odd in one clause: (line, is an error, what to do)."""
    clause, line = read.clause, read.line
    strict = clause.visibility > Visibility.HOLD
    if clause.illegal and not strict:
        yield line, True, f"clause `{clause.id}` is illegal but takes nothing down; add `visibility: HIDE` or `DELETE`"
    if clause.illegal and clause.reads and not _PRECISE.search(clause.when):
        yield (
            line,
            False,
            f"clause `{clause.id}` goes past the complaint cap; ask for a high precision: `labels.… >= 0.95`",
        )
    asks = clause.visibility or clause.queue or clause.review or clause.priority or clause.reply_posture
    if not (asks or clause.notify or clause.silence):
        yield line, False, f"clause `{clause.id}` does nothing; give it a visibility, a queue or `review: true`"
    if clause.due and not clause.queue:
        yield line, False, f"clause `{clause.id}` has a due time and no queue: nobody owes the step; add `queue:`"
    yield from _about_complaints(read)
    if clause.reads and _list_suffices(read):
        yield (
            line,
            False,
            f"clause `{clause.id}` mixes word lists and labels: it does not apply when there is no assessment; "
            "put the list in a clause of its own if it should",
        )
    if not clause.explain:
        yield line, False, f"clause `{clause.id}` has no `explain`: people will read its id; add `explain: {{fr: …}}`"


def _list_suffices(read: ReadClause) -> bool:
    """Whether a list alone may make the condition hold, though it also looks at labels."""
    known = read.reading.logic if read.reading else None
    for case in known.cases if known else ():
        roots = {atom.fact.partition(".")[0] for atom in case}
        if "lists" in roots and not roots & set(cel.LABEL_MAPS):
            return True
    return False


def _about_complaints(read: ReadClause) -> Iterator[Doubt]:
    """Clauses that would take complaints down, or meet them with silence."""
    clause = read.clause
    hides = clause.visibility > Visibility.HOLD and not clause.illegal
    if not (hides or clause.silence) or read.reading is None:
        return
    known = read.reading.logic
    found = next(filter(None, map(_wants_complaint, known.cases)), None) if known else _named_complaint(clause)
    if found is not None:
        line = read.when_line + found - 1
        if hides:
            yield (
                line,
                True,
                f"clause `{clause.id}` would hide complaints: the mesh caps them at HOLD; add `&& !yes.complaint`, or "
                "hand them to care with `queue: care`",
            )
        else:
            yield line, True, f"clause `{clause.id}` would meet complaints with silence; add `&& !yes.complaint`"
    raised = next(filter(None, map(_raises, known.cases)), None) if known and hides else None
    if raised is not None:
        yield (
            read.when_line + raised.line - 1,
            True,
            f"clause `{clause.id}` takes for no complaint what the house takes for one (`{raised}`, the house's "
            f"threshold is {HOUSE_COMPLAINT:g}); write `!yes.complaint`",
        )


def _named_complaint(clause: Clause) -> int | None:
    return 1 if re.search(r"(?<![!\w.])(yes|labels)\s*\.\s*complaint\b(?!\s*<)", clause.when) else None


def _wants_complaint(case: logic.Case) -> int | None:
    """The line on which a case asks for a complaint."""
    for atom in case:
        if atom.fact == "yes.complaint" and atom.value is True:
            return atom.line
        if atom.fact == "labels.complaint" and atom.op in (">", ">=", "==") and float(atom.value) > 0:
            return atom.line
    return None


def _raises(case: logic.Case) -> logic.Atom | None:
    """The comparison with which a case leaves only the surest complaints out."""
    if any(atom.fact == "yes.complaint" and atom.value is False for atom in case):
        return None
    for atom in case:
        if atom.fact == "labels.complaint" and atom.op in ("<", "<=") and float(atom.value) > HOUSE_COMPLAINT:
            return atom
    return None


def between_clauses(clauses: Sequence[ReadClause], switched_off: Collection[str]) -> Iterator[Doubt]:
    """Clauses that repeat, contradict or are always covered by another one: (line, is an error, what to do).

    `switched_off` are those that a channel or an event turns off: they may well cover another clause elsewhere.
    """
    said: set[str] = set()
    effort = _Effort()
    for at, later in enumerate(clauses):
        for other in (*clauses[:at], *clauses[at + 1 :]):
            if later.clause.id in said or other.clause.id in switched_off or other.clause.id in said:
                continue
            doubt = _against(later, other, effort, comes_later=other in clauses[:at])
            if doubt is not None:
                said.add(later.clause.id)
                yield doubt


class _Effort:
    """How much comparing is left: a charter is read within a second or two, whatever it holds."""

    def __init__(self) -> None:
        self._left = _MOST_COMPARED

    def implied(self, read: ReadClause, other: ReadClause) -> bool:
        """Whether the other clause's condition holds whenever this one's does, as far as there is time to see."""
        mine = read.reading.logic if read.reading else None
        its = other.reading.logic if other.reading else None
        if mine is None or its is None or not mine.cases:
            return False
        # An atom this condition does not look at cannot follow from it.
        if not {atom.fact for atom in its.atoms} <= {atom.fact for atom in mine.atoms}:
            return False
        self._left -= len(mine.cases) * len(its.opposite)
        return self._left >= 0 and logic.implies(mine.cases, its.opposite)


def _against(read: ReadClause, other: ReadClause, effort: _Effort, *, comes_later: bool) -> Doubt | None:
    """What another clause leaves of this one."""
    clause, over = read.clause, other.clause
    if not _everywhere(over, clause) or not effort.implied(read, other):
        return None
    both = effort.implied(other, read) and _everywhere(clause, over)
    if clause.visibility is Visibility.KEEP and over.visibility > Visibility.KEEP:
        return (
            read.line,
            True,
            f"clause `{clause.id}` asks for KEEP, but `{over.id}` (line {other.line}) asks for {over.visibility.name} "
            f"whenever it holds, and the strictest wins: exclude its case there, or take `visibility` out",
        )
    if not _covers(over, clause):
        return None
    if both and _covers(clause, over):
        if not comes_later:
            return None
        return read.line, True, f"clause `{clause.id}` repeats `{over.id}` (line {other.line}); take one out"
    return (
        read.line,
        False,
        f"clause `{clause.id}` changes nothing: whenever it holds, so does `{over.id}` (line {other.line}), which asks "
        "for at least as much; take it out or make it stricter",
    )


def _everywhere(over: Clause, clause: Clause) -> bool:
    """Whether one clause applies wherever and whenever the other does."""
    here = not over.channels or (bool(clause.channels) and clause.channels <= over.channels)
    return here and over.event in ("", clause.event)


def _covers(over: Clause, clause: Clause) -> bool:
    """Whether one clause asks for all that the other does, when both hold."""
    queue = not clause.queue or (
        over.queue is clause.queue and (not clause.due or bool(over.due and over.due <= clause.due))
    )
    posture = clause.reply_posture in ("", over.reply_posture)
    return (
        over.visibility >= clause.visibility
        and over.priority >= clause.priority
        and over.illegal >= clause.illegal
        and over.review >= clause.review
        and set(clause.notify) <= {*over.notify, over.queue}
        and clause.silence in (None, over.silence)
        and queue
        and posture
    )
