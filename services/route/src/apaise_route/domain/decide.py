"""The decision: a pure function of a message, what it was understood to be, the brand's charter, an instant and a draw.

Order of the rules, which is the promise of the product: every clause that holds is a reason; the strictest visibility
wins; *then* a complaint, or a person in distress, is capped at HOLD, and only an illegal clause goes past the cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from apaise_kit.core.labels import LABELS
from apaise_route.domain import charter as rules
from apaise_route.domain.charter import Charter, Clause, CompiledCharter, FailurePolicy
from apaise_route.domain.explain import explain
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
    Verdict,
    Visibility,
)

COMPLAINT: Final = "complaint"
HARMLESS_HOLDS: Final = (COMPLAINT, "care_request", "question")
DISTRESS_LABELS: Final = ("distress", "self_harm")
DISTRESS_PRIORITY: Final = 95
# A hidden message is handed only to those who deal with harm: sales has no business with a slur that asks a price.
HARM_QUEUES: Final = frozenset({Queue.NONE, Queue.MODERATOR, Queue.LEGAL, Queue.CRISIS})


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


def decide(entry: RouteInput, compiled: CompiledCharter, now: datetime, draw: float) -> Verdicted:
    """Decide one message.

    Args:
        entry: the message, its channel, and the assessment or the reason for its absence.
        compiled: the brand's charter in force.
        now: the instant of the decision; holds are counted from it.
        draw: a number in [0, 1), the same for the same message: the audit sample is drawn with it.
    """
    charter, assessment = compiled.charter, entry.assessment
    draft = _weigh(entry, compiled)
    draft.complaint = assessment is not None and is_complaint(assessment, charter)
    if assessment is None and entry.absence is not Absence.NO_TEXT:
        _apply_failure_policy(draft, entry, charter)
    _put_distress_first(draft, assessment)
    _cap_complaint(draft, entry)
    _leave_private_alone(draft, entry)
    _owe_review(draft, entry)
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


def _weigh(entry: RouteInput, compiled: CompiledCharter) -> _Draft:
    """Every clause that holds, and the strictest visibility among them."""
    charter = compiled.charter
    words = compiled.words.matches(entry.message.text)
    holds, failed = compiled.conditions.evaluate(facts(entry, charter, words))
    matched = [clause for clause, held in zip(charter.clauses, holds, strict=True) if held]
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
        draft.reasons.append(Reason(rules.BROKEN, Visibility.KEEP, {}))
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
        if draft.illegal:
            draft.owe(ReviewReason.ILLEGAL)
        draft.decide_by(rules.PRIVATE, Visibility.KEEP)


def _owe_review(draft: _Draft, entry: RouteInput) -> None:
    if draft.illegal:
        draft.review = ReviewReason.ILLEGAL
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
    queue, due_time, posture, priority = _hand_over(draft, entry, charter)
    ruling = Ruling(
        visibility=draft.visibility,
        clause=draft.clause,
        reasons=tuple(draft.reasons),
        ground=_ground(draft),
        queue=queue,
        priority=max(priority, draft.floor_priority),
        due_time=due_time,
        reply_posture=posture,
    )
    if draft.visibility is Visibility.HOLD:
        ruling = hold(ruling, charter, now, harmless=_harmless(draft, entry))
    return replace(ruling, explanation=explain(ruling, charter))


def _hand_over(draft: _Draft, entry: RouteInput, charter: Charter) -> tuple[Queue, datetime | None, str, int]:
    """Queue, due time, posture and priority: those of the most pressing clause among the ones that may speak."""
    speaking = [c for c in draft.matched if draft.visibility < Visibility.HIDE or c.queue in HARM_QUEUES]
    priority = max((clause.priority for clause in speaking), default=0)
    queued = [clause for clause in speaking if clause.queue]
    posture = next((c.reply_posture for c in sorted(speaking, key=lambda c: -c.priority) if c.reply_posture), "")
    if draft.floor_priority == DISTRESS_PRIORITY:
        first, posture = Queue.MODERATOR, "reassure"
    elif queued:
        first = max(queued, key=lambda clause: clause.priority).queue
    else:
        return Queue.NONE, None, posture, priority
    delays = [c.due for c in queued if c.queue is first and c.due]
    shortest = min(delays, default=charter.delays.get(first))
    return first, entry.message.origin + shortest if shortest else None, posture, priority


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
