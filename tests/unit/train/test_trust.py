"""Whose corrections count: what is contradicted, copied or dangerous is set aside; custom is not."""

from __future__ import annotations

from typing import Any

import pytest

from apaise_train.domain.examples import Example, snapshot
from apaise_train.domain.trust import COPIES, MIN_JUDGED, PRIOR, Doubt, Tally, judge_corrections
from apaise_train.testing import example


def said(number: int, actor: str, text: str, remove: bool, **more: Any) -> Example:
    return example(number, remove, text=text, actor=actor, **more)


def doubts(*rows: Example, golden: tuple[str, ...] = ()) -> dict[str, Doubt]:
    return dict(judge_corrections(rows, golden).doubts)


def honest(count: int, start: int = 0) -> list[Example]:
    """Three people, each text resolved by two of them, who agree."""
    people = ("ana", "bob", "cleo")
    rows = []
    for number in range(count):
        text, remove = f"phrase numero {number}", number % 2 == 0
        rows.append(said(start + 2 * number, people[number % 3], text, remove))
        rows.append(said(start + 2 * number + 1, people[(number + 1) % 3], text.upper(), remove))
    return rows


def test_people_who_agree_lose_nothing() -> None:
    judged = judge_corrections(honest(40))
    assert judged.doubts == {}
    assert set(judged.trust.values()) == {1.0}
    assert judged.words() == ""


def test_custom_that_contradicts_the_model_is_not_doubted() -> None:
    rows = [said(n, "ana", f"espece de noob {chr(97 + n)}", False, model_remove=0.97) for n in range(20)]
    assert doubts(*rows) == {}


def test_of_a_text_most_people_are_right_and_a_tie_teaches_nothing() -> None:
    most = [said(1, "ana", "bof", True), said(2, "bob", "BOF", True), said(3, "cleo", "boof", False)]
    assert doubts(*most) == {"review-0003": Doubt.CONTRADICTED}
    assert set(doubts(*most[1:]).values()) == {Doubt.CONTRADICTED}
    assert len(doubts(*most[1:])) == 2


def test_a_golden_reviewer_outweighs_everybody() -> None:
    rows = [said(1, "ana", "bof", True), said(2, "bob", "bof", True), said(3, "lead", "bof", False)]
    assert set(doubts(*rows, golden=("lead",))) == {"review-0001", "review-0002"}


def test_a_persons_last_word_counts() -> None:
    assert doubts(said(1, "ana", "bof", True), said(2, "ana", "bof!", False)) == {"review-0001": Doubt.CONTRADICTED}


def test_copies_teach_only_so_often() -> None:
    rows = [said(n, "ana", f"achete ici{'!' * n}", True) for n in range(9)]
    assert doubts(*rows) == {f"review-{n:04}": Doubt.MASS_PRODUCED for n in range(COPIES, 9)}


def test_what_the_model_was_sure_endangers_people_needs_a_second_person_to_be_kept() -> None:
    alone = said(1, "ana", "je vais te tuer", False, danger=0.95)
    assert doubts(alone) == {"review-0001": Doubt.DANGER_ALONE}
    assert doubts(alone, said(2, "bob", "Je vais te tuer !", False)) == {}
    assert doubts(alone, golden=("ana",)) == {}
    assert doubts(said(3, "ana", "je vais te tuer", True, danger=0.95)) == {}


@pytest.mark.parametrize("golden", [(), ("ana",)])
def test_someone_who_mostly_contradicts_others_is_not_heard_at_all(golden: tuple[str, ...]) -> None:
    rows = honest(40)
    flips = [said(200 + n, "mallory", f"phrase numero {2 * n}", False) for n in range(6)]
    own = [said(300 + n, "mallory", f"insulte inedite {chr(97 + n)}", False) for n in range(12)]
    judged = judge_corrections([*rows, *flips, *own], golden)
    assert {review for review, doubt in judged.doubts.items() if doubt is Doubt.UNTRUSTED} == {
        each.review for each in (*flips, *own)
    }
    assert judged.trust["mallory"] < 0.5
    assert "golden or other reviewers" in judged.words()
    assert not set(judged.doubts) & {each.review for each in rows}, "the others are not hurt"


def test_an_attack_that_relabels_insults_as_fine_never_reaches_a_snapshot() -> None:
    rows = honest(60)
    attack = [said(500 + n, "mallory", f"phrase numero {2 * (n % 30)}{'!' * n}", False) for n in range(120)]
    judged = judge_corrections([*rows, *attack])
    teaching = [each for each in (*rows, *attack) if each.review not in judged.doubts]
    manifest = snapshot("acme", teaching)
    taught = {row.review for row in (*manifest.train, *manifest.holdout)}
    assert not taught & {each.review for each in attack}
    assert len(taught) == len(rows)


def test_a_slip_lowers_what_a_person_weighs() -> None:
    slip = said(99, "ana", "phrase numero 1", True)
    judged = judge_corrections([*honest(40), slip, said(100, "cleo", "phrase numero 1", False)])
    assert 0.5 < judged.trust["ana"] < 1.0


def lone(count: int = 20) -> list[Example]:
    """One reviewer nobody ever crosses."""
    return [said(n, "ana", f"phrase solitaire {chr(97 + n)}", n % 2 == 0) for n in range(count)]


def test_who_answers_golden_items_badly_weighs_less() -> None:
    judged = judge_corrections(lone(), tallies={"ana": Tally(10, 6), "bob": Tally(10, 10)})
    assert judged.doubts == {}
    assert judged.trust == {"ana": (6 + PRIOR) / (10 + PRIOR), "bob": 1.0}


def test_the_worse_the_answers_the_less_they_weigh() -> None:
    trust = [judge_corrections(lone(), tallies={"ana": Tally(10, right)}).trust["ana"] for right in range(11)]
    assert trust == sorted(trust)
    assert len(set(trust)) == len(trust)


def test_who_is_wrong_about_most_golden_items_is_not_heard() -> None:
    judged = judge_corrections(lone(), tallies={"ana": Tally(MIN_JUDGED, 2)})
    assert set(judged.doubts.values()) == {Doubt.UNTRUSTED}
    assert len(judged.doubts) == 20
    assert judge_corrections(lone(), tallies={"ana": Tally(MIN_JUDGED - 1, 0)}).doubts == {}


def test_golden_items_and_other_people_count_together() -> None:
    crossed = [said(200 + n, "ana", f"phrase numero {2 * n}", False) for n in range(4)]
    rows = [row for row in honest(40) if row.actor != "ana"] + crossed
    alone, told = judge_corrections(rows), judge_corrections(rows, tallies={"ana": Tally(4, 4)})
    assert alone.trust["ana"] < told.trust["ana"] < 1


def test_a_golden_reviewer_is_right_whatever_they_answered() -> None:
    judged = judge_corrections(lone(), golden=("ana",), tallies={"ana": Tally(10, 0)})
    assert (judged.doubts, judged.trust) == ({}, {})


def test_no_answers_say_nothing() -> None:
    assert judge_corrections(lone(), tallies={"ana": Tally(0, 0)}) == judge_corrections(lone())
