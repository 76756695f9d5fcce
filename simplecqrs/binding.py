"""Handlers made callable: ``(message)``, with publish and dependencies bound."""

from __future__ import annotations

from typing import Any

from simplecqrs.dispatch import stack, top
from simplecqrs.errors import DependencyNotFound
from simplecqrs.handlers import Handler, Shape, is_buildable, shape_of
from simplecqrs.messages import Message
from simplecqrs.pipeline import Call

__all__ = ["bind"]


def bind(handler: Handler, messages: tuple[type[Message], ...], trial: Any) -> Call:
    """
    Make a callable ``(message)`` of a handler.

    Args:
        trial: handed to handlers made of handlers, see ``Buildable``.
    """
    if is_buildable(handler):
        buildable: Any = handler
        return buildable.build(lambda link: bind(link, messages, trial), trial)  # type: ignore[no-any-return]
    shape = shape_of(handler, messages)
    if shape.is_class:
        return _bind_class(handler, shape)
    if shape.needs:
        return _bind_injected(handler, shape)
    if not shape.publishes:
        return handler
    return _bind_publishing(handler)


def _bind_publishing(handler: Handler) -> Call:
    def call(message: Message) -> Any:
        return handler(message, top(stack.frames).publish)

    return call


def _bind_class(handler: Handler, shape: Shape) -> Call:
    """Build the object for each message: what it stores on itself never meets another message."""
    if not shape.needs:
        return lambda message: handler().handle(message)
    return lambda message: handler(**_resolved(shape)).handle(message)


def _bind_injected(handler: Handler, shape: Shape) -> Call:
    def call(message: Message) -> Any:
        return handler(message, **_resolved(shape))

    def call_publishing(message: Message) -> Any:
        return handler(message, top(stack.frames).publish, **_resolved(shape))

    return call_publishing if shape.publishes else call


def _resolved(shape: Shape) -> dict[str, Any]:
    resolve = top(stack.frames).resolve
    if resolve is None:  # a handler inside of another one, which check() does not see
        needs = ", ".join(f"{name}: {kind}" for name, kind in shape.needs.items())
        raise DependencyNotFound(f"nothing provides {needs}; give the mediator provide= or container=")
    return {name: resolve(kind) for name, kind in shape.needs.items()}
