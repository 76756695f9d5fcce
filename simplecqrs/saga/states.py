"""A saga's state: whether it may be shared, and fresh copies of one that may not."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import attrs

from simplecqrs.codec.port import Codec
from simplecqrs.saga.records import Packed, Record

__all__ = ["field_names", "fresh", "is_frozen", "pack", "plain_problems", "unpack"]

#: Objects that nobody can change.
PLAIN: Final = (
    str, bytes, int, float, complex, bool, type(None), Decimal, Fraction, date, time, timedelta, tzinfo, UUID, PurePath,
    enum.Enum,
)  # fmt: skip
#: Objects that hold others.
COLLECTIONS: Final = (list, tuple, dict, set, frozenset, bytearray, Mapping)


def is_frozen(cls: type[Any]) -> bool:
    """
    Tell whether objects of a class cannot be changed, so that a step that fails leaves nothing in them.

    One with a field that is a list can be.
    """
    return _is_frozen(cls, set())


def _is_frozen(kind: Any, seen: set[Any]) -> bool:
    origin = get_origin(kind)
    if origin is not None:
        return _is_frozen_alias(origin, get_args(kind), seen)
    if not inspect.isclass(kind):
        return False
    if issubclass(kind, PLAIN) or kind in seen:
        return True
    seen.add(kind)
    if not _refuses_changes(kind):
        return False
    try:
        hints = get_type_hints(kind)
    except Exception:  # noqa: BLE001 - names that cannot be found say nothing of what they are
        return False
    return all(name in hints and _is_frozen(hints[name], seen) for name in field_names(kind))


def _is_frozen_alias(origin: Any, parts: Iterable[Any], seen: set[Any]) -> bool:
    if origin is Literal:
        return True
    if origin in (Union, UnionType, tuple, frozenset):
        return all(part is Ellipsis or _is_frozen(part, seen) for part in parts)
    return False


def _refuses_changes(kind: type[Any]) -> bool:
    if attrs.has(kind):
        return getattr(kind.__setattr__, "__name__", "") == "_frozen_setattrs"
    if getattr(kind, "_fields", None) is not None:
        return issubclass(kind, tuple)
    settings = getattr(kind, "__dataclass_params__", None) or getattr(kind, "__struct_config__", None)
    if settings is not None:
        return bool(settings.frozen)
    return bool(getattr(kind, "model_config", {}).get("frozen"))  # pydantic's


def field_names(kind: type[Any]) -> list[str]:
    """Return the fields of a class of attrs, dataclasses, NamedTuple, msgspec or pydantic; of others, none."""
    if attrs.has(kind):
        return [field.name for field in attrs.fields(kind)]
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    names: Any = (
        getattr(kind, "_fields", None)
        or getattr(kind, "__struct_fields__", None)
        or getattr(kind, "model_fields", None)
        or ()
    )
    return list(names)


def plain_problems(kind: Any, place: str = "", seen: set[Any] | None = None) -> Iterator[str]:
    """Say which classes of a state, and of its fields, are such that nobody knows what to store of their objects."""
    seen = set() if seen is None else seen
    if get_origin(kind) is not None:
        for part in get_args(kind):
            yield from plain_problems(part, place, seen)
        return
    if not inspect.isclass(kind) or kind in seen or issubclass(kind, (*PLAIN, *COLLECTIONS)) or kind in (object, Any):
        return
    seen.add(kind)
    names = field_names(kind)
    if (
        not names
        and not attrs.has(kind)
        and not dataclasses.is_dataclass(kind)
        and not hasattr(kind, "__struct_fields__")
    ):
        where = f"{place}: " if place else ""
        yield (
            f"{where}{kind.__qualname__} is a plain class, whose fields nobody knows; decorate it with @attrs.frozen, "
            "or make it a dataclass, a pydantic model or a msgspec struct"
        )
    try:
        hints = get_type_hints(kind)
    except Exception:  # noqa: BLE001 - the codec says so, if it needs them
        return
    for name in names:
        yield from plain_problems(hints.get(name), f"{kind.__qualname__}.{name}", seen)


def fresh(state: Any, codec: Codec) -> Any:
    """Return a state like this one that nobody else has."""
    kind: type[Any] = state.__class__
    return codec.decode(kind, codec.encode(state))


def pack(state: Any, codec: Codec) -> bytes:
    """Return a state as bytes, whether it has been unpacked or not."""
    return state.data if type(state) is Packed else codec.encode(state)


def unpack(record: Record, kind: type[Any], codec: Codec) -> None:
    """Make objects of a record's states; raises InvalidPayload if one does not fit its class any more."""
    record.state = _unpacked(record.state, kind, codec)
    for name, known in record.progress.items():
        if known.state is not None:
            record.progress[name] = known._replace(state=_unpacked(known.state, kind, codec))


def _unpacked(state: Any, kind: type[Any], codec: Codec) -> Any:
    return codec.decode(kind, state.data) if type(state) is Packed else state
