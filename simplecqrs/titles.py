"""What handlers, classes and types are called in pictures: short, as a person would."""

from __future__ import annotations

import inspect
import typing
from functools import partial
from typing import Any

from simplecqrs.handlers import is_combined
from simplecqrs.hints import is_union

__all__ = ["title", "type_title"]


def title(handler: Any) -> str:
    """Name a handler, or any callable, without its module: ``place_order``, ``chain(by_voucher, by_card)``."""
    if is_combined(handler):
        return f"{type(handler).__name__.lower()}({', '.join(map(title, handler.links))})"
    if isinstance(handler, partial):
        return title(handler.func)
    if isinstance(handler, type) or inspect.isroutine(handler):
        return _local(handler.__qualname__)
    return type(handler).__qualname__


def type_title(hint: Any) -> str:
    """Name a type without its module: ``list[Order]``, ``int | None``."""
    if hint is None or hint is type(None):
        return "None"
    if isinstance(hint, (str, typing.ForwardRef)):
        return hint if isinstance(hint, str) else hint.__forward_arg__
    arguments = typing.get_args(hint)
    if is_union(hint):
        return " | ".join(map(type_title, arguments))
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is typing.Annotated:
        return type_title(arguments[0])
    if origin is not None and arguments:
        return f"{type_title(origin)}[{', '.join(map(type_title, arguments))}]"
    if isinstance(hint, (list, tuple)):  # the parameters of a Callable
        return f"[{', '.join(map(type_title, hint))}]"  # pyright: ignore[reportUnknownArgumentType]
    return "..." if hint is Ellipsis else _local(getattr(hint, "__qualname__", None) or str(hint))


def _local(name: str) -> str:
    """Leave out the function in which something is defined."""
    return name.rpartition("<locals>.")[2]
