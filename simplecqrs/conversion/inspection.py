"""What can be known to be wrong with a class before anything is converted."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from simplecqrs.conversion.layouts import has_layout, layout_of, members
from simplecqrs.conversion.unions import look_alikes
from simplecqrs.errors import InvalidMessage
from simplecqrs.hints import is_union

__all__ = ["problems_of"]


def problems_of(kind: type[Any]) -> list[str]:
    """Return the fields of a class, and of classes within it, whose type cannot be known from JSON."""
    return list(_of_class(kind, set())) if has_layout(kind) else []


def _of_class(kind: Any, seen: set[Any]) -> Iterator[str]:
    if kind in seen:
        return
    seen.add(kind)
    try:
        entries = layout_of(kind).entries
    except InvalidMessage as error:
        yield str(error)
        return
    for entry in entries:
        name = getattr(typing.get_origin(kind) or kind, "__qualname__", repr(kind))
        yield from _of_hint(entry.hint, f"{name}.{entry.name}", seen)


def _of_hint(hint: Any, place: str, seen: set[Any]) -> Iterator[str]:
    if has_layout(hint):
        yield from _of_class(hint, seen)
        return
    parts: tuple[Any, ...] = typing.get_args(hint)
    if is_union(hint):
        parts = members(hint)
        try:
            problem = look_alikes(hint)
        except InvalidMessage as error:
            problem = str(error)
        if problem:
            yield f"{place}: {problem}"
    for part in parts:
        if not isinstance(part, (str, int, bytes)):  # the values of a literal
            yield from _of_hint(part, place, seen)
