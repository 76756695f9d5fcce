"""What python-cqrs and diator send, and what they read of ours."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from simplecqrs import NotificationEvent
from simplecqrs.brokers.diator import Diator
from simplecqrs.brokers.formats import Parcel, WireFormat
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.brokers.python_cqrs import PythonCQRS
from simplecqrs.codec.json import JSONCodec
from simplecqrs.envelope import Envelope
from simplecqrs.transport import Garbage

FORMATS: list[WireFormat] = [PythonCQRS(), Diator()]

# Recorded from python-cqrs 5.3.0: an event on a pydantic model, one on a dataclass, and one on a dict.
OF_PYDANTIC = (
    b'{"payload":{"user_id":1,"joined_at":"2026-11-21T11:47:22.748523+00:00"},'
    b'"event_id":"d0903201-9c90-47c9-a6fa-d00df47ab2ae","event_timestamp":"2026-11-21T11:47:22.748647",'
    b'"event_name":"user_joined","topic":"users"}'
)
OF_DATACLASS = (
    b'{"eventName":"user_joined","payload":{"userId":1,"joinedAt":"2026-11-21T11:47:22.751362Z",'
    b'"addressLine1":"","firstURL":"","tags":{"some_key":1,"someKey":2}},"eventId":"cda5a965d34e4b56ad7a2ca0b56ed73b",'
    b'"eventTimestamp":"2026-11-21T11:47:22.751490","topic":"users"}'
)
OF_DICT = (
    b'{"eventName":"user_joined","payload":{"user_id":1,"joined_at":"2026-11-21T11:44:16Z"},'
    b'"eventId":"fa55fe6145614757b066a7f7581aa1ee","eventTimestamp":"2026-11-21T11:44:16.550474","topic":"users"}'
)
# Recorded from diator 0.1.2: a notification event, and an event that carries state.
OF_DIATOR = (
    b'{"message_type":"notification_event","message_name":"UserJoined",'
    b'"message_id":"94b92e6e-1233-46ea-ab32-dc52d43dc887","payload":{"event_id":"94b92e6e-1233-46ea-ab32-dc52d43dc887",'
    b'"event_timestamp":"2026-11-21T11:52:00.139019","user_id":1,"joined_at":"2026-11-21T11:44:16+00:00"}}'
)
OF_DIATOR_STATE = (
    b'{"message_type":"ecst_event","message_name":"UserChanged","message_id":"2d9628ab-12f6-4e01-ab29-c488aa3a85c1",'
    b'"payload":{"event_id":"2d9628ab-12f6-4e01-ab29-c488aa3a85c1","event_timestamp":"2026-11-21T11:52:00.139565",'
    b'"user_id":7,"when":"2026-11-21T11:52:00.139551+00:00","tags":[1,{"a":null}]}}'
)

OURS = Envelope(
    id=UUID("dbf52f62-c410-4c63-8236-52e3fd67f21b"),
    kind="event",
    name="user_joined",
    topic="users",
    time=datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=timezone.utc),
    payload=b'{"user_id":7,"joined_at":"2026-01-02T03:04:05Z"}',
)


@frozen
class UserJoined(NotificationEvent):
    user_id: int
    joined_at: datetime


def read(wire: WireFormat, body: bytes, content_type: str = "", **attributes: str) -> Envelope | Garbage:
    return wire.read(Parcel(body, content_type, attributes), topic="users", max_bytes=10_000)


def arrived(wire: WireFormat, body: bytes, content_type: str = "", **attributes: str) -> Envelope:
    envelope = read(wire, body, content_type, **attributes)
    assert isinstance(envelope, Envelope), envelope
    return envelope


# python-cqrs


@pytest.mark.parametrize("body", [OF_PYDANTIC, OF_DATACLASS, OF_DICT])
def test_reads_every_kind_of_event_of_python_cqrs(body: bytes) -> None:
    """Its payload makes our message, however it spells the names of its fields."""
    envelope = arrived(PythonCQRS(), body)

    assert (envelope.name, envelope.topic, envelope.kind) == ("user_joined", "users", "event")
    assert envelope.id.hex in body.decode().replace("-", "")
    assert (envelope.time.date().isoformat(), envelope.time.tzinfo) == ("2026-11-21", timezone.utc)
    message = JSONCodec().decode(UserJoined, envelope.payload)
    assert message.user_id == 1


def test_spells_the_fields_of_its_dataclasses_as_ours() -> None:
    """At any depth, for nobody can tell fields from what is stored by a name; and nothing else is changed."""
    payload = json.loads(arrived(PythonCQRS(), OF_DATACLASS).payload)

    assert set(payload) == {"user_id", "joined_at", "address_line1", "first_url", "tags"}
    assert payload["joined_at"] == "2026-11-21T11:47:22.751362Z"
    assert payload["tags"] == {"some_key": 2}


def test_leaves_the_names_of_fields_if_told_so() -> None:
    """Who has data stored by names like theirs takes them as they are."""
    payload = json.loads(arrived(PythonCQRS(snake_case=False), OF_DATACLASS).payload)

    assert payload["tags"] == {"some_key": 1, "someKey": 2}
    assert "userId" in payload


def test_touches_no_text_that_looks_like_a_name() -> None:
    """Values stay, quotes and escapes in them as well."""
    body = json.dumps({"eventName": "e", "payload": {"aB": 'userId": "\\', "cD": [1.50, "eF:", None], "Gh iJ": 1}})

    payload = json.loads(arrived(PythonCQRS(), body.encode()).payload)

    assert payload == {"a_b": 'userId": "\\', "c_d": [1.5, "eF:", None], "Gh iJ": 1}


def test_takes_times_without_a_zone_for_those_of_the_zone_it_is_told() -> None:
    """The machines of python-cqrs write their own time."""
    envelope = arrived(PythonCQRS(zone=timezone(timedelta(hours=2))), OF_PYDANTIC)

    assert envelope.time == datetime(2026, 11, 21, 9, 47, 22, 748647, tzinfo=timezone.utc)


def test_takes_the_name_from_the_topic_where_the_event_has_none() -> None:
    """An event of a class of its own may be any object; its bytes make its id then."""
    wire = PythonCQRS(names={"users": "UserJoined"})

    first, again, other = (arrived(wire, body) for body in (b'{"user_id":1}', b'{"user_id":1}', b'{"user_id":2}'))

    assert (first.name, first.payload) == ("UserJoined", b'{"user_id":1}')
    assert first.id == again.id != other.id


def test_says_what_to_do_about_an_event_without_a_name() -> None:
    """The error names the option, and the topic."""
    garbage = read(PythonCQRS(), b'{"user_id":1}')

    assert isinstance(garbage, Garbage)
    assert "PythonCQRS(names=...) has none for the topic 'users'" in garbage.error


@pytest.mark.parametrize("content_type", ["", "application/x-protobuf"])
def test_reads_its_protobuf(content_type: str) -> None:
    """It has headers there; on Kafka the content type is not sent."""
    envelope = arrived(
        PythonCQRS(),
        b"\x08\x07",
        content_type,
        event_name="user_joined",
        message_id="dbf52f62-c410-4c63-8236-52e3fd67f21b",
    )

    assert (envelope.name, envelope.id, envelope.payload) == ("user_joined", OURS.id, b"\x08\x07")
    assert envelope.content_type == "application/x-protobuf"


def test_writes_json_that_python_cqrs_was_seen_to_read() -> None:
    """These very bytes made events of its dataclasses and of its pydantic models in 5.3.0."""
    parcel = PythonCQRS().write(OURS)

    assert parcel.body == (
        b'{"event_id":"dbf52f62-c410-4c63-8236-52e3fd67f21b","event_timestamp":"2026-01-02T03:04:05.678000+00:00",'
        b'"event_name":"user_joined","topic":"users",'
        b'"payload":{"user_id":7,"joined_at":"2026-01-02T03:04:05Z"}}'
    )
    assert parcel.attributes["event_name"] == "user_joined"
    assert parcel.attributes["message_id"] == str(OURS.id)


def test_takes_an_event_without_a_payload_for_one_without_fields() -> None:
    """Which is written as null there."""
    assert arrived(PythonCQRS(), b'{"event_name": "e", "payload": null}').payload == b"{}"


# diator


def test_reads_the_events_of_diator() -> None:
    """Id and time are in the envelope, and so not among the fields."""
    envelope = arrived(Diator(), OF_DIATOR)

    assert (envelope.name, str(envelope.id)) == ("UserJoined", "94b92e6e-1233-46ea-ab32-dc52d43dc887")
    assert envelope.time == datetime(2026, 11, 21, 11, 52, 0, 139019, tzinfo=timezone.utc)
    assert envelope.payload == b'{"user_id":1,"joined_at":"2026-11-21T11:44:16+00:00"}'
    assert JSONCodec(strict=True).decode(UserJoined, envelope.payload).user_id == 1


def test_reads_the_events_of_diator_that_carry_state() -> None:
    """They differ in their type only."""
    envelope = arrived(Diator(), OF_DIATOR_STATE)

    assert envelope.name == "UserChanged"
    assert json.loads(envelope.payload)["tags"] == [1, {"a": None}]


def test_writes_what_diator_sends() -> None:
    """Byte by byte, for an event of the same content."""
    read_before = arrived(Diator(), OF_DIATOR_STATE)

    assert Diator(message_type="ecst_event").write(read_before).body == OF_DIATOR_STATE


def test_keeps_fields_of_an_event_that_are_called_like_those_of_diator() -> None:
    """An event may have an ``event_id`` of its own."""
    sent = Envelope(
        id=OURS.id, kind="event", name="Moved", topic="users", time=OURS.time, payload=b'{"event_id":"concert-7"}'
    )

    parcel = Diator().write(sent)

    assert read(Diator(), parcel.body, parcel.content_type, **parcel.attributes) == sent


# Both

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)
envelopes = st.builds(
    Envelope,
    id=st.uuids(),
    kind=st.just("event"),
    name=texts.filter(bool),
    version=st.integers(1, 2**31 - 1),
    topic=st.just("users"),
    key=texts,
    source=texts,
    time=st.datetimes(datetime(2, 1, 1), timezones=st.just(timezone.utc)),  # noqa: DTZ001 - the zones are there
    correlation_id=texts,
    causation_id=st.none() | texts.filter(bool),
    headers=st.dictionaries(texts, texts, max_size=3),
    payload=st.dictionaries(texts, st.integers() | texts | st.lists(texts), max_size=3).map(
        lambda fields: json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    ),
)


@pytest.mark.parametrize("wire", FORMATS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(sent=envelopes)
def test_reads_exactly_what_it_wrote(wire: WireFormat, sent: Envelope) -> None:
    """What their formats have no place for stands beside the body."""
    parcel = wire.write(sent)

    assert wire.read(parcel, topic="users", max_bytes=10_000) == sent


@pytest.mark.parametrize("wire", FORMATS)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "command"}, "events only"),
        ({"payload": b"{"}, "."),
        ({"payload": b"{} {}"}, "more than one"),
        ({"payload": b"\xff"}, "."),
        ({"payload": b"[" * 200 + b"]" * 200}, "nested 200 deep"),
        ({"key": "a\0b"}, "NUL"),
        ({"headers": {"user": "\ud83c"}}, "surrogates"),
    ],
)
def test_refuses_to_write_what_could_not_be_read(wire: WireFormat, changes: dict[str, Any], reason: str) -> None:
    """The adapter refuses such an envelope, with the reason."""
    facts = {"id": OURS.id, "kind": "event", "name": "e", "topic": "users", "time": OURS.time, "payload": b"{}"}

    with pytest.raises(ValueError, match=reason):
        wire.write(Envelope(**{**facts, **changes}))


def test_diator_has_json_only() -> None:
    """Its messages are JSON objects, and a payload stands in the middle of one."""
    envelope = Envelope(
        id=OURS.id,
        kind="event",
        name="e",
        topic="t",
        time=OURS.time,
        content_type="application/x-protobuf",
        payload=b"",
    )

    with pytest.raises(ValueError, match="JSON only"):
        Diator().write(envelope)


@pytest.mark.parametrize("wire", FORMATS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"{}",
        b'{"event_name": 7, "message_name": 7, "payload": {}}',
        b'{"event_name": "e", "message_name": "e", "event_timestamp": 7, "payload": 7}',
        b'{"event_name": "e", "message_name": "e", "event_timestamp": "yesterday", "payload": "yesterday"}',
        b'{"event_name": "\\ud800", "message_name": "\\ud800", "payload": {}}',
        b'{"event_name": "e", "message_name": "e", "payload": ' + b'{"a":' * 500 + b"7" + b"}" * 501,
        b'{"event_name": "e", "message_name": "e", "payload": {"n": ' + b"9" * 5000 + b"}}",
        b'{"event_name": "e", "message_name": "e", "payload": {"a": "' + b"x" * 40_000 + b'"}}',
    ],
)
def test_takes_for_garbage_what_is_no_event(wire: WireFormat, body: bytes) -> None:
    """It raises nothing, keeps the bytes, and says what is wrong."""
    garbage = read(wire, body)

    assert isinstance(garbage, Garbage)
    assert garbage.payload == body[:10_000]
    assert garbage.error.isprintable()


@pytest.mark.parametrize("wire", FORMATS)
@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ({"cqrs_version": "9" * 5000}, "an integer of 5000 digits; the limit is 4300"),
        ({"cqrs_time": "0001-01-01T00:00:00+14:00"}, "no time in UTC"),
    ],
)
def test_takes_for_garbage_what_is_wrong_beside_an_event(wire: WireFormat, beside: dict[str, str], reason: str) -> None:
    """With our own bounds, whatever Python was told to read."""
    body = b'{"event_name": "e", "message_name": "e", "payload": {}}'

    garbage = read(wire, body, **beside)

    assert isinstance(garbage, Garbage)
    assert reason in garbage.error


@pytest.mark.parametrize("wire", FORMATS)
def test_a_time_with_a_zone_is_never_taken_for_one_without(wire: WireFormat) -> None:
    """Even if it is none that UTC has."""
    moment = b'"event_id": 7, "event_timestamp": "0001-01-01T00:00:00+14:00"'
    body = b'{%s, "message_id": 7, "event_name": "e", "message_name": "e", "payload": {%s}}' % (moment, moment)

    garbage = read(wire, body)

    assert isinstance(garbage, Garbage)
    assert "no time in UTC" in garbage.error


def test_both_have_a_name_in_settings() -> None:
    """Their options need an object."""
    assert named_format("python-cqrs", prefix="ce_") == PythonCQRS()
    assert named_format("diator", prefix="ce_") == Diator()
