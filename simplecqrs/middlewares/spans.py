"""Spans of OpenTelemetry for messages on their way: created, sent by a relay, received by a fetcher, processed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from attrs import define, evolve, field

from simplecqrs.envelope import Envelope
from simplecqrs.middlewares.tracing import error_type, processing_now, trace_api
from simplecqrs.transport import Delivery, Feed, Publisher, Receipt

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer, TracerProvider

__all__ = ["SYSTEM", "MessageSpans"]

P = TypeVar("P", bound=Publisher)
F = TypeVar("F", bound=Feed)

#: ``messaging.system`` of what says nothing else by an attribute ``system``.
SYSTEM: Final = "simplecqrs"
#: Links of one span; an SDK keeps no more unless it is told to.
MOST: Final = 128


class MessageSpans:
    """
    Open the spans of messages on their way; ``traced`` opens those of their handlers.

    A message is created in the trace of whoever publishes it, and bears that in its headers.  A batch that a relay
    sends, or a fetcher receives, has one span, with a link to each message; it is a part of their trace if they have
    one in common.  Processing a message continues its trace, whatever else is open there.

    Args:
        provider: makes the tracer.  Default: OpenTelemetry's global one.

    Raises:
        MissingExtra: if opentelemetry-api is not installed.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.trace = trace_api("MessageSpans")
        self.tracer: Tracer = self.trace.get_tracer("simplecqrs", tracer_provider=provider)

    def created(self, envelope: Envelope) -> Envelope:
        """Record that a message is published, and return it with that in its headers."""
        from opentelemetry import propagate

        came_with = self._context_of(envelope.headers)
        attributes = {**operation("create", SYSTEM, envelope.topic), **about(envelope)}
        kind = self.trace.SpanKind.PRODUCER
        span = self.tracer.start_span(f"create {envelope.topic}", came_with, kind, attributes)
        headers = dict(envelope.headers)
        propagate.inject(headers, context=self.trace.set_span_in_context(span, came_with))
        span.end()
        return evolve(envelope, headers=headers)

    def carried(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return headers with the trace that is open here, unless they bear one."""
        from opentelemetry import propagate

        if self._context_of(headers) is not None:
            return headers
        found = dict(headers)
        propagate.inject(found)
        return found

    def sending(self, publisher: P, *, queue: str, system: str = SYSTEM) -> P:
        """
        Give each batch that a publisher is handed a span; what is returned is the publisher in all else.

        Args:
            queue: names the broker, where the topics of a batch are several.
            system: ``messaging.system``: ``redis``, ``rabbitmq``, ``kafka``, ``servicebus`` ...
        """
        return cast("P", _Sending(self, publisher, queue, system))

    def receiving(self, feed: F, *, consumer: str, system: str = SYSTEM) -> F:
        """Give each batch of a feed a span, from when it is fetched until it is acknowledged."""
        return cast("F", _Receiving(self, feed, consumer, system))

    def processing(
        self, receive: Callable[[Envelope], bool], *, consumer: str, system: str = SYSTEM
    ) -> Callable[[Envelope], bool]:
        """Give each message that a consumer handles a span, which continues the trace that the message bears."""

        def traced_receive(envelope: Envelope) -> bool:
            came_with = self._context_of(envelope.headers)
            here = self.trace.get_current_span().get_span_context()
            links = [self.trace.Link(here)] if came_with is not None and here.is_valid else []
            attributes = {**operation("process", system, envelope.topic, consumer), **about(envelope)}
            with (
                self.tracer.start_as_current_span(
                    f"process {envelope.topic}", came_with, self.trace.SpanKind.CONSUMER, attributes, links
                ) as span,
                error_type(span),
                _Flag(processing_now),
            ):
                return receive(envelope)

        return traced_receive

    def batch(
        self, name: str, envelopes: Sequence[Envelope], *, system: str, place: str, group: str = ""
    ) -> dict[str, Any]:
        """Return with what the span of a batch is started; ``place`` names it where its topics are several."""
        context, links = self._origins(envelopes)
        topics = {envelope.topic for envelope in envelopes}
        topic = topics.pop() if len(topics) == 1 else ""
        attributes = operation(name, system, topic, group)
        if len(envelopes) == 1:
            attributes |= about(envelopes[0])
        else:
            attributes["messaging.batch.message_count"] = len(envelopes)
        kind = self.trace.SpanKind.CLIENT
        return {
            "name": f"{name} {topic or place}", "context": context, "kind": kind, "attributes": attributes,
            "links": links,
        }  # fmt: skip

    def _origins(self, envelopes: Sequence[Envelope]) -> tuple[Context | None, list[Link]]:
        """Return the context that a batch goes on in, if its messages have one in common, and links to them."""
        found = [self._context_of(envelope.headers) for envelope in envelopes[:MOST]]
        known = [context for context in found if context is not None]
        spans = [self.trace.get_current_span(context).get_span_context() for context in known]
        is_one = len(known) == len(envelopes) and len({span.trace_id for span in spans}) == 1
        return known[0] if is_one else None, [self.trace.Link(span) for span in spans] if len(envelopes) > 1 else []

    def _context_of(self, headers: Mapping[str, str]) -> Context | None:
        """Return the context that headers bear; None: they bear no trace."""
        if not headers:
            return None
        from opentelemetry import propagate

        context = propagate.extract(headers)
        return context if self.trace.get_current_span(context).get_span_context().is_valid else None


def operation(name: str, system: str, topic: str, group: str = "") -> dict[str, Any]:
    """Return the attributes that the semantic conventions ask of an operation."""
    found = {
        "messaging.system": system,
        "messaging.operation.name": name,
        "messaging.operation.type": name,
        "messaging.destination.name": topic,
        "messaging.consumer.group.name": group,
    }
    return {key: value for key, value in found.items() if value}


def about(envelope: Envelope) -> dict[str, Any]:
    """Return the attributes of one message; its key and its content are nobody's business."""
    return {
        "messaging.message.id": str(envelope.id),
        "messaging.message.conversation_id": envelope.correlation_id,
        "messaging.message.body.size": len(envelope.payload),
        "cqrs.message.name": envelope.name,
        "cqrs.message.kind": envelope.kind,
    }


class _Flag:
    """Set a variable as long as something happens."""

    def __init__(self, variable: ContextVar[bool]) -> None:
        self._variable = variable

    def __enter__(self) -> None:
        self._token = self._variable.set(True)

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)


@define(eq=False)
class _Sending:
    spans: MessageSpans
    publisher: Publisher
    queue: str
    system: str

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        started = self.spans.batch("send", envelopes, system=self.system, place=self.queue)
        with self.spans.tracer.start_as_current_span(**started) as span, error_type(span):
            receipts = self.publisher.publish(envelopes, deadline=deadline)
            counts = Counter(receipt.status for receipt in receipts)
            if counts["accepted"] < len(receipts):
                span.set_attributes({f"cqrs.{status}": counts[status] for status in ("refused", "unknown")})
                span.set_status(self.spans.trace.StatusCode.ERROR, "the broker did not accept all of it")
        return receipts

    def __getattr__(self, name: str) -> Any:
        return getattr(self.publisher, name)


@define(eq=False)
class _Receiving:
    spans: MessageSpans
    feed: Feed
    consumer: str
    system: str
    _open: Span | None = field(default=None, init=False)

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        began = time.time_ns()
        deliveries = self.feed.fetch(limit)
        if self._open is not None:
            self._open.set_status(self.spans.trace.StatusCode.ERROR, "it was not stored, or not acknowledged")
            self._end()
        envelopes = [delivery.content for delivery in deliveries if isinstance(delivery.content, Envelope)]
        if envelopes:
            started = self.spans.batch(
                "receive", envelopes, system=self.system, place=self.feed.name, group=self.consumer
            )
            self._open = self.spans.tracer.start_span(**started, start_time=began)
        return deliveries

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        self.feed.acknowledge(deliveries)
        self._end()

    def _end(self) -> None:
        if self._open is not None:
            self._open.end()
            self._open = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.feed, name)
