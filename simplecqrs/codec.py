"""Messages to bytes and back, by cattrs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

from simplecqrs.conversion import Several, converter
from simplecqrs.errors import InvalidPayload, PayloadTooLarge
from simplecqrs.messages import Message
from simplecqrs.validating import WrongValue

__all__ = ["Codec", "JSONCodec", "load"]

T = TypeVar("T")
MiB = 1024 * 1024


class Codec(Protocol):
    """Makes bytes of messages and messages of bytes.  Threads share one."""

    @property
    def content_type(self) -> str:
        """Name the format, as MIME does."""
        ...

    def encode(self, message: Message, /) -> bytes:
        """Return the message's fields as bytes.  Raises InvalidPayload, naming the field, and PayloadTooLarge."""
        ...

    def decode(self, kind: type[T], payload: bytes, /) -> T:
        """Make a message of bytes that came from outside; unknown fields are ignored.  Raises InvalidPayload."""
        ...


class JSONCodec:
    """
    JSON by cattrs, lossless for UUID, aware datetime, date, time, timedelta, Decimal, Enum, bytes and their nestings.

    Bytes are base64, a timedelta is seconds; all else that JSON does not know is text.

    Args:
        max_bytes: the largest payload that is encoded or decoded.
        strict: refuse unknown fields when decoding.
    """

    content_type = "application/json"

    def __init__(self, *, max_bytes: int = MiB, strict: bool = False) -> None:
        self.max_bytes = max_bytes
        self._strict = strict

    def encode(self, message: Message, /) -> bytes:
        """Return a message as JSON in UTF-8."""
        try:
            payload = _write(message)
        except (TypeError, ValueError, RecursionError) as error:
            name = type(message).__qualname__
            errors = [(field, reason) for field in _field_names(message) if (reason := _cannot_write(message, field))]
            lines = "; ".join(f"{path}: {reason}" for path, reason in errors) or str(error)
            raise InvalidPayload(f"{name} cannot be written as JSON: {lines}", errors) from error
        self._refuse_large(type(message), payload)
        return payload

    def decode(self, kind: type[T], payload: bytes, /) -> T:
        """Make a message of JSON."""
        self._refuse_large(kind, payload)
        try:
            fields = json.loads(payload, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidPayload(f"{kind.__qualname__}: the payload is no JSON: {error}") from None
        return structure(kind, fields, strict=self._strict)

    def _refuse_large(self, kind: type[Any], payload: bytes) -> None:
        if len(payload) > self.max_bytes:
            raise PayloadTooLarge(
                f"{kind.__qualname__} takes {len(payload)} bytes, more than the limit of {self.max_bytes}; send a "
                "reference to large data instead"
            )


def load(kind: type[T], data: Mapping[str, Any]) -> T:
    """
    Make a command of request data, strictly: no unknown fields, nothing is coerced.

    Raises:
        InvalidPayload: with every field that is wrong, and its path.
    """
    return structure(kind, data, strict=True)


def structure(kind: type[T], fields: object, *, strict: bool) -> T:
    """Make a message of plain data, or raise InvalidPayload with all that is wrong."""
    if not isinstance(fields, Mapping):
        raise InvalidPayload(
            f"{kind.__qualname__}: an object with its fields was expected, not {type(fields).__name__}",
            [("", "an object was expected")],
        )
    try:
        return converter(strict=strict).structure(fields, kind)
    except Exception as error:
        errors = _explain(error)
        lines = "; ".join(f"{path or kind.__qualname__}: {reason}" for path, reason in errors)
        raise InvalidPayload(f"this makes no {kind.__qualname__}: {lines}", errors) from error


def _write(value: object) -> bytes:
    fields = converter(strict=False).unstructure(value)
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _field_names(message: Message) -> list[str]:
    return [*getattr(message, "__match_args__", ())]


def _cannot_write(message: Message, field: str) -> str:
    """Return why one field cannot be written; empty if it can."""
    try:
        _write(getattr(message, field))
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)
    return ""


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _explain(error: Exception) -> list[tuple[str, str]]:
    """Return the path of every bad field, and what is wrong with it."""
    try:
        return [(path.removeprefix("."), reason) for path, reason in _reasons(error, "")]
    except RecursionError:
        return [("", "nested too deeply")]


def _reasons(error: Exception, path: str) -> Iterator[tuple[str, str]]:
    from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError

    if isinstance(error, ClassValidationError):
        fields, others = error.group_exceptions()
        for nested, note in fields:
            yield from _reasons(nested, f"{path}.{note.name}")
        for nested in others:
            yield from _reasons(nested, path)
    elif isinstance(error, Several):
        for step, nested in error.errors:
            yield from _reasons(nested, path + step)
    elif isinstance(error, ForbiddenExtraKeysError):
        yield from ((f"{path}.{name}", "there is no such field") for name in sorted(error.extra_fields))
    else:
        yield path, _reason(error)


def _reason(error: Exception) -> str:
    if isinstance(error, WrongValue):
        return str(error)
    if isinstance(error, KeyError):
        return "required, and missing"
    if isinstance(error, (ValueError, TypeError)) and error.args:  # a validator, or somebody's own type
        return str(error.args[0])
    return f"not understood ({type(error).__name__})"
