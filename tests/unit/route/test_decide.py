"""The promises of a decision, on any message and any charter."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.labels import LABELS
from apaise_route.adapters.charter_yaml import compile_charter, default_charter
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.decide import Verdicted, decide, is_complaint
from apaise_route.domain.model import (
    Absence,
    Assessment,
    Audience,
    ChannelKind,
    Ground,
    Moderation,
    Queue,
    ReviewReason,
    RouteInput,
    Score,
    Verdict,
    Visibility,
)
from apaise_route.testing import START, entry, reading

NEVER_AUDITED = 0.999
DEFAULT = default_charter()


def charter(clauses: str, head: str = "") -> CompiledCharter:
    return compile_charter(f"name: t\nlanguage: fr\naudit_share: 0\n{head}\nclauses:\n{clauses}", "brands/b/charters/1")


def rule(given: RouteInput, compiled: CompiledCharter, draw: float = NEVER_AUDITED) -> Verdicted:
    return decide(given, compiled, START, draw)


scores = st.dictionaries(
    st.sampled_from(LABELS),
    st.builds(Score, st.floats(0, 1).map(lambda p: round(p, 3)), st.sampled_from(Verdict)),
)
assessments = st.builds(lambda s: Assessment(reading().scores | s), scores)
channels = {
    "kind": st.sampled_from(ChannelKind),
    "audience": st.sampled_from(Audience),
    "moderation": st.sampled_from(Moderation),
}
read = st.builds(entry, assessments, **channels)
unread = st.builds(entry, st.none(), st.sampled_from([a for a in Absence if a]), **channels)
visibilities = st.sampled_from(["KEEP", "HOLD", "HIDE", "DELETE"])


@st.composite
def any_charter(draw: st.DrawFn, illegal: bool = True) -> CompiledCharter:
    lines = []
    for number in range(draw(st.integers(1, 4))):
        label = draw(st.sampled_from(LABELS))
        when = draw(st.sampled_from([f"yes.{label}", f"labels.{label} >= 0.95", "lists.bad", "true"]))
        visibility = draw(visibilities)
        lawful = illegal and visibility in ("HIDE", "DELETE") and draw(st.booleans())
        queue = draw(st.sampled_from(list(Queue)[1:])).name.lower()
        lines.append(
            f"  - {{id: c{number}, when: '{when}', visibility: {visibility}, illegal: {str(lawful).lower()}, "
            f"queue: {queue}, priority: {draw(st.integers(0, 100))}}}"
        )
    policy = draw(st.sampled_from(["hold", "keyword_only", "publish"]))
    return charter("\n".join(lines), f"failure_policy: {policy}\nlists: {{bad: {{words: [bonjour]}}}}")


@given(read | unread, any_charter(), st.floats(0, 0.999))
def test_the_same_message_is_decided_the_same(given: RouteInput, compiled: CompiledCharter, draw: float) -> None:
    assert rule(given, compiled, draw) == rule(given, compiled, draw)


@given(read | unread, any_charter(illegal=False))
def test_no_automatic_path_hides_a_complaint(given: RouteInput, compiled: CompiledCharter) -> None:
    verdict = rule(given, compiled)
    if given.assessment is None or is_complaint(given.assessment, compiled.charter):
        absent_for_good = given.absence is Absence.NO_TEXT
        assert verdict.ruling.visibility <= Visibility.HOLD or absent_for_good


@given(read, any_charter(illegal=False))
def test_a_complaint_that_shows_is_kept_and_looked_at(given: RouteInput, compiled: CompiledCharter) -> None:
    assert given.assessment is not None
    verdict = rule(given, compiled)
    strict = any(reason.visibility > Visibility.KEEP for reason in verdict.ruling.reasons)
    if is_complaint(given.assessment, compiled.charter) and given.channel.moderation is Moderation.POST and strict:
        assert verdict.ruling.visibility is Visibility.KEEP
        assert verdict.review is not None


@given(read, any_charter())
def test_the_strictest_reason_wins_unless_a_rule_of_the_mesh_softens(
    given: RouteInput, compiled: CompiledCharter
) -> None:
    ruling = rule(given, compiled).ruling
    own = {clause.id for clause in compiled.charter.clauses}
    if ruling.clause in own:
        asked = [r.visibility for r in ruling.reasons if r.clause in own]
        lawful = ruling.ground is Ground.ILLEGAL
        assert ruling.visibility == max(asked) or lawful
    assert ruling.reasons[0].clause == ruling.clause


@given(read, any_charter())
def test_past_the_cap_only_by_law_and_with_a_review_at_once(given: RouteInput, compiled: CompiledCharter) -> None:
    assert given.assessment is not None
    verdict = rule(given, compiled)
    if is_complaint(given.assessment, compiled.charter) and verdict.ruling.visibility > Visibility.HOLD:
        assert verdict.ruling.ground is Ground.ILLEGAL
        assert verdict.review is not None
        assert verdict.review.reason is ReviewReason.ILLEGAL


@given(read | unread, any_charter())
def test_every_hold_has_an_end_and_a_person(given: RouteInput, compiled: CompiledCharter) -> None:
    verdict = rule(given, compiled)
    ruling = verdict.ruling
    held = ruling.visibility is Visibility.HOLD
    assert (ruling.hold_expire_time is not None) == held
    assert (ruling.hold_then is not Visibility.NONE) == held
    if held:
        assert verdict.review is not None
        assert ruling.hold_finally is not Visibility.HOLD


@given(st.builds(entry, assessments, moderation=channels["moderation"], audience=st.just(Audience.PRIVATE)))
def test_nothing_is_hidden_where_only_the_author_reads(given: RouteInput) -> None:
    assert rule(given, DEFAULT).ruling.visibility <= Visibility.HOLD


@given(read, any_charter(illegal=False))
def test_distress_meets_a_person_before_anything_is_taken_down(given: RouteInput, compiled: CompiledCharter) -> None:
    assert given.assessment is not None
    verdict = rule(given, compiled)
    if given.assessment.says("self_harm"):
        assert verdict.ruling.visibility <= Visibility.HOLD
        assert verdict.review is not None
        assert verdict.ruling.queue is Queue.MODERATOR


HIDE_ALL = "  - {id: bad, when: yes.remove, visibility: HIDE}"


def test_a_lowered_threshold_protects_more_complaints() -> None:
    doubtful = entry(reading(["remove"], at={"complaint": 0.4}), moderation=Moderation.PRE)
    assert rule(doubtful, charter(HIDE_ALL)).ruling.visibility is Visibility.HIDE
    lowered = rule(doubtful, charter(HIDE_ALL, "thresholds: {complaint: 0.3}"))
    assert lowered.ruling.visibility is Visibility.HOLD
    assert [r.clause for r in lowered.ruling.reasons] == ["complaint-cap", "bad"]
    assert lowered.ruling.reasons[1].visibility is Visibility.HIDE


def test_a_threshold_cannot_be_raised() -> None:
    complaint = entry(reading(["remove", "complaint"]), moderation=Moderation.PRE)
    raised = charter(HIDE_ALL, "thresholds: {complaint: 1.0}")
    assert rule(complaint, raised).ruling.visibility is Visibility.HOLD


def test_an_illegal_clause_milder_than_the_strictest_still_goes_past_the_cap() -> None:
    both = charter(
        "  - {id: strict, when: yes.insult, visibility: DELETE}\n"
        "  - {id: law, when: labels.hate >= 0.95, visibility: HIDE, illegal: true}"
    )
    complaint = reading(["insult", "complaint"], at={"hate": 0.97})
    ruling = rule(entry(complaint), both).ruling
    assert (ruling.visibility, ruling.ground, ruling.clause) == (Visibility.HIDE, Ground.ILLEGAL, "law")


KEYWORDS = "  - {id: words, when: lists.bad, visibility: HIDE}\n  - {id: model, when: labels.insult < 0.5, queue: care}"
BAD = "lists: {bad: {words: [idiot]}}"


@pytest.mark.parametrize(
    ("policy", "text", "visibility", "clause"),
    [
        ("hold", "bonjour", Visibility.HOLD, "failure-policy"),
        ("hold", "idiot", Visibility.HOLD, "complaint-cap"),
        ("keyword_only", "bonjour", Visibility.KEEP, "failure-policy"),
        ("keyword_only", "idiot", Visibility.HOLD, "complaint-cap"),
        ("publish", "idiot", Visibility.KEEP, "failure-policy"),
    ],
)
def test_failure_policies(policy: str, text: str, visibility: Visibility, clause: str) -> None:
    compiled = charter(KEYWORDS, f"{BAD}\nfailure_policy: {policy}")
    verdict = rule(entry(None, Absence.TOO_LATE, text=text), compiled)
    assert (verdict.ruling.visibility, verdict.ruling.clause) == (visibility, clause)
    assert "failure-policy" in [reason.clause for reason in verdict.ruling.reasons]
    assert "model" not in [reason.clause for reason in verdict.ruling.reasons]
    assert (verdict.review is not None) == (visibility is Visibility.HOLD)


def test_the_policy_of_a_kind_comes_before_that_of_pre_moderation() -> None:
    compiled = charter(KEYWORDS, f"{BAD}\nfailure_policy: {{default: publish, pre: hold, forum: keyword_only}}")
    unread = [
        entry(None, Absence.UNAVAILABLE, kind=kind, moderation=moderation, text="idiot")
        for kind, moderation in [
            (ChannelKind.FORUM, Moderation.PRE),
            (ChannelKind.COMMENT, Moderation.PRE),
            (ChannelKind.COMMENT, Moderation.POST),
        ]
    ]
    clauses = [rule(given, compiled).ruling.clause for given in unread]
    assert clauses == ["complaint-cap", "complaint-cap", "failure-policy"]


def test_an_attachment_alone_is_no_failure() -> None:
    compiled = charter(HIDE_ALL, "failure_policy: hold")
    picture = entry(None, Absence.NO_TEXT, text="")
    assert rule(picture, compiled).ruling.clause == "default"
    assert rule(picture, compiled).review is None
    before = rule(entry(None, Absence.NO_TEXT, text="", moderation=Moderation.PRE), compiled)
    assert before.ruling.visibility is Visibility.KEEP
    assert before.review is not None


def test_due_times_count_from_a_trusted_publication() -> None:
    compiled = charter("  - {id: care, when: yes.complaint, queue: care, due: 20m}")
    published = START - timedelta(minutes=7)
    for trusted, origin in ((True, published), (False, START)):
        late = entry(reading(["complaint"]), published_time=published, published_time_trusted=trusted)
        assert rule(late, compiled).ruling.due_time == origin + timedelta(minutes=20)


def test_a_condition_that_fails_on_a_message_costs_a_review_and_no_other_clause() -> None:
    compiled = charter(
        "  - {id: odd, when: 10 / (message.text_length - 7) > 1 || yes.hate, queue: care}\n"
        "  - {id: bad, when: yes.remove, visibility: HIDE}"
    )
    verdict = rule(entry(reading(["remove"])), compiled)
    assert verdict.ruling.clause == "bad"
    assert verdict.review is not None
    assert "clause-failed" in [reason.clause for reason in verdict.ruling.reasons]


def test_audit_takes_its_share_of_what_nobody_looks_at() -> None:
    compiled = charter(HIDE_ALL, "").charter
    assert compiled.audit_share == 0
    calm = entry(reading(["praise"]))
    drawn, passed = rule(calm, DEFAULT, draw=0.019), rule(calm, DEFAULT, draw=0.021)
    assert drawn.review is not None
    assert (drawn.review.reason, drawn.review.sampling_probability) == (ReviewReason.AUDIT, 0.02)
    assert drawn.ruling.reasons[-1].clause == "audit"
    assert drawn.ruling.visibility == passed.ruling.visibility
    assert passed.review is None


def test_a_hidden_message_is_not_handed_to_sales() -> None:
    ruling = rule(entry(reading(["hate", "remove", "buying_intent"])), DEFAULT).ruling
    assert ruling.visibility is Visibility.HIDE
    assert ruling.queue is Queue.MODERATOR


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("fr", "Insulte envers une personne (0,93) : masqué."),
        ("en", "Insult aimed at a person (0.93): hidden."),
    ],
)
def test_the_explanation_is_a_sentence_in_the_brands_language(language: str, sentence: str) -> None:
    clause = (
        "  - {id: i, when: yes.insult, visibility: HIDE, "
        "explain: {fr: Insulte envers une personne, en: Insult aimed at a person}}"
    )
    compiled = compile_charter(f"name: t\nlanguage: {language}\nclauses:\n{clause}", "brands/b/charters/1")
    assert rule(entry(reading(at={"insult": 0.93})), compiled).ruling.explanation == sentence
