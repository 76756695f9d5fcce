"""Envelopes as messages of Azure Service Bus."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from simplecqrs.brokers.formats import Parcel, WireFormat
from simplecqrs.envelope import Envelope
from simplecqrs.messages import LONGEST
from simplecqrs.transport import Garbage

__all__ = ["read_message", "session_of", "write_message"]

#: Characters that Service Bus takes as a session or a partition key.
LONGEST_KEY: Final = 128
#: The session of what has no key, where every message has to have one.
NO_KEY: Final = "-"


def session_of(key: str) -> str:
    """Return the session of an order key: itself, unless it is too long."""
    return key if len(key) <= LONGEST_KEY else hashlib.sha256(key.encode(errors="replace")).hexdigest()


def write_message(make: Any, envelope: Envelope, wire: WireFormat, *, sessions: bool) -> Any:
    """
    Return an envelope as a message of the client library.

    Its id is the event's, by which Service Bus detects duplicates where it is told to; its session is the key.

    Raises:
        ValueError: if the format cannot say it.
    """
    parcel = wire.write(envelope)
    session = session_of(envelope.key) or (NO_KEY if sessions else None)
    return make(
        parcel.body,
        message_id=str(envelope.id),
        session_id=session,
        partition_key=session,
        subject=envelope.name,
        content_type=parcel.content_type or None,
        application_properties=dict(parcel.attributes),
    )


def read_message(message: Any, wire: WireFormat, *, topic: str, max_bytes: int) -> Envelope | Garbage:
    """Return what a message of the client library holds.  Raises nothing, whatever came."""
    try:
        body = _body(message)
        properties: dict[Any, Any] = message.application_properties or {}
        parcel = Parcel(
            body, _text(message.content_type or ""), {_text(name): _text(value) for name, value in properties.items()}
        )
    except Exception as error:  # noqa: BLE001 - a stranger may have written anything, and it must not stop the feed
        return Garbage(
            f"{type(error).__name__}: {error}"[:LONGEST], repr(message.raw_amqp_message)[:max_bytes].encode()
        )
    return wire.read(parcel, topic=topic, max_bytes=max_bytes)


def _body(message: Any) -> bytes:
    """Return the bytes of a message, whatever its sender made of them."""
    body = message.body
    if isinstance(body, (bytes, str)):
        return body.encode() if isinstance(body, str) else body
    return b"".join(body)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
