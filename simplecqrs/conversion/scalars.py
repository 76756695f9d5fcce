"""Values that are one piece in JSON: numbers, text, and what is written as text."""

from __future__ import annotations

import enum
import inspect
import math
import typing
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simplecqrs.conversion.problems import WrongValue

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["add_scalars", "enum_member", "is_enum", "is_literal", "is_plain_class", "literal_values"]

Hook = Callable[[Any, Any], Any]


def add_scalars(made: Converter) -> None:
    """Teach a converter all of them: lossless one way, nothing coerced the other way."""
    for kind in (int, str, bool):
        made.register_structure_hook(kind, _exact(kind))
    made.register_structure_hook(float, _float)
    made.register_unstructure_hook(float, _finite)
    for kind, write, read in TEXTS:
        made.register_unstructure_hook(kind, write)
        made.register_structure_hook(kind, _text_hook(kind, read))
    made.register_unstructure_hook(timedelta, _total_seconds)
    made.register_structure_hook(timedelta, _seconds)
    made.register_structure_hook_func(is_enum, enum_member)
    made.register_structure_hook_func(is_literal, _literal)


def _exact(kind: type[Any]) -> Hook:
    """Accept a value of just this type: cattrs alone makes True of "false" and 2 of 2.9."""

    def hook(value: Any, target: Any) -> Any:
        if type(value) is not kind:
            if type(value) is target:  # a subclass, as it is
                return value
            raise WrongValue(f"{kind.__name__} expected, not {type(value).__name__}")
        return value if target is kind or not isinstance(target, type) else target(value)

    return hook


def _float(value: Any, target: Any) -> Any:
    if type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            raise WrongValue("a finite number expected") from None
    if not isinstance(value, float):
        raise WrongValue(f"float expected, not {type(value).__name__}")
    if not math.isfinite(value):
        raise WrongValue("a finite number expected")
    return target(value) if isinstance(target, type) and type(value) is not target else value


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise WrongValue("a finite number expected; others are not JSON compliant")
    return value


def _text_hook(kind: type[Any], read: Callable[[str], Any]) -> Hook:
    def hook(value: Any, target: Any) -> Any:
        if isinstance(value, str):
            try:
                return read(value)
            except WrongValue:
                raise
            except (ValueError, ArithmeticError):
                raise WrongValue(f"{kind.__name__} expected, not {value[:60]!r}") from None
        if type(value) is not kind:
            raise WrongValue(f"{kind.__name__} expected, as text")
        if kind is datetime:
            _refuse_naive(value)
        if kind is Decimal:
            _refuse_infinite(value)
        return value

    return hook


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise WrongValue(f"Decimal expected, not {text[:60]!r}") from None
    _refuse_infinite(number)
    return number


def _decimal_text(number: Decimal) -> str:
    _refuse_infinite(number)
    return str(number)


def _refuse_infinite(number: Decimal) -> None:
    if not number.is_finite():
        raise WrongValue("a finite number expected")


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1:] == "Z" else text)  # Python 3.10 reads no Z
    _refuse_naive(moment)
    return moment


def _aware_text(moment: datetime) -> str:
    text = moment.isoformat()
    if text[-6] not in "+-" and moment.utcoffset() is None:  # asked for last, since it takes longest
        raise ValueError(f"{moment!r} has no time zone; use datetime.now(timezone.utc)")
    return text


def _refuse_naive(moment: datetime) -> None:
    if moment.utcoffset() is None:
        raise WrongValue("a time zone is missing")


def _seconds(value: Any, _: Any) -> timedelta:
    if type(value) is timedelta:
        return value
    if type(value) not in (int, float):
        raise WrongValue("seconds expected, as a number")
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError):
        raise WrongValue("seconds expected, fewer of them") from None


def _total_seconds(span: timedelta) -> float:
    seconds = span.total_seconds()
    if timedelta(seconds=seconds) != span:
        raise ValueError(f"{span!r} is too long to be written to the microsecond")
    return seconds


#: What is text in JSON: the type, how it is written, how it is read.
TEXTS: list[tuple[type[Any], Callable[[Any], str], Callable[[str], Any]]] = [
    (UUID, str, UUID),
    (Decimal, _decimal_text, _decimal),
    (datetime, _aware_text, _aware),
    (date, date.isoformat, date.fromisoformat),
    (time, time.isoformat, time.fromisoformat),
    (bytes, lambda data: b64encode(data).decode(), partial(b64decode, validate=True)),
]


def is_plain_class(kind: Any) -> bool:
    """Tell whether a type is a class; Python 3.10 says of list[int] that it is one as well."""
    return inspect.isclass(kind) and typing.get_origin(kind) is None


def is_enum(kind: Any) -> bool:
    """Tell whether a type is an enumeration."""
    return is_plain_class(kind) and issubclass(kind, enum.Enum)


def enum_member(value: Any, kind: Any) -> Any:
    """Return the member of a value, which must be of the member's very type."""
    if isinstance(value, kind):
        return value
    for member in kind:
        if member.value == value and type(member.value) is type(value):
            return member
    raise WrongValue(f"one of {', '.join(repr(m.value) for m in kind)} expected"[:200])


def is_literal(kind: Any) -> bool:
    """Tell whether a type hint lists values."""
    return typing.get_origin(kind) is typing.Literal


def literal_values(kind: Any) -> dict[tuple[type[Any], Any], Any]:
    """Return the values that a literal lists, by how they are written: type and value."""
    found: dict[tuple[type[Any], Any], Any] = {}
    for value in typing.get_args(kind):
        written = value.value if isinstance(value, enum.Enum) else value
        found[type(written), written] = value
    return found


def _literal(value: Any, kind: Any) -> Any:
    known = literal_values(kind)
    written = value.value if isinstance(value, enum.Enum) else value
    try:
        return known[type(written), written]
    except (KeyError, TypeError):
        raise WrongValue(f"one of {', '.join(repr(v) for _, v in known)} expected"[:200]) from None
