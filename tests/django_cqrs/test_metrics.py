"""Metrics for Prometheus and OpenTelemetry, read from the database when somebody asks."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from django.db import OperationalError, connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from django_cqrs.counting import Counted
from django_cqrs.measures import COUNTED, MEASURES, Reader
from django_cqrs.models import Inbox
from django_cqrs.opentelemetry import observe
from django_cqrs.prometheus import CQRSCollector, metrics
from django_cqrs.tallies import Entry, add, minute_of
from django_cqrs.workers import Beat, beat
from simplecqrs import NotificationEvent
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Rang(NotificationEvent, topic="doors", key="who"):
    """For everybody."""

    who: str


@pytest.fixture
def busy(project: Project) -> Project:
    """Return a project in which something waits, was done, and is worked."""
    project.consume(Rang, consumer="one")
    project.publish(Rang("ada"))
    project.ship()
    Inbox.objects.update(created_at=timezone.now() - timedelta(seconds=50))
    add("default", {minute_of(timezone.now()): [Entry("inbox", "one", "handled", 4, 8.0, 5.0)]})
    beat("default", [Beat(job="consumer one", box="inbox", queue="one", age=2.5, trouble="consumer one: TimeoutError")])
    return project


def scraped(reader: Reader) -> dict[str, float]:
    """Return what Prometheus would store: each line's name with its labels, and its value."""
    registry = CollectorRegistry()
    registry.register(CQRSCollector(reader))
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_prometheus_is_told_of_backlogs_counters_and_workers(busy: Project) -> None:
    """By its conventions: a prefix, base units, and `_total` for what only grows."""
    found = scraped(Reader())

    one = '{box="inbox",database="default",queue="one"}'
    job = '{database="default",job="consumer one"}'
    assert found[f"cqrs_pending_messages{one}"] == 1
    assert found[f"cqrs_oldest_pending_seconds{one}"] == pytest.approx(50, abs=5)
    assert found[f"cqrs_handled_messages_total{one}"] == 4
    assert found[f"cqrs_mismatched_messages_total{one}"] == 0
    assert found[f"cqrs_critical_time_seconds_count{one}"] == 4
    assert found[f"cqrs_critical_time_seconds_sum{one}"] == 8
    assert found[f"cqrs_critical_time_max_seconds{one}"] == 5
    assert (found[f"cqrs_workers_alive{job}"], found[f"cqrs_loop_age_seconds{job}"]) == (1, 2.5)
    assert found[f"cqrs_paused{job}"] == 1
    assert found['cqrs_up{database="default"}'] == 1


def test_an_empty_queue_has_zeros(project: Project) -> None:
    """So that the first failure is an increase, and not a series that begins."""
    project.consume(Rang, consumer="one")

    found = scraped(Reader())

    assert found['cqrs_pending_messages{box="outbox",database="default",queue="database"}'] == 0
    assert found['cqrs_failed_attempts_total{box="inbox",database="default",queue="one"}'] == 0


def test_opentelemetry_is_told_the_same(busy: Project) -> None:
    """From one description, by its conventions: dots, units, attributes."""
    exported = InMemoryMetricReader()
    provider = MeterProvider([exported])
    observe(provider, read=Reader())

    data: Any = exported.get_metrics_data()
    found = {metric.name: metric for r in data.resource_metrics for s in r.scope_metrics for metric in s.metrics}
    provider.shutdown()

    pending = found["cqrs.pending_messages"]
    points = {point.attributes["cqrs.queue"]: point.value for point in pending.data.data_points}
    assert (points["one"], pending.unit) == (1, "{message}")
    [handled] = [
        point.value
        for point in found["cqrs.handled_messages"].data.data_points
        if point.attributes["cqrs.queue"] == "one"
    ]
    assert handled == 4
    assert {point.value for point in found["cqrs.critical_time.sum"].data.data_points} == {8.0}
    assert {point.value for point in found["cqrs.critical_time.count"].data.data_points} == {4}


def test_several_who_ask_at_a_time_make_one_reading(busy: Project) -> None:
    """At a cost that does not grow with the queues: each statement has a limit."""
    reader = Reader(seconds=60)
    with CaptureQueriesContext(connection) as queries:
        scraped(reader)
        first = len(queries)
        scraped(reader)

    assert 0 < first == len(queries) < 100
    assert [q["sql"] for q in queries if "cqrs_" in q["sql"] and "LIMIT" not in q["sql"]] == []


def test_a_database_that_is_down_is_told_and_fails_no_scrape(busy: Project) -> None:
    """There may be metrics of others in it."""

    def refuse(execute: Any, sql: str, *rest: Any) -> Any:
        raise OperationalError("it is down")

    with connection.execute_wrapper(refuse):
        found = scraped(Reader())

    assert found['cqrs_up{database="default"}'] == 0
    assert not any(name.startswith("cqrs_pending_messages") and '"default"' in name for name in found)


def test_a_reading_that_hangs_holds_nobody_else_up(busy: Project) -> None:
    """Each scrape would take a thread of the web server, for as long as the database does not answer."""
    reader = Reader(patience=0.01)

    with reader._lock:  # as long as somebody reads
        found = scraped(reader)

    assert found == {'cqrs_up{database="audit"}': 0, 'cqrs_up{database="default"}': 0}
    assert scraped(reader)['cqrs_up{database="default"}'] == 1


def test_the_view_answers_a_scrape(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the format of Prometheus, and to GET only."""
    response = metrics(RequestFactory().get("/metrics"))

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain")
    assert b"\ncqrs_up{" in response.content
    assert metrics(RequestFactory().post("/metrics")).status_code == 405


def test_all_that_is_counted_has_a_metric_and_is_documented() -> None:
    """Nothing is counted that nobody sees."""
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()

    assert [measure.name for measure in MEASURES if f"`cqrs_{measure.name}" not in page] == []
    assert [what for what in COUNTED if f"`{what}`" not in page] == []
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)
    assert all(re.fullmatch("[a-z_]+", measure.name) for measure in MEASURES)


def test_what_jobs_count_is_what_is_measured() -> None:
    """A counter that is added and forgotten here would be written, and never told."""

    class Job:
        name, place = "relay redis", ("default", "outbox:redis")

    counted = Counted(Job(), ("default", "outbox", "redis"))
    counts = {*counted.read(), "wakeups", "received", "seen", "mismatch", "outdated", "unclaimed"}

    assert counts == set(COUNTED)
