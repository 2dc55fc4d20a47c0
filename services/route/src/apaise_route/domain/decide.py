"""The decision: a pure function of a message, what it was understood to be, the brand's charter, an instant and a draw.

Order of the rules, which is the promise of the product: every clause that holds is a reason; the strictest visibility
wins; *then* a complaint, or a person in distress, is capped at HOLD, and only an illegal clause goes past the cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from apaise_kit.core.labels import LABELS
from apaise_route.domain import charter as rules
from apaise_route.domain.charter import Autonomy, Charter, Clause, CompiledCharter, FailurePolicy
from apaise_route.domain.explain import explain
from apaise_route.domain.harm import expected_harm
from apaise_route.domain.model import (
    Absence,
    Assessment,
    Audience,
    Ground,
    Moderation,
    Queue,
    Reason,
    ReviewOwed,
    ReviewReason,
    RouteInput,
    Ruling,
    Unanswered,
    Verdict,
    Visibility,
)

COMPLAINT: Final = "complaint"
HARMLESS_HOLDS: Final = (COMPLAINT, "care_request", "question")
DISTRESS_LABELS: Final = ("distress", "self_harm")
DISTRESS_PRIORITY: Final = 95
# A hidden message is handed only to those who deal with harm: sales has no business with a slur that asks a price.
HARM_QUEUES: Final = frozenset({Queue.NONE, Queue.MODERATOR, Queue.LEGAL, Queue.CRISIS})
# Those who would answer: strategic silence takes the step from them, and from nobody else.
ANSWERING: Final = frozenset({Queue.CARE, Queue.MARKETING, Queue.SALES, Queue.PRODUCT, Queue.ANIMATION})


@dataclass(frozen=True, slots=True)
class _Step:
    """What is owed next: to whom, when, within what delay, in what tone, how pressing; or why nothing is."""

    queue: Queue
    priority: int
    posture: str = ""
    due_time: datetime | None = None
    within: timedelta | None = None
    silence: Unanswered | None = None


@dataclass(frozen=True, slots=True)
class Verdicted:
    """A ruling and the review it owes, if any."""

    ruling: Ruling
    review: ReviewOwed | None


@dataclass(slots=True)
class _Draft:
    """The ruling in the making: each rule reads it, tightens or relaxes it, and leaves its reason.

    `lawful` is the strictest visibility that matching illegal clauses ask for: no rule of the mesh goes below it.
    """

    visibility: Visibility
    clause: str
    reasons: list[Reason]
    matched: list[Clause]
    lawful: Visibility = Visibility.NONE
    review: ReviewReason | None = None
    complaint: bool = False
    floor_priority: int = 0

    @property
    def illegal(self) -> bool:
        """Whether the law, not the charter, takes the message down."""
        return Visibility.HOLD < self.visibility <= self.lawful

    @property
    def unlawful(self) -> bool:
        """Whether an illegal clause holds, whatever becomes of the message."""
        return self.lawful > Visibility.NONE

    def decide_by(self, rule: str, visibility: Visibility, evidence: Mapping[str, float] | None = None) -> None:
        """A rule of the mesh sets the visibility and becomes the deciding reason."""
        self.visibility, self.clause = visibility, rule
        self.reasons.insert(0, Reason(rule, visibility, evidence or {}))

    def cap(self, rule: str, allowed: Visibility, evidence: Mapping[str, float] | None = None) -> None:
        """Soften what is stricter than `allowed`, down to what illegal clauses ask at most."""
        if self.visibility <= max(allowed, self.lawful):
            return
        self.decide_by(rule, allowed, evidence)
        if self.lawful > allowed:
            self._decide_by_law()

    def _decide_by_law(self) -> None:
        clause = next(c for c in self.matched if c.illegal and c.visibility is self.lawful)
        self.visibility, self.clause = self.lawful, clause.id
        self.reasons.sort(key=lambda reason: reason.clause != clause.id)

    def owe(self, reason: ReviewReason) -> None:
        """A person should look; the first reason given stays."""
        self.review = self.review or reason


def decide(entry: RouteInput, compiled: CompiledCharter, now: datetime, draw: float, spent: int = 0) -> Verdicted:
    """Decide one message. Channel and event overrides count by when it was written, so deciding again decides the same.

    Args:
        entry: the message, its channel, and the assessment or the reason for its absence.
        compiled: the brand's charter in force.
        now: the instant of the decision; holds are counted from it.
        draw: a number in [0, 1), the same for the same message: the audit sample is drawn with it.
        spent: how many messages the machine took down in this channel within the quota's time.
    """
    charter, assessment = compiled.charter.here(entry.channel, entry.message), entry.assessment
    draft = _weigh(entry, charter, compiled)
    draft.complaint = assessment is not None and is_complaint(assessment, charter)
    if assessment is None and entry.absence is not Absence.NO_TEXT:
        _apply_failure_policy(draft, entry, charter)
    _keep_to_quota(draft, entry, charter, spent)
    _put_distress_first(draft, assessment)
    _cap_complaint(draft, entry)
    _ask_before_acting(draft, charter)
    _leave_private_alone(draft, entry)
    _owe_review(draft, entry, charter)
    audited = draft.review is None and charter.audit_share > 0 and draw < charter.audit_share
    if audited:
        draft.reasons.append(Reason(rules.AUDIT, Visibility.KEEP, {}))
    return Verdicted(_ruling(draft, entry, charter, now), _owed(draft, audited, charter))


def is_complaint(assessment: Assessment, charter: Charter) -> bool:
    """Whether the message is a grievance: by the model's verdict, or above the charter's lowered threshold."""
    lowered = charter.thresholds.get(COMPLAINT, 2.0)
    return assessment.says(COMPLAINT) or assessment.probability(COMPLAINT) >= lowered


def facts(entry: RouteInput, charter: Charter, words: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
    """What conditions may read. Every registered label is there, 0.0 and not-YES when the model does not know it.

    Numbers a platform may not tell are -1 (rating, account age); `follows` is false when unknown.
    """
    message, author, channel = entry.message, entry.message.author, entry.channel
    scores = entry.assessment.scores if entry.assessment else {}
    lowered = charter.thresholds
    labels = dict.fromkeys(LABELS, 0.0)
    yes, unsure = dict.fromkeys(LABELS, False), dict.fromkeys(LABELS, False)
    for label, score in scores.items():
        if label in labels:
            labels[label] = score.probability
            yes[label] = score.holds or labels[label] >= lowered.get(label, 2.0)
            unsure[label] = score.verdict is Verdict.UNSURE
    return {
        "labels": labels,
        "yes": yes,
        "unsure": unsure,
        "lists": dict(words),
        "message": {
            "text": message.text,
            "text_length": len(message.text),
            "language": message.language or "und",
            "has_attachment": bool(message.attachments),
            "rating": -1.0 if message.rating is None else float(message.rating),
            "kind": channel.kind.name,
            "audience": channel.audience.name,
            "moderation": channel.moderation.name,
            "event": message.event,
            "is_reply": bool(message.parent),
            "read": entry.assessment is not None,
            "channel": channel.id,
            "open": charter.hours is None or charter.hours.is_open(message.origin),
        },
        "author": {
            "account_age_days": _account_age_days(entry),
            "follows": bool(author.follows_page),
            "roles": list(author.roles),
        },
    }


def _account_age_days(entry: RouteInput) -> int:
    created = entry.message.author.account_create_time
    return -1 if created is None else max(0, (entry.message.origin - created).days)


def _weigh(entry: RouteInput, charter: Charter, compiled: CompiledCharter) -> _Draft:
    """Every clause that holds, and the strictest visibility among them."""
    words = compiled.words.matches(entry.message.text)
    holds, failed = compiled.conditions.evaluate(facts(entry, charter, words))
    events = charter.events_of(entry.message)
    matched = [
        clause
        for clause, held in zip(charter.clauses, holds, strict=True)
        if held and clause.id not in charter.off and clause.applies(entry.channel, events)
    ]
    if entry.assessment is None:
        # Without a reading, "no insult" is not a fact: a clause that looks at labels says nothing.
        matched = [clause for clause in matched if not clause.reads]
    # Strictest first; of two that ask the same, the illegal one, then the more pressing one; else the charter's order.
    matched.sort(key=lambda clause: (-clause.visibility, not clause.illegal, -clause.priority))
    reasons = [Reason(c.id, c.visibility or Visibility.KEEP, _evidence(c, entry.assessment)) for c in matched]
    if not reasons:
        reasons = [Reason(rules.DEFAULT, Visibility.KEEP, {})]
    lawful = max((clause.visibility for clause in matched if clause.illegal), default=Visibility.NONE)
    draft = _Draft(reasons[0].visibility, reasons[0].clause, reasons, matched, lawful)
    if failed:
        broken = {charter.clauses[index].id: 1.0 for index in sorted(failed)}
        draft.reasons.append(Reason(rules.BROKEN, Visibility.KEEP, broken))
        draft.owe(ReviewReason.CLAUSE)
    return draft


def _evidence(clause: Clause, assessment: Assessment | None) -> dict[str, float]:
    if assessment is None:
        return {}
    return {label: assessment.scores[label].probability for label in clause.reads if label in assessment.scores}


def _apply_failure_policy(draft: _Draft, entry: RouteInput, charter: Charter) -> None:
    """Nobody read it: what the charter says then. What a word list asks stops at HOLD, since it may be a complaint."""
    policy = charter.failure.of(entry.channel)
    if policy is FailurePolicy.PUBLISH:
        draft.matched = [clause for clause in draft.matched if clause.illegal]
        draft.cap(rules.FAILURE, Visibility.KEEP)
    elif policy is FailurePolicy.HOLD and draft.visibility < Visibility.HOLD:
        draft.decide_by(rules.FAILURE, Visibility.HOLD)
    draft.cap(rules.CAP, Visibility.HOLD)
    if all(reason.clause != rules.FAILURE for reason in draft.reasons):
        draft.reasons.append(Reason(rules.FAILURE, Visibility.KEEP, {}))
    if draft.clause == rules.DEFAULT:
        draft.decide_by(rules.FAILURE, draft.visibility)
        draft.reasons = draft.reasons[:1]
    if draft.visibility is Visibility.HOLD:
        draft.owe(ReviewReason.NO_ASSESSMENT)


def _keep_to_quota(draft: _Draft, entry: RouteInput, charter: Charter, spent: int) -> None:
    """Past the quota the machine takes nothing more down: what does not show yet waits, the rest stays; people look."""
    if charter.quota is None or spent < charter.quota.actions or draft.visibility <= Visibility.HOLD:
        return
    shows_already = entry.channel.moderation is Moderation.POST
    draft.cap(rules.QUOTA, Visibility.KEEP if shows_already else Visibility.HOLD)
    draft.owe(ReviewReason.CLAUSE if shows_already else ReviewReason.HOLD)


def _ask_before_acting(draft: _Draft, charter: Charter) -> None:
    """What the machine may not do without a person becomes the strictest thing it may, and a person looks."""
    allowed = draft.visibility
    while allowed > Visibility.KEEP and charter.autonomy.get(allowed) is Autonomy.NEVER:
        allowed = Visibility(allowed - 1)
    if allowed < draft.visibility and draft.visibility > draft.lawful:
        draft.cap(rules.AUTONOMY, allowed)
        draft.owe(ReviewReason.CLAUSE)


def _put_distress_first(draft: _Draft, assessment: Assessment | None) -> None:
    """Someone in distress gets a person, before anything is taken down."""
    signs = [label for label in DISTRESS_LABELS if assessment and assessment.says(label)]
    if not signs or assessment is None:
        return
    evidence = {label: assessment.probability(label) for label in signs}
    if draft.visibility < Visibility.HOLD and "self_harm" not in signs:
        return
    draft.cap(rules.DISTRESS, Visibility.HOLD, evidence)
    if draft.clause != rules.DISTRESS:
        draft.reasons.append(Reason(rules.DISTRESS, Visibility.KEEP, evidence))
    draft.floor_priority = DISTRESS_PRIORITY
    draft.owe(ReviewReason.CLAUSE)


def _cap_complaint(draft: _Draft, entry: RouteInput) -> None:
    """A complaint is never hidden in silence: at most held, and where it already shows, kept and looked at."""
    assessment = entry.assessment
    if assessment is None or not draft.complaint or draft.visibility < Visibility.HOLD:
        return
    shows_already = entry.channel.moderation is Moderation.POST
    evidence = {COMPLAINT: assessment.probability(COMPLAINT)}
    draft.cap(rules.CAP, Visibility.KEEP if shows_already else Visibility.HOLD, evidence)
    draft.owe(ReviewReason.CLAUSE if shows_already else ReviewReason.HOLD)


def _leave_private_alone(draft: _Draft, entry: RouteInput) -> None:
    """Nothing to hide where only the author and the brand read."""
    if entry.channel.audience is Audience.PRIVATE and draft.visibility > Visibility.HOLD:
        draft.decide_by(rules.PRIVATE, Visibility.KEEP)


def _owe_review(draft: _Draft, entry: RouteInput, charter: Charter) -> None:
    if draft.unlawful:
        draft.review = ReviewReason.ILLEGAL
    if charter.autonomy.get(draft.visibility) is Autonomy.REVIEWED:
        draft.owe(ReviewReason.CLAUSE)
    asking = [clause for clause in draft.matched if clause.review]
    if asking and all(clause.reads_unsure for clause in asking):
        draft.owe(ReviewReason.UNSURE)
    elif asking:
        draft.owe(ReviewReason.CLAUSE)
    if draft.visibility is Visibility.HOLD:
        draft.owe(ReviewReason.HOLD)
    if entry.absence is Absence.NO_TEXT and entry.channel.moderation is Moderation.PRE:
        draft.owe(ReviewReason.NO_ASSESSMENT)


def _owed(draft: _Draft, audited: bool, charter: Charter) -> ReviewOwed | None:
    if audited:
        return ReviewOwed(ReviewReason.AUDIT, charter.audit_share)
    return ReviewOwed(draft.review) if draft.review else None


def _ruling(draft: _Draft, entry: RouteInput, charter: Charter, now: datetime) -> Ruling:
    step = _next_step(draft, entry, charter)
    ruling = Ruling(
        visibility=draft.visibility,
        clause=draft.clause,
        reasons=tuple(draft.reasons),
        ground=_ground(draft),
        queue=step.queue,
        priority=max(step.priority, draft.floor_priority),
        due_time=step.due_time,
        reply_posture=step.posture,
        notify=_told(draft, step.queue),
        silence=step.silence,
        harm=expected_harm(entry.assessment, entry.channel, draft.visibility),
    )
    if draft.visibility is Visibility.HOLD:
        ruling = hold(ruling, charter, now, harmless=_harmless(draft, entry))
    return replace(ruling, explanation=explain(ruling, charter, now, step.within))


def _speaking(draft: _Draft) -> list[Clause]:
    """The clauses that may hand the message over."""
    return [c for c in draft.matched if draft.visibility < Visibility.HIDE or c.queue in HARM_QUEUES]


def _told(draft: _Draft, owner: Queue) -> tuple[Queue, ...]:
    """Who hears of it at once beside the queue that owes the step."""
    return tuple(sorted({queue for clause in draft.matched for queue in clause.notify} - {owner}))


def _next_step(draft: _Draft, entry: RouteInput, charter: Charter) -> _Step:
    """Queue, due time, posture and priority: those of the most pressing clause among the ones that may speak."""
    speaking = _speaking(draft)
    priority = max((clause.priority for clause in speaking), default=0)
    queued = [clause for clause in speaking if clause.queue]
    posture = next((c.reply_posture for c in sorted(speaking, key=lambda c: -c.priority) if c.reply_posture), "")
    if draft.floor_priority == DISTRESS_PRIORITY:
        first, posture = Queue.MODERATOR, "reassure"
    elif queued:
        first = max(queued, key=lambda clause: clause.priority).queue
    else:
        first = Queue.NONE
    silence = _silence(draft, speaking, priority)
    if silence is not None:
        posture, first = "none", Queue.NONE if first in ANSWERING else first
    if first is Queue.NONE:
        return _Step(first, priority, posture, silence=silence)
    within = min((c.due for c in queued if c.queue is first and c.due), default=charter.delays.get(first))
    return _Step(first, priority, posture, _due(entry, charter, first, within), within, silence)


def _due(entry: RouteInput, charter: Charter, queue: Queue, within: timedelta | None) -> datetime | None:
    """When a step is due: `within` of publication, in opening hours where they bind the queue."""
    if within is None:
        return None
    origin, hours = entry.message.origin, charter.hours
    return hours.due(origin, within) if hours and queue in hours.queues else origin + within


def _silence(draft: _Draft, speaking: list[Clause], priority: int) -> Unanswered | None:
    """The choice not to answer, when no clause presses more; never to a complaint or a person in distress."""
    if draft.complaint or draft.floor_priority:
        return None
    chosen = next((c for c in speaking if c.silence is not None and c.priority == priority), None)
    if chosen is None or chosen.silence is None:
        return None
    return Unanswered(chosen.id, chosen.silence.reason, chosen.silence.reviewer)


def _ground(draft: _Draft) -> Ground:
    if draft.visibility <= Visibility.KEEP:
        return Ground.NONE
    return Ground.ILLEGAL if draft.illegal else Ground.CHARTER


def _harmless(draft: _Draft, entry: RouteInput) -> bool:
    says = entry.assessment.says if entry.assessment else lambda _: False
    return draft.complaint or any(says(label) for label in HARMLESS_HOLDS)


def hold(ruling: Ruling, charter: Charter, now: datetime, *, harmless: bool) -> Ruling:
    """Give a hold its end. A complaint or question then shows; the rest is first put before people with full priority
    (`hold_then` HOLD), and becomes what the charter says (`hold_finally`) when nobody looked that time either."""
    return replace(
        ruling,
        hold_expire_time=now + charter.hold.expire_after,
        hold_then=Visibility.KEEP if harmless else Visibility.HOLD,
        hold_finally=Visibility.KEEP if harmless else charter.hold.then,
    )
