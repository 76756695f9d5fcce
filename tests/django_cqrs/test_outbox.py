"""From published events to rows of the outbox, and to brokers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import frozen
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_cqrs.brokers import broker
from django_cqrs.models import Inbox, Outbox
from simplecqrs import DomainEvent, NotificationEvent, context
from simplecqrs.errors import NotConfigured
from simplecqrs.queue import LANES
from tests.desk.project import Project

MEMORY = {"BACKEND": "simplecqrs.memory.MemoryBroker"}
committing = pytest.mark.usefixtures("committed")


@frozen
class Moved(NotificationEvent, name="walks.moved", topic="moves", key="who"):
    """For everybody."""

    who: str
    step: int = 0


@frozen
class Settled(DomainEvent, topic="moves"):
    """For this project."""

    who: str


def configure(settings: Any, **more: Any) -> None:
    """Add to the setting DJANGO_CQRS."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, **more}


@committing
def test_a_row_tells_all_about_its_event(project: Project) -> None:
    """What change-data-capture maps is in columns of its own."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with context(correlation_id="request-1", user="7", traceparent=trace):
        project.publish(Moved("Zoë", 2))

    row = Outbox.objects.get()
    assert (row.queue, row.topic, row.key, row.name) == ("database", "moves", "Zoë", "walks.moved")
    assert (row.kind, row.version, row.source, row.content_type) == ("event", 1, "desk", "application/json")
    assert json.loads(bytes(row.payload)) == {"who": "Zoë", "step": 2}
    assert json.loads(row.headers) == {"user": "7", "traceparent": trace}
    assert (row.correlation_id, row.traceparent) == ("request-1", trace)
    assert row.time.tzinfo is not None
    assert 0 <= row.lane < LANES


@committing
def test_a_trace_header_of_any_length_does_no_harm(project: Project) -> None:
    """The column is for machines that know its shape."""
    with context(traceparent="x" * 5000):
        project.publish(Moved("ada"))

    assert Outbox.objects.get().traceparent == "x" * 64


@committing
def test_events_fan_out_to_all_brokers_of_their_route(project: Project, settings: Any) -> None:
    """One row per broker, with one id, by one statement."""
    configure(settings, BROKERS={"a": MEMORY, "b": MEMORY}, ROUTES={"moves": ["a", "database", "b"]})
    with CaptureQueriesContext(connection) as queries:
        project.publish(Moved("ada"))

    rows = list(Outbox.objects.order_by("id"))
    assert [row.queue for row in rows] == ["a", "database", "b"]
    assert len({row.message_id for row in rows}) == 1
    assert sum("INSERT" in query["sql"] for query in queries) == 1


@committing
def test_each_broker_gets_its_rows_and_no_others(project: Project, settings: Any) -> None:
    """And the project's own consumers get theirs."""
    configure(settings, BROKERS={"a": MEMORY, "b": MEMORY}, ROUTES={"moves": ["a", "database"], "*": "b"})
    project.consume(Moved, consumer="one")
    project.publish(Moved("ada"))
    project.ship()

    sent: Any = broker("a")
    other: Any = broker("b")
    assert [delivery.content.name for delivery in sent.feeds("x", ["moves"])[0].fetch(10)] == ["walks.moved"]
    assert not any(feed.fetch(10) for feed in other.feeds("x", ["moves"]))
    assert Inbox.objects.get().queue == "one"
    assert Outbox.objects.count() == 0


@committing
def test_a_domain_event_goes_to_the_database_whatever_the_routes_say(project: Project, settings: Any) -> None:
    """It is nobody else's business."""
    configure(settings, BROKERS={"a": MEMORY}, ROUTES={"*": ["a"]})
    project.consume(Settled, consumer="one")
    project.publish(Settled("ada"), Moved("ada"))

    assert [(row.name, row.queue) for row in Outbox.objects.order_by("id")] == [
        ("Settled", "database"),
        ("walks.moved", "a"),
    ]


@committing
def test_a_domain_event_that_no_consumer_wants_is_not_stored(project: Project) -> None:
    """It stays in the process."""
    project.publish(Settled("ada"))

    assert Outbox.objects.count() == 0


def test_an_unknown_broker_is_told_with_those_that_are_known() -> None:
    """As on the command line."""
    with pytest.raises(NotConfigured, match=r"no broker 'nowhere'.*\['database'\]"):
        broker("nowhere")


def test_a_broker_is_told_when_its_options_do_not_fit(settings: Any) -> None:
    """With its name and class."""
    configure(settings, BROKERS={"a": {**MEMORY, "OPTIONS": {"colour": "red"}}})

    with pytest.raises(NotConfigured, match=r"BROKERS\['a'\]: .*MemoryBroker does not take these OPTIONS.*colour"):
        broker("a")
