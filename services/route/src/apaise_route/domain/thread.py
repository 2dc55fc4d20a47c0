"""A message's thread of decisions, and every way it may grow. Append-only: nothing here changes a decision.

A thread is loaded whole, grown and saved: what is new is in `added`, `touched`, `texts` and `blanked`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from apaise_kit.core.errors import Aborted, FailedPrecondition
from apaise_kit.core.errors import Reason as Why
from apaise_kit.core.names import MESSAGE, REVIEW_ITEM
from apaise_route.domain import charter as rules
from apaise_route.domain.archive import names_illegal
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.decide import decide, hold
from apaise_route.domain.explain import explain
from apaise_route.domain.model import (
    AUTOMATON,
    Absence,
    Assessment,
    Audience,
    Cause,
    Correction,
    Decision,
    Ground,
    Queue,
    Reason,
    Resolution,
    Review,
    ReviewItem,
    ReviewOwed,
    ReviewReason,
    ReviewState,
    RouteInput,
    Ruling,
    Visibility,
)

URGENT: Final = 100


def draw_of(brand: str, message: str, edit_revision: int) -> float:
    """A number in [0, 1) that is the same for a message revision each time it is decided."""
    digest = hashlib.sha256(f"{brand}/{message}#{edit_revision}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


@dataclass
class Thread:
    """One message: its decisions in order, and the review item that waits, if one does."""

    brand: str
    message: str
    decisions: list[Decision] = field(default_factory=list)
    item: ReviewItem | None = None
    added: list[Decision] = field(default_factory=list)
    touched: dict[str, ReviewItem] = field(default_factory=dict)
    texts: dict[int, RouteInput] = field(default_factory=dict)
    blanked: bool = False

    @property
    def holding(self) -> Decision | None:
        """The decision that holds: the last one."""
        return self.decisions[-1] if self.decisions else None

    # -- the mesh decides

    def route(
        self,
        entry: RouteInput,
        charter: CompiledCharter,
        now: datetime,
        new_id: Callable[[], str],
        spent: int = 0,
    ) -> Decision:
        """Decide an input, or answer what was decided: once per revision, and once more when an assessment arrives.

        `spent` counts what the machine took down in the channel lately, for the charter's quota.

        An input older than the latest revision is answered and recorded nowhere: its text is no longer what people see.
        """
        revision, holding = entry.message.edit_revision, self.holding
        if entry.message.gone:
            return self._erase(entry, charter, now)
        automatic = self._find(revision, Cause.AUTOMATIC)
        if automatic is None:
            if holding is not None and revision <= holding.edit_revision:
                return holding
            return self._by_machine(Cause.AUTOMATIC, entry, charter, now, new_id, spent)
        if entry.assessment is None or automatic.absence is Absence.NONE:
            return automatic
        reassessed = self._find(revision, Cause.REASSESSMENT)
        if reassessed is not None:
            return reassessed
        if holding is None or holding.edit_revision != revision or holding.cause is Cause.ERASURE:
            return holding or automatic
        if self._human_stands():
            return holding
        return self._by_machine(Cause.REASSESSMENT, entry, charter, now, new_id, spent)

    def _find(self, revision: int, cause: Cause) -> Decision | None:
        return next((d for d in self.decisions if d.edit_revision == revision and d.cause is cause), None)

    def _human_stands(self) -> bool:
        """Whether a person has decided the latest revision and nobody took it back: no machine overrides that."""
        stands = False
        for decision in self.decisions:
            if decision.edit_revision == self.decisions[-1].edit_revision:
                stands = decision.cause is Cause.HUMAN or (stands and decision.cause is not Cause.UNDO)
        return stands

    def _by_machine(
        self,
        cause: Cause,
        entry: RouteInput,
        charter: CompiledCharter,
        now: datetime,
        new_id: Callable[[], str],
        spent: int,
    ) -> Decision:
        revision = entry.message.edit_revision
        verdict = decide(entry, charter, now, draw_of(self.brand, self.message, revision), spent)
        owed = verdict.review
        if cause is Cause.AUTOMATIC and self._human_stands():
            owed = ReviewOwed(ReviewReason.EDITED)
        self.texts[revision] = _may_train(entry, charter)
        return self._append(
            cause,
            AUTOMATON,
            verdict.ruling,
            charter,
            now,
            entry=entry,
            item=self._settle_item(revision, owed, verdict.ruling, now, new_id),
        )

    def _settle_item(
        self, revision: int, owed: ReviewOwed | None, ruling: Ruling, now: datetime, new_id: Callable[[], str]
    ) -> str:
        """Open, keep or withdraw the review item so that the queue holds what is owed now; the item's id, or ""."""
        waiting, sequence = self.item, len(self.decisions) + 1
        if waiting is not None:
            same = waiting.edit_revision == revision
            claimed = waiting.state_at(now) is ReviewState.CLAIMED
            if same and (owed is not None or claimed):
                reason = owed.reason if owed else waiting.reason
                kept = replace(waiting, sequence=sequence, reason=reason)
                self._touch(replace(kept, priority=ruling.priority, harm=ruling.harm))
                return waiting.id
            self._withdraw(waiting)
        if owed is None:
            return ""
        item = ReviewItem(
            brand=self.brand,
            id=new_id(),
            message=self.message,
            edit_revision=revision,
            sequence=sequence,
            reason=owed.reason,
            sampling_probability=owed.sampling_probability,
            queue=ruling.queue or Queue.MODERATOR,
            priority=ruling.priority,
            harm=ruling.harm,
            due_time=ruling.due_time,
            create_time=now,
        )
        self.item = self.touched[item.id] = item
        return item.id

    def _withdraw(self, item: ReviewItem) -> None:
        self._touch(replace(item, state=ReviewState.WITHDRAWN, claim_actor="", lease_expire_time=None))

    def _touch(self, item: ReviewItem) -> ReviewItem:
        changed = replace(item, version=item.version + 1)
        self.touched[item.id] = changed
        self.item = changed if changed.waiting else None
        return changed

    def _append(
        self,
        cause: Cause,
        actor: str,
        ruling: Ruling,
        charter: CompiledCharter,
        now: datetime,
        *,
        entry: RouteInput | None = None,
        item: str = "",
    ) -> Decision:
        """Append a decision; without an entry, it is about the same reading as the one that holds."""
        holding = self.holding
        sequence = len(self.decisions) + 1
        if entry is not None:
            decision = Decision(
                brand=self.brand,
                message=self.message,
                sequence=sequence,
                edit_revision=entry.message.edit_revision,
                cause=cause,
                actor=actor,
                ruling=ruling,
                charter=charter.name,
                charter_digest=charter.digest,
                create_time=now,
                channel=entry.message.channel,
                external_id=entry.message.external_id,
                provenance=entry.assessment.provenance if entry.assessment else None,
                absence=entry.absence,
                review_item=item,
            )
        elif holding is not None:
            decision = replace(
                holding,
                sequence=sequence,
                cause=cause,
                actor=actor,
                ruling=ruling,
                charter=charter.name,
                charter_digest=charter.digest,
                create_time=now,
                review_item=item,
                outcome=None,
            )
        else:
            raise ValueError("a first decision needs its input")
        self.decisions.append(decision)
        self.added.append(decision)
        return decision

    def _erase(self, entry: RouteInput, charter: CompiledCharter, now: datetime) -> Decision:
        """The message is gone: blank it, withdraw its review, say so. It still gets its one automatic decision."""
        self.blanked = True
        holding, revision = self.holding, entry.message.edit_revision
        if holding is not None and holding.cause is Cause.ERASURE and revision <= holding.edit_revision:
            return holding
        gone = _of_rule(rules.GONE, Visibility.KEEP, charter)
        if holding is None or revision > holding.edit_revision:
            self.texts[revision] = entry
            holding = self._append(Cause.AUTOMATIC, AUTOMATON, gone, charter, now, entry=entry)
        if self.item is not None:
            self._withdraw(self.item)
        if holding.ruling.visibility is not Visibility.HOLD:
            gone = replace(gone, visibility=holding.ruling.visibility, ground=holding.ruling.ground)
            gone = replace(gone, reasons=(Reason(rules.GONE, gone.visibility, {}),))
        return self._append(Cause.ERASURE, AUTOMATON, gone, charter, now)

    # -- the clock decides

    def expire_hold(self, charter: CompiledCharter, now: datetime, new_id: Callable[[], str]) -> Decision | None:
        """End a hold whose time has come; None when there is none. The first end of what is not a complaint or a
        question is an escalation: held once more, first in the queue."""
        holding = self.holding
        if holding is None or holding.ruling.visibility is not Visibility.HOLD:
            return None
        ruling = holding.ruling
        if ruling.hold_expire_time is None or ruling.hold_expire_time > now:
            return None
        becomes = ruling.hold_then or Visibility.KEEP
        escalated = becomes is Visibility.HOLD
        ended = replace(
            ruling,
            visibility=becomes,
            clause=rules.EXPIRY,
            reasons=(Reason(rules.EXPIRY, becomes, {}), *ruling.reasons),
            ground=Ground.NONE if becomes is Visibility.KEEP else Ground.CHARTER,
            priority=URGENT if escalated else ruling.priority,
            hold_expire_time=now + charter.charter.hold.expire_after if escalated else None,
            hold_then=ruling.hold_finally if escalated else Visibility.NONE,
            notify=(),
        )
        ended = replace(ended, explanation=explain(ended, charter.charter, now))
        item = ""
        # A second look is about what the machine had decided, whatever has held since.
        waiting = self.item if self.item and self.item.reason is not ReviewReason.SECOND_LOOK else None
        if escalated or waiting is not None:
            owed = ReviewOwed(waiting.reason if waiting else ReviewReason.HOLD)
            item = self._settle_item(holding.edit_revision, owed, ended, now, new_id)
        return self._append(Cause.HOLD_EXPIRY, AUTOMATON, ended, charter, now, item=item)

    # -- people decide

    def resolve(
        self,
        item: ReviewItem,
        resolution: Resolution,
        correction: Correction | None,
        assessment: Assessment | None,
        charter: CompiledCharter,
        actor: str,
        now: datetime,
        new_id: Callable[[], str],
    ) -> Review:
        """Close an item. CONFIRM and CORRECT append a human decision; SKIP leaves what holds.

        The caller has checked lease and etag; `correction` is there exactly when the resolution is CORRECT. A second
        look is about what the machine had decided, and leaves what holds.
        """
        looked_again = item.reason is ReviewReason.SECOND_LOOK
        before = self.decisions[item.sequence - 1] if looked_again else self._held()
        after = correction.visibility if correction else before.ruling.visibility
        sequence = 0
        if resolution is not Resolution.SKIP and not looked_again:
            ruling = _by_person(before.ruling, after, correction, charter, now)
            sequence = self._append(Cause.HUMAN, actor, ruling, charter, now, item=item.id).sequence
        about = item.sequence if looked_again else len(self.decisions)
        self._touch(replace(item, state=ReviewState.RESOLVED, lease_expire_time=None, sequence=about))
        return Review(
            brand=self.brand,
            id=new_id(),
            review_item=item.id,
            message=self.message,
            edit_revision=item.edit_revision,
            resolution=resolution,
            actor=actor,
            create_time=now,
            visibility_before=before.ruling.visibility,
            visibility_after=after,
            clause=(correction.clause if correction else "") or before.ruling.clause,
            labels_before={label: score.probability for label, score in assessment.scores.items()}
            if assessment
            else {},
            labels_after=labels_after(resolution, after, correction.labels if correction else {}),
            reason=item.reason,
            sampling_probability=item.sampling_probability,
            provenance=assessment.provenance if assessment else None,
            decision_sequence=sequence,
        )

    def look_again(self, item: ReviewItem, actor: str, share: float, now: datetime, new_id: Callable[[], str]) -> None:
        """Have somebody but `actor` look at what a resolved item was about, as if nobody had; a share of items is."""
        self._touch(
            ReviewItem(
                brand=self.brand,
                id=new_id(),
                message=self.message,
                edit_revision=item.edit_revision,
                sequence=item.sequence,
                reason=ReviewReason.SECOND_LOOK,
                sampling_probability=item.sampling_probability * share,
                queue=item.queue,
                priority=item.priority,
                harm=item.harm,
                due_time=None,
                create_time=now,
                asked_by=actor,
                version=0,
            )
        )

    def undo(
        self,
        item: ReviewItem,
        last: Review,
        charter: CompiledCharter,
        actor: str,
        now: datetime,
        new_id: Callable[[], str],
    ) -> Review:
        """Take a resolution back: what held before holds again, as a new decision, and the item is open again.

        When the message has moved on since (a newer revision, a tombstone), only the review is withdrawn.
        """
        # What it asked about is asked again: by the item itself.
        if self.item is not None and self.item.reason is ReviewReason.SECOND_LOOK:
            self._withdraw(self.item)
        before = self._held()
        moved_on = before.edit_revision != item.edit_revision or before.cause is Cause.ERASURE
        human = last.decision_sequence
        restores = human > 0 and all(later.cause is Cause.HOLD_EXPIRY for later in self.decisions[human:])
        if restores:
            restored = self.decisions[human - 2].ruling
            if restored.visibility is Visibility.HOLD and restored.hold_expire_time is not None:
                length = restored.hold_expire_time - self.decisions[human - 2].create_time
                restored = replace(restored, hold_expire_time=now + length)
            self._append(Cause.UNDO, actor, restored, charter, now, item=item.id)
        # Another item may already wait for this message: one is enough.
        state = ReviewState.WITHDRAWN if moved_on or self.item is not None else ReviewState.OPEN
        about = item.sequence if item.reason is ReviewReason.SECOND_LOOK else len(self.decisions)
        reopened = replace(item, state=state, claim_actor="", lease_expire_time=None, sequence=about)
        waiting = self.item
        self._touch(reopened)
        self.item = waiting or self.item
        return replace(
            last,
            id=new_id(),
            resolution=Resolution.UNDO,
            undoes=last.id,
            actor=actor,
            create_time=now,
            visibility_before=before.ruling.visibility,
            visibility_after=self._held().ruling.visibility,
            labels_after={},
            decision_sequence=len(self.decisions) if restores else 0,
            request_id="",
            request_digest="",
        )

    def _held(self) -> Decision:
        if self.holding is None:
            raise ValueError("a review item without a decision")
        return self.holding


def labels_after(resolution: Resolution, visibility: Visibility, labels: Mapping[str, bool]) -> dict[str, bool]:
    """What a person says of the labels. `remove` follows from the visibility unless given: taken down is yes, kept is
    no, and a hold says neither. A skipped item says nothing."""
    if resolution is Resolution.SKIP:
        return {}
    said = dict(labels)
    if "remove" not in said and visibility is not Visibility.HOLD:
        said["remove"] = visibility > Visibility.HOLD
    return said


def check_claim(item: ReviewItem, actor: str, etag: str, now: datetime, *, etag_required: bool = True) -> None:
    """Whether this person may close or give back this item.

    Raises:
        Aborted: the etag is not the current one.
        FailedPrecondition: it is closed, open (claim it first), or someone else's.
    """
    state = item.state_at(now)
    if state is ReviewState.CLAIMED and item.claim_actor != actor:
        raise claimed_by_other(item)
    if state is not ReviewState.CLAIMED and item.waiting:
        raise FailedPrecondition(f"{_name(item)} is not claimed, or its lease has ended. Claim it first.")
    if not item.waiting:
        raise closed(item)
    check_etag(item, etag, required=etag_required)


def check_etag(item: ReviewItem, etag: str, *, required: bool = True) -> None:
    """Refuse an etag that is not the item's current one.

    Raises:
        Aborted: (ETAG_MISMATCH) it changed meanwhile.
    """
    if (etag or required) and etag != str(item.version):
        raise Aborted(f"{_name(item)} changed since it was read. Read it again, then decide again.")


def claimed_by_other(item: ReviewItem) -> FailedPrecondition:
    """The refusal of an item somebody else holds."""
    return FailedPrecondition(
        f"Someone else holds {_name(item)}. Take another, or wait for its lease to end.", reason=Why.CLAIMED_BY_OTHER
    )


def closed(item: ReviewItem) -> FailedPrecondition:
    """The refusal of an item nobody waits for any more."""
    word = "resolved; undo its resolution to open it again" if item.state is ReviewState.RESOLVED else "withdrawn"
    return FailedPrecondition(f"{_name(item)} is {word}.", metadata={"state": item.state.name})


def _name(item: ReviewItem) -> str:
    return REVIEW_ITEM.format(item.brand, item.id)


def _may_train(entry: RouteInput, charter: CompiledCharter) -> RouteInput:
    """A private message that says nothing of it may train when the charter allows that; a refusal stays one."""
    silent = entry.message.may_train is None and entry.channel.audience is Audience.PRIVATE
    if not (silent and charter.charter.train_private):
        return entry
    return replace(entry, message=replace(entry.message, may_train=True))


def message_name(brand: str, message: str) -> str:
    """Resource name of a message."""
    return MESSAGE.format(brand, message)


def _of_rule(rule: str, visibility: Visibility, charter: CompiledCharter) -> Ruling:
    ruling = Ruling(visibility, rule, (Reason(rule, visibility, {}),))
    return replace(ruling, explanation=explain(ruling, charter.charter))


def _by_person(
    ruling: Ruling, visibility: Visibility, correction: Correction | None, charter: CompiledCharter, now: datetime
) -> Ruling:
    """What a person decided. The step owed to the author (queue, due time) stays: deciding is not answering."""
    named = correction is not None and names_illegal(correction, charter.charter)
    lawful = named or (ruling.ground is Ground.ILLEGAL and visibility > Visibility.HOLD)
    strict = Ground.CHARTER if visibility > Visibility.KEEP else Ground.NONE
    decided = replace(
        ruling,
        visibility=visibility,
        clause=(correction.clause or rules.HUMAN) if correction else ruling.clause,
        reasons=(Reason(rules.HUMAN, visibility, {}), *ruling.reasons),
        ground=Ground.ILLEGAL if lawful else strict,
        hold_expire_time=None,
        hold_then=Visibility.NONE,
        hold_finally=Visibility.NONE,
        notify=(),
    )
    if visibility is Visibility.HOLD:
        decided = hold(decided, charter.charter, now, harmless=ruling.hold_then is Visibility.KEEP)
    return replace(decided, explanation=explain(replace(decided, clause=rules.HUMAN), charter.charter, now))
