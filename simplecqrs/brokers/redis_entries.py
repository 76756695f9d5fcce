"""What an entry of a Redis stream holds: our own fields, or what a wire format says."""

from __future__ import annotations

from collections.abc import Mapping

from simplecqrs.brokers.formats import Parcel, WireFormat
from simplecqrs.brokers.wire import read_fields, write_fields
from simplecqrs.envelope import Envelope
from simplecqrs.transport import Garbage

__all__ = ["read_entry", "write_entry"]

#: The field of the body, and that of its content type where a wire format is used; Kafka has a header of that name.
BODY, CONTENT_TYPE = "payload", "content-type"


def write_entry(envelope: Envelope, wire: WireFormat | None, /) -> tuple[Mapping[str, str], bytes]:
    """
    Return the fields of an entry but its body, and the body.

    Raises:
        ValueError: if the wire format cannot say it.
    """
    if wire is None:
        return write_fields(envelope), envelope.payload
    parcel = wire.write(envelope)
    return {**parcel.attributes, CONTENT_TYPE: parcel.content_type}, parcel.body


def read_entry(
    fields: Mapping[bytes, bytes], wire: WireFormat | None, /, *, topic: str, max_bytes: int
) -> Envelope | Garbage:
    """Return the envelope that an entry holds, or garbage."""
    rest = dict(fields)
    body = rest.pop(BODY.encode(), b"")
    if wire is None:
        return read_fields(rest, body, topic=topic, max_bytes=max_bytes)
    content_type = _text(rest.pop(CONTENT_TYPE.encode(), b""))
    attributes = {_text(name): _text(value) for name, value in rest.items()}
    return wire.read(Parcel(body, content_type, attributes), topic=topic, max_bytes=max_bytes)


def _text(value: bytes) -> str:
    """Return what is no text as text that no format takes, so that only an attribute that counts makes garbage."""
    return value.decode(errors="surrogateescape")
