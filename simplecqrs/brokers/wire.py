"""An envelope as flat fields, one for each attribute, as in the binary mode of CloudEvents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast
from uuid import UUID

from simplecqrs.envelope import Envelope, Kind
from simplecqrs.messages import LONGEST
from simplecqrs.metadata import NO_HEADERS
from simplecqrs.timing import read_moment
from simplecqrs.transport import Garbage

__all__ = ["compact", "read_fields", "write_fields"]

KINDS: Final[Mapping[str, Kind]] = {"command": "command", "event": "event"}
NEEDED: Final = ("id", "name", "time")
#: The largest version that fits into an integer column everywhere.
NEWEST: Final = 2**31 - 1

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
    try:
        size = max(len(payload), sum(map(len, fields.values())))
        if size > max_bytes:
            raise ValueError(f"it has {size} bytes; the limit is {max_bytes}")
        return _envelope({name.decode(): value.decode() for name, value in fields.items()}, payload, topic)
    except Exception as error:  # noqa: BLE001 - a stranger may have written anything, and it must not stop the feed
        return Garbage(
            f"{type(error).__name__}: {error}"[:LONGEST],
            payload[:max_bytes],
            {_shown(name): _shown(value) for name, value in list(fields.items())[:50]},
        )


def _envelope(fields: dict[str, str], payload: bytes, topic: str) -> Envelope:
    missing = [name for name in NEEDED if not fields.get(name)]
    if missing:
        raise ValueError(f"no field {', '.join(missing)}")
    kind = KINDS.get(fields.get("kind", "event"))
    if kind is None:
        raise ValueError(f"kind {fields['kind']!r} is neither command nor event")
    envelope = Envelope(
        id=UUID(fields["id"]),
        kind=kind,
        name=fields["name"],
        version=int(fields.get("version", "1")),
        topic=topic,
        key=fields.get("key", ""),
        source=fields.get("source", ""),
        time=read_moment(fields["time"]),
        correlation_id=fields.get("correlation_id", ""),
        causation_id=fields.get("causation_id") or None,
        headers=_headers(fields["headers"]) if "headers" in fields else NO_HEADERS,
        content_type=fields.get("content_type", "application/json"),
        payload=payload,
    )
    _check(envelope, fields)
    return envelope


def _check(envelope: Envelope, fields: dict[str, str]) -> None:
    """Refuse what no table could hold: it would fail later, where it holds up all that comes after it."""
    if not 1 <= envelope.version <= NEWEST:
        raise ValueError(f"version {envelope.version}")
    for name, value in fields.items():
        if name != "headers" and len(value) > LONGEST:
            raise ValueError(f"{name} has {len(value)} characters; the limit is {LONGEST}")
    text = "".join(fields.values()) + "".join(envelope.headers) + "".join(envelope.headers.values())
    if "\0" in text:
        raise ValueError("a NUL character in a field")
    text.encode()  # JSON can spell halves of surrogate pairs, which are no text


def _headers(text: str) -> Mapping[str, str]:
    headers: Any = json.loads(text)
    if not isinstance(headers, dict):
        raise ValueError("headers are a JSON object")
    for name, value in cast("dict[str, Any]", headers).items():
        if not isinstance(value, str):
            raise ValueError(f"header {name!r} is no string")
    return cast("dict[str, str]", headers)


def _shown(value: bytes) -> str:
    return value[:1000].decode(errors="replace").replace("\0", "\ufffd")
