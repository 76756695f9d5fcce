"""Notification events as python-cqrs sends them to Kafka and RabbitMQ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timezone, tzinfo
from typing import Any, Final

from attrs import field, frozen

from simplecqrs.brokers.checks import reading, refuse_large
from simplecqrs.brokers.documents import ROOM, is_json
from simplecqrs.brokers.formats import Parcel
from simplecqrs.brokers.predecessors import (
    Found,
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
from simplecqrs.metadata import NO_HEADERS
from simplecqrs.transport import Garbage

__all__ = ["PythonCQRS"]

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
#: The members of the object, as their pydantic events spell them, and as their dataclasses do.
SPELT: Final = {
    "event_id": "eventId",
    "event_name": "eventName",
    "event_timestamp": "eventTimestamp",
}

#: A string in JSON; if it is a name, what is between it and its value as well.
_strings: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?')
_camel: Final = re.compile(r"[a-z][a-z0-9]*[A-Z][A-Za-z0-9]*").fullmatch
_humps: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@frozen
class PythonCQRS:
    """
    Write what consumers of python-cqrs read, and read what it sends.  Its ``payload`` is our message.

    It is one JSON object, ``{"event_id", "event_timestamp", "event_name", "topic", "payload"}``, and headers only for
    protobuf.  What it has no place for, as correlation ids, stands in attributes beside it, which it ignores.

    Args:
        names: the names of events that do not tell theirs, by topic.
        zone: of times that do not tell theirs: python-cqrs writes the time of its machine.
        snake_case: read ``userId`` as ``user_id`` where its dataclasses have written it, at any depth.
    """

    names: Mapping[str, str] = field(default=NO_HEADERS, hash=False)
    zone: tzinfo = timezone.utc
    snake_case: bool = True

    def write(self, envelope: Envelope, /) -> Parcel:
        """Return an event as python-cqrs has it; what is no JSON stands alone, as its protobuf does."""
        beside = {"event_name": envelope.name, "message_id": str(envelope.id), **write_beside(envelope)}
        if not is_json(envelope.content_type):
            return Parcel(envelope.payload, envelope.content_type, beside)
        parts = {
            "event_id": compact(str(envelope.id)),
            "event_timestamp": compact(envelope.time.isoformat()),
            "event_name": compact(envelope.name),
            "topic": compact(envelope.topic),
            "payload": event_payload(envelope),
        }
        return Parcel(object_of(parts.items()).encode(), envelope.content_type, beside)

    def read(self, parcel: Parcel, /, *, topic: str, max_bytes: int) -> Envelope | Garbage:
        """Return the envelope, or garbage.  The limit goes for payload and attributes, not for the object."""
        return reading(
            lambda: self._envelope(parcel, topic, max_bytes),
            parcel.body,
            parcel.attributes,
            max_bytes=max_bytes,
            limit=ROOM * max_bytes,
        )

    def _envelope(self, parcel: Parcel, topic: str, max_bytes: int) -> Envelope:
        content_type, attributes = parcel.content_type, parcel.attributes
        # What they write as JSON has neither a content type nor headers; on Kafka protobuf has headers only.
        is_object = is_json(content_type) if content_type else "event_name" not in attributes
        found: Found = read_object(parcel.body) if is_object else {}
        payload = self._payload(found, parcel) if is_object else parcel.body
        refuse_large(len(payload), max_bytes)
        envelope = Envelope(
            id=some_id(_member(found, "event_id") or attributes.get("message_id"), topic, parcel.body),
            kind="event",
            name=self._name(_member(found, "event_name") or attributes.get("event_name"), topic),
            topic=topic,
            time=event_time(_member(found, "event_timestamp"), self.zone),
            content_type=content_type or (JSON if is_object else PROTOBUF),
            payload=payload,
        )
        return read_beside(envelope, attributes)

    def _name(self, name: object, topic: str) -> str:
        name = name or self.names.get(topic)
        if not isinstance(name, str) or not name:
            raise ValueError(f"no event_name, and PythonCQRS(names=...) has none for the topic {topic!r}")
        return name

    def _payload(self, found: Found, parcel: Parcel) -> bytes:
        if "payload" not in found:  # an event of a class of their own, which has its fields at the top
            return parcel.body
        value, text = found["payload"]
        if value is None:
            return b"{}"
        return (_snake_case(text) if self.snake_case and "eventName" in found else text).encode()


def _member(found: Found, name: str) -> Any:
    """Return what a member is, however it is spelt."""
    return (found.get(name) or found.get(SPELT[name]) or (None, ""))[0]


def _snake_case(text: str) -> str:
    """Return JSON with the names in it that are written like ``userId`` as ``user_id``."""

    def spelt(string: re.Match[str]) -> str:
        name, colon = string.groups()
        return f'"{_humps.sub("_", name).lower()}"{colon}' if colon and _camel(name) else string[0]

    return _strings.sub(spelt, text)
