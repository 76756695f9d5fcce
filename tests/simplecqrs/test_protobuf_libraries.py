"""The codec of protobuf: each class has a type, by names or by two functions."""

from __future__ import annotations

import enum
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from simplecqrs import UNSET, Mediator, NotificationEvent, Registry, Unset
from simplecqrs.codec import Codec, Inspects, JSONCodec, PlainCodec
from simplecqrs.codec.protobuf import Proto, ProtobufCodec
from simplecqrs.codec.reading import Unreadable, reader
from simplecqrs.errors import (
    InvalidMessage,
    InvalidPayload,
    MissingExtra,
    NotConfigured,
    PayloadTooLarge,
    UnknownMessage,
)
from simplecqrs.metadata import new_metadata
from simplecqrs.upcasting import Upcasters
from simplecqrs.vocabulary import Vocabulary
from tests.protos import shop_pb2

pb: Any = shop_pb2  # generated, without types


class Colour(enum.Enum):
    """One member by its value, one by its name."""

    RED = "red"
    BLUE = "navy"


class Size(enum.IntEnum):
    """By number, in a field of numbers."""

    SMALL = 1
    LARGE = 2


@frozen
class Line:
    """A message within a message."""

    sku: str
    quantity: int
    price: Decimal | None = None


@frozen
class Sold(NotificationEvent, name="shop.sold"):
    """All that protobuf can hold by names."""

    id: UUID
    at: datetime
    customer: str
    lines: list[Line]
    first: Line | None
    share: float
    span: timedelta
    data: bytes
    colour: Colour
    size: Size
    note: str | None
    by_number: dict[int, bool]
    by_name: dict[str, Line]
    by_flag: dict[bool, str]
    colours: tuple[Colour, ...]
    large: int
    wrapped: str | None
    paid: bool
    tags: frozenset[str]


SOLD = Sold(
    id=UUID(int=7),
    at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2))),
    customer="grüße \x00",
    lines=[Line("a", 2**62, Decimal("1.50")), Line("b", -1)],
    first=Line("", 0),
    share=0.1,
    span=timedelta(days=-1, microseconds=1),
    data=b"\x00\xff",
    colour=Colour.RED,
    size=Size.LARGE,
    note="",
    by_number={1: True, -(2**62): False},
    by_name={"x": Line("y", 0, Decimal(0))},
    by_flag={True: "yes", False: "no"},
    colours=(Colour.BLUE, Colour.RED, Colour.BLUE),
    large=2**64 - 1,
    wrapped="",
    paid=True,
    tags=frozenset({"a", "b"}),
)
CODEC = ProtobufCodec({Sold: pb.Sold})


@frozen
class Moved(NotificationEvent, name="shop.moved"):
    """Holds something that protobuf does not know."""

    place: complex


MOVED = Proto(
    pb.Moved,
    to_proto=lambda moved: pb.Moved(x=int(moved.place.real), y=int(moved.place.imag)),
    from_proto=lambda made: Moved(complex(made.x, made.y)),
)


def test_it_is_a_codec_that_knows_what_it_cannot_do() -> None:
    """It gives no plain data, so there are no upcasters."""
    assert isinstance(CODEC, Codec)
    assert isinstance(CODEC, Inspects)
    assert not isinstance(CODEC, PlainCodec)
    assert CODEC.content_type == "application/x-protobuf"


# By names


def test_a_message_makes_the_round_trip() -> None:
    """Values and their types."""
    found = CODEC.decode(Sold, CODEC.encode(SOLD))

    assert found == SOLD
    assert type(found.colour) is Colour
    assert type(found.size) is Size


@pytest.mark.parametrize("name", ["first", "note", "wrapped"])
def test_none_is_none_and_not_what_is_empty(name: str) -> None:
    """In optional fields."""
    sold = evolve(SOLD, **{name: None})

    assert CODEC.decode(Sold, CODEC.encode(sold)) == sold
    assert CODEC.decode(Sold, CODEC.encode(SOLD)) != sold


def test_others_read_it_and_it_reads_theirs() -> None:
    """By the generated class alone."""
    made = pb.Sold.FromString(CODEC.encode(SOLD))

    assert made.customer == SOLD.customer
    assert made.at.ToDatetime(tzinfo=timezone.utc) == SOLD.at
    assert made.lines[0].quantity == 2**62
    assert list(made.colours) == [pb.BLUE, pb.red, pb.BLUE]
    assert CODEC.decode(Sold, made.SerializeToString()) == SOLD


def test_a_set_is_written_in_an_order_of_its_own() -> None:
    """The set's own is another one in each process; the same message has the same bytes, and the same fingerprint."""
    tags = [f"{number:02}" for number in range(20)]

    made = pb.Sold.FromString(CODEC.encode(evolve(SOLD, tags=frozenset(tags))))

    assert list(made.tags) == tags


def test_fields_that_the_class_does_not_have_are_ignored() -> None:
    """Producers may add some first, to the type or to what they send."""
    made = pb.Sold.FromString(CODEC.encode(SOLD))
    made.only_in_protobuf = "x"

    assert CODEC.decode(Sold, made.SerializeToString() + b"\xca\x3e\x01x") == SOLD


@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        Sold,
        id=st.uuids(),
        at=st.datetimes(timezones=st.just(timezone.utc)),
        customer=st.text(),
        lines=st.lists(
            st.builds(Line, st.text(), st.integers(-(2**63), 2**63 - 1), st.none() | st.just(Decimal("1.0")))
        ),
        first=st.none() | st.builds(Line, st.text(), st.integers(-9, 9)),
        share=st.floats(allow_nan=False, allow_infinity=False),
        span=st.timedeltas(min_value=timedelta(days=-36500), max_value=timedelta(days=36500)),
        data=st.binary(),
        colour=st.sampled_from(Colour),
        size=st.sampled_from(Size),
        note=st.none() | st.text(),
        by_number=st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.booleans()),
        by_name=st.dictionaries(st.text(), st.builds(Line, st.text(), st.integers(-9, 9))),
        by_flag=st.dictionaries(st.booleans(), st.text()),
        colours=st.tuples(st.sampled_from(Colour)),
        large=st.integers(0, 2**64 - 1),
        wrapped=st.none() | st.text(),
        paid=st.booleans(),
        tags=st.frozensets(st.text()),
    )
)
def test_any_message_makes_the_round_trip(sold: Sold) -> None:
    """To the last digit."""
    assert CODEC.decode(Sold, CODEC.encode(sold)) == sold


UNWRITABLE: dict[str, tuple[dict[str, Any], str, str]] = {
    "too large": ({"size": Size.LARGE, "large": 2**64}, "large", "Value out of range"),
    "of another type": ({"customer": 7}, "customer", "bad argument type|7 has type"),
    "within": ({"lines": [Line("a", 2**63)]}, "lines.quantity", "Value out of range"),
    "half a character": ({"customer": "\ud800"}, "customer", "surrogates|utf-8"),
}


@pytest.mark.parametrize(("change", "path", "reason"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_cannot_be_written_is_refused_with_its_field(change: dict[str, Any], path: str, reason: str) -> None:
    """Where it is published, so that the command fails."""
    with pytest.raises(InvalidPayload, match=rf"Sold makes no shop\.Sold: {path}: .*({reason})") as caught:
        CODEC.encode(evolve(SOLD, **change))

    assert caught.value.errors[0][0] == path


def test_a_naive_moment_is_refused() -> None:
    """As by every codec."""
    with pytest.raises(InvalidPayload, match="has no time zone"):
        CODEC.encode(evolve(SOLD, at=datetime(2026, 1, 2)))  # noqa: DTZ001


BAD = {"JSON": b'{"a": 1}', "bytes": b"\xff" * 10, "its half": CODEC.encode(SOLD)[:-3], "no UTF-8": b"\x1a\x02\xff\xff"}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD)
def test_bad_bytes_are_an_invalid_payload(payload: bytes) -> None:
    """Never another error."""
    with pytest.raises(InvalidPayload, match=r"Sold: the payload is no shop\.Sold: "):
        CODEC.decode(Sold, payload)


def test_what_is_missing_is_named() -> None:
    """Bytes of another type may well be read, and hold nothing that is asked for."""
    with pytest.raises(InvalidPayload) as caught:
        CODEC.decode(Sold, b"")

    assert {path for path, _ in caught.value.errors} == {"id", "at", "span", "colour", "size"}


def test_a_time_that_there_is_not_is_an_invalid_payload() -> None:
    """Protobuf itself does not look."""
    made = pb.Sold.FromString(CODEC.encode(SOLD))
    made.at.seconds = 2**60

    with pytest.raises(InvalidPayload, match=r"shop\.Sold makes no Sold"):
        CODEC.decode(Sold, made.SerializeToString())


@given(st.binary(max_size=200))
def test_whatever_comes_it_is_a_message_or_a_value_that_says_why(payload: bytes) -> None:
    """And a tail of anything behind good bytes."""
    for sent in (payload, CODEC.encode(SOLD) + payload):
        found = reader(Sold, CODEC)(sent)

        assert isinstance(found, (Sold, Unreadable))


def test_the_limit_counts_both_ways() -> None:
    """Before anything is parsed."""
    codec, payload = ProtobufCodec({Sold: pb.Sold}, max_bytes=20), CODEC.encode(SOLD)

    with pytest.raises(PayloadTooLarge, match="more than the limit of 20"):
        codec.encode(SOLD)
    with pytest.raises(PayloadTooLarge, match="more than the limit of 20"):
        codec.decode(Sold, payload)


# By functions


def test_two_functions_may_say_what_becomes_of_what() -> None:
    """Where names are not enough."""
    codec = ProtobufCodec({Moved: MOVED})

    assert codec.problems(Moved) == []
    assert codec.decode(Moved, codec.encode(Moved(3 - 4j))) == Moved(3 - 4j)
    assert pb.Moved.FromString(codec.encode(Moved(3 - 4j))).y == -4


def test_what_they_raise_is_an_invalid_payload() -> None:
    """With the cause."""
    codec = ProtobufCodec({Moved: Proto(pb.Moved, to_proto=lambda m: 1 // 0, from_proto=lambda m: 1 // 0)})

    for act in (lambda: codec.encode(Moved(1j)), lambda: codec.decode(Moved, b"")):
        with pytest.raises(InvalidPayload) as caught:
            act()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_what_they_return_has_to_be_what_was_asked_for() -> None:
    """It is their mistake, and no message's."""
    codec = ProtobufCodec({Moved: Proto(pb.Moved, to_proto=lambda m: b"", from_proto=lambda m: m)})

    with pytest.raises(InvalidMessage, match=r"to_proto of Moved returned b'', which is no shop\.Moved"):
        codec.encode(Moved(1j))
    with pytest.raises(InvalidMessage, match="from_proto of Moved returned"):
        codec.decode(Moved, b"")


# Wrong wiring


@frozen
class Noted(NotificationEvent):
    """Has fields that its type does not have, or cannot hold."""

    number: int | None
    anything: dict[str, Any]
    more: str = ""


@frozen
class Renamed(NotificationEvent):
    """May leave out what it does not change."""

    note: str | Unset | None = UNSET


def test_a_class_without_a_type_is_an_error_at_the_start_and_wherever_it_is_used() -> None:
    """With what to write."""
    told = r"Moved has no protobuf type; give it one: ProtobufCodec\(\{Moved: \.\.\.\}\), or another codec"
    registry = Registry()
    registry.add(Moved, lambda moved: None, consumer="mailing")
    bus = Mediator(registry, codecs={"shop.*": CODEC})

    with pytest.raises(NotConfigured, match=told):
        bus.check()
    with pytest.raises(InvalidMessage, match=told):
        CODEC.encode(Moved(1j))
    with pytest.raises(InvalidMessage, match=told):
        CODEC.decode(Moved, b"")
    with pytest.raises(InvalidMessage, match=told):
        reader(Moved, CODEC)


def test_fields_that_a_type_cannot_hold_are_errors_at_the_start() -> None:
    """All of them, each with its place."""
    codec = ProtobufCodec({Noted: pb.Noted})

    assert codec.problems(Noted) == [
        f"{problem}; change the type, or give to_proto and from_proto"
        for problem in (
            "Noted.number may be None, which shop.Noted cannot say; make that field optional",
            "Noted.anything cannot be made of google.protobuf.Struct by names alone",
            "Noted.more: shop.Noted has no field 'more'",
        )
    ]
    with pytest.raises(InvalidPayload, match="number: None cannot be said"):
        codec.encode(Noted(None, {}))
    with pytest.raises(InvalidPayload, match=r"more: shop\.Noted has no such field"):
        codec.encode(Noted(1, {}))


def test_what_is_left_out_is_unset_again() -> None:
    """None would be the same in protobuf, so it is refused."""
    codec = ProtobufCodec({Renamed: pb.Sold})

    for renamed in (Renamed(), Renamed("x"), Renamed("")):
        assert codec.decode(Renamed, codec.encode(renamed)) == renamed
    with pytest.raises(InvalidPayload, match="note: None and UNSET are the same in protobuf"):
        codec.encode(Renamed(None))


@pytest.mark.parametrize(
    ("types", "complaint"),
    [
        ({Sold: "shop.Sold"}, "the type of Sold, 'shop.Sold', is no generated class"),
        ({Sold: pb.Sold()}, "is no generated class"),
        ({Line: pb.Line}, "Line'> is no message class"),
        ({"shop.*": pb.Sold}, "'shop.*' is no message class"),
    ],
    ids=["text", "object", "no message", "pattern"],
)
def test_what_is_no_type_is_refused_where_the_codec_is_made(types: Any, complaint: str) -> None:
    """At import, mostly."""
    with pytest.raises(NotConfigured) as caught:
        ProtobufCodec(types)

    assert complaint in str(caught.value)


def test_upcasters_and_protobuf_exclude_each_other() -> None:
    """Which is said at the start."""

    @frozen
    class Walked(NotificationEvent, version=2):
        x: int

    Walked.__annotations__.update(x=int)
    upcasters = Upcasters()
    upcasters.upcasts(Walked, version=1)(lambda fields: fields)
    vocabulary = Vocabulary(
        [Walked], codec=JSONCodec(), codecs={Walked: ProtobufCodec({Walked: pb.Moved})}, upcasters=upcasters
    )

    [problem] = vocabulary.problems()
    assert "has upcasters, but ProtobufCodec gives no plain data for them" in problem


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the codec is made."""
    monkeypatch.setitem(sys.modules, "google.protobuf.message", None)

    with pytest.raises(MissingExtra, match=r"simplecqrs\[protobuf\]"):
        ProtobufCodec({Sold: pb.Sold})


# On its way


def test_old_rows_of_json_are_read_beside_new_ones_of_protobuf() -> None:
    """The day after it was switched on; who has not been told yet says what he reads."""
    old, new = (Vocabulary([Sold], codec=JSONCodec(), codecs=codecs) for codecs in (None, {Sold: CODEC}))
    metadata = new_metadata(None, None)

    assert new.decode(old.envelope(SOLD, metadata)) == new.decode(new.envelope(SOLD, metadata)) == SOLD
    with pytest.raises(UnknownMessage, match=r"came as application/x-protobuf; this project reads application/json"):
        old.decode(new.envelope(SOLD, metadata))


def test_a_loop_of_ones_own_gets_a_value_for_bad_bytes() -> None:
    """With the bytes."""
    read = reader(Sold, CODEC)

    found = read(b"\xff")

    assert read(CODEC.encode(SOLD)) == SOLD
    assert isinstance(found, Unreadable)
    assert found.payload == b"\xff"
