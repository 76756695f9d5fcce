"""The setting ``MASK`` at work: what operators see of payloads, headers, states and errors' texts."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cache
from typing import Any
from uuid import UUID

from django_cqrs.conf import settings
from django_cqrs.mediator import project_mediator
from django_cqrs.rows import text
from simplecqrs.envelope import Envelope
from simplecqrs.errors import UnknownMessage
from simplecqrs.middlewares.masking import Hidden, hiding
from simplecqrs.packing.claims import CLAIM
from simplecqrs.shown import SHOWN, masked_text, shown_payload

__all__ = ["hidden", "kept", "masked", "shown_headers", "shown_message", "shown_state"]


def hidden(name: str) -> bool:
    """Tell by its name whether a field's value is not to be shown: the setting MASK."""
    return _hiding(settings().mask)(name)


@cache
def _hiding(patterns: tuple[str, ...]) -> Hidden:
    return hiding(patterns)


def masked(said: str) -> str:
    """Return a text without the values that follow hidden names."""
    return masked_text(said, hidden)


def kept(said: str) -> str:
    """Return why something failed as it is stored: masked, and as every database can keep it."""
    return text(masked(said))


def shown_headers(headers: str) -> str:
    """Return the headers of a message, which are JSON, without hidden values."""
    return shown_payload(headers.encode(errors="replace"), "application/json", hidden)


def shown_message(found: Any, *, most: int = SHOWN, indent: int | None = None) -> str:
    """
    Return the payload of a row, or of a letter, as people may see it.

    Args:
        found: has a name, a content type and a payload.
        most: characters that are shown; 0: all.
        indent: spaces per level of JSON.  Default: it is one line.
    """
    vocabulary = project_mediator().vocabulary
    try:
        kind = vocabulary.find(found.name)
    except UnknownMessage:
        kind = None
    content_type, payload = found.content_type, bytes(found.payload)
    envelope = Envelope(
        id=UUID(int=0),
        kind="event",
        name=found.name,
        version=getattr(found, "version", 1),
        topic="",
        time=datetime.now(timezone.utc),
        content_type=content_type,
        payload=payload,
    )
    # What is kept elsewhere is not fetched to be looked at; its claim check is JSON, and shown.
    decode = None if kind is None or content_type == CLAIM else lambda: vocabulary.decode(envelope)
    return shown_payload(payload, content_type, hidden, kind=kind, decode=decode, most=most, indent=indent)


def shown_state(saga: str, state: bytes, *, most: int = SHOWN) -> str:
    """Return the state of a saga as people may see it."""
    mediator = project_mediator()
    definition = mediator.saga_definitions.get(saga)
    kind = None if definition is None else definition.state
    codec = mediator.sagas.codec
    decode = None if kind is None else lambda: codec.decode(kind, state)
    return shown_payload(state, codec.content_type, hidden, kind=kind, decode=decode, most=most)
