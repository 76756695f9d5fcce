"""How a handler is to be called, read from its signature, and the shapes that cannot work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_origin

from attrs import frozen

from simplecqrs.errors import InvalidHandler
from simplecqrs.handlers import (
    Handler,
    SyncEventHandler,
    SyncRequestHandler,
    SyncStreamHandler,
    describe,
    is_combined,
)
from simplecqrs.hints import call_of, classes_in, hints_of, is_async
from simplecqrs.messages import Event, Message, Stream

__all__ = ["Part", "Shape", "parts_of", "shape_of"]


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


#: A function or a class that handles, and its shape.
Part = tuple[Handler, Shape]


def parts_of(handler: Any, messages: tuple[type[Message], ...], *, linked: bool = False) -> tuple[Part, ...]:
    """
    Return the functions and classes that a handler is made of, mostly itself; refuse shapes that cannot work.

    Args:
        linked: whether it is a link of another handler.
    """
    if is_combined(handler):
        handler.refuse(is_stream=issubclass(messages[0], Stream))
        return tuple(part for link in handler.links for part in parts_of(link, handler.takes or messages, linked=True))
    return ((handler, shape_of(handler, messages, linked=linked)),)


def shape_of(handler: Handler, messages: tuple[type[Message], ...], *, linked: bool = False) -> Shape:
    """
    Read how a handler is to be called, and refuse a shape that cannot work.

    Args:
        linked: whether it is a link, which need not answer.
    """
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
    if issubclass(messages[0], Stream) and not linked:
        _refuse_no_iterator(handler, handler, hints.get("return"))
    _refuse_wrong_message(handler, hints.get(positional[0].name), messages)
    if len(positional) == 2:
        _refuse_wrong_publish(handler, positional[1], hints)
    injected = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    return Shape(False, len(positional) == 2, _needs(handler, injected, hints))


def _shape_of_class(handler: type[Any], messages: tuple[type[Message], ...]) -> Shape:
    base: type[Any] = _base_of(messages[0])
    if not issubclass(handler, base):
        raise InvalidHandler(
            f"{describe(handler)} cannot handle {_names(messages)}: derive it from {base.__name__}, or register a "
            "function"
        )
    if handler.handle is base.handle:
        raise InvalidHandler(f"{describe(handler)} has no method handle(self, message)")
    _refuse_wrong_kind(handler, handler.handle, messages)
    if base is SyncStreamHandler:
        _refuse_no_iterator(handler, handler.handle, hints_of(handler.handle).get("return"))
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


def _base_of(message: type[Message]) -> type[Any]:
    if issubclass(message, Stream):
        return SyncStreamHandler
    return SyncEventHandler if issubclass(message, Event) else SyncRequestHandler


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
    if _is_generator(target) and not issubclass(messages[0], Stream):
        raise InvalidHandler(
            f"{describe(handler)} is a generator, which cannot answer {_names(messages)}; return the answer instead, "
            "or derive the message from Stream"
        )


def _is_generator(target: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(target) or inspect.isgeneratorfunction(call_of(target))


def _refuse_no_iterator(handler: Handler, target: Callable[..., Any], answer: Any) -> None:
    """Refuse the handler of a stream that is no generator and does not say that it returns an iterator."""
    kind = get_origin(answer) or answer
    if not _is_generator(target) and not (isinstance(kind, type) and issubclass(kind, Iterator)):
        raise InvalidHandler(
            f"{describe(handler)} is no generator, but handles a stream: yield the items, or annotate what it returns "
            "as Iterator[...]"
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
    if second.default is not second.empty:
        raise InvalidHandler(
            f"{describe(handler)}: the second parameter is publish, which would replace the default of {second.name}; "
            f"write * before {second.name}"
        )
    for cls in classes_in(hints.get(second.name)) or ():
        if cls is not object and "__call__" not in dir(cls):
            raise InvalidHandler(
                f"{describe(handler)}: the second parameter is publish, and {second.name} is a {cls.__qualname__}; "
                f"dependencies are taken by keyword only: write * before {second.name}"
            )


def _names(messages: tuple[type[Message], ...]) -> str:
    return ", ".join(m.__qualname__ for m in messages)
