"""What can be known to be wrong with a class before anything is converted."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from simplecqrs.conversion.annotations import members
from simplecqrs.conversion.layouts import has_layout, is_root_model, layout_of, read_layout
from simplecqrs.conversion.scalars import is_plain_class
from simplecqrs.conversion.unions import look_alikes
from simplecqrs.errors import InvalidMessage
from simplecqrs.hints import is_union
from simplecqrs.messages import Message

__all__ = ["holds_anything", "problems_of", "refuse_without_fields"]

#: Collections of which it was not said what they hold.
BARE = (list, dict, tuple, set, frozenset)


def problems_of(kind: type[Any]) -> list[str]:
    """Return the fields of a class, and of classes within it, whose type cannot be known from JSON."""
    return list(_of_class(kind, set())) if has_layout(kind) else []


def refuse_without_fields(kind: type[Any]) -> None:
    """Refuse a message class that nothing has made fields for: there is nothing to write or to read."""
    if is_plain_class(kind) and issubclass(kind, Message) and not has_layout(kind) and not is_root_model(kind):
        raise InvalidMessage(
            f"{kind.__qualname__} is a plain class, whose fields nobody knows; decorate it with @attrs.frozen, or make "
            "it a dataclass, a pydantic model or a msgspec struct"
        )


def _of_class(kind: Any, seen: set[Any]) -> Iterator[str]:
    if kind in seen:
        return
    seen.add(kind)
    try:
        entries = read_layout(kind).entries  # a start-up check keeps no class alive
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


@lru_cache(maxsize=1024)
def holds_anything(kind: Any) -> bool:
    """Tell whether a class may hold data whose types nobody has said."""
    return _is_anything(kind, set())


def _is_anything(hint: Any, seen: set[Any]) -> bool:
    if has_layout(hint):
        if hint in seen:
            return False
        seen.add(hint)
        layout = layout_of(hint)
        return layout.open or any(_is_anything(entry.hint, seen) for entry in layout.entries)
    parts = [part for part in typing.get_args(hint) if not isinstance(part, (str, int, bytes))]
    return hint in (Any, object) or hint in BARE or any(_is_anything(part, seen) for part in parts)
