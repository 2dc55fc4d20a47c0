"""Bad charters: each problem has its line and a way out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apaise_route.adapters.charter_yaml import compile_charter, default_source, read_charter
from apaise_route.domain.charter import Severity

HEAD = "name: t\nlanguage: fr\nclauses:\n"


def clause(when: str = "yes.insult", rest: str = "visibility: HIDE") -> str:
    return f"{HEAD}  - id: a\n    when: {when}\n    explain: {{fr: x}}\n    {rest}\n"


BAD = [
    ("", 1, "start with `name:`"),
    ("- a\n", 1, "a charter is a mapping"),
    ("name: a: b\n", 1, "not valid YAML"),
    ("name: a\nlanguage: fr\nclauses: []\nvoice: \x01\n", 0, "characters YAML refuses"),
    ("[" * 100_000 + "]" * 100_000, 1, "nested too deep"),
    ("name: &x a\nlanguage: fr\nclauses: []\n", 1, "anchors and aliases"),
    ("language: fr\nclauses: []\n", 1, "`name` is missing"),
    ("name: t\nlanguage: french\nclauses: []\n", 2, "language cannot be `french`"),
    ("name: t\nname: u\nlanguage: fr\nclauses: []\n", 2, "`name` is there twice"),
    ("name: t\nlanguage: fr\nclause: []\nclauses: []\n", 3, "did you mean `clauses`?"),
    ("name: t\nlanguage: fr\nclauses: {a: b}\n", 3, "must be a list"),
    ("name: t\nlanguage: fr\naudit_share: 3\nclauses: []\n", 3, "a number from 0 to 1"),
    ("name: t\nlanguage: fr\naudit_share: nan\nclauses: []\n", 3, "a number from 0 to 1"),
    ("name: t\nlanguage: fr\nthresholds: {complant: 0.4}\nclauses: []\n", 3, "did you mean `complaint`?"),
    ("name: t\nlanguage: fr\nfailure_policy: keywords_only\nclauses: []\n", 3, "did you mean `keyword_only`?"),
    ("name: t\nlanguage: fr\nfailure_policy: {livechat: hold}\nclauses: []\n", 3, "did you mean `live_chat`?"),
    ("name: t\nlanguage: fr\nhold: {expire_after: 30}\nclauses: []\n", 3, "such as 90s, 20m"),
    ("name: t\nlanguage: fr\nhold: {then: HOLD}\nclauses: []\n", 3, "hold.then cannot be `HOLD`"),
    ("name: t\nlanguage: fr\ndelays: {cares: 20m}\nclauses: []\n", 3, "did you mean `care`?"),
    ("name: t\nlanguage: fr\nlists: {Bad: {words: [a]}}\nclauses: []\n", 3, "list id `Bad` must be a-z"),
    (HEAD + "  - {when: yes.insult, review: true}\n", 4, "a clause needs `id`"),
    (HEAD + "  - {id: a, review: true}\n", 4, "a clause needs `when`"),
    (HEAD + "  - {id: complaint-cap, when: yes.insult, review: true}\n", 4, "a rule of the mesh"),
    (HEAD + "  - {id: É, when: yes.insult, review: true}\n", 4, "must be a-z"),
    (HEAD + "  - {id: a, when: 'true', review: true}\n  - {id: a, when: 'true', review: true}\n", 5, "used at line 4"),
    (clause(rest="visibility: hide"), 7, "did you mean `HIDE`?"),
    (clause(rest="queue: moderators"), 7, "did you mean `moderator`?"),
    (clause(rest="review: maybe"), 7, "review cannot be `maybe`"),
    (clause(rest="illegal: true"), 4, "add `visibility: HIDE` or `DELETE`"),
    (clause("yes.insullt"), 5, "did you mean `insult`?"),
    (clause("label.insult > 0.5"), 5, "did you mean `labels`?"),
    (clause("message.txt == 'a'"), 5, "unknown message fact `txt`: did you mean `text`?"),
    (clause("lists.bad"), 5, "the charter has no `lists`"),
    (clause("labels.insult"), 5, "not a boolean"),
    (clause("labels.insult = 0.5"), 5, "Equality is written =="),
    (clause("!yes.insult"), 5, "put it between quotes"),
    (clause("labels.insult >="), 5, "the condition is not CEL"),
    (clause("labels['insult'] > 0.5"), 5, "a key must be named"),
    (clause("author.roles.exists(r, r == 'vip')"), 5, "comprehensions"),
    (clause("message.text > 3"), 5, "different types"),
    (clause("message.text.lower() == 'a'"), 5, "unknown function `lower`"),
    (clause("message.text.matches('(')"), 5, "regular expression"),
    (clause("|\n      yes.insult &&\n      yes.nope"), 7, "unknown label `nope`"),
    (clause("true" + " && true" * 300), 5, "2000 at most"),
    (clause("yes.complaint && yes.insult"), 5, "would hide complaints"),
    (clause("labels.insult > 1.2"), 5, "can never be reached"),
]


@pytest.mark.parametrize(("source", "line", "hint"), BAD)
def test_each_problem_has_its_line_and_a_way_out(source: str, line: int, hint: str) -> None:
    errors = read_charter(source).errors
    assert any(problem.line == line and hint in problem.message for problem in errors), errors


WARNED = [
    (clause(rest="due: 10m"), 4, "no queue"),
    (clause(rest="review: false"), 4, "does nothing"),
    (
        clause("yes.hate", "{visibility: HIDE}").replace("{visibility: HIDE}", "visibility: HIDE\n    illegal: true"),
        4,
        ">= 0.95",
    ),
    (clause("lists.x || yes.insult").replace("clauses:", "lists: {x: {words: [a]}}\nclauses:"), 5, "mixes word lists"),
    ("name: t\nlanguage: fr\nclauses: []\n", 3, "every message is kept"),
]


@pytest.mark.parametrize(("source", "line", "hint"), WARNED)
def test_what_compiles_and_deserves_a_look(source: str, line: int, hint: str) -> None:
    read = read_charter(source)
    assert read.errors == []
    assert any(p.line == line and hint in p.message and p.severity is Severity.WARNING for p in read.problems), read


def test_a_complaint_read_to_be_excluded_is_no_warning() -> None:
    assert read_charter(clause("yes.insult && !yes.complaint")).problems == []


def test_too_large_a_charter_is_not_read() -> None:
    assert "256 KiB" in read_charter("#" * 300_000).errors[0].message


def test_only_a_charter_without_errors_compiles() -> None:
    with pytest.raises(ValueError, match="does not compile"):
        compile_charter(clause("yes.nope"), "brands/b/charters/1")


@given(st.integers(0, len(default_source()) - 1), st.integers(1, 30), st.text(max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_damage_to_a_charter_raises(start: int, length: int, instead: str) -> None:
    source = default_source()
    damaged = source[:start] + instead + source[start + length :]
    read = read_charter(damaged)
    assert read.errors or read.program is not None
    assert all(problem.line <= damaged.count("\n") + 2 for problem in read.problems)
