"""Every field that is wrong is told at once, with its path, whatever is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import Attribute, field, frozen, validators

from simplecqrs import Command, load
from simplecqrs.errors import InvalidPayload


def shorter_than_limit(line: Line, attribute: Attribute[str], value: str) -> None:
    """Compare with another field."""
    if len(value) > line.limit:
        raise ValueError("it is too long")


@frozen
class Line:
    """A part of a message."""

    limit: int = field(validator=validators.ge(1))
    sku: str = field(validator=shorter_than_limit)


@frozen
class Order(Command[int]):
    """A message with validators."""

    email: str = field(validator=validators.min_len(3))
    quantity: int = field(validator=[validators.ge(1), validators.le(9)])
    lines: list[Line] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        """Refuse what no validator sees."""
        if self.email == "nobody":
            raise ValueError("nobody may order nothing")


def errors(**data: Any) -> dict[str, str]:
    """Return what is wrong with the data of an order, by path."""
    with pytest.raises(InvalidPayload) as caught:
        load(Order, {"email": "ada@example.org", "quantity": 1, **data})
    return dict(caught.value.errors)


def test_each_validator_is_asked() -> None:
    """A constructor would stop at the first."""
    assert errors(email="a", quantity=10) == {
        "email": "Length of 'email' must be >= 3: 1",
        "quantity": "'quantity' must be <= 9: 10",
    }


def test_validators_are_asked_beside_fields_of_a_wrong_type() -> None:
    """One kind of mistake does not hide the other."""
    assert set(errors(email="a", quantity="1")) == {"email", "quantity"}


def test_parts_have_their_path() -> None:
    """So do parts in lists, and those that are no objects."""
    found = errors(lines=[{"limit": 0, "sku": ""}, {"limit": 2, "sku": "long"}, 7])

    assert found == {
        "lines[0].limit": "'limit' must be >= 1: 0",
        "lines[1].sku": "it is too long",
        "lines[2]": "an object was expected, not int",
    }


def test_a_validator_that_compares_with_a_wrong_field_is_left_out() -> None:
    """It cannot say anything yet."""
    assert set(errors(lines=[{"limit": "2", "sku": "long"}])) == {"lines[0].limit"}


def test_what_the_constructor_itself_refuses_has_no_path() -> None:
    """It concerns the message as a whole."""
    assert errors(email="nobody") == {"": "nobody may order nothing"}
