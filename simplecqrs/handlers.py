"""What a handler is: a function, a class, or something made of handlers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeGuard, TypeVar

from simplecqrs.ambient import publish_here
from simplecqrs.errors import InvalidHandler
from simplecqrs.messages import Event, Message, Request, Stream

__all__ = [
    "Bind",
    "Combined",
    "Handler",
    "Publish",
    "SyncEventHandler",
    "SyncRequestHandler",
    "SyncStreamHandler",
    "Trial",
    "describe",
    "is_combined",
]

#: What a handler's second parameter is: takes any event.
Publish = Callable[[Event], None]
Handler = Callable[..., Any]
#: Makes a callable ``(message)`` of a handler.
Bind = Callable[[Any], Callable[[Any], Any]]
#: From a message to a nested unit of work.
Trial = Callable[[Any], AbstractContextManager[None]]

Q_contra = TypeVar("Q_contra", bound=Request[Any], contravariant=True)
R_co = TypeVar("R_co", covariant=True)
E_contra = TypeVar("E_contra", bound=Event, contravariant=True)
S_contra = TypeVar("S_contra", bound=Stream[Any], contravariant=True)
T_co = TypeVar("T_co", covariant=True)
M_contra = TypeVar("M_contra", bound=Message, contravariant=True)


class SyncRequestHandler(Generic[Q_contra, R_co]):
    """
    Base of class handlers of one request.

    Write ``__init__`` with the dependencies, by type, and ``handle``.
    """

    __slots__ = ()

    def handle(self, request: Q_contra, /) -> R_co:
        """Answer the request."""
        raise InvalidHandler(f"{type(self).__qualname__} has no method handle(self, request)")

    def publish(self, event: Event, /) -> None:
        """Publish an event in the dispatch that is going on in this thread."""
        publish_here(event)


class SyncEventHandler(Generic[E_contra]):
    """Base of class handlers of an event: see ``SyncRequestHandler``."""

    __slots__ = ()

    def handle(self, event: E_contra, /) -> None:
        """Handle the event."""
        raise InvalidHandler(f"{type(self).__qualname__} has no method handle(self, event)")

    def publish(self, event: Event, /) -> None:
        """Publish an event in the dispatch that is going on in this thread."""
        publish_here(event)


class SyncStreamHandler(Generic[S_contra, T_co]):
    """Base of class handlers of a stream: ``handle`` yields its items.  See ``SyncRequestHandler``."""

    __slots__ = ()

    def handle(self, stream: S_contra, /) -> Iterator[T_co]:
        """Yield the items."""
        raise InvalidHandler(f"{type(self).__qualname__} has no method handle(self, stream)")

    def publish(self, event: Event, /) -> None:
        """Publish an event in the stream that runs in this thread."""
        publish_here(event)


class Combined(Generic[M_contra, R_co]):
    """
    A handler made of handlers, of its ``links``.  The mediator builds it once, before the first message.

    Its parameters are for the checkers: the message that it handles, and its answer, of a stream an iterator.
    """

    links: tuple[Any, ...]
    #: What the links take in the place of the message.  Empty: the message itself.
    takes: tuple[type[Any], ...] = ()
    #: Whether events reach it without a publisher too, since somebody hands them in.
    handed_in: bool = False

    def problems(self, bus: Any, /) -> list[str]:
        """Return what is wrong with it for a mediator, beside the shape of its links, each with its cure."""
        return []

    def refuse(self, *, is_stream: bool) -> None:
        """Raise InvalidHandler at registration for what means nothing for such a message."""

    def build(self, bind: Bind, trial: Trial, /, *, is_stream: bool) -> Callable[[Any], Any]:
        """
        Return a callable ``(message)`` that answers.

        Args:
            bind: makes a callable ``(message)`` of a link, injected and with publish.
            trial: a nested unit of work; if it is left by an exception, its writes and its events are gone.
            is_stream: whether the answer is an iterator.
        """
        raise NotImplementedError


def is_combined(handler: object) -> TypeGuard[Combined[Any, Any]]:
    """Tell whether a handler is made of handlers."""
    return isinstance(handler, Combined)


def describe(handler: object) -> str:
    """Name a handler for an error message: ``function shop.orders.place_order``."""
    if is_combined(handler):
        return f"{type(handler).__name__.lower()}({', '.join(map(describe, handler.links))})"
    if isinstance(handler, type):
        return f"class {handler.__module__}.{handler.__qualname__}"
    if inspect.isfunction(handler) or inspect.ismethod(handler):
        return f"function {handler.__module__}.{handler.__qualname__}"
    return f"object {type(handler).__module__}.{type(handler).__qualname__}"
