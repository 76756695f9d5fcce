"""Envelopes as CloudEvents 1.0: its attributes beside the data, or all in one JSON document."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import frozen

from simplecqrs.brokers.checks import reading, refuse_large
from simplecqrs.brokers.cloudevents_attributes import read_attributes, write_attributes, write_plain
from simplecqrs.brokers.documents import ROOM, is_json, json_text, members
from simplecqrs.brokers.formats import Parcel
from simplecqrs.brokers.wire import compact
from simplecqrs.codec.routing import media_type
from simplecqrs.envelope import Envelope
from simplecqrs.transport import Garbage

__all__ = ["CloudEventsBinary", "CloudEventsStructured"]

DOCUMENT: Final = "application/cloudevents+json"
#: The prefixes that are in use: Kafka's; RabbitMQ's; the two of AMQP 1.0.
PREFIXES: Final = ("ce_", "ce-", "cloudevents:", "cloudevents_")


@frozen
class CloudEventsBinary:
    """
    Carry the attributes of CloudEvents beside the payload, which stays as it is.

    What others send in structured mode, which its content type tells, is read as well.

    Args:
        prefix: of the attributes on the wire: ``ce_`` on Kafka, ``cloudEvents:`` on AMQP.  What comes with another
            one of those that are in use is read as well.
    """

    prefix: str = "ce_"

    def write(self, envelope: Envelope, /) -> Parcel:
        """Return an envelope as payload and prefixed attributes."""
        attributes = write_plain(envelope, self.prefix)
        if attributes is not None:
            return Parcel(envelope.payload, envelope.content_type, attributes)
        attributes = {f"{self.prefix}{name}": value for name, value in write_attributes(envelope).items()}
        content_type = attributes.pop(f"{self.prefix}datacontenttype", "")
        return Parcel(envelope.payload, content_type, attributes)

    def read(self, parcel: Parcel, /, *, topic: str, max_bytes: int) -> Envelope | Garbage:
        """Return the envelope, or garbage."""
        if media_type(parcel.content_type).startswith("application/cloudevents"):
            return _STRUCTURED.read(parcel, topic=topic, max_bytes=max_bytes)
        return reading(
            lambda: read_attributes(self._attributes(parcel), parcel.body, topic=topic),
            parcel.body,
            parcel.attributes,
            max_bytes=max_bytes,
        )

    def _attributes(self, parcel: Parcel) -> dict[str, str]:
        found = _prefixed(parcel.attributes, self.prefix.lower())
        if "specversion" not in found:
            for prefix in PREFIXES:
                found = {**_prefixed(parcel.attributes, prefix), **found}
        if parcel.content_type:
            found["datacontenttype"] = parcel.content_type
        return found


@frozen
class CloudEventsStructured:
    """
    Carry all of an envelope in one JSON document.

    A payload that is JSON stands in it as it is, any other as base64.  Either way its bytes arrive as they were.
    """

    def write(self, envelope: Envelope, /) -> Parcel:
        """Return an envelope as one document."""
        document = compact(write_attributes(envelope))
        if envelope.payload:
            document = f"{document[:-1]},{_member(envelope)}}}"
        return Parcel(document.encode(), DOCUMENT)

    def read(self, parcel: Parcel, /, *, topic: str, max_bytes: int) -> Envelope | Garbage:
        """Return the envelope, or garbage.  The limit goes for payload and attributes, not for the document."""
        return reading(
            lambda: _envelope(parcel, topic, max_bytes),
            parcel.body,
            parcel.attributes,
            max_bytes=max_bytes,
            limit=ROOM * max_bytes,
        )


def _prefixed(attributes: Mapping[str, str], prefix: str) -> dict[str, str]:
    begin = len(prefix)
    return {
        lowered[begin:]: value for name, value in attributes.items() if (lowered := name.lower()).startswith(prefix)
    }


_STRUCTURED: Final = CloudEventsStructured()


def _member(envelope: Envelope) -> str:
    """Return the member that holds the payload."""
    if is_json(envelope.content_type):
        with suppress(ValueError):  # whoever reads it will see
            return f'"data":{json_text(envelope.payload)}'
    return f'"data_base64":"{b64encode(envelope.payload).decode()}"'


def _envelope(parcel: Parcel, topic: str, max_bytes: int) -> Envelope:
    if media_type(parcel.content_type).startswith("application/cloudevents-batch"):
        raise ValueError("a batch of CloudEvents; this reads them one by one")
    attributes, data = dict[str, str](), dict[str, tuple[Any, str]]()
    for name, value, text in members(parcel.body):
        if name in ("data", "data_base64"):
            data[name] = value, text
        elif value is not None:
            attributes[name] = _attribute(name, value, text)
    payload = _payload(data, attributes.get("datacontenttype", "application/json"))
    refuse_large(max(len(payload), sum(map(len, attributes.values()))), max_bytes)
    return read_attributes(attributes, payload, topic=topic)


def _attribute(name: str, value: object, text: str) -> str:
    if isinstance(value, (dict, list)):
        raise ValueError(f"attribute {name!r} is neither text nor number nor boolean")
    return value if isinstance(value, str) else text


def _payload(data: Mapping[str, tuple[Any, str]], content_type: str) -> bytes:
    """Return the bytes of the data: as they were written, not as they would be written again."""
    if "data_base64" in data:
        return b64decode(data["data_base64"][0], validate=True)
    value, text = data.get("data", ("", ""))
    return (value if isinstance(value, str) and not is_json(content_type) else text).encode()
