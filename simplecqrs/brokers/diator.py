"""Events as diator sends them to Redis Pub/Sub and Azure Service Bus."""

from __future__ import annotations

from datetime import timezone
from typing import Final, Literal

from attrs import frozen

from simplecqrs.brokers.checks import reading, refuse_large
from simplecqrs.brokers.documents import ROOM
from simplecqrs.brokers.formats import Parcel
from simplecqrs.brokers.predecessors import (
    event_payload,
    event_time,
    object_of,
    read_beside,
    read_object,
    some_id,
    write_beside,
)
from simplecqrs.brokers.wire import compact
from simplecqrs.envelope import Envelope
from simplecqrs.transport import Garbage

__all__ = ["Diator"]

JSON: Final = "application/json"
#: Diator's events carry their id and their time among their fields.
ID, TIME = "event_id", "event_timestamp"


@frozen
class Diator:
    """
    Write what consumers of diator read, and read what it sends.

    It is one JSON object, ``{"message_type", "message_name", "message_id", "payload"}``.  Its payload is our message,
    with ``event_id`` and ``event_timestamp`` besides, which we have in the envelope.  What it has no place for, as
    correlation ids, stands in attributes beside it, where the broker has such.

    Args:
        message_type: what events are that are written: ``notification_event`` or ``ecst_event``.
    """

    message_type: Literal["notification_event", "ecst_event"] = "notification_event"

    def write(self, envelope: Envelope, /) -> Parcel:
        """Return an event as diator has it."""
        beside = write_beside(envelope)
        parts = {
            "message_type": compact(self.message_type),
            "message_name": compact(envelope.name),
            "message_id": compact(str(envelope.id)),
            "payload": _with_id(envelope),
        }
        return Parcel(object_of(parts.items()).encode(), envelope.content_type, beside)

    def read(self, parcel: Parcel, /, *, topic: str, max_bytes: int) -> Envelope | Garbage:
        """Return the envelope, or garbage.  The limit goes for payload and attributes, not for the object."""
        return reading(
            lambda: _envelope(parcel, topic, max_bytes),
            parcel.body,
            parcel.attributes,
            max_bytes=max_bytes,
            limit=ROOM * max_bytes,
        )


def _with_id(envelope: Envelope) -> str:
    """Return the JSON of an event with its id and its time, unless it has fields of that name."""
    text = event_payload(envelope)
    found = read_object(envelope.payload)
    if ID in found or TIME in found:
        return text
    moment = envelope.time.astimezone(timezone.utc).replace(tzinfo=None).isoformat()
    own = {ID: compact(str(envelope.id)), TIME: compact(moment)}
    return object_of([*own.items(), *((name, text) for name, (_, text) in found.items())])


def _envelope(parcel: Parcel, topic: str, max_bytes: int) -> Envelope:
    found = read_object(parcel.body)
    name, message_id = (found.get(member, (None, ""))[0] for member in ("message_name", "message_id"))
    if not isinstance(name, str) or not name or "payload" not in found:
        raise ValueError("no message of diator: it has message_name and payload")
    fields = dict(read_object(found["payload"][1].encode()))
    moment = fields.get(TIME, (None, ""))[0]
    payload = found["payload"][1]
    if ID in fields and fields[ID][0] == message_id:  # else they are fields of the message
        payload = object_of((name, text) for name, (_, text) in fields.items() if name not in (ID, TIME))
    refuse_large(len(payload), max_bytes)
    envelope = Envelope(
        id=some_id(message_id, topic, parcel.body),
        kind="event",
        name=name,
        topic=topic,
        time=event_time(moment, timezone.utc),
        content_type=parcel.content_type or JSON,
        payload=payload.encode(),
    )
    return read_beside(envelope, parcel.attributes)
