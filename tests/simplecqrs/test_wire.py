"""Envelopes as flat fields."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from simplecqrs.brokers.wire import read_fields, write_fields
from simplecqrs.envelope import Envelope
from simplecqrs.metadata import uuid7
from simplecqrs.transport import Garbage

NECESSARY = {
    b"id": b"01a1fbe7-c391-7914-9e66-ce53e9c3e32c",
    b"name": b"OrderPlaced",
    b"time": b"2026-01-02T03:04:05.678901+00:00",
}


def read(fields: dict[bytes, bytes], payload: bytes = b"{}") -> Envelope | Garbage:
    return read_fields(fields, payload, topic="orders", max_bytes=2000)


def test_writes_only_what_is_not_empty() -> None:
    """Neither topic nor payload are among the fields: a broker has its own place for them."""
    envelope = Envelope(
        id=uuid7(), kind="event", name="OrderPlaced", topic="orders", time=datetime.now(timezone.utc), payload=b"{}"
    )

    fields = write_fields(envelope)

    assert set(fields) == {"id", "kind", "name", "version", "time", "content_type"}


def test_reads_what_has_only_the_necessary() -> None:
    """A stranger need not know our defaults."""
    envelope = read(NECESSARY)

    assert isinstance(envelope, Envelope)
    assert (envelope.kind, envelope.version, envelope.topic, envelope.key) == ("event", 1, "orders", "")
    assert envelope.causation_id is None
    assert envelope.content_type == "application/json"


def test_reads_times_that_end_in_z() -> None:
    """Most of the world writes UTC as Z."""
    envelope = read({**NECESSARY, b"time": b"2026-01-02T03:04:05Z"})

    assert isinstance(envelope, Envelope)
    assert envelope.time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def test_ignores_fields_that_it_does_not_know() -> None:
    """A newer release, or another producer, may write more."""
    assert isinstance(read({**NECESSARY, b"traceparent": b"00-1-2-3"}), Envelope)


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param({b"id": b"7"}, id="id"),
        pytest.param({b"id": b""}, id="empty id"),
        pytest.param({b"name": b""}, id="empty name"),
        pytest.param({b"kind": b"query"}, id="kind"),
        pytest.param({b"version": b"two"}, id="version"),
        pytest.param({b"version": b"0"}, id="version zero"),
        pytest.param({b"version": b"2147483648"}, id="version beyond the column"),
        pytest.param({b"version": b"9" * 1900}, id="endless version"),
        pytest.param({b"time": b"yesterday"}, id="time"),
        pytest.param({b"time": b"2026-01-02T03:04:05"}, id="time without a zone"),
        pytest.param({b"time": b"0001-01-01T00:00:00+05:00"}, id="time before time"),
        pytest.param({b"key": b"\xff"}, id="key that is no text"),
        pytest.param({b"key": b"k" * 201}, id="key beyond the column"),
        pytest.param({b"key": b"a\0b"}, id="NUL"),
        pytest.param({b"headers": b"{"}, id="headers that are no JSON"),
        pytest.param({b"headers": b"[]"}, id="headers that are no object"),
        pytest.param({b"headers": b'{"user": 7}'}, id="header that is no string"),
        pytest.param({b"headers": b'{"\\ud83c\\u0000": 7}'}, id="name of a header that is no text"),
        pytest.param({b"headers": b'{"user": "\\u0000"}'}, id="NUL in a header"),
        pytest.param({b"headers": b'{"user": "\\ud83c"}'}, id="half of a pair in a header"),
        pytest.param({b"headers": b"[" * 1900}, id="headers without a bottom"),
        pytest.param({b"headers": b'{"user": "' + b"x" * 2000 + b'"}'}, id="fields above the limit"),
        pytest.param({b"\xff": b"\xff"}, id="field that is no text"),
    ],
)
def test_takes_for_garbage_what_no_table_could_hold(spoilt: dict[bytes, bytes]) -> None:
    """It raises nothing, keeps the payload, and says what is wrong."""
    garbage = read({**NECESSARY, **spoilt}, b"payload")

    assert isinstance(garbage, Garbage)
    assert garbage.error.isprintable()
    assert garbage.payload == b"payload"
    assert "OrderPlaced" in garbage.headers.values() or b"name" in spoilt


def test_a_version_has_as_many_digits_as_an_integer_may_have() -> None:
    """Whatever Python was told to read: to read them takes the square of it."""
    garbage = read_fields({**NECESSARY, b"version": b"9" * 5000}, b"", topic="orders", max_bytes=10_000)

    assert isinstance(garbage, Garbage)
    assert garbage.error == "ValueError: an integer of 5000 digits; the limit is 4300"


def test_names_the_fields_that_are_missing() -> None:
    """Whoever looks at the garbage sees what its producer forgot."""
    garbage = read({b"name": b"OrderPlaced"})

    assert isinstance(garbage, Garbage)
    assert "id, time" in garbage.error


def test_keeps_garbage_small_and_storable() -> None:
    """Its payload is cut at the limit, its headers likewise, and nothing in them breaks a text column."""
    garbage = read({**{b"f%d" % n: b"\0\xff" * 900 for n in range(100)}}, b"x" * 5000)

    assert isinstance(garbage, Garbage)
    assert len(garbage.payload) == 2000
    assert len(garbage.headers) == 50
    assert all("\0" not in value and len(value) <= 1000 for value in garbage.headers.values())
