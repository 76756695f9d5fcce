"""The compiled mediator: every message's way, composed once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from simplecqrs.binding import bind
from simplecqrs.dispatch import Dispatch, new_dispatch, stack, top
from simplecqrs.events import Events
from simplecqrs.handlers import Handler
from simplecqrs.messages import Command, Event, Message, Query
from simplecqrs.metadata import Metadata
from simplecqrs.pipeline import Call, Middleware, Unswallowed, compose
from simplecqrs.registry import Registration
from simplecqrs.transactions import Ship, Transaction, Units

if TYPE_CHECKING:
    from simplecqrs.containers import Container

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
            self.requests[kind] = self._in_dispatch(call, is_query=issubclass(kind, Query))
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

    def _in_dispatch(self, call: Call, *, is_query: bool) -> Call:
        """Put the message on this thread's stack; its handler is not at work before its unit of work is open."""
        wiring = self.events

        def run(message: Message) -> Any:
            frames = stack.frames
            dispatch = new_dispatch(frames, message, wiring)
            if frames or is_query:
                dispatch.nest(top(frames) if frames else None)
            frames.append(dispatch)
            dispatch.working = False
            try:
                return call(message)
            finally:
                frames.pop()

        return run

    def _straight(self, registration: Registration, handler: Call) -> Call:
        """
        Make frame, unit of work and handler one function: nothing else is asked for.

        It does what ``_in_dispatch`` and ``Units.around`` do; two calls less are a third of a ``send``.
        """
        shape = registration.shape
        if shape is not None and shape.publishes and not shape.needs:
            is_query = issubclass(registration.messages[0], Query)
            return _straight_publishing(registration.handler, self.events, self._finish, is_query=is_query)
        return _straight(handler, self.events, self._finish)

    def _finish(self, dispatch: Dispatch) -> None:
        """Handle what a handler has published."""
        self.events.handle_all(dispatch)
        if dispatch.opened_unit is not None:
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


def _straight(handler: Call, wiring: Events, finish: Callable[[Dispatch], None]) -> Call:
    def run(message: Message) -> Any:
        frames = stack.frames
        frame = (message, wiring)  # somebody who asks for more replaces it by a dispatch
        frames.append(frame)
        try:
            answer = handler(message)
        except BaseException:
            frames.pop()
            raise
        last = frames.pop()
        if last is not frame:
            _on_top(finish, last)
        return answer

    return run


def _on_top(finish: Callable[[Dispatch], None], dispatch: Dispatch) -> None:
    dispatch.frames.append(dispatch)
    try:
        finish(dispatch)
    finally:
        dispatch.frames.pop()


def _straight_publishing(
    handler: Handler, wiring: Events, finish: Callable[[Dispatch], None], *, is_query: bool
) -> Call:
    def run(message: Message) -> Any:
        frames = stack.frames
        dispatch = new_dispatch(frames, message, wiring)
        if frames or is_query:
            dispatch.nest(top(frames) if frames else None)
        frames.append(dispatch)
        try:
            answer = handler(message, dispatch.publish)
            if dispatch.published is not None:
                finish(dispatch)
            return answer
        finally:
            dispatch.working = False
            frames.pop()

    return run
