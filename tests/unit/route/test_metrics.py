"""What operators see names no brand and no brand's own words."""

from __future__ import annotations

from datetime import timedelta

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from apaise_route.adapters.case_store import TeamLoad
from apaise_route.adapters.charter_yaml import compile_charter, default_charter
from apaise_route.adapters.metrics import Metrics
from apaise_route.adapters.store import QueueDepth
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.model import Absence, Decision, Queue, RouteInput
from apaise_route.domain.thread import Thread
from apaise_route.testing import START, entry, reading

OWN = "name: t\nlanguage: fr\nclauses:\n  - {id: canary-clause, when: yes.insult, visibility: HIDE}\n"


def decided(given: RouteInput, charter: CompiledCharter) -> Decision:
    return Thread("canary-brand", "m").route(given, charter, START, lambda: "i")


def points(reader: InMemoryMetricReader) -> list[tuple[str, dict[str, str], float]]:
    data = reader.get_metrics_data()
    assert data is not None
    return [
        (metric.name, {key: str(value) for key, value in (point.attributes or {}).items()}, point.value)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    ]


def test_decisions_failures_and_queues_are_counted_without_naming_a_brand() -> None:
    reader = InMemoryMetricReader()
    default = default_charter()
    metrics = Metrics(MeterProvider([reader]).get_meter("t"), default.charter)
    insult = entry(reading(["insult", "remove"]))
    own = compile_charter(OWN, "brands/canary-brand/charters/1")
    metrics.decided([decided(insult, default), decided(insult, own), decided(entry(None, Absence.TOO_LATE), default)])
    metrics.measured([QueueDepth(Queue.CARE, 3, START)], START + timedelta(seconds=90))
    seen = points(reader)
    clauses = {labels["clause"]: value for name, labels, value in seen if name == "apaise_route_decisions"}
    assert clauses == {"insult": 1, "charter": 1, "failure-policy": 1}
    failures = [labels for name, labels, _ in seen if name == "apaise_route_failure_policy"]
    assert failures == [{"absence": "TOO_LATE", "visibility": "KEEP"}]
    care = {name: value for name, labels, value in seen if labels == {"queue": "CARE"}}
    assert care == {"apaise_route_review_waiting": 3, "apaise_route_review_oldest": 90.0}
    assert "canary" not in str(seen)


def test_a_queue_nobody_waits_in_reads_zero() -> None:
    reader = InMemoryMetricReader()
    metrics = Metrics(MeterProvider([reader]).get_meter("t"), default_charter().charter)
    metrics.measured([], START)
    assert {value for _, _, value in points(reader)} == {0}


def test_what_teams_owe_is_shown_by_team() -> None:
    reader = InMemoryMetricReader()
    metrics = Metrics(MeterProvider([reader]).get_meter("t"), default_charter().charter)
    metrics.loaded([TeamLoad(Queue.CARE, 5, 2)])
    seen = {name: value for name, labels, value in points(reader) if labels == {"team": "CARE"}}
    assert seen == {"apaise_route_cases_waiting": 5, "apaise_route_cases_late": 2}
    assert sum(value for name, _, value in points(reader) if name == "apaise_route_cases_late") == 2
