"""Protobuf: each message class has a type of its own, by its fields' names or by two functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, TypeVar

from attrs import frozen

from simplecqrs.codec.loading import structure
from simplecqrs.codec.protobuf_fields import fill, plain
from simplecqrs.codec.protobuf_layout import mismatches
from simplecqrs.errors import InvalidMessage, InvalidPayload, MissingExtra, NotConfigured, PayloadTooLarge
from simplecqrs.messages import Message

__all__ = ["Proto", "ProtobufCodec"]

T = TypeVar("T")
MiB: Final = 1024 * 1024


@frozen
class Proto:
    """
    A protobuf message type, and how messages become one and come back.

    Args:
        type: the generated class.
        to_proto: makes one of a message.  Default: field by field, by their names.
        from_proto: makes a message of one.  Default: field by field, by their names.
    """

    type: Any
    to_proto: Callable[[Any], Any] | None = None
    from_proto: Callable[[Any], Any] | None = None

    @property
    def name(self) -> str:
        """Return the full name of the type."""
        return str(self.type.DESCRIPTOR.full_name)


class ProtobufCodec:
    """
    Protobuf, for messages each of which has a type.

    By names: nested classes, lists, dicts and optional fields become what they look like; an aware datetime is a
    Timestamp, or text as all else that protobuf does not know; a timedelta is a Duration; an enumeration goes by the
    names of its members, or by their values.

    Args:
        types: message classes to generated classes, or to a ``Proto``.
        max_bytes: the largest payload that is encoded or decoded.

    Raises:
        MissingExtra: if the library is not installed.
        NotConfigured: if something else than a message class or a generated class was given.
    """

    content_type = "application/x-protobuf"

    def __init__(self, types: Mapping[type[Message], Any] | None = None, *, max_bytes: int = MiB) -> None:
        try:
            self._unreadable: Any = import_module("google.protobuf.message").DecodeError
        except ImportError:
            raise MissingExtra("ProtobufCodec", "protobuf") from None
        self.max_bytes = max_bytes
        self._types = {kind: _proto(kind, given) for kind, given in (types or {}).items()}

    def encode(self, message: Message, /) -> bytes:
        """Return a message as protobuf writes it."""
        kind = type(message)
        proto = self._proto(kind)
        try:
            made = _by_names(message, proto) if proto.to_proto is None else proto.to_proto(message)
        except InvalidMessage:  # the class is wrong, not the message
            raise
        except Exception as error:
            raise InvalidPayload(f"{kind.__qualname__} makes no {proto.name}: {error}", [_place(error)]) from error
        if not isinstance(made, proto.type):
            raise InvalidMessage(f"to_proto of {kind.__qualname__} returned {made!r:.100}, which is no {proto.name}")
        payload: bytes = made.SerializeToString(deterministic=True)
        self._refuse_large(kind, payload)
        return payload

    def decode(self, kind: type[T], payload: bytes, /) -> T:
        """Make a message of what protobuf has written."""
        proto = self._proto(kind)
        self._refuse_large(kind, payload)
        try:
            made = proto.type.FromString(payload)
        except self._unreadable as error:
            raise InvalidPayload(f"{kind.__qualname__}: the payload is no {proto.name}: {error}") from None
        if proto.from_proto is None:
            return structure(kind, _plain(made, kind, proto), strict=False)
        try:
            message = proto.from_proto(made)
        except Exception as error:
            raise InvalidPayload(f"{proto.name} makes no {kind.__qualname__}: {error}", [("", str(error))]) from error
        if not isinstance(message, kind):
            raise InvalidMessage(f"from_proto of {kind.__qualname__} returned {message!r:.100}")
        return message

    def problems(self, kind: type[Message], /) -> list[str]:
        """Return why messages of a class cannot be written or read: no type, or fields that it lacks."""
        from simplecqrs.conversion.inspection import problems_of

        proto = self._types.get(kind)
        if proto is None:
            return [_without_type(kind)]
        if proto.to_proto is not None and proto.from_proto is not None:
            return []
        cure = "; change the type, or give to_proto and from_proto"
        return [*problems_of(kind), *(f"{problem}{cure}" for problem in mismatches(kind, proto.type.DESCRIPTOR))]

    def _proto(self, kind: Any) -> Proto:
        found = self._types.get(kind)
        if found is None:
            raise InvalidMessage(_without_type(kind))
        return found

    def _refuse_large(self, kind: Any, payload: bytes) -> None:
        if len(payload) > self.max_bytes:
            raise PayloadTooLarge(
                f"{kind.__qualname__} takes {len(payload)} bytes, more than the limit of {self.max_bytes}; send a "
                "reference to large data instead"
            )


def _without_type(kind: Any) -> str:
    name = kind.__qualname__
    return f"{name} has no protobuf type; give it one: ProtobufCodec({{{name}: ...}}), or another codec"


def _proto(kind: Any, given: Any) -> Proto:
    if not isinstance(kind, type) or not issubclass(kind, Message):
        raise NotConfigured(f"ProtobufCodec: {kind!r} is no message class")
    proto = given if isinstance(given, Proto) else Proto(given)
    if not isinstance(proto.type, type) or not hasattr(proto.type, "DESCRIPTOR"):
        raise NotConfigured(f"ProtobufCodec: the type of {kind.__qualname__}, {proto.type!r}, is no generated class")
    return proto


def _by_names(message: Message, proto: Proto) -> Any:
    from simplecqrs.conversion import converter  # late, as cattrs takes long to import
    from simplecqrs.conversion.inspection import refuse_without_fields

    refuse_without_fields(type(message))
    made = proto.type()
    fill(made, converter().unstructure(message), type(message))
    return made


def _plain(made: Any, kind: Any, proto: Proto) -> dict[str, Any]:
    from simplecqrs.conversion.inspection import refuse_without_fields

    refuse_without_fields(kind)
    try:
        return plain(made, kind)
    except (ValueError, OverflowError) as error:
        raise InvalidPayload(f"{proto.name} makes no {kind.__qualname__}: {error}", [("", str(error))]) from None


def _place(error: Exception) -> tuple[str, str]:
    path, _, reason = str(error).partition(": ")
    return (path, reason) if reason else ("", str(error))
