"""Messages to bytes and back, by cattrs."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

from simplecqrs.errors import InvalidPayload, PayloadTooLarge
from simplecqrs.handlers import hints_of
from simplecqrs.messages import Message, Unset
from simplecqrs.validating import WrongValue, report_every_field

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

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
            fields = converter(self._strict).unstructure(message)
            payload = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise InvalidPayload(f"{type(message).__qualname__} cannot be written as JSON: {error}") from error
        self._refuse_large(type(message), payload)
        return payload

    def decode(self, kind: type[T], payload: bytes, /) -> T:
        """Make a message of JSON."""
        self._refuse_large(kind, payload)
        try:
            fields = json.loads(payload)
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
        return converter(strict).structure(fields, kind)
    except Exception as error:
        errors = _explain(error)
        lines = "; ".join(f"{path or kind.__qualname__}: {reason}" for path, reason in errors)
        raise InvalidPayload(f"this makes no {kind.__qualname__}: {lines}", errors) from error


def _explain(error: Exception) -> list[tuple[str, str]]:
    from cattrs import transform_error

    return [_split(line) for line in transform_error(error, format_exception=_format)]


def _split(line: str) -> tuple[str, str]:
    reason, _, path = line.rpartition(" @ ")
    return path.removeprefix("$").removeprefix("."), reason


def _format(error: BaseException, kind: type[Any] | None) -> str:
    from cattrs.v import format_exception

    if isinstance(error, WrongValue):
        return str(error)
    if isinstance(error, ValueError) and kind is None:  # a constructor, which knows no path
        return str(error)
    return format_exception(error, kind)


@cache
def converter(strict: bool) -> JsonConverter:
    """Return the converter that all JSON goes through; made when first needed, since cattrs takes long to import."""
    from cattrs.preconf.json import make_converter

    made = make_converter(forbid_extra_keys=strict, omit_if_default=False)
    for kind in (int, str, bool, float):
        made.register_structure_hook(kind, _exactly(kind))
    made.register_unstructure_hook(datetime, _aware_text)
    made.register_structure_hook(datetime, _text(_aware))
    texts: list[tuple[type[Any], Callable[[Any], Any], Callable[[str], Any]]] = [
        (UUID, str, UUID),
        (Decimal, str, _decimal),
        (date, date.isoformat, date.fromisoformat),
        (time, time.isoformat, time.fromisoformat),
    ]
    for kind, write, read in texts:
        made.register_unstructure_hook(kind, write)
        made.register_structure_hook(kind, _text(read))
    made.register_unstructure_hook(timedelta, timedelta.total_seconds)
    made.register_structure_hook(timedelta, _seconds)
    report_every_field(made)
    _omit_unset(made)
    return made


def _exactly(kind: type[Any]) -> Callable[[Any, Any], Any]:
    """Accept a value of just this type: cattrs alone makes True of "false" and 2 of 2.9."""
    accepted = (float, int) if kind is float else (kind,)

    def hook(value: Any, _: Any) -> Any:
        if type(value) in accepted:
            return kind(value)
        raise WrongValue(f"{kind.__name__} expected, not {type(value).__name__}")

    return hook


def _text(read: Callable[[str], Any]) -> Callable[[Any, Any], Any]:
    def hook(value: Any, kind: Any) -> Any:
        if not isinstance(value, str):
            return value if type(value) is kind else _reject(f"{kind.__name__} expected, as text")
        try:
            return read(value)
        except WrongValue:
            raise
        except (ValueError, ArithmeticError):
            raise WrongValue(f"{kind.__name__} expected, not {value[:60]!r}") from None

    return hook


def _reject(reason: str) -> Any:
    raise WrongValue(reason)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise WrongValue(f"Decimal expected, not {text[:60]!r}") from None


def _seconds(value: Any, _: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise WrongValue("seconds expected, as a number")
    return timedelta(seconds=value)


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise WrongValue("a time zone is missing")
    return moment


def _aware_text(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; use datetime.now(timezone.utc)")
    return moment.isoformat()


def _omit_unset(made: JsonConverter) -> None:
    """Leave out the fields that are UNSET, so that they are UNSET again on the other side."""
    from cattrs.gen import make_dict_unstructure_fn, override

    def has_unset(kind: Any) -> bool:
        return hasattr(kind, "__attrs_attrs__") and any(map(_may_be_unset, hints_of(kind).values()))

    def make(kind: Any) -> Callable[[Any], Any]:
        omitted: Any = {
            name: override(omit_if_default=True) for name, hint in hints_of(kind).items() if _may_be_unset(hint)
        }
        return make_dict_unstructure_fn(kind, made, **omitted)

    made.register_unstructure_hook_factory(has_unset, make)
    made.register_structure_hook_func(_may_be_unset, lambda value, kind: made.structure(value, _without_unset(kind)))


def _may_be_unset(kind: Any) -> bool:
    return Unset in typing.get_args(kind)


def _without_unset(kind: Any) -> Any:
    rest = tuple(t for t in typing.get_args(kind) if t is not Unset)
    return typing.Union[rest]  # noqa: UP007 - made at run time
