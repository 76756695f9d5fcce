"""Fields of a message to those of a protobuf message and back, by their names."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from simplecqrs.codec.protobuf_layout import (
    BOOL,
    BYTES,
    DURATION,
    ENUM,
    MESSAGE,
    STRING,
    TIMESTAMP,
    WRAPPERS,
    Field,
    fields_of,
    parts_of,
)
from simplecqrs.conversion.annotations import may_be_unset

__all__ = ["fill", "plain"]


def fill(made: Any, data: Mapping[str, Any], kind: Any) -> None:
    """
    Write plain data into a protobuf message.

    Raises:
        ValueError: if a field cannot hold it; begins with the field's path.
    """
    fields = fields_of(kind, made.DESCRIPTOR)
    for name, value in data.items():
        try:
            if name not in fields:
                raise ValueError(f"{made.DESCRIPTOR.full_name} has no such field")
            _put(made, fields[name], value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name}{_beneath(error)}") from None


def _beneath(error: Exception) -> str:
    """Return an error's text, behind a colon or, if it has a path, behind a dot."""
    text = str(error)
    return f".{text}" if isinstance(error, _Deep) else f": {text}"


class _Deep(ValueError):
    """Raised for a field of a message within the message."""


def _put(made: Any, field: Field, value: Any) -> None:
    name = field.made.name
    if value is None:
        if not field.made.has_presence:
            raise ValueError("None cannot be said; make it optional")
        if may_be_unset(field.hint):
            raise ValueError("None and UNSET are the same in protobuf")
        return
    if field.is_map:
        _put_map(getattr(made, name), field, value)
    elif field.is_repeated:
        # A set has another order in each process; the same message is to have the same bytes.
        _put_list(getattr(made, name), field, sorted(value, key=repr) if field.is_set else value)
    elif field.made.type == MESSAGE:
        inner = getattr(made, name)
        inner.SetInParent()
        _put_message(inner, field, value)
    else:
        setattr(made, name, _scalar(field, value))


def _put_list(made: Any, field: Field, values: Any) -> None:
    for value in values:
        if field.made.type == MESSAGE:
            _put_message(made.add(), field, value)
        else:
            made.append(_scalar(field, value))


def _put_map(made: Any, field: Field, values: Mapping[str, Any]) -> None:
    key, inner = field.key, field.value
    assert key is not None
    assert inner is not None
    for name, value in values.items():
        place = name if key.made.type == STRING else name in (True, "true") if key.made.type == BOOL else int(name)
        if inner.made.type == MESSAGE:
            _put_message(made[place], inner, value)
        else:
            made[place] = _scalar(inner, value)


def _put_message(made: Any, field: Field, value: Any) -> None:
    name = made.DESCRIPTOR.full_name
    if name == TIMESTAMP:
        made.FromDatetime(datetime.fromisoformat(value))
    elif name == DURATION:
        made.FromTimedelta(timedelta(seconds=value))
    elif name in WRAPPERS:
        made.value = _scalar(field.value or field, value)
    else:
        try:
            fill(made, value, field.cls)
        except ValueError as error:
            raise _Deep(*error.args) from None


def _scalar(field: Field, value: Any) -> Any:
    if field.made.type == BYTES:
        return b64decode(value)
    if field.made.type != ENUM or not isinstance(value, str):
        return value
    names = field.made.enum_type.values_by_name
    name = value if value in names or field.choices is None else field.choices(value).name
    if name not in names:
        raise ValueError(f"{field.made.enum_type.full_name} has no {value!r}")
    return names[name].number


def plain(made: Any, kind: Any) -> dict[str, Any]:
    """
    Return a protobuf message as plain data, as JSON would have it, for a class.

    Raises:
        ValueError: if a time in it is out of range.
    """
    data: dict[str, Any] = {}
    for name, field in fields_of(kind, made.DESCRIPTOR).items():
        if not field.made.has_presence or made.HasField(name):
            data[name] = _take(getattr(made, name), field)
        elif field.may_be_none and not may_be_unset(field.hint):
            data[name] = None
    return data


def _take(value: Any, field: Field) -> Any:
    if field.is_map:
        return {_key(name): _take_one(value[name], field.value or field) for name in value}
    return [_take_one(item, field) for item in value] if field.is_repeated else _take_one(value, field)


def _key(name: Any) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def _take_one(value: Any, field: Field) -> Any:
    if field.made.type == MESSAGE:
        return _take_message(value, field)
    if field.made.type == BYTES:
        return b64encode(value).decode()
    return _choice(value, field) if field.made.type == ENUM else value


def _take_message(value: Any, field: Field) -> Any:
    name = value.DESCRIPTOR.full_name
    if name == TIMESTAMP:
        return value.ToDatetime(tzinfo=timezone.utc).isoformat()
    if name == DURATION:
        return value.ToTimedelta() / timedelta(seconds=1)
    if name in WRAPPERS:
        return _take_one(value.value, field.value or field)
    return plain(value, field.cls)


def _choice(number: int, field: Field) -> Any:
    """Return what the class calls a value of an enumeration: its value, by the same name or value; or the number."""
    found = field.made.enum_type.values_by_number.get(number)
    if found is None:
        return number
    if field.choices is None:
        return number if int in parts_of(field.hint) else found.name
    if found.name in {member.value for member in field.choices}:
        return found.name
    named = field.choices.__members__.get(found.name)
    return number if named is None else named.value
