"""Spans of OpenTelemetry, recorded by its SDK."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from attrs import frozen
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from simplecqrs import (
    Command,
    DomainEvent,
    Envelope,
    Mediator,
    Message,
    NotificationEvent,
    Publish,
    Query,
    Registry,
    Stream,
    current,
)
from simplecqrs import context as cqrs_context
from simplecqrs.errors import MissingExtra
from simplecqrs.metadata import uuid7
from simplecqrs.middlewares import traced
from simplecqrs.middlewares.tracing import carrying_trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


@frozen
class Do(Command[None]):
    """A command."""


@frozen
class Ask(Query[str], name="shop.ask"):
    """A query."""


@frozen
class Count(Stream[int]):
    """Is answered by numbers."""


@frozen
class Happened(DomainEvent):
    """An event."""


@frozen
class Placed(NotificationEvent, topic="orders"):
    """An event that comes from elsewhere, and goes there."""


class Failure(Exception):
    """What a handler raises."""


class Recorder:
    """The spans of a test, in the order in which they ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        """Return all of them."""
        return self._exporter.get_finished_spans()

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """Return them by their names."""
        return {span.name: span for span in self.all}

    def of(self, name: str) -> Any:
        """Return the only span of a name."""
        (span,) = (span for span in self.all if span.name == name)
        return span


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.provider.shutdown()


def bus_of(recorder: Recorder, *handlers: tuple[type[Message], Callable[..., Any]], **options: Any) -> Mediator:
    """Return a traced mediator with these handlers."""
    registry = Registry()
    for kind, handler in handlers:
        registry.add(kind, handler)  # type: ignore[call-overload]
    return Mediator(registry, middlewares=[traced(provider=recorder.provider, system="redis")], **options)


def consuming(recorder: Recorder, handler: Callable[..., Any], **options: Any) -> Callable[..., None]:
    """Return what hands a received event with these headers to a consumer's handler."""
    registry = Registry()
    registry.add(Placed, handler, consumer="c")
    middlewares = [traced(provider=recorder.provider, system="redis")]
    bus = Mediator(registry, middlewares=middlewares, **options)

    def receive(**headers: str) -> None:
        now = datetime.now(timezone.utc)
        envelope = Envelope(
            id=uuid7(),
            kind="event",
            name="Placed",
            topic="orders",
            time=now,
            correlation_id="c-1",
            payload=b"{}",
            headers=headers,
        )
        assert bus.receive(envelope, consumer="c")

    return receive


class Taking:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    def publish(self, envelopes: Any, /, *, deadline: float) -> Any:
        """Accept all."""
        from simplecqrs.transport import ACCEPTED

        self.envelopes += envelopes
        return [ACCEPTED] * len(envelopes)


def test_a_span_bears_the_name_of_its_message(recorder: Recorder) -> None:
    """And says what it is, by attributes."""
    seen: list[Any] = []

    bus_of(recorder, (Ask, lambda query: seen.append(current()))).send(Ask())

    span = recorder.of("shop.ask")
    assert span.kind is SpanKind.INTERNAL
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "cqrs.message.name": "shop.ask",
        "cqrs.message.kind": "query",
        "cqrs.message.id": str(seen[0].id),
        "cqrs.correlation_id": seen[0].correlation_id,
    }


def test_what_happens_inside_is_a_child(recorder: Recorder) -> None:
    """Nested sends and each call of an event's handler, in one trace."""

    def handler(command: Do, publish: Publish) -> None:
        publish(Happened())
        bus.send(Ask())

    bus = bus_of(recorder, (Do, handler), (Ask, lambda query: ""), (Happened, lambda event: None))

    bus.send(Do())

    outer = recorder.of("Do").get_span_context()
    assert {recorder.of(name).parent.span_id for name in ("shop.ask", "Happened")} == {outer.span_id}
    assert recorder.of("Do").parent is None
    assert recorder.of("Happened").attributes["cqrs.message.kind"] == "event"


def test_a_failure_is_recorded(recorder: Recorder) -> None:
    """With its type; it reaches the caller as it is."""

    def fail(command: Do) -> None:
        raise Failure("why")

    with pytest.raises(Failure):
        bus_of(recorder, (Do, fail)).send(Do())

    span = recorder.of("Do")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "Failure"
    assert [event.attributes["exception.message"] for event in span.events] == ["why"]


def counting(recorder: Recorder) -> Mediator:
    """Return a traced mediator with a stream that asks something for each item."""

    def count(message: Count) -> Iterator[int]:
        for number in range(2):
            bus.send(Ask())
            yield number

    bus = bus_of(recorder, (Count, count), (Ask, lambda query: ""))
    return bus


def test_a_streams_span_lasts_to_its_last_item_and_is_not_its_readers(recorder: Recorder) -> None:
    """What the handler does between items is inside, what the reader does is not."""
    tracer = recorder.provider.get_tracer("reader")

    for _ in counting(recorder).stream(Count()):
        assert "Count" not in recorder.spans
        with tracer.start_as_current_span("reader"):
            pass

    span = recorder.of("Count")
    assert span.attributes["cqrs.message.kind"] == "stream"
    assert {s.parent.span_id for s in recorder.all if s.name == "shop.ask"} == {span.get_span_context().span_id}
    assert {s.parent for s in recorder.all if s.name == "reader"} == {None}


def test_interleaved_streams_do_not_mix_their_spans(recorder: Recorder) -> None:
    """Each is a trace of its own."""
    bus = counting(recorder)

    for _ in zip(bus.stream(Count()), bus.stream(Count()), strict=True):
        pass

    asked = [s for s in recorder.all if s.name == "shop.ask"]
    assert len(asked) == 4
    assert len({s.parent.span_id for s in asked}) == 2


def test_a_stream_that_its_reader_closes_has_not_failed(recorder: Recorder) -> None:
    """It is no failure to have had enough."""
    items = counting(recorder).stream(Count())

    next(items)
    items.close()

    assert recorder.of("Count").status.status_code is StatusCode.UNSET
    assert recorder.of("Count").events == ()


def test_what_is_published_bears_the_trace(recorder: Recorder) -> None:
    """In its headers, those that were set elsewhere kept."""
    taking = Taking()
    bus = bus_of(recorder, (Do, lambda command, publish: publish(Placed())), publisher=taking)

    with cqrs_context(user="7"):
        bus.send(Do())

    span, headers = recorder.of("Do").get_span_context(), taking.envelopes[0].headers
    assert set(headers) == {"user", "traceparent"}
    assert headers["traceparent"].startswith(f"00-{span.trace_id:032x}-{span.span_id:016x}-")


def test_a_received_event_continues_the_trace_of_its_headers(recorder: Recorder) -> None:
    """As the semantic conventions for messaging ask."""
    seen: list[Any] = []

    consuming(recorder, lambda event: seen.append(current()))(traceparent=TRACEPARENT, tracestate="vendor=1")

    span = recorder.of("process orders")
    assert span.kind is SpanKind.CONSUMER
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)
    assert span.get_span_context().trace_state.get("vendor") == "1"
    assert {key: value for key, value in span.attributes.items() if key.startswith("messaging.")} == {
        "messaging.system": "redis",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.message.id": str(seen[0].id),
        "messaging.message.conversation_id": "c-1",
    }


def test_what_a_consumers_handler_publishes_bears_its_own_span(recorder: Recorder) -> None:
    """And not the one of the event that it handles."""
    taking = Taking()

    consuming(recorder, lambda event, publish: publish(Placed()), publisher=taking)(traceparent=TRACEPARENT)

    span = recorder.of("process orders").get_span_context()
    assert taking.envelopes[0].headers["traceparent"].startswith(f"00-{TRACE}-{span.span_id:016x}-")


def test_a_received_event_without_a_trace_begins_one(recorder: Recorder) -> None:
    """Not everybody traces."""
    consuming(recorder, lambda event: None)(user="7")

    assert recorder.of("process orders").parent is None


def test_where_a_span_is_open_it_is_continued_and_the_headers_are_linked(recorder: Recorder) -> None:
    """A worker's task, for example."""
    receive = consuming(recorder, lambda event: None)

    with recorder.provider.get_tracer("celery").start_as_current_span("task") as task:
        receive(traceparent=TRACEPARENT)

    span = recorder.of("process orders")
    assert span.parent.span_id == task.get_span_context().span_id
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]


def test_a_received_events_baggage_is_at_hand(recorder: Recorder) -> None:
    """As long as its handler works."""
    seen: list[object] = []

    consuming(recorder, lambda event: seen.append(baggage.get_baggage("tenant")))(
        traceparent=TRACEPARENT, baggage="tenant=acme"
    )

    assert seen == ["acme"]
    assert baggage.get_baggage("tenant") is None


def test_the_events_of_a_received_event_are_its_children(recorder: Recorder) -> None:
    """They are handled here, so no broker is theirs."""
    registry = Registry()
    registry.add(Placed, lambda event, publish: publish(Happened()), consumer="c")
    registry.add(Happened, lambda event: None)
    bus = Mediator(registry, middlewares=[traced(provider=recorder.provider)])
    now = datetime.now(timezone.utc)
    envelope = Envelope(
        id=uuid7(),
        kind="event",
        name="Placed",
        topic="orders",
        time=now,
        payload=b"{}",
        headers={"traceparent": TRACEPARENT},
    )

    bus.receive(envelope, consumer="c")

    span = recorder.of("Happened")
    assert span.kind is SpanKind.INTERNAL
    assert span.parent.span_id == recorder.of("process orders").get_span_context().span_id
    assert span.links == ()


def test_an_event_that_is_published_outside_of_a_handler_may_bear_a_trace(recorder: Recorder) -> None:
    """By a context manager of one's own."""
    taking = Taking()
    bus = bus_of(recorder, publisher=taking)

    with recorder.provider.get_tracer("script").start_as_current_span("script") as span, carrying_trace():
        bus.publish(Placed())

    assert f"{span.get_span_context().span_id:016x}" in taking.envelopes[0].headers["traceparent"]


def test_nothing_of_the_trace_is_left_behind(recorder: Recorder) -> None:
    """When a handler has ended, or failed."""

    def fail(command: Do) -> None:
        raise Failure

    bus = bus_of(recorder, (Do, fail), (Ask, lambda query: ""))
    bus.send(Ask())
    with pytest.raises(Failure):
        bus.send(Do())

    assert not trace.get_current_span().get_span_context().is_valid


def test_names_may_be_given_as_a_project_gives_them(recorder: Recorder) -> None:
    """To classes that do not name themselves."""
    registry = Registry()
    registry.add(Do, lambda command: None)
    registry.add(Ask, lambda query: "")
    naming = traced(provider=recorder.provider, naming=lambda kind: f"app.{kind.__name__}")
    bus = Mediator(registry, middlewares=[naming])

    bus.send(Do())
    bus.send(Ask())

    assert set(recorder.spans) == {"app.Do", "shop.ask"}


def test_without_an_sdk_a_trace_is_passed_on_as_it_came() -> None:
    """A process that records nothing breaks no trace."""
    program = f"""
from attrs import frozen
from simplecqrs import Command, Mediator, NotificationEvent, Registry, context
from simplecqrs.middlewares import traced
from simplecqrs.transport import ACCEPTED
@frozen
class Do(Command[None]): ...
@frozen
class Placed(NotificationEvent): ...
class Printing:
    def publish(self, envelopes, /, *, deadline):
        print(envelopes[0].headers["traceparent"])
        return [ACCEPTED]
registry = Registry()
registry.add(Do, lambda command, publish: publish(Placed()))
with context(traceparent="{TRACEPARENT}"):
    Mediator(registry, middlewares=[traced()], publisher=Printing()).send(Do())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == TRACEPARENT


def test_the_extra_is_named_when_opentelemetry_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the middleware is made."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(MissingExtra, match=r"simplecqrs\[otel\]"):
        traced()
