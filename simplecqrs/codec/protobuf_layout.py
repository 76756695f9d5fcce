"""The fields of a protobuf message beside those of a class, by their names, and what does not fit."""

from __future__ import annotations

import enum
import typing
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, Final

from attrs import frozen

from simplecqrs.conversion.annotations import bare, members
from simplecqrs.conversion.layouts import has_layout, layout_of, read_layout

__all__ = ["Field", "fields_of", "mismatches", "parts_of"]

#: Kinds of fields, as ``FieldDescriptor`` numbers them.
BOOL, STRING, MESSAGE, BYTES, ENUM = 8, 9, 11, 12, 14
#: The label of lists, which old releases have.
REPEATED: Final = 3
TIMESTAMP: Final = "google.protobuf.Timestamp"
DURATION: Final = "google.protobuf.Duration"
WRAPPERS: Final = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)


@frozen(eq=False)
class Field:
    """
    A field of a protobuf message, and what the class says that it holds.

    Args:
        is_map: it is a dict, of entries with a key and a value.
        is_set: the class has a set where the message has a list.
        cls: the class with fields that is in the hint.
        choices: the enumeration that is in the hint.
        key: that of a map.
        value: that of a map, or what a wrapper is about.
    """

    made: Any
    hint: Any
    may_be_none: bool
    is_map: bool
    is_repeated: bool
    is_set: bool
    cls: Any
    choices: type[enum.Enum] | None
    key: Field | None = None
    value: Field | None = None


def field_of(made: Any, hint: Any) -> Field:
    is_message = made.type == MESSAGE
    is_map = is_message and bool(made.message_type.GetOptions().map_entry)
    holds_one = is_map or (is_message and made.message_type.full_name in WRAPPERS)
    inner: Any = made.message_type.fields_by_name if holds_one else None
    repeated = getattr(made, "is_repeated", None)  # old releases have a label, new ones have not
    parts = list(parts_of(hint))
    return Field(
        made=made,
        hint=hint,
        may_be_none=type(None) in [bare(member) for member in members(hint)],
        is_map=is_map,
        is_repeated=made.label == REPEATED if repeated is None else bool(repeated),
        is_set=any(issubclass(_origin(part), AbstractSet) for part in parts),
        cls=next((part for part in parts if has_layout(part)), None),
        choices=next((part for part in parts if isinstance(part, type) and issubclass(part, enum.Enum)), None),
        key=field_of(inner["key"], Any) if is_map else None,
        value=field_of(inner["value"], hint) if holds_one else None,
    )


def _origin(part: Any) -> type:
    origin: Any = typing.get_origin(part) or part
    return origin if isinstance(origin, type) else object


def parts_of(hint: Any) -> Iterator[Any]:
    """Go through a type hint and all that it consists of."""
    yield bare(hint)
    for part in typing.get_args(bare(hint)):
        if not isinstance(part, (str, int, bytes)):
            yield from parts_of(part)


@lru_cache(maxsize=1024)
def fields_of(kind: Any, descriptor: Any) -> dict[str, Field]:
    """Return those fields of a protobuf message that a class has as well; all, if nobody knows the class."""
    hints = {} if kind is None else {entry.keys[0]: entry.hint for entry in layout_of(kind).entries}
    return {f.name: field_of(f, hints.get(f.name, Any)) for f in descriptor.fields if kind is None or f.name in hints}


def mismatches(kind: Any, descriptor: Any, seen: frozenset[Any] = frozenset()) -> Iterator[str]:
    """Tell which fields of a class a protobuf message of this type cannot hold."""
    if (kind, descriptor.full_name) in seen:
        return
    seen |= {(kind, descriptor.full_name)}
    for entry in read_layout(kind).entries:
        found = descriptor.fields_by_name.get(entry.keys[0])
        place = f"{kind.__qualname__}.{entry.name}"
        if found is None:
            yield f"{place}: {descriptor.full_name} has no field {entry.keys[0]!r}"
            continue
        field = field_of(found, entry.hint)
        if field.may_be_none and not found.has_presence:
            yield f"{place} may be None, which {descriptor.full_name} cannot say; make that field optional"
        yield from _beneath_message(field, place, seen)


def _beneath_message(field: Field, place: str, seen: frozenset[Any]) -> Iterator[str]:
    inner = (field.value or field).made
    if inner.type != MESSAGE or inner.message_type.full_name in {TIMESTAMP, DURATION}:
        return
    name = inner.message_type.full_name
    if field.cls is None or name.startswith("google.protobuf."):
        yield f"{place} cannot be made of {name} by names alone"
    else:
        yield from mismatches(field.cls, inner.message_type, seen)
