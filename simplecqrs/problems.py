"""What can be wrong with the wiring of a handler, or with a message that is handed over, each with its cure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from simplecqrs.errors import CQRSError, HandlerNotFound, InvalidMessage, NotConfigured
from simplecqrs.handlers import describe, is_combined
from simplecqrs.hints import is_async
from simplecqrs.messages import DomainEvent, Event, Message, Request, Stream, traits
from simplecqrs.registration import Registration

if TYPE_CHECKING:
    from simplecqrs.containers import Container

__all__ = [
    "chosen_container",
    "contradictions",
    "missing_dependencies",
    "missing_publisher",
    "not_sendable",
    "not_streamable",
    "refuse_unknown",
    "unguarded",
    "wrong_middlewares",
]


def chosen_container(
    provide: Mapping[Any, Callable[..., object]] | None, container: Container | None
) -> Container | None:
    """Return what makes dependencies; raise NotConfigured if that was said in both ways."""
    if provide is None:
        return container
    if container is not None:
        raise NotConfigured("Mediator takes provide= or container=, not both")
    from simplecqrs.containers import Provider

    return Provider(provide)


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
        if shape.is_class and container is not None and container.can_resolve(handler):
            continue  # which sees to what it needs
        for name, kind in shape.needs.items():
            if isinstance(kind, str):
                yield f"{who}: the type {kind!r} of {name} cannot be found in its module; import it there"
            elif container is None or not container.can_resolve(kind):
                label = getattr(kind, "__qualname__", repr(kind))
                yield f"{who} needs {name}: {label}, which nothing provides; {cure(label)}"


def missing_publisher(registration: Registration, *, ships: bool) -> Iterator[str]:
    """Find a consumer that waits for a domain event which nobody publishes to consumers."""
    consumer, event = registration.options.consumer, registration.messages[0]
    handed_in = is_combined(registration.handler) and registration.handler.handed_in
    if consumer is not None and issubclass(event, DomainEvent) and not ships and not handed_in:
        yield (
            f"{describe(registration.handler)} waits for {event.__qualname__} with consumer={consumer!r}, but nothing "
            "is published to consumers; give the mediator a publisher"
        )


def unguarded(registration: Registration, *, guarded: bool) -> Iterator[str]:
    """Find messages that need a permission where nobody asks for it: they would be open to all."""
    for message in registration.messages if not guarded else ():
        if traits(message).permission is not None:
            yield (
                f"{message.__qualname__} says permission=, and this mediator asks for none; give it what does: "
                "Mediator(permits=...)"
            )


def wrong_middlewares(middlewares: Iterable[Any]) -> Iterator[str]:
    """Find middlewares that cannot surround a call."""
    for middleware in middlewares:
        if isinstance(middleware, type):
            yield f"the middleware {middleware.__qualname__} is a class; give an instance of it, or a function"
        elif not callable(middleware):
            yield f"the middleware {middleware!r} is not callable; write a function (message, call_next)"
        elif is_async(middleware):
            yield f"the middleware {middleware!r} is async; write a plain function (message, call_next)"


def contradictions(
    event_workers: int, event_errors: str, transaction: object, idempotency: object = None
) -> Iterator[str]:
    """Find what cannot be said together of a mediator."""
    if event_workers < 1:
        yield f"event_workers={event_workers!r} must be 1 or more"
    if transaction is not None and event_errors != "raise":
        yield (
            f"event_errors={event_errors!r} cannot go with transaction=: a transaction in which a handler has failed "
            "is rolled back"
        )
    if idempotency is not None and transaction is None:
        yield (
            "idempotency= needs transaction=: an answer is kept in the transaction of its command; give the mediator "
            "that of the store, transaction=store.transaction"
        )


def refuse_unknown(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise NotConfigured for a parameter of a mediator that has none of the known values."""
    if value not in known:
        raise NotConfigured(f"Mediator: {name}={value!r} must be one of {', '.join(map(repr, known))}")


def not_sendable(message: Any) -> CQRSError:
    """Return what is to be raised for a message that ``send`` knows no handler of."""
    name = type(message).__qualname__
    if isinstance(message, type):
        return _class_given(message)
    if isinstance(message, Event):
        return InvalidMessage(f"{name} is an event; events are published: bus.publish")
    if issubclass(type(message), Stream):
        return InvalidMessage(f"{name} is a stream; it is answered item by item: bus.stream")
    if not issubclass(type(message), Request):
        return InvalidMessage(f"{name} is no request; derive it from Command or Query")
    return _no_handler(message)


def not_streamable(message: Any) -> CQRSError:
    """Return what is to be raised for a message that ``stream`` knows no handler of."""
    name = type(message).__qualname__
    if isinstance(message, type):
        return _class_given(message)
    if issubclass(type(message), Request):
        return InvalidMessage(f"{name} has one answer; it is sent: bus.send")
    if not issubclass(type(message), Stream):
        return InvalidMessage(f"{name} is no stream; derive it from Stream")
    return _no_handler(message)


def _class_given(message: type[Any]) -> InvalidMessage:
    return InvalidMessage(f"{message.__qualname__} is a class; make a message of it: {message.__qualname__}(...)")


def _no_handler(message: Message) -> HandlerNotFound:
    name = type(message).__qualname__
    return HandlerNotFound(
        f"{name} has no handler; write one, @handles({name}), and import its module before the first message"
    )
