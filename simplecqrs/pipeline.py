"""Middlewares: what surrounds each call of a handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from types import TracebackType
from typing import Any

from simplecqrs.messages import Message, Stream

__all__ = ["Call", "Gate", "Middleware", "Unswallowed", "around", "compose", "gated"]

#: Takes a message and answers.
Call = Callable[[Any], Any]
#: Takes a message and the call that it surrounds.
Middleware = Callable[[Any, Call], Any]
#: Is asked before a message is begun; raises if it may not be.
Gate = Callable[[Any], object]


def compose(middlewares: Sequence[Middleware], call: Call) -> Call:
    """Put middlewares round a call, the first one outermost."""
    for middleware in reversed(middlewares):
        call = _surround(middleware, call)
    return call


def _surround(middleware: Middleware, call_next: Call) -> Call:
    def surrounded(message: Message) -> Any:
        return middleware(message, call_next)

    return surrounded


def gated(call: Call, gate: Gate | None) -> Call:
    """Ask before a call, and before all that surrounds it; a call without a gate stays as it is."""
    if gate is None:
        return call

    def run(message: Message) -> Any:
        gate(message)
        return call(message)

    return run


def around(
    manager: Callable[[Any], AbstractContextManager[object]],
    *,
    only: type[Message] | tuple[type[Message], ...] = Message,
) -> Middleware:
    """
    Make a middleware of a function that takes a message and returns a context manager.

    The context lasts as long as the handler works, its unit of work and its events included; for a stream, until its
    last item was taken, or it was closed.

    Args:
        only: the messages to surround; others pass untouched.
    """

    @wraps(manager)
    def middleware(message: Message, call_next: Call) -> Any:
        if not isinstance(message, only):
            return call_next(message)
        if issubclass(type(message), Stream):
            return hold(message, call_next)
        with manager(message):
            return call_next(message)

    def hold(message: Message, call_next: Call) -> Iterator[Any]:
        with manager(message):
            yield from call_next(message)

    return middleware


class Unswallowed:
    """Enter a context manager that sees a failure, cleans up, and cannot swallow it: its caller is to know."""

    __slots__ = ("_manager",)

    def __init__(self, manager: AbstractContextManager[Any]) -> None:
        self._manager = manager

    def __enter__(self) -> Any:
        return self._manager.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._manager.__exit__(kind, error, traceback)
