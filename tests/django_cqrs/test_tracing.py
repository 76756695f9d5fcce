"""One trace from the request to the mail, whatever lies in between; recorded by OpenTelemetry's SDK."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from attrs import frozen
from django.core import mail
from django.core.management import call_command
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode

from django_cqrs.brokers import system_of
from django_cqrs.models import Dead, Inbox, Outbox, ParkedInbox, Scheduled
from simplecqrs import Command, DomainEvent, NotificationEvent, Publish, Retry
from simplecqrs.timing import Timed
from tests.desk.project import Project
from tests.desk.spans import Spans, spans
from tests.desk.trips import Trip, hurry, trip_saga

__all__ = ["spans"]

pytestmark = [pytest.mark.usefixtures("committed"), pytest.mark.urls(__name__)]

REDIS = os.environ.get("CQRS_TEST_REDIS", "")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@frozen
class PlaceOrder(Command[None]):
    """What the request asks for."""

    who: str


@frozen
class OrderPlaced(NotificationEvent, topic="orders", key="who"):
    """What the mail tells of."""

    who: str


@frozen
class Reminded(DomainEvent, topic="reminders"):
    """For this project."""

    who: str


class TracedRequests:
    """Does what OpenTelemetry's instrumentation of Django does: a span for each request, in its sender's trace."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        tracer, came_with = trace.get_tracer("requests"), propagate.extract(request.headers)
        with tracer.start_as_current_span("request", came_with, SpanKind.SERVER):
            return self.get_response(request)


def order(request: HttpRequest) -> HttpResponse:
    """Place an order."""
    Project.current.bus.send(PlaceOrder("ada"))
    return HttpResponse("placed")


urlpatterns = [path("order", order)]


def send_mail(event: Any, publish: Publish) -> None:
    """Send a mail that tells of its trace."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    mail.EmailMessage("Thank you", event.who, to=["ada@example.org"], headers=headers).send()


@pytest.fixture
def traced(project: Project, settings: Any, spans: Spans) -> Project:
    """Return a project that traces, whose order is followed by a mail."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "TRACING": True}
    settings.MIDDLEWARE = [f"{__name__}.TracedRequests"]
    project.registry.add(PlaceOrder, lambda command, publish: publish(OrderPlaced(command.who)))
    project.consume(OrderPlaced, Reminded, consumer="mailing", work=send_mail, retry=Retry(2, first=0))
    return project


@pytest.fixture
def streams(settings: Any) -> Iterator[None]:
    """Send orders by Redis Streams, and fetch them there."""
    if not REDIS:
        pytest.skip("CQRS_TEST_REDIS is not set: scripts/services env")
    from redis import Redis

    prefix = f"cqrs-test-{uuid4()}:"
    backend = "simplecqrs.brokers.redis.RedisStreams"
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"events": {"BACKEND": backend, "OPTIONS": {"url": REDIS, "prefix": prefix}}},
        "ROUTES": {"orders": ["events"]},
        "CONSUMERS": {"mailing": {"broker": "events", "topics": ["orders"]}},
    }
    yield
    with Redis.from_url(REDIS) as client:
        client.delete(*client.scan_iter(f"{prefix}*"))


def place_order() -> None:
    """Send the request, as somebody who traces."""
    assert Client().get("/order", headers={"traceparent": TRACEPARENT}).content == b"placed"


def traces(found: Spans) -> set[str]:
    """Return the ids of the traces of all spans."""
    return {f"{span.get_span_context().trace_id:032x}" for span in found.all}


def span_of(traceparent: str | None) -> str:
    """Return the span that a header names."""
    return (traceparent or "").split("-")[2]


def test_one_trace_leads_from_the_request_to_the_mail(traced: Project, spans: Spans) -> None:
    """Through command, outbox, relay, inbox and handler, each in the one before."""
    place_order()
    traced.ship()
    traced.work("mailing")

    assert mail.outbox[0].extra_headers["traceparent"].startswith(f"00-{TRACE}-")
    assert traces(spans) == {TRACE}
    assert {name: spans.parent_of(name) for name in spans.names} == {
        "request": "",
        "PlaceOrder": "request",
        "create orders": "PlaceOrder",
        "send orders": "create orders",
        "process orders": "create orders",
        "OrderPlaced": "process orders",
    }
    assert span_of(mail.outbox[0].extra_headers["traceparent"]) == f"{spans.of('OrderPlaced').context.span_id:016x}"


@pytest.mark.redis
def test_a_broker_carries_the_trace(traced: Project, streams: None, spans: Spans) -> None:
    """The fetcher's batch has a span as well, and the system has its name."""
    place_order()
    traced.ship()
    traced.work("mailing")

    assert mail.outbox[0].extra_headers["traceparent"].startswith(f"00-{TRACE}-")
    assert traces(spans) == {TRACE}
    assert spans.names == [
        "create orders", "PlaceOrder", "request", "send orders", "receive orders", "OrderPlaced", "process orders",
    ]  # fmt: skip
    assert {spans.of(f"{name} orders").attributes["messaging.system"] for name in ("send", "receive", "process")} == {
        "redis"
    }


def test_spans_say_what_the_semantic_conventions_ask(traced: Project, spans: Spans) -> None:
    """Of messaging; and nothing of what a message says."""
    place_order()
    row = Outbox.objects.get()
    traced.ship()
    traced.work("mailing")

    kinds = {name: spans.of(f"{name} orders").kind for name in ("create", "send", "process")}
    assert kinds == {"create": SpanKind.PRODUCER, "send": SpanKind.CLIENT, "process": SpanKind.CONSUMER}
    assert dict(spans.of("process orders").attributes) == {
        "messaging.system": "simplecqrs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.consumer.group.name": "mailing",
        "messaging.message.id": str(row.message_id),
        "messaging.message.conversation_id": row.correlation_id,
        "messaging.message.body.size": len(bytes(row.payload)),
        "cqrs.message.name": "OrderPlaced",
        "cqrs.message.kind": "event",
    }


def test_the_trace_is_recorded_when_an_event_is_published(traced: Project, spans: Spans) -> None:
    """Whenever it is shipped; in a column of its own and in the headers, and in those of its letter."""
    with trace.get_tracer("test").start_as_current_span("outer"), transaction.atomic():
        traced.bus.publish(OrderPlaced("ada"))

    row = Outbox.objects.get()
    assert span_of(row.traceparent) == f"{spans.of('create orders').context.span_id:016x}"
    assert json.loads(row.headers) == {"traceparent": row.traceparent}
    assert spans.parent_of("create orders") == "outer"


def test_a_batch_has_one_span_with_a_link_to_each_event(traced: Project, spans: Spans) -> None:
    """It belongs to no trace, if those of its events are several."""
    for _ in range(2):
        traced.publish(OrderPlaced("ada"))
    traced.publish(Reminded("bob"))
    traced.ship()

    sent = spans.of("send database")
    created = [span.context.span_id for span in spans.all if span.name.startswith("create ")]
    assert sent.parent is None
    assert sorted(link.context.span_id for link in sent.links) == sorted(created)
    assert sent.attributes["messaging.batch.message_count"] == 3
    assert "messaging.destination.name" not in sent.attributes


def test_what_waits_keeps_its_trace(traced: Project, spans: Spans) -> None:
    """Scheduled, deferred, parked, dead and retried: its column and its headers are as they were."""

    def fail(command: PlaceOrder) -> None:
        raise ConnectionError("the shop is closed")

    traced.registry = type(traced.registry)()
    traced.bus = type(traced.bus)(traced.registry)
    traced.registry.add(PlaceOrder, fail, retry=Retry(2, first=60))
    with trace.get_tracer("test").start_as_current_span("outer"):
        traced.bus.defer(PlaceOrder("ada"), due=timedelta(days=1))
    parent = Scheduled.objects.get().traceparent

    kept = []
    hurry()
    kept.append(Inbox.objects.get())
    traced.work("deferred")
    kept.append(ParkedInbox.objects.get())
    hurry()
    traced.work("deferred")
    kept.append(Dead.objects.get())
    call_command("cqrs_dead", "retry", str(Dead.objects.get().pk), stdout=StringIO())
    kept.append(ParkedInbox.objects.get())
    traced.work("deferred")

    assert [row.traceparent for row in kept] == [parent] * 4
    processed = [span for span in spans.all if span.name == "process PlaceOrder"]
    assert [f"{span.parent.span_id:016x}" for span in processed if span.parent] == [span_of(parent)] * 3
    assert {span.status.status_code for span in processed} == {StatusCode.ERROR}
    assert {span.attributes["error.type"] for span in processed if span.attributes} == {"ConnectionError"}


def test_a_sagas_steps_are_in_the_trace_in_which_it_was_begun(traced: Project, spans: Spans) -> None:
    """So is what their messages bear."""
    saga = trip_saga(traced.registry, "hotel", "flight")
    with trace.get_tracer("test").start_as_current_span("outer"), transaction.atomic():
        saga.start(traced.bus, Trip())
    parent = Inbox.objects.get().traceparent
    traced.work("sagas")

    outer = spans.of("outer").context
    assert span_of(parent) == f"{outer.span_id:016x}"
    assert traces(spans) == {f"{outer.trace_id:032x}"}
    assert spans.names.count("process saga.trip") == 2


def test_an_event_that_is_due_later_keeps_its_trace(traced: Project, spans: Spans) -> None:
    """However late that is."""
    place = traced.bus.publish
    with trace.get_tracer("test").start_as_current_span("outer"), transaction.atomic():
        place(Timed(Reminded("ada"), due=timedelta(days=1)))
    hurry()
    traced.ship()
    traced.work("mailing")

    assert spans.parent_of("create reminders") == "outer"
    assert spans.parent_of("process reminders") == "create reminders"


def test_what_a_broker_refuses_is_told(traced: Project, settings: Any, spans: Spans, tmp_path: Any) -> None:
    """The span of its batch has failed, and says how many."""
    broker = {"BACKEND": "tests.desk.brokers.PickyBroker", "OPTIONS": {"path": str(tmp_path / "shipped")}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"picky": broker}, "ROUTES": {"orders": ["picky"]}}
    traced.publish(OrderPlaced("refused"))
    traced.ship()

    sent = spans.of("send orders")
    assert sent.status.status_code is StatusCode.ERROR
    assert (sent.attributes["cqrs.refused"], sent.attributes["cqrs.unknown"]) == (1, 0)


def test_without_the_setting_nothing_is_traced(project: Project, spans: Spans) -> None:
    """Though OpenTelemetry is there, and a span is open."""
    project.registry.add(PlaceOrder, lambda command, publish: publish(OrderPlaced(command.who)))
    project.consume(OrderPlaced, consumer="mailing")
    with trace.get_tracer("test").start_as_current_span("outer"):
        project.bus.send(PlaceOrder("ada"))
    row = Outbox.objects.get()
    project.ship()
    project.work("mailing")

    assert (row.traceparent, row.headers) == (None, "{}")
    assert spans.names == ["outer"]


def test_the_system_behind_a_broker_has_its_name(settings: Any) -> None:
    """That of OpenTelemetry's conventions, without making the broker."""
    homes = {
        "redis.RedisStreams": "redis", "redis_pubsub.RedisPubSub": "redis", "kafka.Kafka": "kafka",
        "rabbitmq.RabbitMQ": "rabbitmq", "azure.AzureServiceBus": "servicebus",
    }  # fmt: skip
    brokers = {home: {"BACKEND": f"simplecqrs.brokers.{home}"} for home in homes}
    settings.DJANGO_CQRS = {"BROKERS": {**brokers, "own": {"BACKEND": "tests.desk.brokers.FileBroker"}}}

    assert {name: system_of(name) for name in (*brokers, "own", "database")} == {
        **homes, "own": "simplecqrs", "database": "simplecqrs",
    }  # fmt: skip
