"""Handlers made callable: ``(message)``, with publish and dependencies bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from simplecqrs.dispatch import stack, top
from simplecqrs.errors import DependencyNotFound
from simplecqrs.handlers import Handler, Trial, describe, is_combined
from simplecqrs.messages import Message, Stream
from simplecqrs.pipeline import Call, Unswallowed
from simplecqrs.shapes import Shape, shape_of

if TYPE_CHECKING:
    from simplecqrs.containers import Container

__all__ = ["Binder"]

Resolve = Callable[[Any], Any]
#: Calls a handler with a message and its dependencies.
Injected = Callable[[Any, dict[str, Any]], Any]


class Binder:
    """
    Makes callables ``(message)`` of handlers.

    Args:
        trial: handed to handlers made of handlers, see ``Combined``.
        container: makes handler classes that it knows; all others are built here, of what they need.
        own_scopes: each call of a handler has a scope of its own; else all share the one of their dispatch.
    """

    def __init__(self, trial: Trial, container: Container | None = None, *, own_scopes: bool = False) -> None:
        self._trial = trial
        self._container = container
        self._scope = container.scope if container is not None and own_scopes else None

    def bind(self, handler: Any, messages: tuple[type[Message], ...]) -> Call:
        """Make a callable ``(message)`` of a handler of these messages."""
        is_stream = issubclass(messages[0], Stream)
        if is_combined(handler):
            taken = handler.takes or messages
            return handler.build(lambda link: self.bind(link, taken), self._trial, is_stream=is_stream)
        shape = shape_of(handler, messages, linked=True)
        if shape.is_class and self._container is not None and self._container.can_resolve(handler):
            return self._injecting(_calling_made, Shape(False, False, {"made": handler}), is_stream=is_stream)
        if shape.needs:
            return self._injecting(handler, shape, is_stream=is_stream)
        if shape.is_class:
            return lambda message: handler().handle(message)
        return _publishing(handler) if shape.publishes else handler

    def _injecting(self, handler: Handler, shape: Shape, *, is_stream: bool) -> Call:
        call = _injected(handler, shape)
        scope = self._scope
        if scope is None:
            return lambda message: call(message, _made(handler, shape, top(stack.frames).resolve))

        def in_scope(message: Message) -> Any:
            with Unswallowed(scope()) as resolve:
                return call(message, _made(handler, shape, resolve))

        def holding_scope(message: Message) -> Iterator[Any]:
            with Unswallowed(scope()) as resolve:
                yield from call(message, _made(handler, shape, resolve))

        return holding_scope if is_stream else in_scope


def _calling_made(message: Message, *, made: Any) -> Any:
    """Call a handler that a container has made; whether it is a new one is the container's to know."""
    return made.handle(message)


def _publishing(handler: Handler) -> Call:
    def call(message: Message) -> Any:
        return handler(message, top(stack.frames).publish)

    return call


def _injected(handler: Handler, shape: Shape) -> Injected:
    """Build a class for each message: what it stores on itself never meets another message."""
    if shape.is_class:
        return lambda message, made: handler(**made).handle(message)
    if shape.publishes:
        return lambda message, made: handler(message, top(stack.frames).publish, **made)
    return lambda message, made: handler(message, **made)


def _made(handler: Handler, shape: Shape, resolve: Resolve | None) -> dict[str, Any]:
    if resolve is None:  # no container, and nobody has called check()
        needs = ", ".join(f"{name}: {kind}" for name, kind in shape.needs.items())
        raise DependencyNotFound(f"nothing provides {needs}; give the mediator provide= or container=")
    made: dict[str, Any] = {}
    for name, kind in shape.needs.items():
        try:
            made[name] = resolve(kind)
        except DependencyNotFound as error:
            label = getattr(kind, "__qualname__", repr(kind))
            raise DependencyNotFound(f"{describe(handler)} needs {name}: {label}; {error}") from error
    return made
