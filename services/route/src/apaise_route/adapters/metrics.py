"""What operators watch. Labels come from closed lists: never a brand, and of clauses only the default charter's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from apaise_route.adapters.case_store import TeamLoad
from apaise_route.adapters.store import QueueDepth
from apaise_route.domain import charter as rules
from apaise_route.domain.charter import Charter
from apaise_route.domain.model import Decision, Queue

_A_BRANDS_OWN: Final = "charter"


class Metrics:
    """Counters of decisions, gauges of the review queue."""

    def __init__(self, meter: Meter, default: Charter) -> None:
        """`default` is the charter whose clause ids may be shown: a brand's own ids are its business."""
        self._shown = {clause.id for clause in default.clauses} | rules.MESH_RULES
        self._decisions = meter.create_counter(
            "apaise_route_decisions", description="Decisions by cause, visibility, queue and deciding clause."
        )
        self._failures = meter.create_counter(
            "apaise_route_failure_policy", description="Decisions made without an assessment, by reason and visibility."
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
            clause = ruling.clause if ruling.clause in self._shown else _A_BRANDS_OWN
            self._decisions.add(1, {**labels, "clause": clause})
            if any(reason.clause == rules.FAILURE for reason in ruling.reasons):
                absence = {"absence": decision.absence.name, "visibility": ruling.visibility.name}
                self._failures.add(1, absence)

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
