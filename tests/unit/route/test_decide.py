"""The promises of a decision, on any message and any charter."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.labels import LABELS
from apaise_route.adapters.charter_yaml import compile_charter, default_charter
from apaise_route.domain import charter as rules
from apaise_route.domain.archive import illegal_clauses
from apaise_route.domain.charter import HOUSE_COMPLAINT, Autonomy, CompiledCharter
from apaise_route.domain.decide import Verdicted, decide, facts, is_complaint
from apaise_route.domain.explain import MAX_LINES
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
    Unanswered,
    Verdict,
    Visibility,
)
from apaise_route.testing import START, entry, reading

NEVER_AUDITED = 0.999
DEFAULT = default_charter()


def charter(clauses: str, head: str = "") -> CompiledCharter:
    return compile_charter(f"name: t\nlanguage: fr\naudit_share: 0\n{head}\nclauses:\n{clauses}", "brands/b/charters/1")


def rule(given: RouteInput, compiled: CompiledCharter, draw: float = NEVER_AUDITED, spent: int = 0) -> Verdicted:
    return decide(given, compiled, START, draw, spent)


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
autonomies = st.sampled_from(["alone", "reviewed", "never"])
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
    head = [f"failure_policy: {policy}", "lists: {bad: {words: [bonjour]}}"]
    if draw(st.booleans()):
        levels = [f"{what}: {draw(autonomies)}" for what in ("hold", "hide", "delete")]
        head.append(f"autonomy: {{{', '.join(levels)}}}")
    if draw(st.booleans()):
        head.append(f"quota: {{actions: {draw(st.integers(0, 3))}, per: 1m}}")
    if draw(st.booleans()):
        head.append(
            f"channels: {{live_chat: {{without: [c0], hold: {{then: {draw(st.sampled_from(['KEEP', 'HIDE']))}}}}}}}"
        )
    return charter("\n".join(lines), "\n".join(head))


@given(read | unread, any_charter(), st.floats(0, 0.999))
def test_the_same_message_is_decided_the_same(given: RouteInput, compiled: CompiledCharter, draw: float) -> None:
    assert rule(given, compiled, draw) == rule(given, compiled, draw)


@given(read | unread, any_charter(illegal=False), st.integers(0, 4))
def test_no_automatic_path_hides_a_complaint(given: RouteInput, compiled: CompiledCharter, spent: int) -> None:
    verdict = rule(given, compiled, spent=spent)
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


@given(read, any_charter(), st.integers(0, 4))
def test_past_the_cap_only_by_law_and_with_a_review_at_once(
    given: RouteInput, compiled: CompiledCharter, spent: int
) -> None:
    assert given.assessment is not None
    verdict = rule(given, compiled, spent=spent)
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


@given(read | unread, any_charter(), st.integers(0, 4))
def test_whatever_an_illegal_clause_finds_is_looked_at_as_such(
    given_: RouteInput, compiled: CompiledCharter, spent: int
) -> None:
    verdict = rule(given_, compiled, spent=spent)
    found = {reason.clause for reason in verdict.ruling.reasons} & illegal_clauses(compiled.charter)
    assert (verdict.review is not None and verdict.review.reason is ReviewReason.ILLEGAL) == bool(found)


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


@given(read | unread, any_charter(), st.integers(0, 4))
def test_every_clause_that_held_is_among_the_reasons(given: RouteInput, compiled: CompiledCharter, spent: int) -> None:
    """The reasons list keeps all, whatever a rule of the mesh made of the visibility."""
    words = compiled.words.matches(given.message.text)
    holds = compiled.conditions.evaluate(facts(given, compiled.charter, words)).holds
    here = compiled.charter.here(given.channel, given.message)
    held = {
        clause.id
        for clause, holding in zip(compiled.charter.clauses, holds, strict=True)
        if holding and clause.id not in here.off and (given.assessment or not clause.reads)
    }
    assert held <= {reason.clause for reason in rule(given, compiled, spent=spent).ruling.reasons}


@given(read | unread, any_charter(illegal=False), st.integers(0, 4))
def test_the_machine_does_nothing_it_may_not(given: RouteInput, compiled: CompiledCharter, spent: int) -> None:
    verdict = rule(given, compiled, spent=spent)
    visibility = verdict.ruling.visibility
    level = compiled.charter.autonomy.get(visibility, Autonomy.ALONE)
    assert visibility is Visibility.KEEP or level is not Autonomy.NEVER
    assert level is not Autonomy.REVIEWED or verdict.review is not None
    quota = compiled.charter.quota
    if quota is not None and spent >= quota.actions:
        assert visibility <= Visibility.HOLD


@given(read | unread, any_charter(), st.integers(0, 4))
def test_what_a_rule_softened_is_put_before_a_person(given: RouteInput, compiled: CompiledCharter, spent: int) -> None:
    verdict = rule(given, compiled, spent=spent)
    if verdict.ruling.clause in (rules.AUTONOMY, rules.QUOTA, rules.DISTRESS):
        assert verdict.review is not None


@given(read | unread, any_charter(), st.integers(0, 4))
def test_the_explanation_fits_three_lines(given: RouteInput, compiled: CompiledCharter, spent: int) -> None:
    lines = rule(given, compiled, spent=spent).ruling.explanation.split("\n")
    assert 1 <= len(lines) <= MAX_LINES
    assert all(line and len(line) <= 120 for line in lines)


def test_a_person_is_first_where_a_hold_would_hide_distress() -> None:
    held = rule(entry(reading(["distress", "remove"])), charter(HIDE_ALL))
    assert (held.ruling.visibility, held.ruling.clause) == (Visibility.HOLD, "distress-first")
    assert held.ruling.queue is Queue.MODERATOR
    assert held.review is not None


PLACES = """
channels:
  comment: {without: [bad], delays: {care: 1h}}
  id:c: {delays: {care: 2h}}
"""


def test_a_channel_overrides_its_kind_and_the_kind_the_charter() -> None:
    clauses = f"{HIDE_ALL}\n  - {{id: care, when: yes.complaint, queue: care}}"
    compiled = charter(clauses, PLACES + "delays: {care: 10m}")
    complaint = reading(["complaint"])
    for kind, channel, delay in [
        (ChannelKind.FORUM, "x", timedelta(minutes=10)),
        (ChannelKind.COMMENT, "x", timedelta(hours=1)),
        (ChannelKind.COMMENT, "c", timedelta(hours=2)),
    ]:
        placed = entry(complaint, kind=kind, channel=channel)
        placed = replace(placed, channel=replace(placed.channel, id=channel))
        assert rule(placed, compiled).ruling.due_time == START + delay
    assert rule(entry(reading(["remove"]), kind=ChannelKind.COMMENT), compiled).ruling.clause == "default"
    assert rule(entry(reading(["remove"]), kind=ChannelKind.FORUM), compiled).ruling.clause == "bad"


def test_an_event_is_in_force_by_when_a_message_was_written() -> None:
    head = (
        "events:\n  - {id: e, start: 2026-01-01T00:00:00+00:00, end: 2026-01-01T01:00:00+00:00, event: live,\n"
        "     thresholds: {complaint: 0.06},\n"
        "     clauses: [{id: more, when: yes.spam, visibility: HIDE, explain: {fr: x}}]}"
    )
    compiled = charter(HIDE_ALL, head)
    spam = reading(["spam"])
    written = [START, START + timedelta(minutes=59), START + timedelta(hours=1), START - timedelta(seconds=1)]
    assert [rule(entry(spam, received_time=at, event="live"), compiled).ruling.clause for at in written] == [
        "more",
        "more",
        "default",
        "default",
    ]
    assert rule(entry(spam, event="other"), compiled).ruling.clause == "default"
    # The threshold too: a doubtful complaint is protected during the event only.
    doubtful = reading(["remove"], at={"complaint": 0.07})
    during, after = (rule(entry(doubtful, received_time=at, event="live"), compiled) for at in (written[0], written[2]))
    assert during.ruling.clause == "complaint-cap"
    assert after.ruling.visibility is Visibility.HIDE


def test_due_times_run_in_opening_hours_for_the_queues_they_bind() -> None:
    hours = "business_hours: {timezone: UTC, open: {mon-fri: '09:00-18:00'}, queues: [care]}"
    clauses = (
        "  - {id: care, when: yes.complaint, queue: care, due: 30m}\n"
        "  - {id: mods, when: yes.insult, queue: moderator, due: 30m, priority: 9}\n"
        "  - {id: night, when: '!message.open && yes.question', queue: animation}"
    )
    compiled = charter(clauses, hours)
    friday = datetime(2026, 1, 2, 17, 50, tzinfo=UTC)
    due = rule(entry(reading(["complaint"]), received_time=friday), compiled).ruling.due_time
    assert due == datetime(2026, 1, 5, 9, 20, tzinfo=UTC)
    both = rule(entry(reading(["complaint", "insult"]), received_time=friday), compiled).ruling
    assert (both.queue, both.due_time) == (Queue.MODERATOR, friday + timedelta(minutes=30))
    asked = [entry(reading(["question"]), received_time=friday + timedelta(minutes=m)) for m in (0, 10)]
    assert [rule(given, compiled).ruling.queue for given in asked] == [Queue.NONE, Queue.ANIMATION]


def test_past_its_quota_the_machine_leaves_it_to_people_but_for_the_law() -> None:
    clauses = f"{HIDE_ALL}\n  - {{id: law, when: labels.hate >= 0.97, visibility: HIDE, illegal: true}}"
    compiled = charter(clauses, "quota: {actions: 2, per: 1m}")
    bad = reading(["remove"])
    assert rule(entry(bad), compiled, spent=1).ruling.visibility is Visibility.HIDE
    shown = rule(entry(bad), compiled, spent=2)
    assert (shown.ruling.visibility, shown.ruling.clause) == (Visibility.KEEP, "action-quota")
    waiting = rule(entry(bad, moderation=Moderation.PRE), compiled, spent=2)
    assert waiting.ruling.visibility is Visibility.HOLD
    assert shown.review is not None
    assert rule(entry(reading(at={"hate": 0.98})), compiled, spent=9).ruling.clause == "law"


@pytest.mark.parametrize(
    ("autonomy", "visibility", "reviewed"),
    [
        ("{delete: alone}", Visibility.DELETE, False),
        ("{delete: reviewed}", Visibility.DELETE, True),
        ("{delete: never}", Visibility.HIDE, True),
        ("{delete: never, hide: never}", Visibility.HOLD, True),
        ("{delete: never, hide: never, hold: never}", Visibility.KEEP, True),
    ],
)
def test_what_the_machine_may_not_do_becomes_what_it_may(autonomy: str, visibility: Visibility, reviewed: bool) -> None:
    compiled = charter("  - {id: bad, when: yes.remove, visibility: DELETE}", f"autonomy: {autonomy}")
    verdict = rule(entry(reading(["remove"])), compiled)
    assert (verdict.ruling.visibility, verdict.review is not None) == (visibility, reviewed)


SILENT = (
    "  - {id: hush, when: yes.provocation, priority: 50, silence: {reason: jamais de politique, reviewer: lea}}\n"
    "  - {id: ask, when: yes.question, queue: sales, priority: 40, reply_posture: explain}\n"
    "  - {id: care, when: yes.complaint, queue: care, priority: 20}"
)


def test_a_chosen_silence_is_recorded_and_nobody_answers() -> None:
    ruling = rule(entry(reading(["provocation", "question"])), charter(SILENT)).ruling
    assert (ruling.queue, ruling.reply_posture) == (Queue.NONE, "none")
    assert ruling.silence == Unanswered("hush", "jamais de politique", "lea")
    assert "Silence choisi (lea) : jamais de politique." in ruling.explanation


def test_no_silence_for_a_complaint_or_a_person_in_distress() -> None:
    complaint = rule(entry(reading(["provocation", "complaint"])), charter(SILENT)).ruling
    assert (complaint.silence, complaint.queue) == (None, Queue.CARE)
    distress = rule(entry(reading(["provocation", "self_harm"])), charter(SILENT)).ruling
    assert (distress.silence, distress.queue) == (None, Queue.MODERATOR)


def test_those_to_notify_hear_of_it_beside_the_queue() -> None:
    clauses = (
        "  - {id: a, when: yes.boycott, queue: crisis, notify: [legal, crisis]}\n"
        "  - {id: b, when: yes.anger, notify: [marketing]}"
    )
    ruling = rule(entry(reading(["boycott", "anger"])), charter(clauses)).ruling
    assert (ruling.queue, ruling.notify) == (Queue.CRISIS, (Queue.LEGAL, Queue.MARKETING))


def test_a_clause_of_some_channels_is_silent_in_the_others() -> None:
    compiled = charter("  - {id: a, when: yes.spam, visibility: HIDE, channels: [live_chat, 'id:z']}")
    spam = reading(["spam"])
    assert rule(entry(spam), compiled).ruling.clause == "a"
    elsewhere = entry(spam, kind=ChannelKind.FORUM)
    assert rule(elsewhere, compiled).ruling.clause == "default"
    assert rule(replace(elsewhere, channel=replace(elsewhere.channel, id="z")), compiled).ruling.clause == "a"


def test_the_failing_clauses_are_named() -> None:
    compiled = charter("  - {id: odd, when: 10 / (message.text_length - 7) > 1 || yes.hate, queue: care}")
    broken = rule(entry(reading()), compiled).ruling
    (reason,) = [reason for reason in broken.reasons if reason.clause == "clause-failed"]
    assert set(reason.evidence) == {"odd"}


def test_the_complaint_threshold_lint_knows_is_that_of_the_house() -> None:
    weights = Path(__file__).parents[3] / "mlops/house/weights/house.json"
    shipped = json.loads(weights.read_text(encoding="utf-8"))["thresholds"]["complaint"]["decision"]
    assert shipped == HOUSE_COMPLAINT
