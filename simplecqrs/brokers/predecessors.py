"""What the wire formats of our predecessors have in common: an event as one JSON object, and little beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone, tzinfo
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from attrs import evolve

from simplecqrs.brokers.checks import checked, read_headers
from simplecqrs.brokers.documents import is_json, json_text, members
from simplecqrs.brokers.wire import compact, write_fields
from simplecqrs.codec.bounds import integer
from simplecqrs.envelope import Envelope
from simplecqrs.timing import read_moment

__all__ = ["Found", "event_payload", "event_time", "object_of", "read_beside", "read_object", "some_id", "write_beside"]

#: Of each member of an object its value, and the text of it.
Found = Mapping[str, tuple[Any, str]]

#: What their formats have no place for stands beside the body, where the broker can carry it.
BESIDE: Final = ("version", "key", "source", "time", "correlation_id", "causation_id", "headers")


def event_payload(envelope: Envelope, /) -> str:
    """
    Return the JSON of an event.

    Raises:
        ValueError: if the envelope holds something else.
    """
    if not is_json(envelope.content_type):
        raise ValueError(f"{envelope.name} is {envelope.content_type}; this format has JSON only")
    return json_text(envelope.payload)


def write_beside(envelope: Envelope, /) -> dict[str, str]:
    """
    Return as attributes what their formats have no place for.

    Raises:
        ValueError: if the envelope holds no event, or could not be read again.
    """
    fields = write_fields(checked(envelope))
    if envelope.kind != "event":
        raise ValueError(f"{envelope.name} is a {envelope.kind}; this format has events only")
    return {f"cqrs_{name}": fields[name] for name in BESIDE if name in fields}


def read_beside(envelope: Envelope, attributes: Mapping[str, str], /) -> Envelope:
    """Return an envelope with what stands beside its body."""
    changes: dict[str, Any] = {name: attributes[f"cqrs_{name}"] for name in BESIDE if f"cqrs_{name}" in attributes}
    for name, read in (("version", integer), ("time", read_moment), ("headers", read_headers)):
        if name in changes:
            changes[name] = read(changes[name])
    return evolve(envelope, **changes) if changes else envelope


def read_object(text: bytes, /) -> Found:
    """Return the members of a JSON object."""
    return {name: (value, text) for name, value, text in members(text)}


def event_time(text: object, zone: tzinfo, /) -> datetime:
    """Return when an event happened; a time without a zone is of this one, and no time is now."""
    if text is None:
        return datetime.now(timezone.utc)
    if not isinstance(text, str):
        raise ValueError(f"the time {text!r} is no text")
    try:
        return read_moment(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            raise
        return moment.replace(tzinfo=zone).astimezone(timezone.utc)


def some_id(text: object, topic: str, body: bytes, /) -> UUID:
    """Return the id of an event.  One that is no UUID, or none at all, makes one that is always the same."""
    if text is None:
        return uuid5(NAMESPACE_URL, f"{topic} {body.hex()}")
    try:
        return UUID(str(text))
    except ValueError:
        return uuid5(NAMESPACE_URL, f"{topic} {text}")


def object_of(parts: Iterable[tuple[str, str]], /) -> str:
    """Return a JSON object of names and the texts of their values."""
    return f"{{{','.join(f'{compact(name)}:{text}' for name, text in parts)}}}"
