"""What can be wrong with the wiring of a handler, or with a message that is handed over, each with its cure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from simplecqrs.errors import CQRSError, HandlerNotFound, InvalidMessage, NotConfigured
from simplecqrs.handlers import describe
from simplecqrs.messages import DomainEvent, Event, Message, Request, Stream
from simplecqrs.registration import Registration

if TYPE_CHECKING:
    from simplecqrs.containers import Container

__all__ = [
    "contradictions",
    "missing_dependencies",
    "missing_publisher",
    "not_sendable",
    "not_streamable",
    "refuse_unknown",
]


def missing_dependencies(
    registration: Registration, container: Container | None, cure: Callable[[str], str]
) -> Iterator[str]:
    """
    Name what a handler needs and nothing provides.

    Args:
        cure: says, for the name of a type, how it would be provided.
    """
    for handler, shape in registration.parts:
        who = describe(handler)
        for name, kind in shape.needs.items():
            if isinstance(kind, str):
                yield f"{who}: the type {kind!r} of {name} cannot be found in its module; import it there"
            elif container is None or not container.can_resolve(kind):
                label = getattr(kind, "__qualname__", repr(kind))
                yield f"{who} needs {name}: {label}, which nothing provides; {cure(label)}"


def missing_publisher(registration: Registration, *, ships: bool) -> Iterator[str]:
    """Find a consumer that waits for a domain event which nobody publishes to consumers."""
    consumer, event = registration.options.consumer, registration.messages[0]
    if consumer is not None and issubclass(event, DomainEvent) and not ships:
        yield (
            f"{describe(registration.handler)} waits for {event.__qualname__} with consumer={consumer!r}, but nothing "
            "is published to consumers; give the mediator a publisher"
        )


def contradictions(event_workers: int, event_errors: str, transaction: object) -> Iterator[str]:
    """Find what cannot be said together of a mediator."""
    if event_workers < 1:
        yield f"event_workers={event_workers!r} must be 1 or more"
    if transaction is not None and event_errors != "raise":
        yield (
            f"event_errors={event_errors!r} cannot go with transaction=: a transaction in which a handler has failed "
            "is rolled back"
        )


def refuse_unknown(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise NotConfigured for a parameter of a mediator that has none of the known values."""
    if value not in known:
        raise NotConfigured(f"Mediator: {name}={value!r} must be one of {', '.join(map(repr, known))}")


def not_sendable(message: Message) -> CQRSError:
    """Return what is to be raised for a message that ``send`` knows no handler of."""
    name = type(message).__qualname__
    if isinstance(message, Event):
        return InvalidMessage(f"{name} is an event; events are published: bus.publish")
    if issubclass(type(message), Stream):
        return InvalidMessage(f"{name} is a stream; it is answered item by item: bus.stream")
    if not issubclass(type(message), Request):
        return InvalidMessage(f"{name} is no request; derive it from Command or Query")
    return _no_handler(message)


def not_streamable(message: Message) -> CQRSError:
    """Return what is to be raised for a message that ``stream`` knows no handler of."""
    name = type(message).__qualname__
    if issubclass(type(message), Request):
        return InvalidMessage(f"{name} has one answer; it is sent: bus.send")
    if not issubclass(type(message), Stream):
        return InvalidMessage(f"{name} is no stream; derive it from Stream")
    return _no_handler(message)


def _no_handler(message: Message) -> HandlerNotFound:
    name = type(message).__qualname__
    return HandlerNotFound(
        f"{name} has no handler; write one, @handles({name}), and import its module before the first message"
    )
