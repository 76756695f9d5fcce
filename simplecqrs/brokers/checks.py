"""What every wire format checks, when it writes and when it reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from simplecqrs.codec.bounds import integer
from simplecqrs.envelope import Envelope, Kind
from simplecqrs.messages import LONGEST
from simplecqrs.transport import Garbage

__all__ = ["checked", "kind_of", "read_headers", "reading", "refuse_large"]

KINDS: Final[Mapping[str, Kind]] = {"command": "command", "event": "event"}
#: The largest version that fits into an integer column everywhere.
NEWEST: Final = 2**31 - 1
#: What a table has so many characters for.
LIMITED: Final = ("name", "key", "source", "correlation_id", "causation_id", "content_type")
#: How many attributes of garbage are shown, and how many characters of each.
SHOWN, CHARACTERS = 50, 1000

_decode: Final = json.JSONDecoder(parse_int=integer).decode


def reading(
    read: Callable[[], Envelope],
    body: bytes,
    attributes: Mapping[Any, Any],
    /,
    *,
    max_bytes: int,
    limit: int | None = None,
) -> Envelope | Garbage:
    """
    Return the envelope that is read, or as garbage what is none.  Raises nothing.

    Args:
        read: reads it; whatever it raises is the reason why there is no envelope.
        body: of the message.
        attributes: what stands beside it, bytes or text.
        max_bytes: of the body, and of all attributes together.
        limit: of the body, if it is another one.
    """
    try:
        refuse_large(len(body), limit or max_bytes)
        refuse_large(sum(map(len, attributes)) + sum(map(len, attributes.values())), max_bytes)
        return checked(read())
    except Exception as error:  # noqa: BLE001 - a stranger may have written anything, and it must not stop the feed
        return Garbage(
            _shown(f"{type(error).__name__}: {error}")[:LONGEST],
            body[:max_bytes],
            {_shown(name): _shown(value) for name, value in list(attributes.items())[:SHOWN]},
        )


def refuse_large(size: int, limit: int, /) -> None:
    """Raise a ValueError if something has more bytes than the limit."""
    if size > limit:
        raise ValueError(f"it has {size} bytes; the limit is {limit}")


def checked(envelope: Envelope, /) -> Envelope:
    """
    Return an envelope, unless no table could hold it: it would fail later, where it holds up all that comes after it.

    Raises:
        ValueError: with what is wrong.
    """
    if not 1 <= envelope.version <= NEWEST:
        raise ValueError(f"version {envelope.version}")
    if not envelope.name:
        raise ValueError("no name")
    texts = (
        envelope.name,
        envelope.key,
        envelope.source,
        envelope.correlation_id,
        envelope.causation_id or "",
        envelope.content_type,
    )
    if max(map(len, texts)) > LONGEST:
        lengths = {name: len(value) for name, value in zip(LIMITED, texts, strict=True)}
        longest = max(lengths, key=lengths.__getitem__)
        raise ValueError(f"{longest} has {lengths[longest]} characters; the limit is {LONGEST}")
    text = "".join((*texts, *envelope.headers, *envelope.headers.values()))
    if not text.isprintable():
        if "\0" in text:
            raise ValueError("a NUL character in an attribute")
        text.encode()  # JSON can spell halves of surrogate pairs, which are no text
    return envelope


def kind_of(text: str, /) -> Kind:
    """Return the kind of message that a text names."""
    kind = KINDS.get(text)
    if kind is None:
        raise ValueError(f"kind {text!r} is neither command nor event")
    return kind


def read_headers(text: str, /) -> Mapping[str, str]:
    """Return headers that are written as a JSON object of strings."""
    headers: Any = _decode(text)
    if not isinstance(headers, dict):
        raise ValueError("headers are a JSON object")
    for name, value in cast("dict[str, Any]", headers).items():
        if not isinstance(value, str):
            raise ValueError(f"header {name!r} is no string")
    return cast("dict[str, str]", headers)


def _shown(value: Any) -> str:
    """Return what any table can hold of a name or a value."""
    text = value[:CHARACTERS].decode(errors="replace") if isinstance(value, bytes) else str(value)[:CHARACTERS]
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")
