"""``describe``: reads of a mediator what it does, without running anything of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from simplecqrs.description import (
    ConsumerDescription,
    Description,
    HandlerDescription,
    MessageDescription,
    SagaDescription,
    StepDescription,
)
from simplecqrs.fields import fields_of
from simplecqrs.handlers import describe as name_of
from simplecqrs.kinds import answer_of, kind_of
from simplecqrs.messages import Command, DomainEvent, Event, IntegrationEvent, Message, Stream, traits
from simplecqrs.registration import Registration
from simplecqrs.saga import NO_COMPENSATION, Saga
from simplecqrs.saga.run_step import RunStep, StepCalls
from simplecqrs.saga.waiting import HandIn
from simplecqrs.sources import begun_by, published_by, sent_by
from simplecqrs.titles import title, type_title

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator

__all__ = ["Why", "describe", "describe_message", "why_there"]

#: Says of a handler, for a message, what decides when and where it runs.
Why = Callable[[Registration, type[Message]], str]


def describe(bus: Mediator, *, why: Why | None = None) -> Description:
    """
    Return what a mediator does: every message that is handled or, as far as one can see, published; consumers; sagas.

    Nothing is sent, and what is registered later is not in it.

    Args:
        why: says what decides when and where a handler runs.  Default: what was said where it was registered.
    """
    known = _Known(bus, why or why_there)
    return Description(
        messages=[_message(known, message) for message in _messages(known.registrations)],
        consumers=[*_consumers(known)],
        sagas=[_saga(known, r, r.handler.saga) for r in known.registrations if isinstance(r.handler, StepCalls)],
    )


def describe_message(bus: Mediator, message: type[Message], *, why: Why | None = None) -> MessageDescription:
    """Return what a mediator does with one message, which nobody need handle."""
    return _message(_Known(bus, why or why_there), message)


class _Known:
    """What is asked of a mediator once, though it is needed for each message."""

    def __init__(self, bus: Mediator, why: Why) -> None:
        self.why = why
        self.registrations = bus.registrations()
        self.vocabulary = bus.vocabulary
        self.has_transaction, self.ships = bus.has_transaction, bus.ships


def _message(known: _Known, message: type[Message]) -> MessageDescription:
    handling = [r for r in known.registrations if issubclass(message, r.messages)]
    handlers = [_handler(known, r, known.why(r, message)) for r in handling]
    leaves = _why_it_leaves(message, handlers)
    return MessageDescription(
        message=f"{message.__module__}.{message.__qualname__}",
        title=title(message),
        kind=kind_of(message),
        name=known.vocabulary.name(message),
        version=traits(message).version,
        topic=known.vocabulary.topic(message) if leaves else "",
        key=traits(message).key,
        answer="" if issubclass(message, Event) else type_title(answer_of(message)),
        fields={name: type_title(hint) for name, hint in fields_of(message).items()},
        unit=_unit(known, message, handling),
        permission=_permission(message),
        leaves=leaves,
        handlers=handlers,
        notes=[*_notes(known, message, handlers)],
    )


def _permission(message: type[Message]) -> str:
    needed = traits(message).permission
    return name_of(needed) if callable(needed) else needed or ""


def _messages(registrations: Iterable[Registration]) -> list[type[Message]]:
    """Return what is handled, and then what somebody publishes or sends; steps of sagas go with these."""
    found = [m for r in registrations for m in r.messages if not issubclass(m, RunStep)]
    parts = [handler for r in registrations for handler, _ in r.parts]
    caused = [m for handler in parts for m in (*published_by(handler), *sent_by(handler))]
    return list(dict.fromkeys([*found, *caused]))


def _handler(known: _Known, registration: Registration, why: str) -> HandlerDescription:
    options, handler = registration.options, registration.handler
    parts = [part for part, _ in registration.parts]
    own = isinstance(handler, HandIn)
    return HandlerDescription(
        handler=f"the saga {handler.saga.name}, step {handler.step.name}" if own else name_of(handler),
        title=f"saga {handler.saga.name}, step {handler.step.name}" if own else title(handler),
        links=[title(part) for part in parts] if parts != [handler] else [],
        when="later" if options.consumer is not None else "after commit" if options.after_commit else "at once",
        consumer=options.consumer or "",
        why=why,
        needs={name: type_title(kind) for _, shape in registration.parts for name, kind in shape.needs.items()},
        publishes=_names(known, parts, published_by),
        sends=_names(known, parts, sent_by),
        begins=list(dict.fromkeys(saga.name for part in parts for saga in begun_by(part))),
    )


def _names(known: _Known, parts: Iterable[Any], caused_by: Callable[[Any], Iterable[type[Message]]]) -> list[str]:
    return list(dict.fromkeys(known.vocabulary.name(message) for part in parts for message in caused_by(part)))


def why_there(registration: Registration, message: type[Message]) -> str:
    """Say what decides when and where a handler runs."""
    options, handler = registration.options, registration.handler
    of_base = "" if message in registration.messages else f", for its base {registration.kind.__qualname__}"
    if isinstance(handler, HandIn):
        return f"the step {handler.step.name!r} waits for it"
    if options.consumer is not None:
        return f"consumer={options.consumer!r} where it was registered{of_base}"
    if options.after_commit:
        return f"after_commit=True where it was registered{of_base}; best effort"
    if issubclass(message, Event):
        return f"nothing else was said where it was registered{of_base}"
    return "its one handler"


def _why_it_leaves(message: type[Message], handlers: list[HandlerDescription]) -> str:
    if issubclass(message, IntegrationEvent):
        return f"it is {_a(kind_of(message))}"
    consumers = [handler.consumer for handler in handlers if handler.consumer]
    return f"the consumer {consumers[0]} handles it" if consumers and issubclass(message, DomainEvent) else ""


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiouE' else 'a'} {kind}"


def _unit(known: _Known, message: type[Message], handling: list[Registration]) -> str:
    """Say which unit of work a message's handlers are in."""
    if issubclass(message, Event):
        return ""
    if issubclass(message, Stream):
        said = handling[0].options.transaction if handling else None
        return {"item": "a transaction for each item", "all": "one transaction for all items"}.get(said or "", "none")
    return "a transaction" if known.has_transaction and issubclass(message, Command) else "none"


def _notes(known: _Known, message: type[Message], handlers: list[HandlerDescription]) -> Iterator[str]:
    """Say what is missing."""
    if not handlers and not issubclass(message, Event):
        yield f"it cannot be sent: nobody handles it; write a handler with @handles({title(message)})"
    elif not handlers and issubclass(message, IntegrationEvent):
        yield "nobody handles it here; others may, wherever it goes"
    elif not handlers:
        yield f"nobody handles it: publishing it does nothing; write a handler with @handles({title(message)})"
    if issubclass(message, IntegrationEvent) and not known.ships:
        yield "it cannot be published: the mediator has no publisher; give it one: Mediator(publisher=...)"


def _consumers(known: _Known) -> Iterator[ConsumerDescription]:
    handled: dict[str, list[type[Message]]] = {}
    for registration in known.registrations:
        if registration.options.consumer is not None:
            handled.setdefault(registration.options.consumer, []).extend(registration.messages)
    for name, messages in handled.items():
        yield ConsumerDescription(
            name=name,
            messages=list(dict.fromkeys(map(known.vocabulary.name, messages))),
            topics=list(dict.fromkeys(map(known.vocabulary.topic, messages))),
            why="the topics of what it has handlers for",
        )


def _saga(known: _Known, registration: Registration, saga: Saga[Any]) -> SagaDescription:
    parts = [part for part, _ in registration.parts]
    return SagaDescription(
        name=saga.name,
        state=type_title(saga.state),
        message=known.vocabulary.name(saga.message),
        unit="a transaction for each step" if known.has_transaction else "none",
        steps=[*_steps(saga)],
        publishes=_names(known, parts, published_by),
        sends=_names(known, parts, sent_by),
    )


def _steps(saga: Saga[Any]) -> Iterator[StepDescription]:
    for step in saga.by_name.values():
        undo, backup = step.undoes("act"), step.call_of("fallback")
        yield StepDescription(
            name=step.name,
            group=saga.index_of(step),
            act="" if step.waits is not None else title(step.act),
            undo="" if undo is None or undo is NO_COMPENSATION else title(undo),
            fallback="" if backup is None else title(backup),
            waits_for="" if step.waits is None else title(step.waits.event),
            pivot=saga.index_of(step) == saga.pivot,
            attempts=saga.retry_of(step).attempts,
        )
