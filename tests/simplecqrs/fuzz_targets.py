"""What fuzzers throw bytes at: whatever reads what came from outside.  Used by the tests and by scripts/fuzz."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from attrs import evolve, field, frozen

from simplecqrs import NotificationEvent
from simplecqrs.brokers.checks import checked
from simplecqrs.brokers.cloudevents import CloudEventsBinary, CloudEventsStructured
from simplecqrs.brokers.diator import Diator
from simplecqrs.brokers.formats import Parcel, WireFormat
from simplecqrs.brokers.python_cqrs import PythonCQRS
from simplecqrs.brokers.wire import read_fields, write_fields
from simplecqrs.codec import JSONCodec
from simplecqrs.codec.msgspec import MsgspecCodec
from simplecqrs.codec.orjson import OrjsonCodec
from simplecqrs.envelope import Envelope
from simplecqrs.errors import ClaimMissing, InvalidPayload, MissingExtra, UnknownMessage
from simplecqrs.packing.claims import CLAIM, Claims, MemoryClaims
from simplecqrs.packing.compression import Compress
from simplecqrs.packing.packing import Packing
from simplecqrs.packing.signatures import Signer
from simplecqrs.transport import Garbage

#: Bytes, of the body and of all attributes together.
LIMIT: Final = 2000
PACKING: Final = Packing(claims=Claims(MemoryClaims()), max_bytes=LIMIT)
SIGNER: Final = Signer({"fuzz": secrets.token_hex(32)})
#: What separates body, content type, names and values in what a fuzzer makes.
SEPARATOR: Final = b"\n\n"


@frozen
class Tree:
    """Nested as deep as somebody likes."""

    name: str
    trees: list[Tree]


@frozen
class Everything(NotificationEvent):
    """A message with all the types that JSON has no word for."""

    tree: Tree
    number: int = 0
    share: float = 0.0
    data: bytes = b""
    id: UUID | None = None
    at: datetime | date | None = None
    hour: time | None = None
    span: timedelta = timedelta(0)
    price: Decimal = Decimal(0)
    by_number: dict[int, frozenset[int]] = field(factory=dict)
    whatever: Any = None


class Fields:
    """Our own fields of Redis Streams, as if they were a wire format."""

    def write(self, envelope: Envelope, /) -> Parcel:
        return Parcel(envelope.payload, "", write_fields(envelope))

    def read(self, parcel: Parcel, /, *, topic: str, max_bytes: int) -> Envelope | Garbage:
        fields = {_bytes(name): _bytes(value) for name, value in parcel.attributes.items()}
        return read_fields(fields, parcel.body, topic=topic, max_bytes=max_bytes)


#: Each wire format, and whether it hands over every envelope exactly.
FORMATS: Final[Mapping[str, tuple[WireFormat, bool]]] = {
    "fields": (Fields(), True),
    "cloudevents": (CloudEventsBinary(prefix="ce_"), True),
    "cloudevents-structured": (CloudEventsStructured(), True),
    "python-cqrs": (PythonCQRS(), False),  # spells names anew, and has no word for JSON that is no object
    "python-cqrs by topic": (PythonCQRS(names={"orders": "OrderPlaced"}), False),
    "diator": (Diator(), False),
}


def read_anything(wire: WireFormat, parcel: Parcel, *, exact: bool, max_bytes: int = LIMIT) -> None:
    """Read a parcel, and fail unless it is an envelope that a table can hold, or garbage with all that came."""
    found = wire.read(parcel, topic="orders", max_bytes=max_bytes)
    if isinstance(found, Garbage):
        assert found.payload == parcel.body[: len(found.payload)]
        assert len(found.payload) >= min(len(parcel.body), max_bytes)
        texts = [found.error, *found.headers, *found.headers.values()]
        assert found.error
        assert "\0" not in "".join(texts)
        assert "".join(texts).encode()
        return
    assert checked(found) is found
    assert len(found.payload) <= max_bytes
    unpack_anything(found)
    with suppress(ValueError):  # a name may have characters that another format has not
        again = wire.read(wire.write(found), topic="orders", max_bytes=10 * max_bytes)
        assert not exact or again == found, (found, again)


def decode_anything(payload: bytes) -> None:
    """Decode a payload by every codec, and fail unless it is a message or an InvalidPayload."""
    for codec in CODECS:
        for kind in (Everything, Tree):
            with suppress(InvalidPayload):
                codec.encode(codec.decode(kind, payload))  # type: ignore[arg-type]


def unpack_anything(envelope: Envelope) -> None:
    """Open whatever was packed or signed, and fail unless it is small, or one of the errors that are foreseen."""
    assert SIGNER.problem(envelope)
    for content_type in (envelope.content_type, "a/b+zlib", "a/b+zstd", CLAIM):
        with suppress(InvalidPayload, UnknownMessage, ClaimMissing, MissingExtra):
            opened = PACKING.unpack(evolve(envelope, content_type=content_type))
            assert len(opened.payload) <= max(LIMIT, len(envelope.payload))


def fuzz(data: bytes) -> None:
    """Read what a fuzzer makes of nothing: body, content type, and then names and values in turn."""
    body, _, rest = data.partition(SEPARATOR)
    content_type, *parts = [part.decode(errors="surrogateescape") for part in rest.split(SEPARATOR)]
    parcel = Parcel(body, content_type, dict(zip(parts[::2], parts[1::2], strict=False)))
    for wire, exact in FORMATS.values():
        read_anything(wire, parcel, exact=exact)
    decode_anything(body)


def seeds() -> Iterator[bytes]:
    """Yield what is right, for fuzzers to spoil."""
    envelope = Envelope(
        id=UUID("01a1fbe7-c391-7914-9e66-ce53e9c3e32c"),
        kind="event",
        name="OrderPlaced",
        topic="orders",
        key="7",
        source="shop",
        time=datetime.fromisoformat("2026-01-02T03:04:05.678901+00:00"),
        correlation_id="c-1",
        causation_id="c-2",
        headers={"user": "7", "traceparent": "00-1-2-01"},
        payload=JSONCodec().encode(Everything(Tree("a", [Tree("b", [])]), id=UUID(int=7), whatever={"userId": [1.5]})),
    )
    packed = evolve(Compress(above=0).pack(evolve(envelope, payload=envelope.payload * 3)), headers={})
    parcels = [wire.write(envelope) for wire, _ in FORMATS.values()]
    for parcel in [*parcels, CloudEventsBinary().write(packed), CloudEventsStructured().write(packed)]:
        parts = [parcel.body, parcel.content_type.encode()]
        for name, value in parcel.attributes.items():
            parts += [name.encode(), value.encode()]
        yield SEPARATOR.join(parts)


def _codecs() -> Iterator[JSONCodec]:
    made: tuple[Callable[..., JSONCodec], ...] = (JSONCodec, OrjsonCodec, MsgspecCodec)
    for make in made:
        with suppress(MissingExtra):
            yield make()


CODECS: Final = tuple(_codecs())


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape" if text.isascii() else "surrogatepass")
