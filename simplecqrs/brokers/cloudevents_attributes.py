"""An envelope as the attributes of CloudEvents 1.0, whatever they are carried in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from simplecqrs.brokers.checks import checked, kind_of, read_headers
from simplecqrs.codec.bounds import integer
from simplecqrs.envelope import Envelope, Kind
from simplecqrs.messages import LONGEST
from simplecqrs.metadata import ORIGIN
from simplecqrs.timing import EXPIRY, read_moment

__all__ = ["read_attributes", "write_attributes", "write_plain"]

NEEDED: Final = ("specversion", "id", "type", "source")
#: Stands for an empty source, which CloudEvents forbids.
NOBODY: Final = "about:blank"
#: Headers that are extensions of CloudEvents themselves.  All others are one extension together, as JSON: names of
#: extensions are a few lower-case letters and digits, and cannot say what names of headers can.
KNOWN: Final = ("traceparent", "tracestate", EXPIRY)
HEADERS, ESCAPED = "cqrsheaders", "cqrsescaped"
#: Attributes that may hold any text here, and in CloudEvents only what is no control character.
FREE: Final = ("source", "partitionkey", "correlationid", "causationid", "datacontenttype")
#: What our attributes are called there; what else comes is a header.
OURS: Final = frozenset({*NEEDED, *FREE, "time", "cqrskind", "cqrsversion", HEADERS, ESCAPED, "data", "data_base64"})
#: The characters that a string of CloudEvents must not hold; halves of surrogate pairs are found where it is encoded.
FORBIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF))
    + "]"
)

#: What the adapters carry themselves, or differs among all events.
DIFFERENT: Final = ("id", "time", "datacontenttype")

#: ASCII, so that control characters are escaped as well.
_ascii: Final = json.JSONEncoder(separators=(",", ":")).encode


def write_attributes(envelope: Envelope, /) -> dict[str, str]:
    """
    Return an envelope's attributes as CloudEvents calls them, without the empty ones, the topic and the data.

    Raises:
        ValueError: if an attribute is too long, or no text that CloudEvents can hold.
    """
    checked(envelope)
    if _forbidden(envelope.name):
        raise ValueError(f"the name {envelope.name!r} has a character that CloudEvents cannot hold")
    attributes = {
        "specversion": "1.0",
        "id": str(envelope.id),
        "source": envelope.source or NOBODY,
        "type": envelope.name,
        "time": f"{envelope.time.astimezone(timezone.utc).isoformat()[:-6]}Z",
        "cqrskind": envelope.kind,
        "cqrsversion": str(envelope.version),
    }
    if envelope.content_type:
        attributes["datacontenttype"] = envelope.content_type
    if envelope.key:
        attributes["partitionkey"] = envelope.key
    if envelope.correlation_id:
        attributes["correlationid"] = envelope.correlation_id
    if envelope.causation_id:
        attributes["causationid"] = envelope.causation_id
    if _forbidden("".join(attributes.values())):
        _escape(attributes)
    if envelope.headers:
        attributes.update(_headers(envelope.headers))
    return attributes


def write_plain(envelope: Envelope, prefix: str, /) -> dict[str, str] | None:
    """
    Return an envelope's attributes with prefixed names, if what differs among events of a kind is plain; else None.

    It is what ``write_attributes`` would give but for the content type, in less than half of the time: most events are
    plain, and of few kinds.

    Raises:
        ValueError: if an attribute is too long, or no text that CloudEvents can hold.
    """
    text = f"{envelope.key}{envelope.correlation_id}{envelope.causation_id or ''}{envelope.content_type}"
    if envelope.headers or len(text) > LONGEST or not text.isprintable():
        return None
    kind = (envelope.kind, envelope.name, envelope.version, envelope.source, envelope.content_type)
    own_id, time_, key, correlation_id, causation_id = _names(prefix)
    attributes = _common(kind, prefix).copy()
    time = envelope.time if envelope.time.tzinfo is timezone.utc else envelope.time.astimezone(timezone.utc)
    digits = envelope.id.bytes.hex()  # ``str`` takes twice as long
    attributes[own_id] = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    attributes[time_] = f"{time.isoformat()[:-6]}Z"
    if envelope.key:
        attributes[key] = envelope.key
    if envelope.correlation_id:
        attributes[correlation_id] = envelope.correlation_id
    if envelope.causation_id:
        attributes[causation_id] = envelope.causation_id
    return attributes


@lru_cache
def _names(prefix: str) -> tuple[str, ...]:
    """Return with their prefix the names of the attributes in which plain events of a kind differ."""
    return tuple(f"{prefix}{name}" for name in ("id", "time", "partitionkey", "correlationid", "causationid"))


@lru_cache(maxsize=1024)
def _common(common: tuple[Kind, str, int, str, str], prefix: str) -> dict[str, str]:
    """Return the attributes that all events share which have kind, name, version, source and content type in common."""
    kind, name, version, source, content_type = common
    one = Envelope(
        id=UUID(int=0), kind=kind, name=name, version=version, topic="", source=source, time=datetime.now(timezone.utc),
        content_type=content_type, payload=b"",
    )  # fmt: skip
    return {f"{prefix}{n}": value for n, value in write_attributes(one).items() if n not in DIFFERENT}


def read_attributes(attributes: Mapping[str, str], payload: bytes, /, *, topic: str) -> Envelope:
    """
    Return the envelope that attributes of CloudEvents make, whoever has written them.

    An id that is no UUID is made one, always the same of the same source and id, and is kept as a header.
    What has no time happened now.  Attributes that say nothing to us are headers.

    Raises:
        ValueError: if something is missing, or cannot be read.
    """
    missing = [name for name in NEEDED if not attributes.get(name)]
    if missing:
        raise ValueError(f"no CloudEvent: without attribute {', '.join(missing)}")
    if not attributes["specversion"].startswith("1."):
        raise ValueError(f"CloudEvents {attributes['specversion']!r}; this reads 1.0")
    if ESCAPED in attributes:
        attributes = {**attributes, **_unescaped(attributes[ESCAPED])}
    own_id, origin = _id(attributes["source"], attributes["id"])
    source = attributes["source"]
    return Envelope(
        id=own_id,
        kind=kind_of(attributes.get("cqrskind", "event")),
        name=attributes["type"],
        version=integer(attributes.get("cqrsversion", "1")),
        topic=topic,
        key=attributes.get("partitionkey", ""),
        source="" if source == NOBODY else source,
        time=_time(attributes.get("time", "")),
        correlation_id=attributes.get("correlationid", ""),
        causation_id=attributes.get("causationid") or None,
        headers={
            **(read_headers(attributes[HEADERS]) if HEADERS in attributes else {}),
            **{name: value for name, value in attributes.items() if name not in OURS and value},
            **origin,
        },
        content_type=attributes.get("datacontenttype") or "application/json",
        payload=payload,
    )


def _forbidden(text: str) -> bool:
    return not text.isprintable() and FORBIDDEN.search(text) is not None


def _escape(attributes: dict[str, str]) -> None:
    """Put what CloudEvents cannot hold into an attribute that can."""
    escaped = {name: attributes.pop(name) for name in FREE if _forbidden(attributes.get(name, ""))}
    attributes.setdefault("source", NOBODY)
    attributes[ESCAPED] = _ascii(escaped)


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    known = {name: headers[name] for name in KNOWN if headers.get(name) and not _forbidden(headers[name])}
    others = {name: value for name, value in headers.items() if name not in known}
    return {**known, HEADERS: _ascii(others)} if others else known


def _unescaped(text: str) -> dict[str, str]:
    return {name: value for name, value in read_headers(text).items() if name in FREE}


def _id(source: str, text: str) -> tuple[UUID, dict[str, str]]:
    """Return an id as a UUID; and, if it is none, as a header, since others know it by that."""
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is not None and str(found) == text.lower():
        return found, {}
    return uuid5(NAMESPACE_URL, f"{source} {text}"), {ORIGIN: text}


def _time(text: str) -> datetime:
    """Return a time that is RFC 3339, or milliseconds since 1970, as AMQP has them."""
    if not text:
        return datetime.now(timezone.utc)
    if text.isdecimal() and len(text) < 20:
        return datetime.fromtimestamp(int(text) / 1000, timezone.utc)
    return read_moment(text)
