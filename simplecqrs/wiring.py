"""The compiled mediator: every message's way, composed once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal

from simplecqrs.binding import Binder
from simplecqrs.dispatch import Dispatch, new_dispatch, stack, top
from simplecqrs.events import Events
from simplecqrs.handlers import is_combined
from simplecqrs.messages import Command, Event, Message, Query, Request, Stream
from simplecqrs.metadata import Metadata
from simplecqrs.pipeline import Call, Gate, Middleware, Unswallowed, compose, gated
from simplecqrs.registration import Options, Registration
from simplecqrs.straight import straight_call, straight_publishing_call
from simplecqrs.streams import all_at_once, by_item, drive
from simplecqrs.transactions import Ship, Transaction, Units

if TYPE_CHECKING:
    from simplecqrs.containers import Container
    from simplecqrs.levels import EventErrors
    from simplecqrs.workers import Workers

__all__ = ["Scope", "Wiring"]

#: What shares dependencies.
Scope = Literal["message", "handler"]


class Wiring:
    """
    Every message's way: middlewares, scope, unit of work, handler, events.

    Args:
        scope: what shares dependencies: all that an outermost message causes, or each handler for itself.
        ship: takes the events that go out, when the outermost unit of work ends.  None: there is no publisher.
        delays: whether what goes out may wait until it is due.
        gate: returns what is to be asked before a message of a class is begun, which may raise; None: nothing is.
        commits: may refuse a message that is to be committed before it is answered, where it could not be.
        event_workers: how many handlers of events may run at a time, in threads.
        in_thread: returns what surrounds the life of such a thread; called by who begins it.
    """

    def __init__(
        self,
        registrations: Sequence[Registration],
        *,
        middlewares: Sequence[Middleware],
        transaction: Transaction | None,
        container: Container | None,
        scope: Scope,
        ship: Ship | None,
        delays: bool,
        gate: Callable[[type[Message]], Gate | None],
        commits: Callable[[Message], None],
        max_generations: int,
        event_workers: int,
        in_thread: Callable[[], AbstractContextManager[object]],
        event_errors: EventErrors,
    ) -> None:
        self._middlewares = middlewares
        self._container = container if scope == "message" else None
        self._commits = commits
        self._gate = gate
        self._units = Units(transaction, ship)
        self._binder = Binder(self._units.trial, container, own_scopes=scope == "handler")
        self._handlers: dict[type[Message], Call] = {}
        self._pipelines: dict[type[Message], Call] = {}
        self.request_options: dict[type[Message], Options] = {}
        self.requests: dict[type[Message], Call] = {}
        self.streams: dict[type[Message], Call] = {}
        self.events = Events(
            [(r, self._event_call(r)) for r in registrations if issubclass(r.kind, Event)],
            self._units,
            self._scope,
            ships=ship is not None,
            delays=delays,
            max_generations=max_generations,
            workers=_workers(event_workers, in_thread),
            errors=event_errors,
        )
        for registration in registrations:
            if issubclass(registration.kind, Stream):
                self._add_stream(registration)
            elif issubclass(registration.kind, Request):
                self._add_request(registration)

    def _event_call(self, registration: Registration) -> Call:
        call = self._binder.bind(registration.handler, registration.messages)
        return compose(self._middlewares, withdrawing(call)) if self._middlewares else call

    def _add_stream(self, registration: Registration) -> None:
        call = self._binder.bind(registration.handler, registration.messages)
        finish, transaction = self.events.handle_all, registration.options.transaction
        if transaction == "item":
            call = by_item(call, self._units, finish, self._commits)
        elif transaction == "all":
            call = all_at_once(call, self._units, finish)
        if self._container is not None:
            call = self._holding_scope(call)
        reads = transaction is None
        driven = self._driven(compose(self._middlewares, call), reads=reads)
        self.streams[registration.kind] = gated(driven, self._gate(registration.kind))

    def _driven(self, call: Call, *, reads: bool) -> Call:
        """Give each stream a dispatch, a scope and context variables of its own: it may outlive its sender."""
        wiring = self.events

        def run(message: Message) -> Generator[Any, None, None]:
            frames = stack.frames
            dispatch = new_dispatch(frames, message, wiring)
            if frames:
                dispatch.nest(top(frames))
                dispatch.resolve = None
            dispatch.working = False
            if reads:
                dispatch.query = message
            return drive(dispatch, call, copy_context())

        return run

    def _holding_scope(self, call: Call) -> Call:
        def run(message: Message) -> Iterator[Any]:
            with self._scope(top(stack.frames)):
                yield from call(message)

        return run

    def _add_request(self, registration: Registration) -> None:
        kind = registration.kind
        self.request_options[kind] = registration.options
        handler = self._handlers[kind] = self._binder.bind(registration.handler, registration.messages)
        call = self._pipelines[kind] = self._way(kind, handler)
        plain = registration.parts and not self._middlewares and self._container is None
        if not plain or self._is_transactional(kind):  # a saga that only waits has no parts
            run = self._in_dispatch(call, is_query=issubclass(kind, Query))
        else:
            run = self._straight(registration, handler)
        self.requests[kind] = gated(run, self._gate(kind))

    def _way(self, kind: type[Message], handler: Call) -> Call:
        call = self._units.around(handler, self.events.handle_all, transactional=self._is_transactional(kind))
        return compose(self._middlewares, self._in_scope(call) if self._container is not None else call)

    def _is_transactional(self, kind: type[Message]) -> bool:
        return self._units.transaction is not None and issubclass(kind, Command)

    def with_layer(self, kind: type[Message], layer: Callable[[Call], Call]) -> Call:
        """Return the way of a command with a layer round its handler, inside of its unit of work."""
        run = self._in_dispatch(self._way(kind, layer(self._handlers[kind])), is_query=False)
        return gated(run, self._gate(kind))

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
        if is_combined(registration.handler):
            return straight_call(handler, self.events, self._finish)
        _, shape = registration.parts[0]
        if shape.publishes and not shape.needs:
            is_query = issubclass(registration.messages[0], Query)
            return straight_publishing_call(registration.handler, self.events, self._finish, is_query=is_query)
        return straight_call(handler, self.events, self._finish)

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


def _workers(number: int, in_thread: Callable[[], AbstractContextManager[object]]) -> Workers | None:
    if number == 1:
        return None
    from simplecqrs.workers import Workers  # late: threads take long to import

    return Workers(number, in_thread)


def withdrawing(call: Call) -> Call:
    """Take back what a handler has published when it fails: a middleware may swallow that, or call again."""

    def run(message: Message) -> Any:
        try:
            return call(message)
        except BaseException:
            frame = stack.frames[-1]
            if type(frame) is Dispatch:  # else it has published nothing
                frame.withdraw()  # pyright: ignore[reportUnknownMemberType]
            raise

    return run
