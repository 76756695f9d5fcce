"""JSON: lossless one way, nothing coerced the other way, and every bad field named."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Generic, NewType, TypeVar
from uuid import UUID, uuid4

import attrs
import pytest
from attrs import field, frozen, validators

from simplecqrs import UNSET, Command, NotificationEvent, Unset, load
from simplecqrs.codec import JSONCodec
from simplecqrs.errors import InvalidMessage, InvalidPayload, PayloadTooLarge

T = TypeVar("T")
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    """Its values are text."""

    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    """Its values are numbers."""

    SMALL = 1
    LARGE = 2


class Currency(str, enum.Enum):
    """Its members are text."""

    EUR = "eur"


@frozen
class Money:
    """A value."""

    amount: Decimal
    currency: Currency = Currency.EUR


@frozen
class Line:
    """A part of an order."""

    sku: str
    quantity: int = field(validator=validators.ge(1))


@frozen
class Everything(NotificationEvent):
    """One field of each kind."""

    text: str
    number: int
    share: float
    flag: bool
    data: bytes
    id: UUID
    at: datetime
    day: date
    hour: time
    span: timedelta
    price: Decimal
    colour: Colour
    size: Size
    currency: Currency
    maybe: int | None
    either: int | str | None
    user: UserId
    money: Money
    lines: list[Money]
    pair: tuple[int, str]
    many: tuple[int, ...]
    tags: frozenset[str]
    sequence: Sequence[int]
    by_name: dict[str, Money]
    by_number: dict[int, str]
    by_id: Mapping[UUID, date]
    by_colour: dict[Colour, list[int]]
    by_size: dict[Size, int]
    anything: Any


EVERYTHING = Everything(
    text="grüße \u2028 \x00 😀",
    number=-(2**70),
    share=0.1,
    flag=True,
    data=b"\x00\xff",
    id=UUID(int=7),
    at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2))),
    day=date(2026, 1, 2),
    hour=time(1, 2, 3, 4),
    span=timedelta(days=-1, microseconds=1),
    price=Decimal("10.00"),
    colour=Colour.BLUE,
    size=Size.LARGE,
    currency=Currency.EUR,
    maybe=None,
    either="7",
    user=UserId(7),
    money=Money(Decimal("1E+3")),
    lines=[Money(Decimal(1)), Money(Decimal("2.50"))],
    pair=(1, "a"),
    many=(1, 2, 3),
    tags=frozenset({"a", "b"}),
    sequence=[1, 2],
    by_name={"a": Money(Decimal(1))},
    by_number={1: "a", -2: "b"},
    by_id={UUID(int=8): date(2026, 1, 2)},
    by_colour={Colour.RED: [1]},
    by_size={Size.SMALL: 3},
    anything={"a": [1, None]},
)


@frozen
class Place(Command[int]):
    """A command with all sorts of fields."""

    customer: str
    lines: list[Line]
    discount: Decimal = Decimal(0)
    due: datetime | None = None
    notes: dict[str, int] = field(factory=dict)


@frozen
class Rename(Command[None]):
    """A partial update."""

    id: int
    name: str | Unset = UNSET
    email: str | Unset | None = UNSET


def errors_of(kind: type[Any], data: Any) -> dict[str, str]:
    """Return what is wrong with data, by path."""
    with pytest.raises(InvalidPayload) as caught:
        load(kind, data)
    return dict(caught.value.errors)


# Lossless


def test_everything_makes_the_round_trip() -> None:
    """Values and their types, to the last digit."""
    codec = JSONCodec()

    found = codec.decode(Everything, codec.encode(EVERYTHING))

    assert found == EVERYTHING
    for attribute in attrs.fields(Everything):
        assert type(getattr(found, attribute.name)) is type(getattr(EVERYTHING, attribute.name)), attribute.name
    assert str(found.price) == "10.00"
    assert found.at.utcoffset() == timedelta(hours=2)


def test_the_format_is_what_other_languages_expect() -> None:
    """Field names as they are, ISO 8601, base64, decimals as text."""
    fields = json.loads(JSONCodec().encode(EVERYTHING))

    assert fields["by_number"] == {"1": "a", "-2": "b"}
    assert fields["at"] == "2026-01-02T03:04:05.000006+02:00"
    assert fields["data"] == "AP8="
    assert fields["span"] == -86399.999999
    assert fields["price"] == "10.00"
    assert (fields["colour"], fields["size"], fields["currency"]) == ("blue", 2, "eur")


def test_payloads_are_compact_utf_8() -> None:
    """No blanks, no escapes."""

    @frozen
    class Said(NotificationEvent):
        what: str
        how: list[int]

    assert JSONCodec().encode(Said("grüße", [1, 2])) == '{"what":"grüße","how":[1,2]}'.encode()


def test_a_dataclass_makes_the_round_trip() -> None:
    """Nested ones and UNSET included."""

    @dataclasses.dataclass(frozen=True)
    class Said(NotificationEvent):
        id: UUID
        what: str | Unset = UNSET

    Said.__annotations__.update(id=UUID, what=str | Unset)
    codec, said = JSONCodec(), Said(uuid4())

    assert codec.encode(said) == f'{{"id":"{said.id}"}}'.encode()
    assert codec.decode(Said, codec.encode(said)) == said


@frozen
class Page(NotificationEvent, Generic[T]):
    """A generic event."""

    items: list[T]
    first: T


@frozen
class MoneyPage(Page[Money]):
    """What is sent."""


def test_the_payload_of_a_subclassed_generic_event_is_rebuilt_as_its_own_type() -> None:
    """``Page[Money]`` holds Money, not dicts."""
    codec, page = JSONCodec(), MoneyPage([Money(Decimal(1))], Money(Decimal(2)))

    assert codec.decode(MoneyPage, codec.encode(page)) == page


def test_text_subclasses_keep_their_type() -> None:
    """``Email`` stays an Email."""
    codec, sent = JSONCodec(), Mailed(Email("a@b"))

    found = codec.decode(Mailed, codec.encode(sent))

    assert type(found.to) is Email


class Email(str):
    """Text with a meaning."""

    __slots__ = ()


@frozen
class Mailed(NotificationEvent):
    """Has a field of a subclass."""

    to: Email


# UNSET


def test_unset_fields_are_omitted_and_unset_again_on_the_other_side() -> None:
    """None is something else."""
    codec = JSONCodec()

    assert codec.encode(Rename(1)) == b'{"id":1}'
    assert codec.encode(Rename(1, email=None)) == b'{"id":1,"email":null}'
    for command in (Rename(1), Rename(1, name=""), Rename(1, email=None), Rename(1, email="a@b")):
        assert codec.decode(Rename, codec.encode(command)) == command


def test_load_leaves_unset_what_is_not_given() -> None:
    """A partial update of request data."""
    assert load(Rename, {"id": 1}) == Rename(1)
    assert load(Rename, {"id": 1, "email": None}) == Rename(1, email=None)


def test_a_field_that_may_be_unset_is_as_strict_as_others() -> None:
    """And its text "UNSET" is text."""
    assert errors_of(Rename, {"id": 1, "name": 7, "email": 7}).keys() == {"name", "email"}
    assert errors_of(Rename, {"id": 1, "name": None}).keys() == {"name"}
    assert load(Rename, {"id": 1, "name": "UNSET"}).name == "UNSET"


def test_unset_that_could_not_be_left_out_is_refused() -> None:
    """Where it is not the default, leaving it out would say something else."""

    @frozen
    class Odd(NotificationEvent):
        name: str | Unset = "x"

    Odd.__annotations__.update(name=str | Unset)

    with pytest.raises(InvalidPayload, match=r"UNSET can be left out only where it is the default"):
        JSONCodec().encode(Odd(UNSET))


# Strict


def test_load_makes_a_command_of_request_data() -> None:
    """As it came from JSON."""
    data = {
        "customer": "Ada",
        "lines": [{"sku": "A", "quantity": 2}],
        "discount": "1.50",
        "due": "2026-01-02T03:04:05Z",
    }

    command = load(Place, data)

    assert command == Place("Ada", [Line("A", 2)], Decimal("1.50"), datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc))


def test_load_takes_what_is_of_the_right_type_already() -> None:
    """Cleaned form data."""
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)

    command = load(Place, {"customer": "Ada", "lines": (), "discount": Decimal(1), "due": moment})

    assert command == Place("Ada", [], Decimal(1), moment)


def test_load_lists_every_bad_field_with_its_path() -> None:
    """Missing, unknown, of the wrong type, refused by a validator, deep inside: all at once."""
    data = {
        "lines": [{"sku": "A", "quantity": 0}, {"quantity": "2"}, 7, {"sku": "B", "quantity": 1, "colour": "red"}],
        "discount": 1.5,
        "due": "tomorrow",
        "notes": {"a": 1, "b": "x"},
        "surprise": 1,
    }

    found = errors_of(Place, data)

    assert found.keys() == {
        "customer",
        "lines[0].quantity",
        "lines[1].sku",
        "lines[1].quantity",
        "lines[2]",
        "lines[3].colour",
        "discount",
        "due",
        "notes['b']",
        "surprise",
    }
    assert found["lines[1].quantity"] == "int expected, not str"
    assert "must be >= 1" in found["lines[0].quantity"]


def test_the_error_text_names_command_and_fields() -> None:
    """For logs and dead letters."""
    with pytest.raises(InvalidPayload, match=r"this makes no Rename: id: int expected, not str"):
        load(Rename, {"id": "1"})


@frozen
class Typed(Command[None]):
    """Each test gives one of these fields."""

    number: int = 0
    share: float = 0.0
    flag: bool = False
    text: str = ""
    texts: list[str] = field(factory=list)
    pair: tuple[str, str] = ("", "")
    unique: set[str] = field(factory=set)
    table: dict[str, int] = field(factory=dict)
    keyed: dict[int, int] = field(factory=dict)
    maybe: int | None = None
    either: int | str = 0
    id: UUID | None = None
    price: Decimal = Decimal(0)
    at: datetime | None = None
    day: date = date(2026, 1, 1)
    hour: time = time(0)
    span: timedelta = timedelta(0)
    colour: Colour = Colour.RED
    size: Size = Size.SMALL
    data: bytes = b""
    money: Money | None = None


NOT_COERCED: list[tuple[str, Any]] = [
    ("number", "7"),
    ("number", 7.0),
    ("number", True),
    ("number", None),
    ("share", "0.5"),
    ("share", True),
    ("share", math.nan),
    ("share", math.inf),
    ("share", 10**400),
    ("flag", "false"),
    ("flag", 1),
    ("flag", 0),
    ("text", 7),
    ("text", b"text"),
    ("text", None),
    ("texts", "abc"),
    ("texts", {"a": 1}),
    ("texts", [1]),
    ("texts", None),
    ("pair", "ab"),
    ("pair", ["a"]),
    ("pair", ["a", "b", "c"]),
    ("unique", "ab"),
    ("table", [["a", 1]]),
    ("table", {"a": "1"}),
    ("table", {1: 1}),
    ("keyed", {"x": 1}),
    ("keyed", {"1.5": 1}),
    ("maybe", "7"),
    ("maybe", False),
    ("either", 7.5),
    ("either", None),
    ("id", "not a uuid"),
    ("id", 7),
    ("price", 1.5),
    ("price", "1,5"),
    ("price", "NaN"),
    ("price", "Infinity"),
    ("price", Decimal("NaN")),
    ("at", "2026-01-02T03:04:05"),
    ("at", datetime(2026, 1, 2)),  # noqa: DTZ001 - that is the point
    ("at", 1767323045),
    ("day", "2026-02-30"),
    ("day", datetime(2026, 1, 2, tzinfo=timezone.utc)),
    ("hour", "25:00"),
    ("span", "60"),
    ("span", 1e300),
    ("span", math.nan),
    ("span", True),
    ("colour", "green"),
    ("colour", "RED"),
    ("size", "1"),
    ("size", True),
    ("data", "not base64!"),
    ("money", []),
    ("money", "10 EUR"),
]


@pytest.mark.parametrize(("name", "value"), NOT_COERCED, ids=[f"{n} {v!r:.30}" for n, v in NOT_COERCED])
def test_nothing_is_coerced(name: str, value: Any) -> None:
    """What is of another type is wrong, and the field is named."""
    found = errors_of(Typed, {name: value})

    assert [path.split("[")[0] for path in found] == [name]
    assert all(reason for reason in found.values())


def test_a_whole_number_is_a_float() -> None:
    """JSON does not tell them apart."""
    command = load(Typed, {"share": 1})

    assert (command.share, type(command.share)) == (1.0, float)


@pytest.mark.parametrize("data", [None, 7, "text", [], [("id", 1)]], ids=repr)
def test_what_is_no_object_makes_no_command(data: Any) -> None:
    """It is wrong as a whole: the path is empty."""
    assert errors_of(Rename, data) == {"": "an object was expected"}


def test_an_error_of_two_fields_together_is_one_of_the_whole() -> None:
    """Whatever the constructor raises."""

    @frozen
    class Period(Command[None]):
        first: int
        last: int

        def __attrs_post_init__(self) -> None:
            if self.last < self.first:
                raise ValueError("ends before it begins")

    Period.__annotations__.update(first=int, last=int)

    assert errors_of(Period, {"first": 2, "last": 1}) == {"": "ends before it begins"}


def test_a_validator_that_looks_at_another_field_is_asked_too() -> None:
    """Its error has the path of its own field."""

    @frozen
    class Period(Command[None]):
        first: int
        last: int = field()

        @last.validator
        def _check(self, attribute: Any, value: int) -> None:
            if value < self.first:
                raise ValueError("ends before it begins")

    Period.__annotations__.update(first=int, last=int)

    assert errors_of(Period, {"first": 2, "last": 1}) == {"last": "ends before it begins"}
    assert errors_of(Period, {"first": "x", "last": 1}) == {"first": "int expected, not str"}


# Received


def test_unknown_fields_are_ignored_when_receiving() -> None:
    """Producers may add fields first."""
    assert JSONCodec().decode(Rename, b'{"id": 1, "shoe_size": 43}') == Rename(1)


def test_a_strict_codec_refuses_unknown_fields() -> None:
    """For who wants to know."""
    with pytest.raises(InvalidPayload, match="shoe_size: there is no such field"):
        JSONCodec(strict=True).decode(Rename, b'{"id": 1, "shoe_size": 43}')


def test_receiving_coerces_nothing_either() -> None:
    """A wrong type is a wrong message."""
    with pytest.raises(InvalidPayload, match="id: int expected, not str"):
        JSONCodec().decode(Rename, b'{"id": "1"}')


BOMBS = {
    "empty": b"",
    "broken": b'{"id": 1',
    "no UTF-8": b'{"id": 1, "name": "\xff"}',
    "NaN": b'{"id": NaN}',
    "Infinity": b'{"id": 1, "name": -Infinity}',
    "a huge int": b'{"id": ' + b"9" * 10_000 + b"}",
    "a deep array": b"[" * 100_000,
    "a deep array in a field": b'{"id": 1, "name": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a deep object": b'{"id":' * 100_000,
    "an array": b"[1]",
    "null": b"null",
    "text": b'"id"',
}


@pytest.mark.parametrize("payload", BOMBS.values(), ids=BOMBS)
def test_a_bad_payload_is_an_error_and_never_a_crash(payload: bytes) -> None:
    """Whatever comes from a broker."""
    with pytest.raises(InvalidPayload):
        JSONCodec().decode(Rename, payload)


@frozen
class Tree(Command[None]):
    """May be as deep as one likes."""

    children: list[Tree] = field(factory=list)
    anything: Any = None


@pytest.mark.parametrize("depth", [50, 500, 5_000])
def test_a_tree_is_read_or_refused_but_never_crashes(depth: int) -> None:
    """Up to what the interpreter's stack holds."""
    payload = b'{"children":[' * depth + b"7" + b"]}" * depth

    with pytest.raises(InvalidPayload) as caught:
        JSONCodec().decode(Tree, payload)

    assert len(str(caught.value)) < 100_000


def test_a_payload_of_exactly_the_limit_is_taken() -> None:
    """Both ways."""
    codec = JSONCodec(max_bytes=len(b'{"id":1}'))

    assert codec.decode(Rename, codec.encode(Rename(1))) == Rename(1)


def test_a_larger_payload_is_refused_both_ways_with_the_sizes() -> None:
    """Before it is parsed."""
    codec = JSONCodec(max_bytes=8)

    with pytest.raises(PayloadTooLarge, match=r"Rename takes 9 bytes, more than the limit of 8"):
        codec.encode(Rename(10))
    with pytest.raises(PayloadTooLarge, match=r"Rename takes 9 bytes"):
        codec.decode(Rename, b"[[[[[[[[[")


def test_the_limit_is_a_mebibyte_unless_told_otherwise() -> None:
    """What brokers and tables carry easily."""
    assert JSONCodec().max_bytes == 1024 * 1024


# Written


@frozen
class Loose(NotificationEvent):
    """Its fields may hold anything."""

    fine: Any = None
    wrong: Any = None


UNWRITABLE: dict[str, tuple[Any, str]] = {
    "an object": (object(), "object"),
    "NaN": (math.nan, "JSON compliant"),
    "a naive datetime": (datetime(2026, 1, 2), "has no time zone; use datetime.now"),  # noqa: DTZ001
    "a Decimal that is no number": (Decimal("NaN"), "a finite number expected"),
    "a huge int": (10**10_000, "digits"),
    "UNSET": (UNSET, "UNSET can be left out only"),
    "half a character": ("\ud800", "surrogates"),
}


@pytest.mark.parametrize(("value", "reason"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_cannot_be_written_is_refused_and_the_field_is_named(value: Any, reason: str) -> None:
    """Where it is published, so that the command fails."""
    with pytest.raises(InvalidPayload) as caught:
        JSONCodec().encode(Loose(wrong=value))

    assert str(caught.value).startswith("Loose cannot be written as JSON: wrong: ")
    assert reason in str(caught.value)


def test_a_timedelta_beyond_exactness_is_refused() -> None:
    """Lossless, or not at all."""
    with pytest.raises(InvalidPayload, match="too long to be written to the microsecond"):
        JSONCodec().encode(Loose(wrong=timedelta(days=900_000_000, microseconds=1)))


def test_what_contains_itself_is_refused() -> None:
    """Not written for ever."""
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(InvalidPayload):
        JSONCodec().encode(Loose(wrong=endless))


def test_a_class_whose_fields_nobody_knows_is_refused_with_the_cure() -> None:
    """Somebody forgot the decorator."""

    class Forgotten(NotificationEvent):
        number: int

    for wrong in (
        lambda: JSONCodec().encode(Forgotten()),
        lambda: JSONCodec().decode(Forgotten, b"{}"),
        lambda: load(Forgotten, {"number": 7}),
    ):
        with pytest.raises(InvalidMessage, match=r"Forgotten is a plain class, .*; decorate it with @attrs\.frozen"):
            wrong()


@frozen
class Span(Generic[T]):
    """A generic value."""

    first: T
    last: list[T] | None = None


@frozen
class Booked(NotificationEvent):
    """Says what its parts hold."""

    days: Span[date]
    prices: Span[Money]


def test_a_generic_part_holds_what_its_field_says() -> None:
    """And so do errors."""
    codec, booked = JSONCodec(), Booked(Span(date(2026, 1, 2), [date(2026, 1, 3)]), Span(Money(Decimal(1))))

    assert codec.decode(Booked, codec.encode(booked)) == booked
    assert errors_of(Booked, {"days": {"first": "x", "last": [1]}, "prices": {"first": {}}}) == {
        "days.first": "date expected, not 'x'",
        "days.last[0]": "date expected, as text",
        "prices.first.amount": "required, and missing",
    }
