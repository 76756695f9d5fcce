"""What a handler looks like: functions, classes, and the check of their shape."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from simplecqrs.dispatch import publish_here
from simplecqrs.errors import InvalidHandler
from simplecqrs.messages import Event, Message, Request

__all__ = [
    "Buildable",
    "Handler",
    "Publish",
    "Shape",
    "SyncEventHandler",
    "SyncRequestHandler",
    "describe",
    "hints_of",
    "is_async",
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
    return Shape(True, False, _needs(handler, required, _init_hints(handler)))


def _parameters(target: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        raise InvalidHandler(f"{describe(target)} has no signature that could be read") from None


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """
    Return the type hints of what a callable takes; those that cannot be resolved here stay strings.

    Those of a class are the ones of its ``__init__``.
    """
    while isinstance(target, partial):
        target = target.func
    if isinstance(target, type):
        return _init_hints(target)
    if not inspect.isroutine(target):
        target = _call_of(target)
    return _resolved(target, getattr(inspect.unwrap(target), "__globals__", {}))


def _init_hints(cls: type[Any]) -> dict[str, Any]:
    """Resolve in the module of the class: an ``__init__`` that attrs has written belongs to none."""
    owner = next(c for c in cls.__mro__ if "__init__" in vars(c))
    module = sys.modules.get(owner.__module__)
    return _resolved(vars(owner)["__init__"], vars(module) if module is not None else {})


def _resolved(target: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    hints = dict(getattr(inspect.unwrap(target), "__annotations__", {}))
    return {name: _resolve(hint, names) for name, hint in hints.items()}


def _resolve(hint: Any, names: Mapping[str, Any]) -> Any:
    """Resolve one hint at a time, so that one that is imported for checkers only does not hide the others."""
    try:
        return typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": hint}), dict(names))["it"]
    except Exception:  # a hint may run any code
        return hint


def _call_of(instance: object) -> Any:
    return getattr(type(instance), "__call__", instance)  # noqa: B004 - the function itself is asked for


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
    if inspect.isgeneratorfunction(target) or inspect.isgeneratorfunction(_call_of(target)):
        raise InvalidHandler(
            f"{describe(handler)} is a generator, which cannot answer {_names(messages)}; return the answer instead"
        )


def is_async(target: Callable[..., Any]) -> bool:
    """Tell whether calling a function, a partial or an object gives something to await."""
    return any(
        inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)
        for called in (target, _call_of(target))
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
    classes = _classes_in(hint)
    if classes is None:
        return
    for message in messages:
        if not issubclass(message, classes):
            names = " | ".join(c.__qualname__ for c in classes)
            raise InvalidHandler(f"{describe(handler)} takes {names}; it cannot handle {message.__qualname__}")


def _refuse_wrong_publish(handler: Handler, second: inspect.Parameter, hints: Mapping[str, Any]) -> None:
    """Refuse a second parameter that asks for something else than ``publish``."""
    classes = _classes_in(hints.get(second.name)) or ()
    if any("__call__" not in dir(cls) for cls in classes if cls is not object):
        raise InvalidHandler(
            f"{describe(handler)}: the second parameter is publish, and {second.name} is a "
            f"{classes[0].__qualname__}; dependencies are taken by keyword only: write * before {second.name}"
        )


def _classes_in(hint: Any) -> tuple[type[Any], ...] | None:
    """Return the classes of a type hint, those of a union; None if there is anything that is no plain class."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [_classes_in(part) for part in typing.get_args(hint)]
        return None if None in parts else tuple(cls for part in parts for cls in part or ())
    kind = typing.get_origin(hint) or hint
    if not isinstance(kind, type) or kind is Any or getattr(kind, "_is_protocol", False):
        return None
    return (kind,)


def _names(messages: tuple[type[Message], ...]) -> str:
    return ", ".join(m.__qualname__ for m in messages)
