"""Unions are read as what they were, or refused before anything is sent."""

from __future__ import annotations

import dataclasses
import enum
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Union
from uuid import UUID

import pytest
from attrs import field, frozen

from simplecqrs import Command, NotificationEvent, load
from simplecqrs.codec import JSONCodec
from simplecqrs.conversion.unions import look_alikes
from simplecqrs.errors import InvalidMessage, InvalidPayload
from simplecqrs.vocabulary import Vocabulary


@frozen
class Circle:
    """A shape."""

    radius: int


@frozen
class Square:
    """Told apart by its field."""

    side: int


@dataclasses.dataclass(frozen=True)
class Label:
    """A dataclass with more fields than another."""

    side: int
    text: str


@frozen
class Twin:
    """Looks like a circle."""

    radius: int


@frozen
class Loose:
    """Needs nothing."""

    radius: int = 0


@frozen
class Up:
    """Told apart by a literal."""

    by: int
    type: Literal["up"] = "up"


@frozen
class Down:
    """Otherwise the same."""

    by: int
    type: Literal["down"] = "down"


class Suit(enum.Enum):
    """Its values are text."""

    HEARTS = "hearts"


class Rank(enum.Enum):
    """Its values are text, others."""

    ACE = "ace"


@frozen
class Drawn(NotificationEvent):
    """Unions of classes, nested."""

    shape: Circle | Square | Label
    moves: list[Up | Down] = field(factory=list)
    by_name: dict[str, Circle | None] = field(factory=dict)
    card: Suit | Rank | int = 0


@frozen
class Doubtful(Command[None]):
    """Nobody can tell what its shape is."""

    shapes: list[Circle | Twin]


UserId = NewType("UserId", int)


@pytest.mark.parametrize("shape", [Circle(1), Square(2), Label(3, "x")], ids=str)
def test_classes_are_told_apart_by_their_fields(shape: Any) -> None:
    """Whichever library made them."""
    codec, drawn = JSONCodec(), Drawn(shape, [Down(1), Up(2)], {"a": Circle(1), "b": None}, Rank.ACE)

    assert codec.decode(Drawn, codec.encode(drawn)) == drawn


def test_a_wrong_part_of_a_union_is_named_by_its_path() -> None:
    """Of the class that comes nearest."""
    with pytest.raises(InvalidPayload) as caught:
        load(Drawn, {"shape": {"side": "x"}, "moves": [{"by": 1, "type": "sideways"}, 7], "card": "spades"})

    found = dict(caught.value.errors)
    assert found.keys() == {"shape.side", "moves[0].type", "moves[1]", "card"}
    assert found["moves[1]"] == "Up | Down expected, not int"


ALIKE: list[Any] = [
    Circle | Twin,
    Circle | Loose,
    Circle | dict[str, int],
    str | UUID,
    str | Suit,
    bytes | Decimal,
    list[int] | set[int],
    int | UserId,
    Union[int, Annotated[int, "positive"]],  # noqa: UP007 - the other way loses the annotation
    int | Any,
    Literal["hearts"] | Suit,
]
APART: list[Any] = [
    Circle | Square | Label,
    Up | Down | None,
    Circle | str | list[Circle],
    int | float | bool | str | None,
    Decimal | UUID,
    Suit | Rank,
    Literal["a"] | Literal["b"] | int,
    Circle | None,
]


@pytest.mark.parametrize("kind", ALIKE, ids=str)
def test_look_alikes_are_found_and_the_cure_is_told(kind: Any) -> None:
    """Whatever they are."""
    assert "look alike in JSON; " in look_alikes(kind)


@pytest.mark.parametrize("kind", APART, ids=str)
def test_types_that_can_be_told_apart_are_allowed(kind: Any) -> None:
    """By what they are in JSON."""
    assert look_alikes(kind) == ""


def test_a_message_with_look_alikes_is_neither_written_nor_read() -> None:
    """The class is wrong, not the payload; the field is named."""
    told = (
        r'Doubtful\.shapes: Circle and Twin look alike in JSON; tell them apart by a field: type: Literal\["\.\.\."\]'
    )

    with pytest.raises(InvalidMessage, match=told):
        JSONCodec().encode(Doubtful([Twin(1)]))
    with pytest.raises(InvalidMessage, match=told):
        JSONCodec().decode(Doubtful, b'{"shapes": []}')


def test_look_alikes_are_found_at_start_up() -> None:
    """Of messages that are stored or sent."""
    [problem] = Vocabulary([Doubtful], codec=JSONCodec()).problems()

    assert "Doubtful.shapes: Circle and Twin look alike in JSON" in problem
    assert Vocabulary([Doubtful], codec=JSONCodec(), stored=[NotificationEvent]).problems() == []


def test_a_type_that_cannot_be_found_is_named_at_start_up() -> None:
    """It may have been imported for type checkers only."""

    @frozen
    class Hidden(NotificationEvent):
        what: Nowhere  # type: ignore[name-defined]  # noqa: F821

    [problem] = Vocabulary([Hidden], codec=JSONCodec()).problems()

    assert "the type 'Nowhere' of a field cannot be found" in problem
