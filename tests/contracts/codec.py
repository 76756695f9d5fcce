"""What every codec for JSON does, so that each reads what another has written."""

from __future__ import annotations

import enum
import math
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
from attrs import field, frozen, validators

from simplecqrs import UNSET, Command, NotificationEvent, Unset
from simplecqrs.codec import JSONCodec, PlainCodec
from simplecqrs.errors import InvalidPayload, PayloadTooLarge


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@frozen
class Card:
    """A way to pay."""

    number: str


@frozen
class Cash:
    """Another, with a field that the first one lacks."""

    currency: str
    paid: Decimal = Decimal(0)


@frozen
class Line:
    """A part of an order."""

    sku: str
    quantity: int = field(validator=validators.ge(1))
    price: Decimal | None = None


@frozen
class Sold(NotificationEvent):
    """An event with all sorts of fields."""

    id: UUID
    at: datetime
    customer: str
    lines: list[Line]
    payment: Card | Cash | None
    share: float = 0.5
    day: date = date(2026, 1, 2)
    hour: time = time(1, 2, 3)
    span: timedelta = timedelta(days=-1, microseconds=1)
    data: bytes = b"\x00\xff"
    colour: Colour = Colour.RED
    way: Literal["shop", 7] = "shop"
    either: int | str | None = None
    moment: datetime | date | None = None
    pair: tuple[int, str] = (1, "a")
    tags: frozenset[str] = frozenset({"a"})
    by_number: dict[int, bool] = field(factory=dict)
    by_flag: dict[bool, str] = field(factory=dict)
    by_colour: dict[Colour, list[float]] = field(factory=dict)
    note: str | Unset | None = UNSET


@frozen
class Noted(Command[None]):
    """A command that may hold anything."""

    anything: Any = None
    number: int = 0
    share: float = 0.0


SOLD = Sold(
    UUID(int=7),
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2))),
    "grüße \u2028 \x00 \x7f 😀 </",
    [Line("a", 1, Decimal("10.00")), Line("b", 2**70)],
    Cash("eur"),
    by_number={1: True, -2: False},
    by_flag={True: "yes", False: "no"},
    by_colour={Colour.BLUE: [1.0, 1e300, -0.0]},
    moment=date(2026, 1, 2),
)
BAD = {
    "nothing": b"",
    "half of it": b'{"number": 1',
    "another text encoding": b'{"number": 1, "anything": "\xff"}',
    "NaN": b'{"number": 1, "anything": NaN}',
    "Infinity": b'{"number": 1, "anything": [-Infinity]}',
    "a float that is too large": b'{"number": 1, "anything": 1e400}',
    "half a character": b'{"number": 1, "anything": "\\ud800"}',
    "half a character as key": b'{"number": 1, "anything": {"\\udfff": 1}}',
    "a huge int": b'{"anything": ' + b"9" * 10_000 + b"}",
    "a deep array": b"[" * 100_000,
    "a list": b"[1]",
    "null": b"null",
    "a wrong type": b'{"number": "1"}',
}
UNWRITABLE: dict[str, Noted] = {
    "NaN": Noted(share=math.nan),
    "NaN where nobody looks for it": Noted(number=math.nan),  # type: ignore[arg-type]
    "infinity within": Noted(anything={"a": [None, {"b": math.inf}]}),
    "half a character": Noted(anything="\ud800"),
    "a huge int": Noted(number=10**10_000),
    "a naive moment": Noted(anything=datetime(2026, 1, 2)),  # noqa: DTZ001
    "an object": Noted(anything=object()),
}


class CodecContract:
    """What every codec of ``application/json`` does.  Override ``kind``; ``make`` takes the options of JSONCodec."""

    kind: type[JSONCodec]

    def test_it_is_a_codec_of_json_by_way_of_plain_data(self) -> None:
        """So that upcasters can have it."""
        assert isinstance(self.kind(), PlainCodec)
        assert self.kind().content_type == "application/json"

    @pytest.mark.parametrize("payment", [Card("4711"), Cash("eur", Decimal("1.50")), None], ids=str)
    @pytest.mark.parametrize("note", [UNSET, None, "text"], ids=str)
    def test_a_message_makes_the_round_trip(self, payment: Card | Cash | None, note: str | Unset | None) -> None:
        """Values and their types."""
        sold = Sold(SOLD.id, SOLD.at, SOLD.customer, SOLD.lines, payment, note=note)
        codec = self.kind()

        assert codec.decode(Sold, codec.encode(sold)) == sold

    @pytest.mark.parametrize(
        "moment", [None, date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=timezone.utc)], ids=["none", "day", "moment"]
    )
    @pytest.mark.parametrize("either", [None, 7, "7", "2026-01-02"], ids=repr)
    def test_a_union_is_what_it_was(self, moment: Any, either: Any) -> None:
        """Though both are text, or look like it."""
        sold = Sold(SOLD.id, SOLD.at, "", [], None, moment=moment, either=either)
        codec = self.kind()

        found = codec.decode(Sold, codec.encode(sold))

        assert (found.moment, found.either) == (moment, either)
        assert type(found.moment) is type(moment)

    def test_it_reads_what_python_writes_and_writes_what_python_reads(self) -> None:
        """Producer and consumer may be configured differently."""
        codec, pythons = self.kind(), JSONCodec()

        assert codec.decode(Sold, pythons.encode(SOLD)) == SOLD
        assert pythons.decode(Sold, codec.encode(SOLD)) == SOLD
        assert codec.parse(Sold, codec.encode(SOLD)) == pythons.parse(Sold, pythons.encode(SOLD))

    @pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**64), 2**70, -(10**40)], ids=str)
    def test_integers_of_any_size_are_exact(self, number: int) -> None:
        """In fields that may hold anything as well."""
        codec, noted = self.kind(), Noted(anything={"a": [number]}, number=number)

        found = codec.decode(Noted, codec.encode(noted))

        assert found == noted
        assert type(found.anything["a"][0]) is int

    @pytest.mark.parametrize("payload", BAD.values(), ids=BAD)
    def test_a_bad_payload_is_an_invalid_payload(self, payload: bytes) -> None:
        """Never another error, never something else than what was sent."""
        with pytest.raises(InvalidPayload):
            self.kind().decode(Noted, payload)

    @pytest.mark.parametrize("message", UNWRITABLE.values(), ids=UNWRITABLE)
    def test_what_cannot_be_written_is_refused_with_its_field(self, message: Noted) -> None:
        """Never written as null."""
        with pytest.raises(InvalidPayload, match=r"^Noted cannot be written as JSON: (anything|number|share): "):
            self.kind().encode(message)

    def test_null_is_null(self) -> None:
        """And the text "null" is text, wherever they are."""
        noted, codec = Noted(anything=[None, {"a": None, "null": "null"}, 1.5]), self.kind()

        assert codec.decode(Noted, codec.encode(noted)) == noted

    def test_every_bad_field_is_named(self) -> None:
        """As when it is loaded."""
        with pytest.raises(InvalidPayload) as caught:
            self.kind().decode(Sold, b'{"id": 1, "lines": [{"sku": "a", "quantity": 0}], "payment": {"currency": 1}}')

        assert {path for path, _ in caught.value.errors} == {
            "id",
            "at",
            "customer",
            "lines[0].quantity",
            "payment.currency",
        }

    def test_unknown_fields_are_ignored_or_refused(self) -> None:
        """By choice."""
        payload = b'{"number": 7, "shoe_size": 43}'

        assert self.kind().decode(Noted, payload) == Noted(number=7)
        with pytest.raises(InvalidPayload, match="shoe_size: there is no such field"):
            self.kind(strict=True).decode(Noted, payload)

    def test_the_limit_counts_both_ways(self) -> None:
        """Before anything is parsed."""
        codec = self.kind(max_bytes=10)

        with pytest.raises(PayloadTooLarge, match="more than the limit of 10"):
            codec.encode(Noted())
        with pytest.raises(PayloadTooLarge, match="more than the limit of 10"):
            codec.decode(Noted, b"[[[[[[[[[[[")

    def test_hooks_teach_it_own_types(self) -> None:
        """By cattrs."""

        def hooks(made: Any) -> None:
            made.register_unstructure_hook(Plain, lambda plain: plain.text)
            made.register_structure_hook(Plain, lambda value, _: Plain(value))

        codec = self.kind(hooks=hooks)

        assert codec.encode(Holding(Plain("x"))) == b'{"plain":"x"}'
        assert codec.decode(Holding, b'{"plain":"x"}').plain.text == "x"


class Plain:
    """A class that nobody knows how to take apart."""

    def __init__(self, text: str) -> None:
        self.text = text


@frozen
class Holding(NotificationEvent):
    """Holds one."""

    plain: Plain
