"""Helpers for tests of handlers, and of stories made of several."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from simplecqrs.dispatch import Dispatch, stack
from simplecqrs.events import Events
from simplecqrs.mediator import Mediator
from simplecqrs.memory import MemoryBroker
from simplecqrs.messages import Command, DomainEvent, Event, IntegrationEvent, Message, Stream
from simplecqrs.plans import EventPlan
from simplecqrs.registry import Registry
from simplecqrs.transactions import Units

__all__ = ["Scenario", "recording"]

E = TypeVar("E", bound=Exception)


class _Recording(Command[None]):
    """Stands for the message that a test pretends is being handled."""

    __slots__ = ()


class _Recorder(Events):
    """Takes every event down and hands it to nobody."""

    def __init__(self) -> None:
        super().__init__([], Units(None, None), lambda _: _nothing(), ships=False, max_generations=1)
        self.events: list[Event] = []

    def plan_for(self, event: Event, /) -> EventPlan:
        """Take an event down."""
        self.events.append(event)
        return EventPlan(self, [], [], outward=False)


@contextmanager
def recording() -> Generator[list[Event], None, None]:
    """
    Let handlers publish without a mediator, and give the list of what they publish.

    >>> from simplecqrs import DomainEvent, SyncEventHandler
    >>> class Happened(DomainEvent): ...
    >>> class Handler(SyncEventHandler[Happened]):
    ...     def handle(self, event: Happened) -> None:
    ...         self.publish(Happened())
    >>> with recording() as events:
    ...     Handler().handle(Happened())
    >>> len(events)
    1
    """
    recorder = _Recorder()
    frames = stack.frames
    frames.append(Dispatch.of_request(_Recording(), recorder, None))
    try:
        yield recorder.events
    finally:
        frames.pop()


@contextmanager
def _nothing() -> Generator[None, None, None]:
    yield


class _Impatient(Mediator):
    """Ships at once what is due later: in a story no time passes."""

    def _delays(self) -> bool:
        return True


class Scenario:
    """
    Tell a test as a story: given what was done, when this is sent, then these events follow.

    Handlers with ``consumer=`` do not take part: their events go to a broker in memory, due or not.

    Args:
        registry: the handlers that take part.
        options: of the mediator, as ``provide=`` or ``middlewares=``.

    >>> from attrs import frozen
    >>> from simplecqrs import Command, DomainEvent, Publish, Registry
    >>> @frozen
    ... class Open(Command[int]):
    ...     number: int
    >>> @frozen
    ... class Opened(DomainEvent):
    ...     number: int
    >>> registry = Registry()
    >>> @registry.handles(Open)
    ... def open_it(command: Open, publish: Publish) -> int:
    ...     publish(Opened(command.number))
    ...     return command.number
    >>> Scenario(registry).given(Open(1)).when(Open(2)).then(Opened(2))
    2
    """

    def __init__(self, registry: Registry, **options: Any) -> None:
        recorder, self._events = Registry(), list[Event]()
        for kind in (DomainEvent, IntegrationEvent):  # which all others derive from
            recorder.add(kind, self._events.append)
        recorder.include(registry)
        options.setdefault("publisher", MemoryBroker())
        self.bus: Mediator = _Impatient(recorder, **options)
        self._answer: Any = None
        self._error: Exception | None = None

    def given(self, *messages: Message) -> Scenario:
        """Send commands and publish events before the story begins; what they cause is not part of it."""
        for message in messages:
            if isinstance(message, Event):
                self.bus.publish(message)
            else:
                self._send(message)
        self._events.clear()
        return self

    def when(self, message: Message) -> Scenario:
        """Send a command or a query, take all items of a stream, or publish an event."""
        self._answer = self._error = None
        try:
            if isinstance(message, Event):
                self.bus.publish(message)
                self._events.remove(message)
            else:
                self._answer = self._send(message)
        except Exception as error:  # noqa: BLE001 - ``then`` or ``then_raises`` tells of it
            self._error = error
            self._events.clear()
        return self

    def then(self, *events: Event) -> Any:
        """
        Assert that just these events were published, in this order; return the answer, of a stream its items.

        Raises:
            AssertionError: if others were published.
            Exception: what the message failed with.
        """
        if self._error is not None:
            raise self._error
        found, self._events = self._events, []
        assert found == list(events), f"expected {list(events)}, and these were published: {found}"
        return self._answer

    def then_raises(self, kind: type[E]) -> E:
        """Assert that the message failed with such an error; return it."""
        error = self._error
        assert isinstance(error, kind), f"expected {kind.__qualname__}, and this was raised: {error!r}"
        return error

    def _send(self, message: Any) -> Any:
        if issubclass(type(message), Stream):
            return [*self.bus.stream(message)]
        return self.bus.send(message)
