"""What operators watch. Labels come from closed lists: never a brand, and of clauses only the default charter's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from apaise_route.adapters.case_store import TeamLoad
from apaise_route.adapters.store import QueueDepth
from apaise_route.domain import charter as rules
from apaise_route.domain.cases import Case, CaseState
from apaise_route.domain.charter import Charter
from apaise_route.domain.model import Cause, Decision, Queue, Resolution, Review, ReviewItem, ReviewReason, Visibility

_A_BRANDS_OWN: Final = "charter"
# A minute to two days: what is promised lies between the five minutes of a live chat in crisis and a day.
WAITS: Final = (60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 172_800)
_BY_MACHINE: Final = (Cause.AUTOMATIC, Cause.REASSESSMENT, Cause.HOLD_EXPIRY, Cause.RULE_CHANGE)


class Metrics:
    """Counters of decisions, reviews and replies, how long they took, gauges of the queues."""

    def __init__(self, meter: Meter, default: Charter) -> None:
        """`default` is the charter whose clause ids may be shown: a brand's own ids are its business."""
        self._shown = {clause.id for clause in default.clauses} | rules.MESH_RULES
        self._decisions = meter.create_counter(
            "apaise_route_decisions", description="Decisions by cause, visibility, queue and deciding clause."
        )
        self._failures = meter.create_counter(
            "apaise_route_failure_policy", description="Decisions made without an assessment, by reason and visibility."
        )
        self._hidden = meter.create_counter(
            "apaise_route_hidden", description="The machine's decisions that hid or deleted, by deciding clause."
        )
        self._restored = meter.create_counter(
            "apaise_route_restored",
            description="People's decisions that showed again what was hidden or deleted, by the clause before.",
        )
        self._reviews = meter.create_counter(
            "apaise_route_reviews",
            description="Resolutions by kind, by the clause that had decided, and whether the visibility changed.",
        )
        self._review_duration = meter.create_histogram(
            "apaise_route_review_duration",
            unit="s",
            description="From a review item's opening to a person's decision, by queue.",
            explicit_bucket_boundaries_advisory=WAITS,
        )
        self._reply_duration = meter.create_histogram(
            "apaise_route_reply_duration",
            unit="s",
            description="From a case's opening to its reply being in the thread, by team.",
            explicit_bucket_boundaries_advisory=WAITS,
        )
        self._deadlines = meter.create_counter(
            "apaise_route_deadlines", description="What was due and is done, by kind, queue and whether it was in time."
        )
        self._depths: Sequence[QueueDepth] = ()
        self._read_at: datetime | None = None
        meter.create_observable_gauge(
            "apaise_route_review_waiting", [self._waiting], description="Review items that wait, by queue."
        )
        meter.create_observable_gauge(
            "apaise_route_review_oldest",
            [self._oldest],
            unit="s",
            description="Age of the oldest waiting item, by queue.",
        )

        self._loads: Sequence[TeamLoad] = ()
        meter.create_observable_gauge(
            "apaise_route_cases_waiting", [self._cases_waiting], description="Cases that owe a reply, by team."
        )
        meter.create_observable_gauge(
            "apaise_route_cases_late", [self._cases_late], description="Cases whose reply is late, by team."
        )

    def decided(self, decisions: Sequence[Decision]) -> None:
        """Count new decisions."""
        for decision in decisions:
            ruling = decision.ruling
            labels = {"cause": decision.cause.name, "visibility": ruling.visibility.name, "queue": ruling.queue.name}
            clause = self._clause(ruling.clause)
            self._decisions.add(1, {**labels, "clause": clause})
            if ruling.visibility > Visibility.HOLD and decision.cause in _BY_MACHINE:
                self._hidden.add(1, {"clause": clause})
            if any(reason.clause == rules.FAILURE for reason in ruling.reasons):
                absence = {"absence": decision.absence.name, "visibility": ruling.visibility.name}
                self._failures.add(1, absence)

    def _clause(self, clause: str) -> str:
        return clause if clause in self._shown else _A_BRANDS_OWN

    def reviewed(self, review: Review, item: ReviewItem, clause: str) -> None:
        """Count a resolution, or its undo; `clause` had decided before it. A second look overrides nothing."""
        if review.reason is ReviewReason.SECOND_LOOK:
            return
        changed = review.visibility_before is not review.visibility_after
        labels = {"resolution": review.resolution.name, "clause": self._clause(clause)}
        self._reviews.add(1, {**labels, "changed": str(changed).lower()})
        if review.visibility_after is Visibility.KEEP and review.visibility_before > Visibility.HOLD:
            self._restored.add(1, {"clause": self._clause(clause)})
        if review.resolution in (Resolution.CONFIRM, Resolution.CORRECT):
            took = (review.create_time - item.create_time).total_seconds()
            self._review_duration.record(max(0.0, took), {"queue": item.queue.name})
            self._in_time("review", item.queue, item.due_time, review.create_time)

    def returned(self, cases: Sequence[Case]) -> None:
        """Count the cases among these whose reply is now where its author reads it."""
        for case in cases:
            if case.state is CaseState.RETURNED and case.return_time is not None:
                took = (case.return_time - case.open_time).total_seconds()
                self._reply_duration.record(max(0.0, took), {"team": case.team.name})
                self._in_time("reply", case.team, case.due_time, case.return_time)

    def _in_time(self, kind: str, queue: Queue, due: datetime | None, done: datetime) -> None:
        if due is not None:
            self._deadlines.add(1, {"kind": kind, "queue": queue.name, "kept": str(done <= due).lower()})

    def measured(self, depths: Sequence[QueueDepth], now: datetime) -> None:
        """Keep the last reading of the queues for the gauges."""
        self._depths, self._read_at = depths, now

    def _waiting(self, _: CallbackOptions) -> Iterable[Observation]:
        found = {depth.queue: depth.waiting for depth in self._depths}
        return [Observation(found.get(queue, 0), {"queue": queue.name}) for queue in Queue if queue]

    def _oldest(self, _: CallbackOptions) -> Iterable[Observation]:
        if self._read_at is None:
            return []
        ages = {depth.queue: (self._read_at - depth.oldest).total_seconds() for depth in self._depths}
        return [Observation(max(0.0, ages.get(queue, 0.0)), {"queue": queue.name}) for queue in Queue if queue]

    def loaded(self, loads: Sequence[TeamLoad]) -> None:
        """Keep the last reading of the cases for the gauges."""
        self._loads = loads

    def _cases_waiting(self, _: CallbackOptions) -> Iterable[Observation]:
        found = {load.team: load.waiting for load in self._loads}
        return [Observation(found.get(team, 0), {"team": team.name}) for team in Queue if team]

    def _cases_late(self, _: CallbackOptions) -> Iterable[Observation]:
        found = {load.team: load.late for load in self._loads}
        return [Observation(found.get(team, 0), {"team": team.name}) for team in Queue if team]
