"""The fields of a class, whatever it was made with, and the types that they are said to have."""

from __future__ import annotations

import typing
from typing import Any

import attrs

from simplecqrs.hints import resolve_in

__all__ = ["fields_of"]


def fields_of(cls: type[Any]) -> dict[str, Any]:
    """
    Return the fields of an attrs class, dataclass, pydantic model, msgspec struct or annotated class, with their types.

    A type that cannot be found stays the text that was written; a field without one is ``Any``.
    """
    found: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        for name, hint in vars(owner).get("__annotations__", {}).items():
            if not name.startswith("_") and not _is_of_class(hint):
                found[name] = resolve_in(owner, hint)
    if attrs.has(cls):
        found = {field.name: found.get(field.name, field.type or Any) for field in attrs.fields(cls)}
    return found


def _is_of_class(hint: Any) -> bool:
    """Tell whether an annotation is about the class, and so about no field."""
    return typing.get_origin(hint) is typing.ClassVar or "ClassVar" in str(hint).partition("[")[0]
