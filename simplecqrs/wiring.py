"""The compiled mediator: every message's way, composed once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from simplecqrs.binding import bind
from simplecqrs.containers import Container
from simplecqrs.dispatch import Dispatch, emit, stack, top
from simplecqrs.events import Events
from simplecqrs.handlers import Handler
from simplecqrs.messages import Command, Event, Message
from simplecqrs.metadata import Metadata
from simplecqrs.pipeline import Call, Middleware, Unswallowed, compose
from simplecqrs.registry import Registration
from simplecqrs.transactions import Ship, Transaction, Units

__all__ = ["Wiring"]


class Wiring:
    """
    Every message's way: middlewares, scope, unit of work, handler, events.

    Args:
        ship: takes the events that go out, when the outermost unit of work ends.  None: there is no publisher.
    """

    def __init__(
        self,
        registrations: Sequence[Registration],
        *,
        middlewares: Sequence[Middleware],
        transaction: Transaction | None,
        container: Container | None,
        ship: Ship | None,
        max_generations: int,
    ) -> None:
        self._middlewares = middlewares
        self._container = container
        self._units = Units(transaction, ship)
        self._pipelines: dict[type[Message], Call] = {}
        self.requests: dict[type[Message], Call] = {}
        events = [r for r in registrations if issubclass(r.messages[0], Event)]
        self.events = Events(
            [(r, compose(middlewares, bind(r.handler, r.messages, self._units.trial))) for r in events],
            self._units,
            self._scope,
            ships=ship is not None,
            max_generations=max_generations,
        )
        for registration in registrations:
            if registration not in events:
                self._add_request(registration)

    def _add_request(self, registration: Registration) -> None:
        kind = registration.messages[0]
        transactional = self._units.transaction is not None and issubclass(kind, Command)
        handler = bind(registration.handler, registration.messages, self._units.trial)
        call = self._units.around(handler, self.events.handle_all, transactional=transactional)
        call = compose(self._middlewares, self._in_scope(call) if self._container is not None else call)
        self._pipelines[kind] = call
        if self._middlewares or self._container is not None or transactional:
            self.requests[kind] = self._in_frame(call)
        else:
            self.requests[kind] = self._straight(registration, handler)

    def receive(self, command: Message, metadata: Metadata) -> Any:
        """Handle a command that came from elsewhere, with the metadata that came with it."""
        frames = stack.frames
        dispatch = Dispatch.received(command, self.events, metadata)
        dispatch.working = False
        frames.append(dispatch)
        try:
            return self._pipelines[type(command)](command)
        finally:
            frames.pop()

    def _in_frame(self, call: Call) -> Call:
        """Put the message on this thread's stack; a tuple does, until somebody asks for more."""
        wiring = self.events

        def run(message: Message) -> Any:
            frames = stack.frames
            frames.append((message, wiring, None))
            try:
                return call(message)
            finally:
                frames.pop()

        return run

    def _straight(self, registration: Registration, handler: Call) -> Call:
        """
        Make frame, unit of work and handler one function: nothing else is asked for.

        It does what ``_in_frame`` and ``Units.around`` do; two calls less are a third of a ``send``.
        """
        wiring, finish = self.events, self._finish
        if registration.shape is not None and registration.shape.publishes and not registration.shape.needs:
            return _straight_publishing(registration.handler, wiring, finish)

        def run(message: Message) -> Any:
            frames = stack.frames
            frame = (message, wiring)
            frames.append(frame)
            try:
                answer = handler(message)
                if frames[-1] is not frame:
                    finish(frames[-1])
                return answer
            finally:
                frames.pop()

        return run

    def _finish(self, dispatch: Dispatch) -> None:
        self.events.handle_all(dispatch)
        self._units.close(dispatch)

    def _in_scope(self, call: Call) -> Call:
        def run(message: Message) -> Any:
            with self._scope(top(stack.frames)):
                return call(message)

        return run

    @contextmanager
    def _scope(self, dispatch: Dispatch) -> Generator[None, None, None]:
        """Open the scope of the outermost message; what is inside shares it."""
        if self._container is None or dispatch.resolve is not None:
            yield
            return
        with Unswallowed(self._container.scope()) as resolve:
            dispatch.resolve = resolve
            try:
                yield
            finally:
                dispatch.resolve = None  # a middleware may call again


def _straight_publishing(handler: Handler, wiring: Events, finish: Callable[[Dispatch], None]) -> Call:
    def run(message: Message) -> Any:
        frames = stack.frames
        frame = (message, wiring)
        frames.append(frame)
        try:
            answer = handler(message, partial(emit, frames, frame))
            if frames[-1] is not frame:
                finish(frames[-1])
            return answer
        finally:
            frames.pop()

    return run
