"""Helpers for tests of handlers."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from simplecqrs.dispatch import Dispatch, stack
from simplecqrs.events import EventPlan, Events
from simplecqrs.messages import Command, Event
from simplecqrs.transactions import Units

__all__ = ["recording"]


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
