"""Messages that were built in Python are looked at before their handler."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, Protocol, TypeVar

import pytest
from attrs import define, field, frozen, validators

from simplecqrs import UNSET, Command, Mediator, Query, Registry, Unset
from simplecqrs.errors import InvalidPayload
from simplecqrs.middlewares.validation import validating

T = TypeVar("T")
UserId = NewType("UserId", int)


class Size(enum.Enum):
    """A choice."""

    SMALL = 1


class Named(Protocol):
    """Something with a name."""

    name: str


@define
class Line:
    """A part that can be changed."""

    sku: str
    quantity: int = field(validator=validators.ge(1))


@dataclasses.dataclass
class Address:
    """A part that is checked by nobody."""

    city: str
    zip: int | None = None


@frozen
class Pair(Generic[T]):
    """A generic part."""

    first: T
    second: T


@frozen
class Place(Command[int]):
    """All sorts of fields, none of which attrs checks."""

    number: int = 0
    share: float = 0.0
    flag: bool = False
    text: str = ""
    price: Decimal = Decimal(0)
    day: date = date(2026, 1, 2)
    size: Size = Size.SMALL
    user: UserId = UserId(0)
    way: Literal["a", "b"] = "a"
    marked: Annotated[int, "mark"] = 0
    maybe: int | None = None
    either: int | list[str] = 0
    partial: str | Unset = UNSET
    texts: list[str] = field(factory=list)
    pair: tuple[int, str] = (0, "")
    many: tuple[int, ...] = ()
    unique: set[int] = field(factory=set)
    some: Sequence[int] = ()
    table: dict[str, int] = field(factory=dict)
    lines: Mapping[str, Line] = field(factory=dict)
    address: Address | None = None
    generic: Pair[int] | None = None
    named: Named | None = None
    anything: Any = None
    rows: Iterator[int] | None = None


def refused(command: Command[int], **options: Any) -> dict[str, str]:
    """Return what is wrong with a command, by path; its handler is not called."""
    handled: list[object] = []
    registry = Registry()
    registry.add(type(command), lambda command: handled.append(command) or 7)
    bus = Mediator(registry, middlewares=[validating(**options)])
    try:
        assert bus.send(command) == 7
    except InvalidPayload as error:
        assert handled == []
        return dict(error.errors)
    assert handled == [command]
    return {}


FINE: dict[str, Any] = {
    "number": 7,
    "share": 1,
    "price": Decimal("NaN"),
    "maybe": 1,
    "either": ["a"],
    "partial": "x",
    "pair": (1, "a"),
    "many": (1, 2),
    "some": [1],
    "lines": {"a": Line("a", 1)},
    "address": Address("Bonn"),
    "generic": Pair(1, 2),
    "named": object(),
    "anything": object(),
    "rows": iter("abc"),
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_of_its_type_passes(name: str) -> None:
    """Untouched: an iterator is not used up."""
    command = Place(**{name: FINE[name]})

    assert refused(command) == {}


WRONG: list[tuple[str, Any, str]] = [
    ("number", "7", "number"),
    ("number", True, "number"),
    ("number", 7.0, "number"),
    ("share", "0.5", "share"),
    ("share", True, "share"),
    ("flag", 1, "flag"),
    ("text", None, "text"),
    ("price", 1.5, "price"),
    ("day", datetime(2026, 1, 2, tzinfo=timezone.utc), "day"),
    ("size", 1, "size"),
    ("user", "7", "user"),
    ("way", "c", "way"),
    ("marked", "7", "marked"),
    ("maybe", "7", "maybe"),
    ("either", 7.5, "either"),
    ("either", ["a", 7], "either[1]"),
    ("partial", None, "partial"),
    ("texts", ["a", 7], "texts[1]"),
    ("texts", "ab", "texts"),
    ("texts", ("a",), "texts"),
    ("pair", (1, 2), "pair[1]"),
    ("pair", (1,), "pair"),
    ("many", (1, "2"), "many[1]"),
    ("unique", {"a"}, "unique[0]"),
    ("some", "ab", "some"),
    ("table", {"a": "1"}, "table['a']"),
    ("table", {1: 1}, "table[1]"),
    ("table", [], "table"),
    ("lines", {"a": {}}, "lines['a']"),
    ("address", Address(7), "address.city"),  # type: ignore[arg-type]
    ("address", Address("Bonn", "x"), "address.zip"),  # type: ignore[arg-type]
    ("generic", Pair(1, "2"), "generic.second"),
]


@pytest.mark.parametrize(("name", "value", "path"), WRONG, ids=[f"{n} {v!r:.30}" for n, v, _ in WRONG])
def test_what_is_of_another_type_is_named_by_its_path(name: str, value: Any, path: str) -> None:
    """Nothing is coerced."""
    assert refused(Place(**{name: value})).keys() == {path}


def test_everything_that_is_wrong_is_in_one_error() -> None:
    """With its path and its reason."""
    line = Line("a", 1)
    object.__setattr__(line, "quantity", 0)

    found = refused(Place(number="7", lines={"a": line}, address=Address(7)))  # type: ignore[arg-type]

    assert found == {
        "number": "int expected, not str",
        "lines['a'].quantity": "'quantity' must be >= 1: 0",
        "address.city": "str expected, not int",
    }


def test_own_rules_are_asked_as_well() -> None:
    """They give paths and reasons."""

    def check(command: Place) -> Iterator[tuple[str, str]]:
        if command.number < 0:
            yield "number", "too small"

    assert refused(Place(number=-1), check=check) == {"number": "too small"}
    assert refused(Place(number=-1, flag=7), check=check).keys() == {"number", "flag"}  # type: ignore[arg-type]
    assert refused(Place(), check=check) == {}


def test_only_some_messages_are_looked_at_if_it_is_said_so() -> None:
    """Others pass."""
    assert refused(Place(number="7"), only=Query) == {}  # type: ignore[arg-type]
    assert refused(Place(number="7"), only=(Query, Command)) != {}  # type: ignore[arg-type]


def test_a_message_without_fields_passes() -> None:
    """A class of one's own is one's own."""

    class Own(Command[int]):
        def __init__(self, text: str) -> None:
            self.text = text

    assert refused(Own("x")) == {}


def test_an_endless_message_is_refused() -> None:
    """It contains itself."""
    node = Node([])
    node.children.append(node)

    assert refused(Tree(node)) == {"": "nested too deeply"}


@define
class Node:
    """May contain itself."""

    children: list[Node]


@frozen
class Tree(Command[int]):
    """Holds a node."""

    root: Node
