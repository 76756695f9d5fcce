"""Parcels as messages of AMQP 0-9-1, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from simplecqrs.brokers.formats import Parcel, WireFormat
from simplecqrs.brokers.rabbitmq_frames import UNREADABLE
from simplecqrs.envelope import Envelope
from simplecqrs.messages import LONGEST
from simplecqrs.transport import Garbage

__all__ = ["properties_of", "read_message"]

#: Bytes of a short string, as routing keys and names of headers are.
SHORT: Final = 255
#: Bytes that all headers may have together: they go in one frame, which has 128 KiB unless the server wants less.
ROOM: Final = 2**17 - 2**10
#: Headers that the server itself adds to what it delivers again.
COUNTERS: Final = frozenset({"x-delivery-count", "x-acquired-count"})
PERSISTENT: Final = 2


def properties_of(envelope: Envelope, parcel: Parcel) -> dict[str, Any]:
    """
    Return the properties of a message.

    Raises:
        ValueError: if AMQP cannot say them; the server would close the connection, or hear something else.
    """
    _check_short("the topic", envelope.topic)
    _check_short("the content type", parcel.content_type)
    size = 0
    for name, value in parcel.attributes.items():
        _check_short("the name of a header", name)
        size += len(name) + len(value.encode()) + 8
    if size > ROOM:
        raise ValueError(f"its headers have {size} bytes; AMQP has room for {ROOM}")
    return {
        "content_type": parcel.content_type,
        "message_id": str(envelope.id),
        "delivery_mode": PERSISTENT,
        "application_headers": dict(parcel.attributes),
    }


def read_message(form: WireFormat, message: Any, *, topic: str, max_bytes: int) -> Envelope | Garbage:
    """
    Return the envelope that a message of py-amqp holds, or garbage.  Raises nothing.

    Args:
        topic: what the queue is bound for; if it has wildcards, the routing key is the topic.
    """
    body: bytes = message.body or b""
    try:
        if reason := getattr(message, UNREADABLE, None):
            raise ValueError(f"its properties cannot be read: {reason}")
        parcel = Parcel(body, message.properties.get("content_type", ""), _attributes(message.properties))
    except ValueError as error:
        return Garbage(f"{type(error).__name__}: {error}"[:LONGEST], body[:max_bytes])
    has_wildcards = not {"*", "#"}.isdisjoint(topic)
    return form.read(
        parcel, topic=message.delivery_info["routing_key"] if has_wildcards else topic, max_bytes=max_bytes
    )


@lru_cache(1024)  # of the same few names and topics
def _check_short(what: str, text: str) -> None:
    size = len(text.encode())
    if size > SHORT:
        raise ValueError(f"{what} has {size} bytes; AMQP has room for {SHORT}")


def _attributes(properties: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in properties.get("application_headers", {}).items():
        if isinstance(name, bytes) or isinstance(value, bytes):
            raise ValueError(f"the header {name!r} is no UTF-8")
        if name not in COUNTERS and (text := _text(value)) is not None:
            found[name] = text
    return found


def _text(value: object) -> str | None:
    """Return a header's value as text, or None for what is nothing or has parts, as the server's own notes have."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    return None if value is None or isinstance(value, (dict, list)) else str(value)
