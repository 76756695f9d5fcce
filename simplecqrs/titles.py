"""What handlers, classes and types are called in pictures: short, as a person would."""

from __future__ import annotations

import inspect
import typing
from functools import partial
from typing import Any, Final

from simplecqrs.handlers import is_combined
from simplecqrs.hints import is_union

__all__ = ["title", "type_title"]

PLAIN: Final[dict[Any, str]] = {None: "None", type(None): "None", Ellipsis: "...", typing.Any: "Any"}


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
    if isinstance(hint, (str, typing.ForwardRef)):
        return hint if isinstance(hint, str) else hint.__forward_arg__
    if isinstance(hint, list):  # the parameters of a Callable
        return f"[{', '.join(map(type_title, hint))}]"  # pyright: ignore[reportUnknownArgumentType]
    if is_union(hint):
        return " | ".join(map(type_title, typing.get_args(hint)))
    return _generic(hint) or PLAIN.get(hint) or _local(getattr(hint, "__qualname__", None) or str(hint))


def _generic(hint: Any) -> str:
    """Name a type with parameters; empty if it has none."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is typing.Annotated:
        return type_title(arguments[0])
    return f"{type_title(origin)}[{', '.join(map(type_title, arguments))}]" if origin and arguments else ""


def _local(name: str) -> str:
    """Leave out the function in which something is defined."""
    return name.rpartition("<locals>.")[2]
