"""Envelopes as CloudEvents 1.0: its attributes beside the data, or all in one JSON document."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from simplecqrs.brokers.checks import reading, refuse_large
from simplecqrs.brokers.cloudevents_attributes import read_attributes, write_attributes
from simplecqrs.brokers.formats import Parcel
from simplecqrs.brokers.wire import compact
from simplecqrs.codec.routing import media_type
from simplecqrs.envelope import Envelope
from simplecqrs.transport import Garbage

__all__ = ["CloudEventsBinary", "CloudEventsStructured"]

DOCUMENT: Final = "application/cloudevents+json"
#: The prefixes that are in use: Kafka's; RabbitMQ's; the two of AMQP 1.0.
PREFIXES: Final = ("ce_", "ce-", "cloudevents:", "cloudevents_")
#: How much larger than its payload a document may be: base64 takes a third more, and attributes have a limit as well.
ROOM: Final = 3

_blank = re.compile(r"[ \t\n\r]*").match
_decode: Final = json.JSONDecoder(parse_float=str).raw_decode


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
        attributes = write_attributes(envelope)
        content_type = attributes.pop("datacontenttype", "")
        return Parcel(envelope.payload, content_type, {f"{self.prefix}{n}": value for n, value in attributes.items()})

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
        own, found = self.prefix.lower(), dict[str, str]()
        for prefix in (*PREFIXES, own):  # the own one last, so that it counts
            for name, value in parcel.attributes.items():
                if name.lower().startswith(prefix):
                    found[name[len(prefix) :].lower()] = value
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


_STRUCTURED: Final = CloudEventsStructured()


def _member(envelope: Envelope) -> str:
    """Return the member that holds the payload."""
    if _is_json(envelope.content_type):
        try:
            text = envelope.payload.decode()
            if _decode(text)[1] == len(text):
                return f'"data":{text}'
        except (ValueError, RecursionError):  # whoever reads it will see
            pass
    return f'"data_base64":"{b64encode(envelope.payload).decode()}"'


def _envelope(parcel: Parcel, topic: str, max_bytes: int) -> Envelope:
    if media_type(parcel.content_type).startswith("application/cloudevents-batch"):
        raise ValueError("a batch of CloudEvents; this reads them one by one")
    attributes, data = dict[str, str](), dict[str, tuple[Any, str]]()
    for name, value, text in _members(parcel.body.decode()):
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
    return (value if isinstance(value, str) and not _is_json(content_type) else text).encode()


def _is_json(content_type: str) -> bool:
    kind = media_type(content_type)
    return kind.endswith(("/json", "+json"))


def _members(document: str) -> Iterator[tuple[str, Any, str]]:
    """Yield name, value and text of each member of a JSON object."""
    at = _after("{", document, 0)
    is_over = document.startswith("}", at)
    at += is_over
    while not is_over:
        name, at = _decode(document, at)
        if not isinstance(name, str):
            raise ValueError("the name of a member is no string")
        begin = _after(":", document, at)
        value, end = _decode(document, begin)
        yield name, value, document[begin:end]
        at = _skip(document, end)
        is_over = not document.startswith(",", at)
        at = _after("}" if is_over else ",", document, at)
    if at != len(document):
        raise ValueError("more than one JSON document")


def _after(sign: str, document: str, at: int) -> int:
    """Return where something follows a sign that has to be here."""
    at = _skip(document, at)
    if not document.startswith(sign, at):
        raise ValueError(f"no {sign} where a JSON object has one")
    return _skip(document, at + 1)


def _skip(document: str, at: int) -> int:
    blank = _blank(document, at)
    return blank.end() if blank else at
