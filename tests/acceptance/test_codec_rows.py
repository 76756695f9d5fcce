"""The acceptance rows of payloads on the wire: 46, 47, 48, and of weakness B25 what concerns them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve, frozen

from simplecqrs import Mediator, NotificationEvent, Registry
from simplecqrs.brokers.cloudevents import CloudEventsBinary, CloudEventsStructured
from simplecqrs.codec import Codec, JSONCodec
from simplecqrs.codec.msgspec import MsgspecCodec
from simplecqrs.codec.orjson import OrjsonCodec
from simplecqrs.codec.protobuf import Proto, ProtobufCodec
from simplecqrs.codec.reading import Unreadable, reader
from simplecqrs.consumer import Consumer
from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidPayload, NotConfigured, PayloadTooLarge
from simplecqrs.fetcher import Fetcher
from simplecqrs.loop import Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.metadata import new_metadata
from simplecqrs.packing import Claims, Compress, MemoryClaims, Packing
from simplecqrs.upcasting import Upcasters
from simplecqrs.vocabulary import Vocabulary
from tests.protos import shop_pb2

pb: Any = shop_pb2  # generated, without types


@frozen
class Moved(NotificationEvent, name="shop.moved", topic="moves"):
    """Two numbers, as in protobuf."""

    x: int
    y: int


@frozen
class Lined(NotificationEvent, name="shop.lined", topic="moves"):
    """Without a type, until it gets one."""

    sku: str
    quantity: int


MOVED = Moved(2**60, -4)
PROTOBUF = ProtobufCodec({Moved: pb.Moved})
STORE = MemoryClaims()
WRITERS: dict[str, dict[str, Any]] = {
    "json": {},
    "orjson": {"codec": OrjsonCodec()},
    "msgspec": {"codec": MsgspecCodec()},
    "protobuf": {"codecs": {"shop.moved": PROTOBUF}},
    "zlib": {"packing": Packing(compress=Compress(above=0))},
    "zstd": {"codec": OrjsonCodec(), "packing": Packing(compress=Compress(above=0, by="zstd"))},
    "protobuf, zlib": {"codecs": {Moved: PROTOBUF}, "packing": Packing(compress=Compress(above=0))},
    "claims": {"codec": MsgspecCodec(), "packing": Packing(claims=Claims(STORE, above=10))},
}


class Town:
    """A broker, and a consumer that reads what comes from it, with whatever codec."""

    def __init__(self, *, codec: Codec | None = None) -> None:
        self.broker = MemoryBroker()
        self.inbox = MemoryQueue("inbox")
        self.heard: list[Any] = []
        registry = Registry()
        registry.add(Moved, self.heard.append, consumer="ear")
        reading: dict[str, Any] = {
            "codec": codec,
            "codecs": {Moved: PROTOBUF},
            "packing": Packing(claims=Claims(STORE)),
        }
        bus = Mediator(registry, **reading)
        self.jobs = [
            Fetcher(consumer="ear", inbox=self.inbox, feeds=self.broker.feeds("ear", ["moves"])),
            Consumer(
                consumer="ear", storage=self.inbox, receive=lambda envelope: bus.receive(envelope, consumer="ear")
            ),
        ]

    def work(self) -> Sequence[Any]:
        """Read what is there, and return what the handler has heard."""
        Loop(self.jobs).run(drain=True)
        return self.heard


def sent(event: Any, **writing: Any) -> Envelope:
    """Return an event as a writer stores it."""
    codec, codecs, packing = (writing.get(name) for name in ("codec", "codecs", "packing"))
    vocabulary = Vocabulary([type(event)], codec=codec or JSONCodec(), codecs=codecs, packing=packing or Packing())
    return vocabulary.envelope(event, new_metadata(None, None))


# 46: protobuf


def test_row_46_protobuf_is_chosen_for_an_event_by_its_name() -> None:
    """All others stay JSON; it is smaller, and read by who has the type."""
    writing = {"codecs": {"shop.moved": PROTOBUF}}

    moved, lined = sent(MOVED, **writing), sent(Lined("a", 1), **writing)

    assert (moved.content_type, lined.content_type) == ("application/x-protobuf", "application/json")
    assert pb.Moved.FromString(moved.payload) == pb.Moved(x=2**60, y=-4)
    assert len(moved.payload) < len(JSONCodec().encode(MOVED))


def test_row_46_each_event_may_say_how_it_becomes_one_and_comes_back() -> None:
    """By two functions, where the names of fields are not enough."""
    codec = ProtobufCodec(
        {
            Lined: Proto(
                pb.Line,
                to_proto=lambda lined: pb.Line(sku=lined.sku.upper(), quantity=lined.quantity),
                from_proto=lambda made: Lined(made.sku.lower(), made.quantity),
            )
        }
    )

    payload = codec.encode(Lined("a", 3))

    assert pb.Line.FromString(payload).sku == "A"
    assert codec.decode(Lined, payload) == Lined("a", 3)


def test_row_46_a_missing_type_is_an_error_before_the_first_message() -> None:
    """With what to write."""
    registry = Registry()
    registry.add(Lined, lambda event: None, consumer="ear")

    with pytest.raises(NotConfigured, match=r"Lined has no protobuf type; give it one: ProtobufCodec\(\{Lined: \.\.\."):
        Mediator(registry, codecs={"shop.*": PROTOBUF}).check()


def test_row_46_a_consumer_of_ones_own_reads_it() -> None:
    """Bad bytes are a value."""
    read = reader(Moved, PROTOBUF)

    assert read(PROTOBUF.encode(MOVED)) == MOVED
    assert isinstance(read(b"\xff"), Unreadable)


# 47: bad bytes


@pytest.mark.parametrize(
    "codec", [JSONCodec(), OrjsonCodec(), MsgspecCodec(), PROTOBUF], ids=lambda c: type(c).__name__
)
def test_row_47_bad_bytes_are_a_value_with_the_error_and_what_came(codec: Codec) -> None:
    """Whatever the codec; nothing is raised where messages come from outside."""
    found = reader(Moved, codec)(b"\xff\x00")

    assert isinstance(found, Unreadable)
    assert isinstance(found.error, InvalidPayload)
    assert found.payload == b"\xff\x00"


def test_row_47_a_consumer_lives_and_the_letter_has_the_bytes() -> None:
    """Garbage, a bomb, a claim check that is none: each is dead with its reason, and the next one is handled."""
    town = Town()
    good = sent(MOVED)
    bomb = zlib.compress(b" " * 10_000_000)
    bad = [
        evolve(good, id=new_metadata(None, None).id, **more)
        for more in (
            {"payload": b"\xff"},
            {"payload": b"\xfe", "content_type": "application/x-protobuf"},
            {"payload": bomb, "content_type": "application/json+zlib"},
            {"payload": b"[]", "content_type": "application/vnd.simplecqrs.claim+json"},
        )
    ]
    town.broker.publish([*bad, good], deadline=1)

    assert town.work() == [MOVED]

    reasons = {letter.payload: letter.reason.partition(":")[0] for letter in town.inbox.letters()}
    assert reasons == {
        bad[0].payload: "InvalidPayload",
        bad[1].payload: "InvalidPayload",
        bad[2].payload: "PayloadTooLarge",
        bad[3].payload: "InvalidPayload",
    }


# 48: compression


@pytest.mark.parametrize("codec", [None, OrjsonCodec(), MsgspecCodec()], ids=["json", "orjson", "msgspec"])
def test_row_48_rows_of_every_kind_are_read_side_by_side(codec: Codec | None) -> None:
    """The marker is in each of them, so it does not matter how the reader would write."""
    town = Town(codec=codec)

    town.broker.publish([sent(MOVED, **writing) for writing in WRITERS.values()], deadline=1)

    assert town.work() == [MOVED] * len(WRITERS)
    assert town.inbox.letters() == []


@pytest.mark.parametrize("wire", [CloudEventsBinary(), CloudEventsStructured()], ids=["binary", "structured"])
def test_row_48_the_marker_is_the_content_type_on_every_wire(wire: Any) -> None:
    """A CloudEvent says the truth of its data; what is no JSON stands in a document as base64."""
    envelope = sent(Lined("a" * 1000, 1), packing=Packing(compress=Compress(above=100)))

    parcel = wire.write(envelope)

    assert envelope.content_type == "application/json+zlib"
    assert wire.read(parcel, topic="moves", max_bytes=10_000) == envelope
    if isinstance(wire, CloudEventsStructured):
        document = json.loads(parcel.body)
        assert document["datacontenttype"] == "application/json+zlib"
        assert "data_base64" in document


def test_row_48_the_size_from_which_on_is_a_setting_and_a_bomb_has_a_limit() -> None:
    """Of what is read, not of what is sent."""
    small, large = (sent(Lined("a" * n, 1), packing=Packing(compress=Compress(above=500))) for n in (100, 1000))

    assert (small.content_type, large.content_type) == ("application/json", "application/json+zlib")
    with pytest.raises(PayloadTooLarge):
        Packing(max_bytes=900).unpack(large)


# B25: what becomes of old payloads


def test_weakness_b25_an_old_payload_is_upcast_however_it_was_packed() -> None:
    """And protobuf, which has its own rules for that, says so at the start."""

    @frozen
    class Sold(NotificationEvent, name="shop.sold", version=2):
        total: int

    Sold.__annotations__.update(total=int)
    upcasters = Upcasters()
    upcasters.upcasts(Sold, version=1)(lambda fields: {"total": fields["price"] * fields["count"]})
    now = Vocabulary([Sold], codec=OrjsonCodec(), upcasters=upcasters)
    old = evolve(sent(Sold(0)), version=1, payload=json.dumps({"price": 7, "count": 3, "note": "x" * 99}).encode())

    packed = Compress(above=10, by="zstd").pack(old)

    assert packed.content_type == "application/json+zstd"
    assert now.decode(packed) == now.decode(old) == Sold(21)


def test_weakness_b25_fields_may_be_added_to_a_type_of_protobuf() -> None:
    """On either side first."""
    newer = pb.Sold(customer="x", note="y").SerializeToString()

    @frozen
    class Older(NotificationEvent):
        customer: str

    @frozen
    class Newer(NotificationEvent):
        customer: str
        note: str = "nothing"

    Older.__annotations__.update(customer=str)
    Newer.__annotations__.update(customer=str, note=str)
    codec = ProtobufCodec({Older: pb.Sold, Newer: pb.Sold})

    assert codec.decode(Older, newer) == Older("x")
    assert codec.decode(Newer, codec.encode(Older("x"))) == Newer("x")
