"""How far precedents are heard, label by label."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_classify.domain.ports import PrecedentSet
from apaise_classify.domain.precedents import GUARDED, HIDING, MAX_CITED, TONE, Precedent, heard
from apaise_classify.domain.reading import Cited, Score, Threshold, Verdict, score
from apaise_classify.serving.precedents import Precedents
from apaise_kit.core.labels import LABELS

AT: Final = Threshold(decision=0.5, yes=0.6, no=0.4)
THRESHOLDS: Final = dict.fromkeys(LABELS, AT)
YES, NO, UNSURE = Verdict.YES, Verdict.NO, Verdict.UNSURE


def model(**probabilities: float) -> dict[str, Score]:
    """Every label surely absent but these."""
    return {label: score(probabilities.get(label, 0.1), AT) for label in LABELS}


def says(**labels: bool) -> Cited:
    return Cited("brands/a/reviews/r", 0.99, labels)


def test_without_precedents_nothing_changes() -> None:
    assert heard(model(remove=0.9), THRESHOLDS, []) == model(remove=0.9)


def test_they_relax_and_tighten_and_say_what_the_model_said() -> None:
    relaxed = heard(model(remove=0.93), THRESHOLDS, [says(remove=False)])["remove"]
    assert relaxed == Score(0.4, NO, False, 0.93)
    tightened = heard(model(remove=0.07), THRESHOLDS, [says(remove=True)])["remove"]
    assert tightened == Score(0.6, YES, True, 0.07)
    assert score(relaxed.probability, AT).verdict is NO
    assert score(tightened.probability, AT).verdict is YES


def test_where_they_agree_with_the_model_it_is_left_alone() -> None:
    assert heard(model(remove=0.93), THRESHOLDS, [says(remove=True)]) == model(remove=0.93)


def test_where_they_disagree_a_person_looks() -> None:
    after = heard(model(remove=0.93), THRESHOLDS, [says(remove=True), says(remove=False)])["remove"]
    assert after == Score(0.93, UNSURE, True)


@pytest.mark.parametrize("label", sorted(GUARDED))
@pytest.mark.parametrize(("before", "word"), [(0.9, False), (0.1, True)])
def test_what_endangers_people_is_never_changed_alone(label: str, before: float, word: bool) -> None:
    after = heard(model(**{label: before}), THRESHOLDS, [says(remove=False, **{label: word})])[label]
    assert (after.probability, after.holds, after.verdict) == (before, before > 0.5, UNSURE)


@pytest.mark.parametrize("label", sorted(GUARDED))
@pytest.mark.parametrize("before", [0.9, 0.5])
def test_where_the_model_may_see_danger_nothing_is_relaxed(label: str, before: float) -> None:
    own = model(**{label: before, "remove": 0.9, "insult": 0.99})
    after = heard(own, THRESHOLDS, [says(remove=False, insult=False)])
    assert after["remove"] == Score(0.9, UNSURE, True)
    assert after["insult"] == Score(0.99, UNSURE, True)


@pytest.mark.parametrize("complaint", [0.9, 0.5])
@pytest.mark.parametrize("label", sorted(HIDING))
def test_nothing_that_hides_is_added_to_a_complaint(label: str, complaint: float) -> None:
    after = heard(model(complaint=complaint), THRESHOLDS, [says(**{"remove": True, label: True})])
    assert not after[label].holds
    assert after[label].verdict is UNSURE


def test_a_complaint_stays_one_and_can_become_one() -> None:
    assert heard(model(complaint=0.9), THRESHOLDS, [says(remove=True, complaint=False)])["complaint"].holds
    assert heard(model(complaint=0.1), THRESHOLDS, [says(remove=False, complaint=True)])["complaint"].holds


def test_a_kept_message_leaves_its_tone_no_near_certainty_to_act_alone_on() -> None:
    own = model(remove=0.9, insult=0.99, scam=0.99, personal_data=0.99)
    after = heard(own, THRESHOLDS, [says(remove=False)])
    assert after["insult"] == Score(0.6, YES, True, 0.99)
    assert after["scam"] == own["scam"], "what a message does is not excused by another that looks like it"
    assert after["personal_data"] == own["personal_data"]
    assert "insult" in TONE
    assert heard(own, THRESHOLDS, [says(remove=True)])["insult"] == own["insult"]


words = st.dictionaries(st.sampled_from(["complaint", "insult", "threat", "hate", "toxic", "praise"]), st.booleans())


@given(
    st.dictionaries(st.sampled_from(LABELS), st.floats(0, 1).map(lambda p: round(p, 3))),
    st.lists(st.tuples(st.booleans(), words), min_size=1, max_size=5),
)
def test_the_promises_hold_whatever_is_said(
    probabilities: dict[str, float], said: list[tuple[bool, dict[str, bool]]]
) -> None:
    own = model(**probabilities)
    after = heard(own, THRESHOLDS, [says(**{**labels, "remove": remove}) for remove, labels in said])
    for label in GUARDED:
        assert (after[label].holds, after[label].probability) == (own[label].holds, own[label].probability)
    if own["complaint"].holds:
        assert not any(after[label].holds and not own[label].holds for label in HIDING)
        assert after["complaint"].holds >= own["complaint"].holds
    if any(own[label].holds for label in GUARDED):
        assert all(after[label].holds for label in HIDING if own[label].holds)
    for label, one in after.items():
        assert one.holds or one.verdict is not YES
        assert not (one.holds and one.verdict is NO)
        assert (one.model is None) == (one.probability == own[label].probability) or one.model == own[label].probability


def held(*rows: tuple[str, list[float], bool], brand: str = "acme", generation: int = 3) -> PrecedentSet:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    kept = tuple(Precedent(brand, id, f"m-{id}", "k", {"remove": True}, private, time) for id, _, private in rows)
    return PrecedentSet(brand, generation, kept, np.array([vector for _, vector, _ in rows], "<f4").tobytes())


class Store:
    """A `ReplicaStore` of precedents alone."""

    def __init__(self, *sets: PrecedentSet) -> None:
        self.sets = sets

    async def changed_precedents(self, encoder: str, known: dict[str, int]) -> list[PrecedentSet]:
        return [one for one in self.sets if known.get(one.brand, 0) != one.generation]


async def precedents(*sets: PrecedentSet, nearness: float = 0.9) -> Precedents:
    made = Precedents(nearness)
    await made.refresh(Store(*sets), "e")  # type: ignore[arg-type]
    return made


def trace(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, np.float32)


async def test_the_nearest_are_cited_first_and_never_too_many() -> None:
    angles = np.linspace(0, 0.4, 9)
    rows = [(f"r{n}", [float(np.cos(a)), float(np.sin(a))], False) for n, a in enumerate(angles)]
    cited, revision = (await precedents(held(*rows[::-1]))).cite("acme", trace(1, 0), False)
    assert [one.review for one in cited] == [f"brands/acme/reviews/r{n}" for n in range(MAX_CITED)]
    assert cited[0].similarity == 1.0
    assert revision == "p3"


async def test_beyond_the_radius_none_speaks_but_the_set_is_named() -> None:
    found = await precedents(held(("r1", [0.0, 1.0], False)))
    assert found.cite("acme", trace(1, 0), False) == ((), "p3")
    assert found.cite("other", trace(0, 1), False) == ((), "none")


async def test_private_ones_speak_only_in_private() -> None:
    found = await precedents(held(("r1", [1.0, 0.0], True)))
    assert found.cite("acme", trace(1, 0), False)[0] == ()
    assert len(found.cite("acme", trace(1, 0), True)[0]) == 1


async def test_an_emptied_set_speaks_no_more_and_others_stay() -> None:
    store = Store(held(("r1", [1.0, 0.0], False)), held(("r1", [1.0, 0.0], False), brand="b"))
    made = Precedents(0.9)
    await made.refresh(store, "e")  # type: ignore[arg-type]
    store.sets = (held(generation=4), store.sets[1])
    await made.refresh(store, "e")  # type: ignore[arg-type]
    assert made.cite("acme", trace(1, 0), False) == ((), "none")
    assert made.cite("b", trace(1, 0), False)[0]
