"""What validators say, for every field at once and with its path: a constructor stops at the first."""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import attrs

from simplecqrs.conversion.annotations import class_of
from simplecqrs.conversion.layouts import Entry, Layout
from simplecqrs.conversion.problems import WrongValue, is_library_error, library_errors
from simplecqrs.errors import InvalidMessage

__all__ = ["attrs_refusals", "build", "constrained", "refusals", "struct_refusals"]

Refused = Iterator[tuple[str, Exception]]


def build(layout: Layout, values: Mapping[str, Any]) -> Any:
    """Make an instance of fields that are of their types.  Raises whatever its validators raise."""
    cls = typing.get_origin(layout.kind) or layout.kind
    if layout.library == "pydantic":
        return cls.model_validate(_by_alias(layout, values))
    made = cls(**{e.init: values[e.name] for e in layout.entries if e.name in values})
    if layout.library == "msgspec":
        for _, error in struct_refusals(layout, values):
            raise error
    return made


def refusals(layout: Layout, values: Mapping[str, Any], wrong: Collection[str]) -> Refused:
    """
    Ask the validators of each field, though others are wrong.

    Args:
        values: the fields that are of their types, by attribute.
        wrong: those that are not, or are missing.
    """
    if layout.library == "attrs":
        yield from attrs_refusals(_unvalidated(layout, values), values)
    elif layout.library == "msgspec":
        yield from struct_refusals(layout, values)
    elif layout.library == "pydantic":
        yield from _model_refusals(layout, values, {"." + e.keys[0] for e in layout.entries if e.name in wrong})


def _unvalidated(layout: Layout, values: Mapping[str, Any]) -> Any:
    """Make an instance that nobody has validated; its validators may look at it."""
    cls = typing.get_origin(layout.kind) or layout.kind
    instance = object.__new__(cls)
    for attribute in attrs.fields(cls):
        if attribute.name in values:
            convert: Any = attribute.converter
            value = values[attribute.name]
            object.__setattr__(instance, attribute.name, convert(value) if callable(convert) else value)
    return instance


def attrs_refusals(instance: Any, names: Collection[str]) -> Refused:
    """Ask each validator of an attrs instance by itself."""
    kind = class_of(instance)
    for attribute in attrs.fields(kind):
        if attribute.name in names and attribute.validator is not None:
            error = _ask(attribute, instance)
            if error is not None:
                yield f".{attribute.name}", error


def _ask(attribute: attrs.Attribute[Any], instance: Any) -> Exception | None:
    assert attribute.validator is not None
    try:
        attribute.validator(instance, attribute, getattr(instance, attribute.name))
    except AttributeError:  # it compares with a field that is wrong or missing
        return None
    except Exception as error:  # noqa: BLE001 - a validator may raise what it likes
        return WrongValue(str(error.args[0]) if error.args else type(error).__name__)
    return None


def struct_refusals(layout: Layout, values: Mapping[str, Any]) -> Refused:
    """Ask msgspec about the constraints of each field: its constructor looks at none of them."""
    for entry in constrained(layout):
        if entry.name in values:
            error = _converted(values[entry.name], entry)
            if error is not None:
                yield f".{entry.keys[0]}", error


@lru_cache(maxsize=1024)
def constrained(layout: Layout) -> tuple[Entry, ...]:
    """Return the fields of a struct that have constraints."""
    return tuple(e for e in layout.entries if _has_meta(e.hint))


def _has_meta(hint: Any) -> bool:
    kind = class_of(hint)
    if kind.__name__ == "Meta" and kind.__module__.startswith("msgspec"):
        return True
    return any(map(_has_meta, (*typing.get_args(hint), *getattr(hint, "__metadata__", ()))))


def _converted(value: Any, entry: Entry) -> Exception | None:
    import datetime as dates
    from decimal import Decimal
    from uuid import UUID

    import msgspec

    natural = (bytes, dates.datetime, dates.date, dates.time, dates.timedelta, UUID, Decimal)
    try:
        msgspec.convert(value, entry.hint, builtin_types=natural, from_attributes=True)
    except msgspec.ValidationError as error:
        return error
    except TypeError as error:  # constraints beside types that msgspec does not know
        raise InvalidMessage(f"msgspec cannot check the field {entry.name}: {error}") from None
    return None


def _by_alias(layout: Layout, values: Mapping[str, Any]) -> dict[str, Any]:
    keys = {entry.name: entry.keys[0] for entry in layout.entries}
    return {keys.get(name, name): value for name, value in values.items()}


def _model_refusals(layout: Layout, values: Mapping[str, Any], known: Collection[str]) -> Refused:
    """Validate the fields that are there; what pydantic misses in the others is known to be wrong already."""
    try:
        build(layout, values)
    except Exception as error:
        if not is_library_error(error):
            raise
        for path, reason in library_errors(error):
            if not (known and not path) and path not in known:
                yield path, reason
