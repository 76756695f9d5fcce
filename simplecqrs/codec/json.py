"""JSON, by cattrs and Python's own json."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from simplecqrs.codec.bounds import DIGITS, integer, refuse_deep
from simplecqrs.codec.loading import structure
from simplecqrs.errors import InvalidMessage, InvalidPayload, PayloadTooLarge
from simplecqrs.messages import Message

if TYPE_CHECKING:
    from cattrs import Converter

    from simplecqrs.conversion import Hooks
    from simplecqrs.conversion.layouts import Entry

__all__ = ["JSONCodec"]

T = TypeVar("T")
MiB: Final = 1024 * 1024

#: Made once, since ``json.dumps`` makes an encoder for every call with options.
_write: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class JSONCodec:
    """
    JSON by cattrs, lossless for UUID, aware datetime, date, time, timedelta, Decimal, Enum, bytes and their nestings.

    Messages, and what they hold, are attrs classes, dataclasses, pydantic models or msgspec structs; the format is
    the same for all of them.  Bytes are base64, a timedelta is seconds; all else that JSON does not know is text.

    Args:
        max_bytes: the largest payload that is encoded or decoded; nested deeper than 128 it may not be either.
        strict: refuse unknown fields when decoding.
        hooks: registers hooks for own types on the cattrs converter that it is given.
    """

    content_type = "application/json"

    def __init__(self, *, max_bytes: int = MiB, strict: bool = False, hooks: Hooks | None = None) -> None:
        self.max_bytes = max_bytes
        self._strict = strict
        self._hooks = hooks
        self._readers: dict[Any, Callable[[Any, Any], Any]] = {}
        self._writers: dict[Any, Callable[[Any], Any]] = {}

    def encode(self, message: Message, /) -> bytes:
        """Return a message as JSON in UTF-8."""
        kind = type(message)
        try:
            payload = self._dump((self._writers.get(kind) or self._writer(kind))(message))
        except InvalidMessage:  # the class is wrong, not the message
            raise
        except Exception as error:  # noqa: BLE001 - the quick way does not say what is wrong
            payload = self._explained(message, error)
        self._refuse_bombs(kind, payload)
        return payload

    def decode(self, kind: type[T], payload: bytes, /) -> T:
        """Make a message of JSON."""
        self._refuse_bombs(kind, payload)
        try:
            read: Callable[[Any, Any], T] = self._readers.get(kind) or self._reader(kind)
            return read(self._parse(payload, kind), kind)
        except InvalidMessage:  # the class is wrong, not the payload
            raise
        except Exception:  # noqa: BLE001 - the quick way does not say what is wrong
            return self.structure(kind, self.parse(kind, payload))

    def parse(self, kind: type[Any], payload: bytes, /) -> Any:
        """Return the plain data of a payload."""
        self._refuse_bombs(kind, payload)
        try:
            return _read(payload)
        except (ValueError, RecursionError) as error:
            raise InvalidPayload(f"{kind.__qualname__}: the payload is no JSON: {error}") from None

    def structure(self, kind: type[T], data: Any, /) -> T:
        """Make a message of plain data."""
        return structure(kind, data, strict=self._strict, hooks=self._hooks)

    def problems(self, kind: Any, /) -> list[str]:
        """Return the fields of a message class whose type cannot be known from JSON."""
        from simplecqrs.conversion.inspection import problems_of

        return problems_of(kind) if self._hooks is None else []  # hooks may know better

    def _dump(self, fields: Any) -> bytes:
        """Write plain data the quick way.  Where it fails, Python's own json is asked."""
        return _write(fields).encode()

    def _parse(self, payload: bytes, kind: Any) -> Any:
        """Read plain data the quick way.  Where it fails, Python's own json is asked."""
        return _read(payload)

    def _converter(self) -> Converter:
        from simplecqrs.conversion import converter  # late: who only sends needs none of it

        return converter(strict=self._strict, hooks=self._hooks)

    def _reader(self, kind: Any) -> Callable[[Any, Any], Any]:
        self._refuse_unclear(kind)
        found = self._readers[kind] = self._converter().get_structure_hook(kind)
        return found

    def _writer(self, kind: Any) -> Callable[[Any], Any]:
        self._refuse_unclear(kind)
        found = self._writers[kind] = self._converter().get_unstructure_hook(kind)
        return found

    def _refuse_unclear(self, kind: Any) -> None:
        if self._hooks is None:
            from simplecqrs.conversion.inspection import refuse_without_fields

            refuse_without_fields(kind)
        problems = self.problems(kind)
        if problems:
            raise InvalidMessage("; ".join(problems))

    def _explained(self, message: Message, error: Exception) -> bytes:
        """Write it the slow way, or say which field it is that cannot be written."""
        kind = type(message)
        try:
            return _write(self._writer(kind)(message)).encode()
        except Exception as again:  # noqa: BLE001 - a property of the message may raise anything
            error = again
        entries = self._entries(kind)
        errors = [(e.keys[0], reason) for e in entries if (reason := self._cannot_write(message, e.name))]
        lines = "; ".join(f"{path}: {reason}" for path, reason in errors) or str(error)
        raise InvalidPayload(f"{kind.__qualname__} cannot be written as JSON: {lines}", errors) from error

    def _entries(self, kind: Any) -> tuple[Entry, ...]:
        from simplecqrs.conversion.layouts import has_layout, layout_of

        return layout_of(kind).entries if has_layout(kind) else ()

    def _cannot_write(self, message: Message, field: str) -> str:
        """Return why one field cannot be written; empty if it can."""
        made = self._converter()
        try:
            _write(made.unstructure(getattr(message, field))).encode()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
            return str(error)
        return ""

    def _refuse_bombs(self, kind: type[Any], payload: bytes) -> None:
        if len(payload) > self.max_bytes:
            raise PayloadTooLarge(
                f"{kind.__qualname__} takes {len(payload)} bytes, more than the limit of {self.max_bytes}; send a "
                "reference to large data instead"
            )
        try:
            refuse_deep(payload)
        except ValueError as error:
            raise InvalidPayload(f"{kind.__qualname__}: the JSON is {error}") from None


def _read(payload: bytes) -> Any:
    data = (_decode if len(payload) <= DIGITS else _decode_large)(payload.decode())
    if b"\\u" in payload:
        _write(data).encode()  # JSON can spell halves of surrogate pairs, which are no text
    return data


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:60]} is too large a number")
    return number


_decode: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode
_decode_large: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, parse_int=integer).decode
