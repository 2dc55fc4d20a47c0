"""tests/charters/bad: each is refused for one thing, on its line and with a way out, which its last line says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apaise_route.adapters.charter_yaml import read_charter

BAD = sorted((Path(__file__).parents[2] / "charters" / "bad").glob("*.yaml"))


def expected(source: str) -> tuple[int, str]:
    found = re.fullmatch(r"# expect: (\d+): (.+)", source.splitlines()[-1])
    assert found is not None
    return int(found.group(1)), found.group(2)


def test_there_are_at_least_thirty() -> None:
    assert len(BAD) >= 30


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_one_precise_error_with_its_line_and_a_way_out(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    line, says = expected(source)
    errors = read_charter(source).errors
    assert {problem.line for problem in errors} == {line}, errors
    assert says in errors[0].message


@pytest.mark.parametrize(
    ("when", "rest", "says"),
    [
        ("labels.insult >= 0.95", "visibility: HIDE", "clause `b` changes nothing"),
        ("yes.hate || !yes.hate", "queue: moderator", "holds for every message; write `true`"),
    ],
)
def test_what_is_odd_and_works_is_a_warning(when: str, rest: str, says: str) -> None:
    head = "name: t\nlanguage: fr\nclauses:\n"
    first = "  - {id: a, when: labels.insult >= 0.9, visibility: HIDE, explain: {fr: x}}\n"
    read = read_charter(f"{head}{first}  - id: b\n    when: {when}\n    {rest}\n    explain: {{fr: x}}\n")
    assert read.errors == []
    assert says in read.problems[0].message


@pytest.mark.parametrize(
    "when",
    [
        "(yes.insult || yes.hate) && (!yes.insult || yes.spam)",
        "labels.insult > 0.5 && labels.insult < 0.9",
        "yes.insult ? yes.hate : yes.spam",
        "message.kind in ['COMMENT', 'FORUM'] && !(message.kind == 'FORUM')",
        "labels.insult + labels.hate > 1.5",
        "10.0 - labels.insult > 9.5",
        "message.text.matches('^[A-Z ]{20,}$') && yes.spam",
    ],
)
def test_nothing_is_claimed_of_what_can_be_meant(when: str) -> None:
    source = (
        f'name: t\nlanguage: fr\nclauses:\n  - id: a\n    when: "{when}"\n    review: true\n    explain: {{fr: x}}\n'
    )
    assert read_charter(source).problems == []
