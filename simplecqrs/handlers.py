"""What a handler looks like: functions, classes, and the check of their shape."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from simplecqrs.dispatch import publish_here
from simplecqrs.errors import InvalidHandler
from simplecqrs.messages import Event, Message, Request

__all__ = ["Handler", "Publish", "Shape", "SyncEventHandler", "SyncRequestHandler", "describe", "shape_of"]

#: What a handler's second parameter is: takes any event.
Publish = Callable[[Event], None]
Handler = Callable[..., Any]

Q_contra = TypeVar("Q_contra", bound=Request[Any], contravariant=True)
R_co = TypeVar("R_co", covariant=True)
E_contra = TypeVar("E_contra", bound=Event, contravariant=True)


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


class Buildable(Protocol):
    """A handler made of handlers: the registry builds it once, before the first message."""

    def build(self, bind: Callable[[Handler], Callable[..., Any]], trial: Any, /) -> Callable[..., Any]:
        """
        Return a callable ``(message)`` that answers.

        Args:
            bind: makes a callable ``(message)`` of a function or class handler, injected and with publish.
            trial: a context manager ``trial(message)``: a nested unit of work, rolled back if it is left
                by an exception, its events with it.
        """
        ...


@frozen
class Shape:
    """
    How a handler is to be called.

    Args:
        is_class: whether it is built first, from ``needs``, for each message.
        publishes: whether it takes ``publish`` as its second parameter.
        needs: the dependencies: name of the parameter to its type.
    """

    is_class: bool
    publishes: bool
    needs: Mapping[str, Any]


def describe(handler: object) -> str:
    """Name a handler for an error message: ``function shop.orders.place_order``."""
    kind = "class" if inspect.isclass(handler) else "function" if inspect.isfunction(handler) else "object"
    target = handler if hasattr(handler, "__qualname__") else type(handler)
    return f"{kind} {target.__module__}.{target.__qualname__}"


def shape_of(handler: Handler, messages: tuple[type[Message], ...]) -> Shape:
    """Read how a handler is to be called, and refuse a shape that cannot work."""
    if inspect.isclass(handler):
        return _shape_of_class(handler, messages)
    if not callable(handler):
        raise InvalidHandler(f"{handler!r} cannot handle {_names(messages)}: it is not callable")
    parameters = _parameters(handler)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    _refuse_wrong_kind(handler, handler, messages)
    _refuse_wrong_positional(handler, positional)
    hints = hints_of(handler)
    if positional:
        _refuse_wrong_message(handler, hints.get(positional[0].name), messages)
    injected = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    return Shape(False, len(positional) == 2, _needs(handler, injected, hints))


def _shape_of_class(handler: type[Any], messages: tuple[type[Message], ...]) -> Shape:
    base = SyncRequestHandler if issubclass(messages[0], Request) else SyncEventHandler
    if not issubclass(handler, base):
        raise InvalidHandler(
            f"{describe(handler)} cannot handle {_names(messages)}: derive it from {base.__name__}, or register a function"
        )
    if handler.handle is base.handle:
        raise InvalidHandler(f"{describe(handler)} has no method handle(self, message)")
    _refuse_wrong_kind(handler, handler.handle, messages)
    method = _parameters(handler.handle)[1:]
    if len(method) != 1 or method[0].kind is method[0].KEYWORD_ONLY:
        raise InvalidHandler(
            f"{describe(handler)}.handle takes the message and nothing else; dependencies go into __init__"
        )
    _refuse_wrong_message(handler, hints_of(handler.handle).get(method[0].name), messages)
    if handler.__init__ is object.__init__:
        return Shape(True, False, {})
    required = [p for p in _parameters(handler.__init__)[1:] if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return Shape(True, False, _needs(handler, required, hints_of(handler.__init__)))


def _parameters(target: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        raise InvalidHandler(f"{describe(target)} has no signature that could be read") from None


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the type hints of a callable; those that cannot be resolved here stay strings."""
    while hasattr(target, "func"):  # functools.partial
        target = target.func
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = getattr(type(target), "__call__", target)
    try:
        return typing.get_type_hints(target)
    except Exception:  # noqa: BLE001 - a hint may run any code; unresolved ones are named where they are needed
        return dict(getattr(target, "__annotations__", {}))


def _needs(handler: Handler, parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> dict[str, Any]:
    needs = {}
    for parameter in parameters:
        if parameter.default is not parameter.empty:
            continue
        if parameter.name not in hints:
            raise InvalidHandler(
                f"{describe(handler)}: the parameter {parameter.name} has no type; dependencies are found by type"
            )
        needs[parameter.name] = hints[parameter.name]
    return needs


def _refuse_wrong_kind(handler: Handler, target: Callable[..., Any], messages: tuple[type[Message], ...]) -> None:
    called = target if inspect.isroutine(target) else getattr(type(target), "__call__", target)
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise InvalidHandler(
            f"{describe(handler)} is async; handlers are plain functions: write def, and asgiref's async_to_sync "
            "around what must be awaited"
        )
    if inspect.isgeneratorfunction(called):
        raise InvalidHandler(
            f"{describe(handler)} is a generator, which cannot answer {_names(messages)}; return the answer instead"
        )


def _refuse_wrong_positional(handler: Handler, positional: list[inspect.Parameter]) -> None:
    if not positional:
        raise InvalidHandler(f"{describe(handler)} takes no message; its first parameter is the message")
    if len(positional) > 2:
        raise InvalidHandler(
            f"{describe(handler)}: the parameter {positional[2].name} is positional; handlers take (message) or "
            f"(message, publish), and dependencies by keyword only: write * before {positional[2].name}"
        )


def _refuse_wrong_message(handler: Handler, hint: Any, messages: tuple[type[Message], ...]) -> None:
    """Refuse a first parameter whose type cannot take the message; what is no plain class is left to the checkers."""
    takes = typing.get_args(hint) if not inspect.isclass(hint) else (hint,)
    classes = tuple(origin for t in takes if inspect.isclass(origin := typing.get_origin(t) or t))
    if not classes:
        return
    for message in messages:
        if not issubclass(message, classes):
            names = " | ".join(c.__qualname__ for c in classes)
            raise InvalidHandler(f"{describe(handler)} takes {names}; it cannot handle {message.__qualname__}")


def _names(messages: tuple[type[Message], ...]) -> str:
    return ", ".join(m.__qualname__ for m in messages)
