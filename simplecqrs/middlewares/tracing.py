"""A span of OpenTelemetry for each message that is handled, and its trace in what is published."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from simplecqrs.ambient import context, current
from simplecqrs.dispatch import stack, top
from simplecqrs.errors import MissingExtra
from simplecqrs.messages import Command, Event, Message, Query, traits
from simplecqrs.metadata import Metadata
from simplecqrs.pipeline import Middleware, around

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Span, TracerProvider

__all__ = ["carrying_trace", "traced"]

#: Whether a span says already that a message is being processed, so that its handlers' are inside of that.
processing_now: ContextVar[bool] = ContextVar("simplecqrs_processing", default=False)


def traced(
    *,
    provider: TracerProvider | None = None,
    system: str = "simplecqrs",
    naming: Callable[[type[Any]], str] | None = None,
) -> Middleware:
    """
    Make a middleware that opens a span for each message that is handled.

    A message that came from elsewhere continues the trace that its headers bear; where a span is open already, of a
    Celery task for example, that one is continued and the headers' is linked.  What handlers send and publish bears
    the span's trace in its headers.  An event that a consumer received has the attributes that the semantic
    conventions ask of messaging, unless ``MessageSpans`` has opened a span with them.  Without an SDK nothing is
    recorded, and traces are passed on as they came.

    Args:
        provider: makes the tracer.  Default: OpenTelemetry's global one.
        system: ``messaging.system`` of received events: ``redis``, ``rabbitmq``, ``kafka`` ...
        naming: names classes that do not name themselves.  Default: by the class alone.

    Raises:
        MissingExtra: if opentelemetry-api is not installed.
    """
    trace = trace_api("traced")
    tracer = trace.get_tracer("simplecqrs", tracer_provider=provider)
    name_of = cast("Callable[[type[Any]], str]", cache(naming or _class_name))

    @contextmanager
    def tracing(message: Message) -> Generator[None, None, None]:
        kind = type(message)
        name = traits(kind).name or name_of(kind)
        metadata = current() if stack.frames else None
        span_name, span_kind, attributes = name, trace.SpanKind.INTERNAL, _attributes(name, message, metadata)
        if metadata is not None and _is_received() and not processing_now.get():
            topic = traits(kind).topic or name
            span_name, span_kind = f"process {topic}", trace.SpanKind.CONSUMER
            attributes |= _messaging(system, topic, metadata)
        opening = tracer.start_as_current_span
        with (
            _origin(metadata) as links,
            opening(span_name, kind=span_kind, attributes=attributes, links=links) as span,
            error_type(span),
            carrying_trace(),
        ):
            yield

    return around(tracing)


@contextmanager
def carrying_trace() -> Generator[None, None, None]:
    """
    Let the messages that are sent and published inside bear the trace of the span that is open.

    ``traced`` does so for what handlers publish; use this where something is published outside of a handler.
    """
    trace_api("carrying_trace")
    from opentelemetry import propagate

    headers: dict[str, str] = {}
    propagate.inject(headers)
    with context(**headers):
        yield


def trace_api(who: str) -> Any:
    """Return OpenTelemetry's API.  Raises MissingExtra in the name of who needs it."""
    try:
        from opentelemetry import trace
    except ImportError:
        raise MissingExtra(who, "otel") from None
    return trace


def _class_name(kind: type[Any]) -> str:
    return kind.__name__


def _attributes(name: str, message: Message, metadata: Metadata | None) -> dict[str, str]:
    kinds: dict[type[Message], str] = {Command: "command", Query: "query", Event: "event"}
    kind = next((word for base, word in kinds.items() if isinstance(message, base)), "stream")
    attributes = {"cqrs.message.name": name, "cqrs.message.kind": kind}
    if metadata is not None:
        attributes |= {"cqrs.message.id": str(metadata.id), "cqrs.correlation_id": metadata.correlation_id}
    return attributes


def _messaging(system: str, topic: str, metadata: Metadata) -> dict[str, str]:
    return {
        "messaging.system": system,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.message.id": str(metadata.id),
        "messaging.message.conversation_id": metadata.correlation_id,
    }


def _is_received() -> bool:
    """Tell whether a consumer is handling an event: then it has called its own handlers, and no plan's."""
    origin = top(stack.frames).origin
    return origin is not None and not origin.plan.now and not origin.plan.later


@contextmanager
def _origin(metadata: Metadata | None) -> Generator[list[Link], None, None]:
    """Continue the trace that a message's headers bear; where another one goes on already, give a link instead."""
    if metadata is None or not metadata.headers or len(stack.frames) > _outermost():
        yield []
        return
    from opentelemetry import context as contexts
    from opentelemetry import propagate, trace

    came_with = propagate.extract(metadata.headers)
    remote = trace.get_current_span(came_with).get_span_context()
    here = trace.get_current_span().get_span_context()
    if here.is_valid:
        yield [trace.Link(remote)] if remote.is_valid and remote.trace_id != here.trace_id else []
        return
    token = contexts.attach(came_with)  # with its baggage
    try:
        yield []
    finally:
        contexts.detach(token)


def _outermost() -> int:
    """Return how many frames there are where nothing is handled besides; an event has one for its unit as well."""
    return 1 if top(stack.frames).origin is None else 2


@contextmanager
def error_type(span: Span) -> Generator[None, None, None]:
    """Say in a span of which type the error was that ended it."""
    try:
        yield
    except Exception as error:
        span.set_attribute("error.type", type(error).__qualname__)
        raise
