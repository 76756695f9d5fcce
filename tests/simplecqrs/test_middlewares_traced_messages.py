"""Spans of messages on their way, without Django: what a relay sends, and what a fetcher receives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown, MissingExtra
from simplecqrs.memory import MemoryBroker
from simplecqrs.middlewares.spans import MOST, MessageSpans
from simplecqrs.transport import Garbage
from tests.contracts.queue_harness import make


class Recorder:
    """Spans of messages, and what was recorded of them."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.spans = MessageSpans(self.provider)

    @property
    def all(self) -> list[Any]:
        """Return what has ended."""
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.provider.shutdown()


def test_a_batch_that_was_fetched_has_a_span_until_it_is_acknowledged(recorder: Recorder) -> None:
    """Nothing is recorded of an empty one, nor of what is no message."""
    broker = MemoryBroker()
    (inner,) = broker.feeds("c", ["orders"])
    feed = recorder.spans.receiving(inner, consumer="c", system="memory")
    feed.fetch(10)
    broker.publish([make("1")], deadline=1)
    broker.litter("orders", Garbage("nothing", b""))

    fetched = feed.fetch(10)
    before = recorder.all
    feed.acknowledge(fetched)

    assert (feed.name, before) == (inner.name, [])
    [span] = recorder.all
    assert (span.name, span.attributes["messaging.consumer.group.name"]) == ("receive orders", "c")
    assert span.status.status_code is StatusCode.UNSET


def test_a_batch_that_was_not_stored_is_told(recorder: Recorder) -> None:
    """When the next one is fetched: its span has failed."""
    broker = MemoryBroker()
    (inner,) = broker.feeds("c", ["orders"])
    feed = recorder.spans.receiving(inner, consumer="c")
    broker.publish([make("1"), make("2")], deadline=1)

    feed.fetch(10)
    feed.acknowledge(feed.fetch(10))

    assert [span.status.status_code for span in recorder.all] == [StatusCode.ERROR, StatusCode.UNSET]
    assert recorder.all[0].attributes["messaging.batch.message_count"] == 2


def test_a_broker_that_is_down_is_told(recorder: Recorder) -> None:
    """By a span that has failed; what is returned is the broker in all else."""
    broker = MemoryBroker()
    broker.down = True
    publisher = recorder.spans.sending(broker, queue="events")

    with pytest.raises(BrokerDown):
        publisher.publish([make("1")], deadline=1)

    [span] = recorder.all
    assert (span.name, span.attributes["error.type"]) == ("send orders", "BrokerDown")
    assert (publisher.promise, publisher.down) == ("memory", True)


def test_a_large_batch_has_no_more_links_than_an_sdk_keeps(recorder: Recorder) -> None:
    """Nor is it in a trace, for nobody has looked at all of it."""
    envelopes = [recorder.spans.created(make(str(number))) for number in range(MOST + 2)]

    recorder.spans.sending(MemoryBroker(), queue="events").publish(envelopes, deadline=1)

    sent = recorder.all[-1]
    assert (len(sent.links), sent.parent) == (MOST, None)


def test_a_message_of_somebody_who_does_not_trace_begins_a_trace(recorder: Recorder) -> None:
    """And so does one whose header is none."""
    receive = recorder.spans.processing(lambda _: True, consumer="c")

    assert receive(make("1"))
    assert receive(make("2", headers={"traceparent": "x" * 1000}))

    assert [span.parent for span in recorder.all] == [None, None]


def test_processing_continues_the_messages_trace_and_links_what_is_open(recorder: Recorder) -> None:
    """A task of Celery's handles the messages of many requests."""
    envelope = recorder.spans.created(make("1"))
    seen: list[Envelope] = []

    with recorder.provider.get_tracer("celery").start_as_current_span("task") as task:
        recorder.spans.processing(lambda e: bool(seen.append(e)), consumer="c")(envelope)

    created, processed, _ = recorder.all
    assert processed.parent.span_id == created.context.span_id
    assert [link.context.span_id for link in processed.links] == [task.get_span_context().span_id]
    assert seen == [envelope]


def test_the_extra_is_named_when_opentelemetry_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(MissingExtra, match=r"MessageSpans.*simplecqrs\[otel\]"):
        MessageSpans()
