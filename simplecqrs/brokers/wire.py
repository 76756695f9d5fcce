"""An envelope as flat fields, one for each attribute, as in the binary mode of CloudEvents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from simplecqrs.brokers.checks import kind_of, read_headers, reading
from simplecqrs.codec.bounds import integer
from simplecqrs.envelope import Envelope
from simplecqrs.metadata import NO_HEADERS
from simplecqrs.timing import read_moment
from simplecqrs.transport import Garbage

__all__ = ["compact", "read_fields", "write_fields"]

NEEDED: Final = ("id", "name", "time")

#: Encode to JSON without spaces.  Made once, since ``json.dumps`` makes an encoder for every call with options.
compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def write_fields(envelope: Envelope, /) -> dict[str, str]:
    """Return an envelope's attributes as strings, without the empty ones, the topic and the payload."""
    fields = {
        "id": str(envelope.id),
        "kind": envelope.kind,
        "name": envelope.name,
        "version": str(envelope.version),
        "time": envelope.time.isoformat(),
        "content_type": envelope.content_type,
    }
    if envelope.key:
        fields["key"] = envelope.key
    if envelope.source:
        fields["source"] = envelope.source
    if envelope.correlation_id:
        fields["correlation_id"] = envelope.correlation_id
    if envelope.causation_id:
        fields["causation_id"] = envelope.causation_id
    if envelope.headers:
        fields["headers"] = compact(dict(envelope.headers))
    return fields


def read_fields(fields: Mapping[bytes, bytes], payload: bytes, /, *, topic: str, max_bytes: int) -> Envelope | Garbage:
    """
    Return the envelope that was written as fields, or as garbage what is none.  Raises nothing.

    Args:
        topic: where it came from.
        max_bytes: of the payload, and of all other fields together.
    """
    return reading(lambda: _envelope(_texts(fields), payload, topic), payload, fields, max_bytes=max_bytes)


def _texts(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields.items()}


def _envelope(fields: dict[str, str], payload: bytes, topic: str) -> Envelope:
    missing = [name for name in NEEDED if not fields.get(name)]
    if missing:
        raise ValueError(f"no field {', '.join(missing)}")
    return Envelope(
        id=UUID(fields["id"]),
        kind=kind_of(fields.get("kind", "event")),
        name=fields["name"],
        version=integer(fields.get("version", "1")),
        topic=topic,
        key=fields.get("key", ""),
        source=fields.get("source", ""),
        time=read_moment(fields["time"]),
        correlation_id=fields.get("correlation_id", ""),
        causation_id=fields.get("causation_id") or None,
        headers=read_headers(fields["headers"]) if "headers" in fields else NO_HEADERS,
        content_type=fields.get("content_type", "application/json"),
        payload=payload,
    )
