"""Round trips of generated messages: what hypothesis can think of."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

pytest.importorskip("hypothesis")  # the lowest versions are tested without it

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from simplecqrs import NotificationEvent, load
from simplecqrs.codec import JSONCodec
from simplecqrs.errors import InvalidPayload
from tests.contracts.generated import attrs_class, dataclass, messages

CENTURY = timedelta(days=36_500)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@frozen
class Part:
    """A nested value."""

    name: str
    price: Decimal


@frozen
class Sent(NotificationEvent):
    """A message with all the types."""

    number: int
    share: float
    text: str
    data: bytes
    id: UUID
    at: datetime
    day: date
    hour: time
    span: timedelta
    price: Decimal
    part: Part | None
    parts: list[Part]
    by_number: dict[int, bool]
    by_text: dict[str, tuple[date, ...]]
    by_id: dict[UUID, frozenset[int]]


MONEY = st.decimals(allow_nan=False, allow_infinity=False)
PARTS = st.builds(Part, name=TEXT, price=MONEY)
MESSAGES = st.builds(
    Sent,
    number=st.integers(),
    share=st.floats(allow_nan=False, allow_infinity=False),
    text=TEXT,
    data=st.binary(max_size=20),
    id=st.uuids(),
    at=st.datetimes(timezones=st.timezones() | st.just(timezone.utc)),
    day=st.dates(),
    hour=st.times(),
    span=st.timedeltas(-CENTURY, CENTURY),
    price=MONEY,
    part=st.none() | PARTS,
    parts=st.lists(PARTS, max_size=3),
    by_number=st.dictionaries(st.integers(), st.booleans(), max_size=3),
    by_text=st.dictionaries(TEXT, st.lists(st.dates(), max_size=2).map(tuple), max_size=3),
    by_id=st.dictionaries(st.uuids(), st.frozensets(st.integers(), max_size=2), max_size=3),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(MESSAGES)
def test_a_message_is_the_same_after_a_round_trip(message: Sent) -> None:
    """Whatever it holds."""
    codec = JSONCodec()

    found = codec.decode(Sent, codec.encode(message))

    assert found == message
    assert str(found.price) == str(message.price)
    assert type(found.share) is float


@settings(max_examples=25, deadline=None, derandomize=True)
@given(messages([attrs_class, dataclass]))
def test_a_message_of_a_generated_class_is_the_same_after_a_round_trip(message: Any) -> None:
    """Whatever its fields are."""
    codec = JSONCodec()

    assert codec.decode(type(message), codec.encode(message)) == message


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from([a.name for a in Sent.__attrs_attrs__]) | TEXT, JSON, max_size=20))
def test_any_data_that_does_not_fit_is_an_invalid_payload(data: dict[str, Any]) -> None:
    """No such data fits all fields; never is it another error, and what is wrong has a path and a reason."""
    with pytest.raises(InvalidPayload) as caught:
        load(Sent, data)

    assert caught.value.errors
    assert all(isinstance(path, str) and reason for path, reason in caught.value.errors)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_any_bytes_that_do_not_fit_are_an_invalid_payload(payload: bytes) -> None:
    """What a broker may bring."""
    with pytest.raises(InvalidPayload):
        JSONCodec().decode(Sent, payload)
