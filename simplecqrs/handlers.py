"""What a handler looks like: functions, classes, and the check of their shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from simplecqrs.ambient import publish_here
from simplecqrs.errors import InvalidHandler
from simplecqrs.hints import call_of, classes_in, hints_of, is_async
from simplecqrs.messages import Event, Message, Request

__all__ = [
    "Buildable",
    "Handler",
    "Publish",
    "Shape",
    "SyncEventHandler",
    "SyncRequestHandler",
    "describe",
    "is_buildable",
    "shape_of",
]

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


def is_buildable(handler: object) -> bool:
    """Tell whether a handler is made of handlers; a class that happens to have a method ``build`` is not."""
    return not inspect.isclass(handler) and hasattr(handler, "build")


@frozen(eq=False, repr=False)  # each method that attrs writes costs at import
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
    if isinstance(handler, type):
        return f"class {handler.__module__}.{handler.__qualname__}"
    if inspect.isfunction(handler) or inspect.ismethod(handler):
        return f"function {handler.__module__}.{handler.__qualname__}"
    return f"object {type(handler).__module__}.{type(handler).__qualname__}"


def shape_of(handler: Handler, messages: tuple[type[Message], ...]) -> Shape:
    """Read how a handler is to be called, and refuse a shape that cannot work."""
    if inspect.isclass(handler):
        return _shape_of_class(handler, messages)
    if not callable(handler):
        raise InvalidHandler(
            f"{handler!r} cannot handle {_names(messages)}: it is not callable; register a function or a class"
        )
    parameters = _parameters(handler)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    _refuse_wrong_kind(handler, handler, messages)
    _refuse_wrong_positional(handler, positional)
    hints = hints_of(handler)
    _refuse_wrong_message(handler, hints.get(positional[0].name), messages)
    if len(positional) == 2:
        _refuse_wrong_publish(handler, positional[1], hints)
    injected = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    return Shape(False, len(positional) == 2, _needs(handler, injected, hints))


def _shape_of_class(handler: type[Any], messages: tuple[type[Message], ...]) -> Shape:
    base: type[Any] = SyncRequestHandler if issubclass(messages[0], Request) else SyncEventHandler
    if not issubclass(handler, base):
        raise InvalidHandler(
            f"{describe(handler)} cannot handle {_names(messages)}: derive it from {base.__name__}, or register a "
            "function"
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
    return Shape(True, False, _needs(handler, required, hints_of(handler)))


def _parameters(target: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        raise InvalidHandler(f"{describe(target)} has no signature that could be read") from None


def _needs(handler: Handler, parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> dict[str, Any]:
    needs: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.default is not parameter.empty:
            continue
        if parameter.name not in hints:
            raise InvalidHandler(
                f"{describe(handler)}: the parameter {parameter.name} has no type; dependencies are found by type: "
                f"write {parameter.name}: SomeType"
            )
        needs[parameter.name] = hints[parameter.name]
    return needs


def _refuse_wrong_kind(handler: Handler, target: Callable[..., Any], messages: tuple[type[Message], ...]) -> None:
    if is_async(target):
        raise InvalidHandler(
            f"{describe(handler)} is async; handlers are plain functions: write def, and asgiref's async_to_sync "
            "around what must be awaited"
        )
    if inspect.isgeneratorfunction(target) or inspect.isgeneratorfunction(call_of(target)):
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
    classes = classes_in(hint)
    if classes is None:
        return
    for message in messages:
        if not issubclass(message, classes):
            names = " | ".join(c.__qualname__ for c in classes)
            raise InvalidHandler(f"{describe(handler)} takes {names}; it cannot handle {message.__qualname__}")


def _refuse_wrong_publish(handler: Handler, second: inspect.Parameter, hints: Mapping[str, Any]) -> None:
    """Refuse a second parameter that asks for something else than ``publish``."""
    for cls in classes_in(hints.get(second.name)) or ():
        if cls is not object and "__call__" not in dir(cls):
            raise InvalidHandler(
                f"{describe(handler)}: the second parameter is publish, and {second.name} is a {cls.__qualname__}; "
                f"dependencies are taken by keyword only: write * before {second.name}"
            )


def _names(messages: tuple[type[Message], ...]) -> str:
    return ", ".join(m.__qualname__ for m in messages)
