"""Reading bytes in a loop of one's own, which survives whatever comes."""

from __future__ import annotations

import pytest
from attrs import frozen

from simplecqrs import NotificationEvent
from simplecqrs.codec import JSONCodec
from simplecqrs.codec.reading import Unreadable, reader
from simplecqrs.errors import InvalidMessage


@frozen
class Counted(NotificationEvent):
    """A number."""

    number: int


@frozen
class Unclear(NotificationEvent):
    """Has a field of a type that is nowhere."""

    number: Nowhere  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("payload", [b'{"number": 7}', '{"number": 7}'], ids=["bytes", "text"])
def test_good_bytes_are_a_message(payload: bytes | str) -> None:
    """Or text, as some clients give."""
    assert reader(Counted)(payload) == Counted(7)


@pytest.mark.parametrize("payload", [b"", b"\xff", b'{"number": "7"}', "\ud800", b"[" * 100_000], ids=ascii)
def test_bad_bytes_are_a_value_with_the_error_and_the_bytes(payload: bytes | str) -> None:
    """It is false, so that one question is enough."""
    found = reader(Counted)(payload)

    assert isinstance(found, Unreadable)
    assert not found
    assert found.payload == (payload if isinstance(payload, bytes) else b"\xed\xa0\x80")
    assert str(found.error)


def test_it_tells_every_field_that_is_wrong() -> None:
    """As the error that it did not raise."""
    found = reader(Counted)(b"{}")

    assert isinstance(found, Unreadable)
    assert found.error.errors == (("number", "required, and missing"),)


def test_nothing_is_nothing() -> None:
    """A deletion in a compacted log."""
    assert reader(Counted)(None) is None


def test_a_codec_of_ones_own_may_read() -> None:
    """With its own options."""
    found = reader(Counted, JSONCodec(strict=True))(b'{"number": 7, "shoe_size": 43}')

    assert isinstance(found, Unreadable)


def test_a_class_that_cannot_be_read_is_refused_at_once() -> None:
    """And not at the first message."""
    with pytest.raises(InvalidMessage, match="Unclear: the type 'Nowhere' of a field cannot be found"):
        reader(Unclear)
