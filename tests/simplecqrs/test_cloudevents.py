"""Envelopes as CloudEvents."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simplecqrs.brokers.cloudevents import CloudEventsBinary, CloudEventsStructured
from simplecqrs.brokers.cloudevents_attributes import write_attributes, write_plain
from simplecqrs.brokers.formats import Parcel, WireFormat
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotConfigured
from simplecqrs.metadata import new_metadata, uuid7
from simplecqrs.transport import Garbage

FORMATS = [CloudEventsBinary(prefix="ce_"), CloudEventsBinary(prefix="cloudEvents:"), CloudEventsStructured()]
NECESSARY = {"specversion": "1.0", "id": "A-7", "type": "com.example.placed", "source": "/shop"}


def envelope(**attributes: Any) -> Envelope:
    facts: dict[str, Any] = {
        "id": uuid7(),
        "kind": "event",
        "name": "OrderPlaced",
        "topic": "orders",
        "time": datetime.now(timezone.utc),
        "payload": b"{}",
    }
    return Envelope(**{**facts, **attributes})


def read(wire: WireFormat, parcel: Parcel, max_bytes: int = 2**20) -> Envelope | Garbage:
    return wire.read(parcel, topic="orders", max_bytes=max_bytes)


def binary(attributes: dict[str, str], body: bytes = b"{}", content_type: str = "") -> Envelope | Garbage:
    prefixed = {f"ce_{name}": value for name, value in attributes.items()}
    return read(FORMATS[0], Parcel(body, content_type, prefixed))


def structured(document: object) -> Envelope | Garbage:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read(CloudEventsStructured(), Parcel(body))


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=200)
zones = st.sampled_from([timezone.utc, timezone(timedelta(hours=5, minutes=45))])
envelopes = st.builds(
    Envelope,
    id=st.uuids(),
    kind=st.sampled_from(["event", "command"]),
    name=names,
    version=st.integers(1, 2**31 - 1),
    topic=st.just("orders"),
    key=texts,
    source=texts,
    time=st.datetimes(datetime(2, 1, 1), timezones=zones),  # noqa: DTZ001 - the zones are the next argument
    correlation_id=texts,
    causation_id=st.none() | texts.filter(bool),
    headers=st.dictionaries(texts | st.sampled_from(["traceparent", "expirytime", "subject"]), texts, max_size=3),
    content_type=st.sampled_from(["application/json", "application/x-protobuf", "text/json; charset=utf-8"]),
    payload=st.binary(max_size=50) | st.sampled_from([b'{"a": 1.0, "a": [1e22]}', b'"\\ud800"', b" 1", b"NaN", b"7"]),
)


@pytest.mark.parametrize("wire", FORMATS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(sent=envelopes)
def test_reads_exactly_what_it_wrote(wire: WireFormat, sent: Envelope) -> None:
    """Every attribute and every byte of the payload arrives, whatever characters there are."""
    assert read(wire, wire.write(sent)) == sent


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sent=envelopes)
def test_binary_writes_plain_events_as_it_writes_all(sent: Envelope) -> None:
    """The short way for most of them leads to the same attributes; the content type is the adapter's."""
    try:
        attributes = {f"ce_{n}": value for n, value in write_attributes(sent).items() if n != "datacontenttype"}
    except ValueError:
        attributes = None

    try:
        plain = write_plain(sent, "ce_")
    except ValueError:
        plain = None

    assert plain in (None, attributes)


def test_binary_writes_prefixed_attributes_without_the_empty_ones() -> None:
    """The payload stays as it is, and what is empty takes no place."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    sent = envelope(time=moment, payload=b"\0", content_type="application/x-protobuf", key="7")

    parcel = CloudEventsBinary(prefix="ce_").write(sent)

    assert (parcel.body, parcel.content_type) == (b"\0", "application/x-protobuf")
    assert parcel.attributes == {
        "ce_specversion": "1.0",
        "ce_id": str(sent.id),
        "ce_type": "OrderPlaced",
        "ce_source": "about:blank",
        "ce_time": "2026-01-02T03:04:05Z",
        "ce_partitionkey": "7",
        "ce_cqrskind": "event",
        "ce_cqrsversion": "1",
    }


def test_structured_holds_json_as_it_is_and_all_else_as_base64() -> None:
    """Whoever reads the document sees the fields of a message that is JSON."""
    one = CloudEventsStructured().write(envelope(payload=b'{"price":1.50}'))
    other = CloudEventsStructured().write(envelope(payload=b"\xff", content_type="application/x-protobuf"))

    assert one.content_type == "application/cloudevents+json"
    assert b'"data":{"price":1.50}' in one.body
    assert json.loads(other.body)["data_base64"] == "/w=="


def test_headers_that_cloudevents_knows_are_attributes_of_their_own() -> None:
    """So a tracing library finds the traceparent, and all other headers are one JSON extension."""
    parcel = CloudEventsBinary().write(envelope(headers={"traceparent": "00-1-2-01", "user": "Zoë"}))

    assert parcel.attributes["ce_traceparent"] == "00-1-2-01"
    assert json.loads(parcel.attributes["ce_cqrsheaders"]) == {"user": "Zoë"}


@pytest.mark.parametrize("wire", FORMATS)
@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"key": "a\0b"}, id="NUL"),
        pytest.param({"key": "\ud83c"}, id="half of a pair"),
        pytest.param({"headers": {"user": "\ud83c"}}, id="half of a pair in a header"),
        pytest.param({"headers": {"\0": ""}}, id="NUL in the name of a header"),
        pytest.param({"name": "Order\nPlaced"}, id="control character in a name"),
        pytest.param({"key": "k" * 201}, id="key beyond the column"),
        pytest.param({"version": 2**31}, id="version beyond the column"),
    ],
)
def test_refuses_to_write_what_could_not_be_read(wire: WireFormat, attributes: dict[str, Any]) -> None:
    """The adapter refuses such an envelope, with the reason, instead of sending garbage."""
    with pytest.raises(ValueError, match=r"."):
        wire.write(envelope(**attributes))


# What others write


def test_reads_what_has_only_the_necessary() -> None:
    """A stranger need not know our extensions, nor tell the time."""
    before = datetime.now(timezone.utc)

    arrived = binary(NECESSARY)

    assert isinstance(arrived, Envelope)
    assert (arrived.name, arrived.source, arrived.kind, arrived.version) == ("com.example.placed", "/shop", "event", 1)
    assert before <= arrived.time <= datetime.now(timezone.utc)
    assert (arrived.content_type, arrived.payload) == ("application/json", b"{}")


def test_makes_the_same_uuid_of_the_same_id_and_source() -> None:
    """Deduplication needs it; the id that the others know is kept as a header."""
    first, again, other = binary(NECESSARY), binary(NECESSARY), binary({**NECESSARY, "source": "/depot"})

    assert isinstance(first, Envelope)
    assert isinstance(again, Envelope)
    assert isinstance(other, Envelope)
    assert first.id == again.id != other.id
    assert first.headers == {"cqrsorigin": "A-7"}


def test_what_a_message_causes_does_not_have_its_origin() -> None:
    """The id that others know is of one message; all else that they have said is inherited."""
    arrived = binary({**NECESSARY, "sampled": "yes"})
    assert isinstance(arrived, Envelope)

    caused = new_metadata(arrived.metadata, None)

    assert arrived.metadata.headers == {"sampled": "yes", "cqrsorigin": "A-7"}
    assert caused.headers == {"sampled": "yes"}


def test_keeps_extensions_that_it_does_not_know_as_headers() -> None:
    """As are the attributes that an envelope has no place for."""
    arrived = structured({**NECESSARY, "subject": "7", "sampled": True, "sequence": 12, "nothing": None})

    assert isinstance(arrived, Envelope)
    assert {"subject": "7", "sampled": "true", "sequence": "12"}.items() <= arrived.headers.items()
    assert "nothing" not in arrived.headers


@pytest.mark.parametrize(
    ("members", "payload"),
    [
        ({"data": {"a": [1, None]}}, b'{"a": [1, null]}'),
        ({"data": "text"}, b'"text"'),
        ({"data": "<a/>", "datacontenttype": "text/xml"}, b"<a/>"),
        ({"data_base64": "/w==", "datacontenttype": "image/png"}, b"\xff"),
        ({"data_base64": "e30=", "datacontenttype": "application/json"}, b"{}"),
        ({}, b""),
    ],
)
def test_reads_data_of_every_spelling(members: dict[str, Any], payload: bytes) -> None:
    """JSON goes on as it was written, text as itself, base64 as its bytes."""
    arrived = structured({**NECESSARY, **members})

    assert isinstance(arrived, Envelope)
    assert arrived.payload == payload


@pytest.mark.parametrize("prefix", ["ce_", "ce-", "CE-", "cloudEvents:", "cloudEvents_"])
def test_reads_every_prefix_that_is_in_use(prefix: str) -> None:
    """Libraries differ in it, and gateways pass it on."""
    parcel = Parcel(b"{}", "application/json", {f"{prefix}{name}": value for name, value in NECESSARY.items()})

    assert isinstance(read(CloudEventsBinary(prefix="ce_"), parcel), Envelope)


def test_tells_the_structured_mode_by_its_content_type() -> None:
    """As CloudEvents demands: one topic may carry both."""
    sent = envelope()
    parcel = CloudEventsStructured().write(sent)

    assert read(CloudEventsBinary(), parcel) == sent


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        ("2026-01-02t03:04:05.5z", datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=timezone.utc)),
        ("2026-01-02T03:04:05.123456789+01:00", datetime(2026, 1, 2, 2, 4, 5, 123_456, tzinfo=timezone.utc)),
        ("1767323045678", datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=timezone.utc)),
    ],
)
def test_reads_the_time_as_others_write_it(text: str, moment: datetime) -> None:
    """Go has nine digits, .NET seven, and AMQP 1.0 milliseconds."""
    arrived = binary({**NECESSARY, "time": text})

    assert isinstance(arrived, Envelope)
    assert arrived.time == moment


# What is no CloudEvent


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param({"id": ""}, id="id"),
        pytest.param({"specversion": "0.3"}, id="version of CloudEvents"),
        pytest.param({"type": "x" * 201}, id="type beyond the column"),
        pytest.param({"source": "a\0b"}, id="NUL"),
        pytest.param({"partitionkey": "\udcff"}, id="key that is no text"),
        pytest.param({"time": "yesterday"}, id="time"),
        pytest.param({"time": "9" * 19}, id="time beyond time"),
        pytest.param({"time": "9" * 5000}, id="endless time"),
        pytest.param({"time": "2026-01-02T03:04:05"}, id="time without a zone"),
        pytest.param({"cqrskind": "query"}, id="kind"),
        pytest.param({"cqrsversion": "0"}, id="version"),
        pytest.param({"cqrsheaders": "[]"}, id="headers"),
        pytest.param({"cqrsheaders": "[" * 100_000}, id="headers without a bottom"),
        pytest.param({"cqrsescaped": '{"source": 7}'}, id="what is escaped"),
        pytest.param({"subject": "\0"}, id="NUL in a stranger's attribute"),
    ],
)
def test_takes_for_garbage_what_cannot_be_read(spoilt: dict[str, str]) -> None:
    """It raises nothing, keeps the bytes, and says what is wrong; in both modes."""
    document = json.dumps({**NECESSARY, **spoilt}).encode()

    one, other = binary({**NECESSARY, **spoilt}, b"payload"), structured(document)

    assert isinstance(one, Garbage)
    assert isinstance(other, Garbage)
    assert (one.payload, other.payload) == (b"payload", document)
    assert one.error.isprintable()
    assert "\0" not in "".join(one.headers.values())


def test_a_version_has_as_many_digits_as_an_integer_may_have() -> None:
    """Whatever Python was told to read: to read them takes the square of it."""
    garbage = binary({**NECESSARY, "cqrsversion": "9" * 5000})

    assert isinstance(garbage, Garbage)
    assert garbage.error == "ValueError: an integer of 5000 digits; the limit is 4300"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"{}",
        b"{}{}",
        b"[]",
        b"7",
        b"\xff",
        b"{7: 8}",
        b'{"id"}',
        b'{"id": 7,}',
        b'{"id": NaN}',
        b'{"a":' * 100_000,
        b'{"id": ' + b"9" * 100_000 + b"}",
        json.dumps({**NECESSARY, "subject": {}}).encode(),
        json.dumps({**NECESSARY, "data_base64": "?"}).encode(),
        json.dumps({**NECESSARY, "data_base64": 7}).encode(),
        json.dumps({**NECESSARY, "data": "\ud800", "datacontenttype": "text/plain"}).encode(),
    ],
)
def test_takes_for_garbage_what_is_no_document(document: bytes) -> None:
    """Broken JSON, JSON bombs, members of the wrong type."""
    garbage = structured(document)

    assert isinstance(garbage, Garbage)
    assert garbage.payload == document


def test_takes_a_batch_for_garbage_and_says_so() -> None:
    """CloudEvents has a mode of several events in one message; no broker binding uses it."""
    garbage = read(CloudEventsBinary(), Parcel(b"[]", "application/cloudevents-batch+json"))

    assert isinstance(garbage, Garbage)
    assert "batch" in garbage.error


@pytest.mark.parametrize("wire", FORMATS)
def test_keeps_the_limit(wire: WireFormat) -> None:
    """A payload of just the limit is read, in either mode; a larger one, or larger attributes, are garbage."""
    good = wire.write(envelope(payload=b"x" * 1000))
    large = wire.write(envelope(payload=b"x" * 1001))
    wordy = wire.write(envelope(headers={"words": "x" * 1000}))

    assert isinstance(read(wire, good, 1000), Envelope)
    for parcel in (large, wordy):
        garbage = read(wire, parcel, 1000)
        assert isinstance(garbage, Garbage)
        assert len(garbage.payload) <= 1000
        assert "the limit is 1000" in garbage.error


# By name


def test_gives_a_format_by_name() -> None:
    """The adapter says which prefix attributes have on its wire."""
    assert named_format("cloudevents", prefix="ce_") == CloudEventsBinary(prefix="ce_")
    assert named_format("cloudevents-structured", prefix="ce_") == CloudEventsStructured()


def test_takes_an_object_that_is_a_format() -> None:
    """Settings may give one."""
    own = CloudEventsStructured()

    assert named_format(own, prefix="ce_") is own


@pytest.mark.parametrize(
    ("given", "hint"),
    [("cloud_events", "did you mean 'cloudevents'"), ("avro", "known are cloudevents"), (7, "write and read")],
)
def test_says_which_formats_there_are(given: Any, hint: str) -> None:
    """A wrong name fails when the broker is made, and never imports anything."""
    with pytest.raises(NotConfigured, match=hint):
        named_format(given, prefix="ce_")
