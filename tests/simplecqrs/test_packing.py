"""What is done to a payload after the codec, and undone before it: compression by zlib, and claim checks."""

from __future__ import annotations

import json
import zlib
from datetime import datetime, timezone
from typing import Any, cast
from uuid import UUID

import pytest
from attrs import Factory, evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from simplecqrs import Mediator, NotificationEvent, Registry
from simplecqrs.brokers.cloudevents import CloudEventsBinary, CloudEventsStructured
from simplecqrs.codec import JSONCodec
from simplecqrs.envelope import Envelope
from simplecqrs.errors import ClaimMissing, InvalidPayload, MissingExtra, NotConfigured, PayloadTooLarge, UnknownMessage
from simplecqrs.memory import MemoryBroker
from simplecqrs.metadata import new_metadata, uuid7
from simplecqrs.packing import Claims, Compress, MemoryClaims, Packing
from simplecqrs.packing.claims import CLAIM
from simplecqrs.packing.compression import opened
from simplecqrs.vocabulary import Vocabulary

LONG = b"[" + b"1," * 2000 + b"1]"


@frozen
class Told(NotificationEvent):
    """Something, at any length."""

    text: str


def envelope(payload: bytes, content_type: str = "application/json") -> Envelope:
    """Return an envelope of which only the payload matters."""
    return Envelope(
        id=uuid7(), kind="event", name="Told", topic="told", time=datetime.now(timezone.utc), headers={"tenant": "x"},
        content_type=content_type, payload=payload,
    )  # fmt: skip


def vocabulary(**packing: Any) -> Vocabulary:
    """Return a vocabulary that packs."""
    return Vocabulary([Told], codec=JSONCodec(), packing=Packing(**packing))


def written(event: Told, **packing: Any) -> Envelope:
    """Return an event as such a vocabulary stores it."""
    return vocabulary(**packing).envelope(event, new_metadata(None, None))


# Compression


def test_a_payload_above_the_size_is_compressed_and_its_content_type_says_so() -> None:
    """All else stays, and it comes back as it was."""
    sent = envelope(LONG)

    packed = Compress(above=1000).pack(sent)

    assert packed.content_type == "application/json+zlib"
    assert zlib.decompress(packed.payload) == LONG
    assert evolve(packed, content_type=sent.content_type, payload=LONG) == sent
    assert Packing().unpack(packed) == sent


def test_what_is_no_larger_or_gets_no_smaller_stays_plain() -> None:
    """The first costs nothing, the second would be in vain."""
    short, noise = envelope(LONG[:100]), envelope(bytes(range(256)))

    assert Compress(above=100).pack(short) is short
    assert Compress(above=0).pack(noise) is noise


def test_parameters_of_a_content_type_stay_behind() -> None:
    """What is before them is the type of what is sent."""
    sent = envelope(LONG, "application/json; charset=utf-8")

    packed = Compress().pack(sent)

    assert packed.content_type == "application/json+zlib; charset=utf-8"
    assert Packing().unpack(packed) == sent


def test_the_level_is_a_matter_of_the_writer() -> None:
    """More work makes it smaller, and nobody has to know."""
    sent = envelope(json.dumps([n * n for n in range(3000)]).encode())

    quick, small = (Compress(level=level).pack(sent) for level in (1, 9))

    assert len(small.payload) < len(quick.payload)
    assert Packing().unpack(quick) == Packing().unpack(small) == sent


@pytest.mark.parametrize("level", [0, 10, "best"])
def test_a_level_that_there_is_not_is_refused(level: Any) -> None:
    """With those that there are."""
    with pytest.raises(NotConfigured, match="zlib has levels from 1 to 9, not"):
        Compress(level=level)


@given(st.binary(max_size=300), st.integers(0, 300), st.sampled_from(["a/b", "a/b+c", "a/b; d=e"]))
def test_what_is_packed_is_unpacked_by_whoever_reads(payload: bytes, above: int, content_type: str) -> None:
    """Whatever his own setting is."""
    sent = envelope(payload * 3, content_type)
    packing = Packing(compress=Compress(above=above), claims=Claims(MemoryClaims(), above=above // 2))

    packed = packing.pack(sent)

    assert Packing(claims=packing.claims).unpack(packed) == sent


def test_a_bomb_is_not_opened_further_than_the_limit() -> None:
    """A thousand times as much is in it."""
    bomb = zlib.compress(b"x" * 50_000_000)
    assert len(bomb) < 50_000

    with pytest.raises(PayloadTooLarge, match="holds more than the limit of 1000 bytes"):
        Packing(max_bytes=1000).unpack(envelope(bomb, "application/json+zlib"))


def test_a_payload_of_exactly_the_limit_is_opened() -> None:
    """One byte more is too much."""
    packed = Compress().pack(envelope(LONG))

    assert Packing(max_bytes=len(LONG)).unpack(packed).payload == LONG
    with pytest.raises(PayloadTooLarge):
        Packing(max_bytes=len(LONG) - 1).unpack(packed)


DAMAGES = {"nothing": b"", "no zlib": b"{}", "its half": zlib.compress(LONG)[:20], "more": zlib.compress(LONG) + b"x"}


@pytest.mark.parametrize("payload", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_an_invalid_payload(payload: bytes) -> None:
    """Never another error, and never a part of it."""
    with pytest.raises(InvalidPayload, match="is not what zlib has written"):
        Packing().unpack(envelope(payload, "application/json+zlib"))


def test_an_encoding_that_is_not_known_is_a_clear_error() -> None:
    """A newer release may know it: it is tried again."""
    event = evolve(written(Told("x")), content_type="application/json+br")

    with pytest.raises(UnknownMessage, match=r"Told came as application/json\+br; this project reads application/json"):
        vocabulary().decode(event)


def test_it_is_opened_once() -> None:
    """Bombs may be nested."""
    twice = envelope(zlib.compress(zlib.compress(LONG)), "application/json+zlib+zlib")

    assert Packing().unpack(twice).content_type == "application/json+zlib"


def test_people_see_what_is_in_it() -> None:
    """Or what there is, if it cannot be opened."""
    assert opened(zlib.compress(LONG), "application/json+zlib") == LONG
    assert opened(b"{", "application/json+zlib") == b"{"
    assert opened(b"{}", "application/json") == b"{}"


# Claim checks


def test_a_large_payload_is_put_elsewhere_and_a_claim_check_travels() -> None:
    """With the length and the hash of what it is for."""
    store, sent = MemoryClaims(), envelope(LONG)
    packing = Packing(claims=Claims(store, above=1000))

    packed = packing.pack(sent)

    assert store.kept == {str(sent.id): LONG}
    assert packed.content_type == CLAIM
    assert json.loads(packed.payload).keys() == {"reference", "length", "sha256", "content_type"}
    assert packing.unpack(packed) == sent
    assert packing.pack(envelope(LONG[:1000])).payload == LONG[:1000]


def test_what_is_compressed_well_need_not_go_elsewhere() -> None:
    """The size that counts is that of what would travel."""
    store = MemoryClaims()
    packing = Packing(compress=Compress(), claims=Claims(store, above=1000))

    packed = packing.pack(envelope(LONG))

    assert packed.content_type == "application/json+zlib"
    assert store.kept == {}


def test_what_goes_elsewhere_goes_compressed() -> None:
    """And comes back plain."""
    packing = Packing(compress=Compress(), claims=Claims(MemoryClaims(), above=10))
    sent = envelope(LONG)

    packed = packing.pack(sent)

    assert json.loads(packed.payload)["content_type"] == "application/json+zlib"
    assert packing.unpack(packed) == sent


def test_a_payload_that_is_not_there_is_tried_again() -> None:
    """Its error is none of the payload: it may come yet."""
    packing = Packing(claims=Claims(MemoryClaims(), above=10))
    packed = packing.pack(envelope(LONG))

    with pytest.raises(ClaimMissing, match=f"no payload is kept as {packed.id}"):
        Packing(claims=Claims(MemoryClaims())).unpack(packed)


@pytest.mark.parametrize("other", [LONG[:-1], b"x" + LONG[1:], LONG + b"x"], ids=["shorter", "changed", "longer"])
def test_another_payload_in_its_place_is_refused(other: bytes) -> None:
    """By length and hash."""
    store = MemoryClaims()
    packing = Packing(claims=Claims(store, above=10))
    packed = packing.pack(envelope(LONG))
    store.kept[str(packed.id)] = other

    with pytest.raises(InvalidPayload, match="is not what was put there"):
        packing.unpack(packed)


@frozen
class Drawer:
    """Keeps everything under one reference."""

    reference: Any
    kept: dict[str, bytes] = Factory(dict[str, bytes])

    def put(self, message: UUID, payload: bytes, /) -> str:
        """Keep it."""
        self.kept[self.reference] = payload
        return cast("str", self.reference)

    def get(self, reference: str, /, *, limit: int) -> bytes:
        """Return it."""
        return self.kept[reference]


@pytest.mark.parametrize("reference", ["x", "s3://claims/" + "é" * 243])
def test_a_reference_may_be_as_long_as_the_store_was_told(reference: str) -> None:
    """Up to 255 characters."""
    packing = Packing(claims=Claims(Drawer(reference), above=10))

    assert packing.unpack(packing.pack(envelope(LONG))).payload == LONG


@pytest.mark.parametrize("reference", ["", "x" * 256, "a\nb", "\0", "\ud800", None, b"x"], ids=range(7))
def test_a_reference_that_nobody_would_take_is_told_where_it_is_put(reference: Any) -> None:
    """Else each of these messages would be sent, and be dead at every consumer."""
    with pytest.raises(NotConfigured, match=r"Drawer\.put returned .*; a reference is a string of 1 to 255 printable"):
        Packing(claims=Claims(Drawer(reference), above=10)).pack(envelope(LONG))


def test_a_payload_above_the_limit_is_not_even_asked_for() -> None:
    """Its length is known."""
    packing = Packing(claims=Claims(MemoryClaims(), above=10))
    packed = packing.pack(envelope(LONG))

    with pytest.raises(PayloadTooLarge, match="more than the limit of 1000"):
        Packing(claims=Claims(MemoryClaims()), max_bytes=1000).unpack(packed)


def test_who_does_not_know_where_is_told_what_to_set() -> None:
    """It waits until that is done."""
    packed = Packing(claims=Claims(MemoryClaims(), above=10)).pack(envelope(LONG))

    with pytest.raises(UnknownMessage, match=r"this project does not say where: Packing\(claims=\.\.\.\), in Django"):
        Packing().unpack(packed)


CLAIMS: dict[str, Any] = {
    "nothing": b"",
    "no object": b"[]",
    "deep": b"[" * 4000,
    "too long": b" " * 5000,
    "no reference": {"reference": None},
    "an empty reference": {"reference": ""},
    "a long reference": {"reference": "x" * 256},
    "a reference with lines of a log": {"reference": "a\nERROR b"},
    "a reference that is no text": {"reference": "\ud800"},
    "a truth for a length": {"length": True},
    "less than nothing": {"length": -1},
    "a claim check for a claim check": {"content_type": CLAIM},
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_what_is_no_claim_check_is_an_invalid_payload(claim: Any) -> None:
    """Strangers may write anything."""
    whole = {"reference": "a", "length": 1, "sha256": "0", "content_type": "a/b"}
    payload = claim if isinstance(claim, bytes) else json.dumps({**whole, **claim}).encode()

    with pytest.raises(InvalidPayload, match="no claim check"):
        Packing(claims=Claims(MemoryClaims())).unpack(envelope(payload, CLAIM))


# Anything at all


MARKED = [CLAIM, *(f"application/json+{suffix}" for suffix in ("zlib", "zstd", "br")), "+", "+zlib", "application/json"]


@given(st.binary(max_size=200), st.sampled_from(MARKED) | st.text(max_size=20))
def test_whatever_comes_is_unpacked_or_an_invalid_payload(payload: bytes, content_type: str) -> None:
    """Behind the beginning of good bytes as well; and never larger than the limit."""
    for sent in (payload, zlib.compress(LONG)[:10] + payload):
        try:
            found = Packing(claims=Claims(MemoryClaims()), max_bytes=100).unpack(envelope(sent, content_type))
        except (InvalidPayload, MissingExtra):
            continue
        assert found.payload == sent or len(found.payload) <= 100


# On its way


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "compressed": {"compress": Compress(above=10)},
    "elsewhere": {"claims": Claims(MemoryClaims(), above=10)},
}


@pytest.mark.parametrize("wire", [CloudEventsBinary(), CloudEventsStructured()], ids=["binary", "structured"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_it_arrives_whatever_the_format(way: dict[str, Any], wire: Any) -> None:
    """The content type tells the truth, so that a document of JSON holds no bytes that are none."""
    sent = written(Told("a" * 100), **way)

    read = wire.read(wire.write(sent), topic=sent.topic, max_bytes=10_000)

    assert read == sent
    assert vocabulary(claims=way.get("claims")).decode(read) == Told("a" * 100)


def test_a_mediator_packs_what_it_ships() -> None:
    """Another one unpacks it, whatever its own setting is."""
    registry, broker, seen = Registry(), MemoryBroker(), list[str]()
    registry.add(Told, lambda event: seen.append(event.text), consumer="mailing")
    writer = Mediator(registry, publisher=broker, packing=Packing(compress=Compress(above=10)))

    writer.publish(Told("a" * 100))
    [sent] = broker.published
    writer.receive(sent, consumer="mailing")

    assert sent.content_type == "application/json+zlib"
    assert seen == ["a" * 100]
