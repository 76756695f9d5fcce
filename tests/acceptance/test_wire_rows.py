"""The acceptance rows of the wire: 44, 47, and of 45 and 56 what is about it; weaknesses B17, B24, B25 shown absent."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, cast

import msgspec
import pydantic
import pytest
from attrs import evolve, fields_dict, frozen

from django_cqrs.brokers import broker
from django_cqrs.inspection import DjangoInspection
from simplecqrs import Mediator, NotificationEvent, Publish, Registry, context, current
from simplecqrs.brokers.formats import Parcel
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.brokers.wire import write_fields
from simplecqrs.codec import JSONCodec
from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidPayload, NotConfigured, UnknownMessage
from simplecqrs.memory import MemoryBroker
from simplecqrs.messages import message
from simplecqrs.metadata import Metadata
from simplecqrs.packing.signatures import Signer, signing
from simplecqrs.transport import Garbage
from simplecqrs.upcasting import Upcasters
from tests.desk.parcels import ParcelBroker
from tests.desk.project import Project

FORMATS = ("cloudevents", "cloudevents-structured", "python-cqrs", "diator")
each_format = pytest.mark.parametrize("name", FORMATS)


@frozen
class Moved(NotificationEvent, name="shop.moved", topic="moves", key="who", version=2):
    """Somebody is somewhere else."""

    who: str
    step: int = 0


@frozen
class Seen(NotificationEvent, topic="sights"):
    """Somebody saw it."""

    who: str


@pytest.fixture(params=FORMATS)
def wire(request: pytest.FixtureRequest, committed: None, project: Project, settings: Any) -> ParcelBroker:
    """Let moves and sights go over a wire, in each of the formats, as a project says it in its settings."""
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "SOURCE": "shop",
        "BROKERS": {"wire": {"BACKEND": "tests.desk.parcels.ParcelBroker", "OPTIONS": {"format": request.param}}},
        "ROUTES": {"moves": "wire", "sights": "wire"},
        "CONSUMERS": {"walk": {"broker": "wire"}},
    }
    return cast(ParcelBroker, broker("wire"))


def facts(envelope: Envelope) -> dict[str, Any]:
    """Return what an envelope says of a message, but for what differs from one to the next."""
    known = {name: getattr(envelope, name) for name in fields_dict(Envelope)}
    return {**known, "id": type(envelope.id), "time": envelope.time.tzinfo, "correlation_id": ""}


# 44: one envelope


def test_row_44_an_envelope_is_the_same_on_every_path(wire: ParcelBroker, project: Project) -> None:
    """Published at once, or by the outbox and the relay, in whatever format: nothing is missing."""
    direct = ParcelBroker()
    with context(user="7"):
        Mediator(Registry(), publisher=direct, source="shop").publish(Moved("ada", 1))
        project.publish(Moved("ada", 1))

    project.ship()

    [one], [other] = direct.published, wire.published
    assert facts(one) == facts(other)
    assert facts(other) == {
        "id": type(one.id),
        "kind": "event",
        "name": "shop.moved",
        "version": 2,
        "topic": "moves",
        "key": "ada",
        "source": "shop",
        "time": timezone.utc,
        "correlation_id": "",
        "causation_id": None,
        "headers": {"user": "7"},
        "content_type": "application/json",
        "payload": b'{"who":"ada","step":1}',
    }


def test_row_44_a_command_has_the_same_envelope() -> None:
    """Only its kind differs; python-cqrs and diator know events only, and what they cannot say is refused."""
    published = MemoryBroker()
    Mediator(Registry(), publisher=published).publish(Moved("ada"))
    command = evolve(published.published[0], kind="command", name="shop.move")

    brokers = {name: ParcelBroker(format=name) for name in FORMATS}
    receipts = {name: broker.publish([command], deadline=1)[0] for name, broker in brokers.items()}

    assert [name for name, receipt in receipts.items() if receipt.status == "accepted"] == list(FORMATS[:2])
    assert brokers["cloudevents"].published == [command]
    assert "events only" in receipts["diator"].reason


# 45: the codec by what is on the wire


class Shouting(JSONCodec):
    """Writes capitals."""

    content_type = "text/x-shouting"

    def encode(self, message: Any, /) -> bytes:
        """Return JSON in capitals."""
        return super().encode(message).upper()

    def decode(self, kind: type[Any], payload: bytes, /) -> Any:
        """Read JSON in capitals."""
        return super().decode(kind, payload.lower())


@pytest.mark.parametrize("name", FORMATS[:3])
def test_row_45_the_content_type_goes_along_and_picks_the_codec(name: str) -> None:
    """Messages of two codecs share a topic; each is read by the one that has written it."""
    seen: list[Moved] = []
    registry = Registry()
    registry.add(Moved, seen.append, consumer="walk")
    wire = ParcelBroker(format=name)

    for codecs in ({}, {Moved: Shouting()}):
        Mediator(Registry(), publisher=wire, codecs=codecs).publish(Moved("ada"))
    reader = Mediator(registry, codecs={Moved: Shouting()})
    for envelope in wire.published:
        reader.receive(envelope, consumer="walk")

    assert [e.content_type for e in wire.published] == ["application/json", "text/x-shouting"]
    assert seen == [Moved("ada"), Moved("ada")]


# 47: what cannot be read


def test_row_47_bad_bytes_become_a_dead_letter_with_these_bytes(wire: ParcelBroker, project: Project) -> None:
    """And the consumer goes on with what comes after them."""
    project.consume(Moved, consumer="walk")
    bodies = [b"", b"\xff\xfe", b"{", b"[" * 100_000, b'{"who": ' + b"9" * 100_000]
    for body in bodies:
        wire.arrive("moves", Parcel(body, "application/json", {"from": "a stranger"}))
    project.publish(Moved("ada", 1))

    project.ship()
    project.work()

    assert project.seen == ["walk ada1"]
    letters = DjangoInspection("default").letters()
    assert [letter.payload for letter in letters] == bodies
    assert all(letter.reason for letter in letters)


@pytest.mark.parametrize("payload", [b"", b"null", b'{"who": 7}', b'{"who": "a"', b"\xff", b"[" * 5000 + b"]" * 5000])
def test_row_47_a_payload_that_makes_no_message_is_a_typed_error(payload: bytes) -> None:
    """The envelope can be read; its handler's codec says what is wrong, and never anything else than that."""
    registry = Registry()
    registry.add(Moved, lambda event: None, consumer="walk")
    published = MemoryBroker()
    Mediator(Registry(), publisher=published).publish(Moved("ada"))

    with pytest.raises(InvalidPayload):
        Mediator(registry).receive(evolve(published.published[0], payload=payload), consumer="walk")


@each_format
def test_row_47_garbage_is_a_value_with_what_came(name: str) -> None:
    """Nothing is raised where it is read."""
    found = named_format(name, prefix="ce_").read(Parcel(b"\x00\xff", "", {}), topic="moves", max_bytes=100)

    assert isinstance(found, Garbage)
    assert found.payload == b"\x00\xff"
    assert found.error


# 56: names


@each_format
def test_row_56_a_name_off_the_wire_is_looked_up_and_never_imported(name: str) -> None:
    """It may look like a module, a path or a class: nobody has registered it, so nothing happens."""
    registry, seen = Registry(), list[Any]()
    registry.add(Moved, seen.append, consumer="walk")
    before = set(sys.modules)
    names = (
        "this",
        "antigravity:main",
        "tests.acceptance.test_wire_rows.Moved",
        "Moved",
        "../../etc/passwd",
        "__class__",
    )
    wire = ParcelBroker(format=name)
    Mediator(Registry(), publisher=wire).publish(Moved("ada"))
    wire.publish([evolve(wire.published[0], name=bad) for bad in names], deadline=1)

    found = [Mediator(registry).receive(envelope, consumer="walk") for envelope in wire.published]

    assert found == [True] + [False] * len(names)
    assert seen == [Moved("ada")]
    assert not {"this", "antigravity"} & (set(sys.modules) - before)


def test_row_56_a_format_is_one_of_a_few_names() -> None:
    """Nothing is imported by the name of one either."""
    with pytest.raises(NotConfigured, match="known are cloudevents"):
        named_format("os.path", prefix="ce_")


# B17: one spelling, one name, headers always


@dataclass(frozen=True)
class OfDataclass(NotificationEvent, name="user.seen", topic="users"):
    """As python-cqrs' default events are made."""

    user_id: int
    last_seen_at: datetime


@message(name="user.seen", topic="users")
class OfPydantic(NotificationEvent, pydantic.BaseModel):
    """As its other family is made."""

    user_id: int
    last_seen_at: datetime


@message(name="user.seen", topic="users")
class OfMsgspec(msgspec.Struct, NotificationEvent, frozen=True):
    """As none of its are."""

    user_id: int
    last_seen_at: datetime


def test_b17_fields_are_spelt_alike_whatever_a_message_is_made_of() -> None:
    """As they are in Python; the bytes are the same."""
    broker = MemoryBroker()
    bus = Mediator(Registry(), publisher=broker)
    kinds: tuple[Callable[..., Any], ...] = (OfDataclass, OfPydantic, OfMsgspec)

    for kind in kinds:
        bus.publish(kind(user_id=7, last_seen_at=datetime(2026, 1, 2, tzinfo=timezone.utc)))

    assert {e.payload for e in broker.published} == {b'{"user_id":7,"last_seen_at":"2026-01-02T00:00:00+00:00"}'}
    assert {e.name for e in broker.published} == {"user.seen"}


def test_b17_the_name_does_not_depend_on_the_path(wire: ParcelBroker, project: Project) -> None:
    """Neither the class's here and the event's there, nor another one on the wire."""
    project.publish(Moved("ada"))
    project.ship()

    [envelope], [parcel] = wire.published, wire.parcels
    assert envelope.name == "shop.moved"
    assert b"shop.moved" in parcel.body or "shop.moved" in parcel.attributes.values()


@pytest.mark.parametrize("name", ["fields", *FORMATS])
def test_b17_json_has_all_that_another_codec_has_beside_it(name: str) -> None:
    """The envelope is never lost: id, name, time, key, correlation and headers are on the wire for every codec."""
    broker = MemoryBroker()
    with context(user="7"):
        Mediator(Registry(), publisher=broker, source="shop").publish(Moved("ada"))
    [envelope] = broker.published

    if name == "fields":
        said = json.dumps(write_fields(envelope))
    else:
        parcel = named_format(name, prefix="ce_").write(envelope)
        said = parcel.body.decode() + json.dumps(dict(parcel.attributes))

    for fact in (
        str(envelope.id),
        "shop.moved",
        envelope.time.date().isoformat(),
        "ada",
        "shop",
        envelope.correlation_id,
    ):
        assert fact in said
    assert "user" in said


# B24: who caused what, and for whom


def test_b24_correlation_causation_trace_and_user_come_over_the_wire(wire: ParcelBroker, project: Project) -> None:
    """The handler sees them, and what it publishes carries them on, with the message that it handled as the cause."""
    seen: list[Metadata] = []

    def look(event: Moved, publish: Publish) -> None:
        seen.append(current())
        publish(Seen(event.who))

    project.registry.add(Moved, look, consumer="walk")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with context(correlation_id="order-7", user="ada", tenant="north", traceparent=trace):
        project.publish(Moved("ada"))

    project.ship()
    project.work()
    project.ship()

    first, second = wire.published
    assert (seen[0].id, seen[0].correlation_id) == (first.id, "order-7")
    assert seen[0].headers == {"user": "ada", "tenant": "north", "traceparent": trace}
    assert (second.name, second.correlation_id, second.causation_id) == ("Seen", "order-7", str(first.id))
    assert second.headers == seen[0].headers


def test_b24_a_strangers_message_is_the_first_cause_of_what_it_causes() -> None:
    """It says nothing of a correlation; what is published while it is handled bears its id."""
    registry, broker = Registry(), MemoryBroker()
    registry.add(Moved, lambda event, publish: publish(Seen("ada")), consumer="walk")
    wire = ParcelBroker(format="python-cqrs")
    wire.arrive("moves", Parcel(b'{"event_name": "shop.moved", "payload": {"who": "ada"}}'))
    stranger = evolve(wire.published[0], version=2)

    Mediator(registry, publisher=broker).receive(stranger, consumer="walk")

    assert broker.published[0].correlation_id == broker.published[0].causation_id == str(stranger.id)


@each_format
def test_b24_a_signature_holds_whatever_the_message_is_carried_in(name: str) -> None:
    """Payload, time, key and headers arrive to the last byte; what was changed on the way is found out."""
    signer = Signer({"2026": "0123456789abcdef0123456789abcdef"})
    wire = ParcelBroker(format=name)
    with context(tenant="north", note="Zoë\n"):
        Mediator(Registry(), publisher=signing(wire, signer), source="shop").publish(Moved("Zoë 🎈", 7))

    [arrived] = wire.published

    assert signer.problem(arrived) == ""
    assert signer.problem(evolve(arrived, headers={**arrived.headers, "tenant": "south"}))


# B25: versions


@pytest.fixture
def reader() -> tuple[Mediator, list[Moved]]:
    """Make a mediator that knows version 2, and how version 1 becomes it."""
    seen: list[Moved] = []
    registry, upcasters = Registry(), Upcasters()
    registry.add(Moved, seen.append, consumer="walk")

    @upcasters.upcasts(Moved, version=1)
    def who_was_called_name(fields: dict[str, Any]) -> dict[str, Any]:
        return {"who": fields["name"]}

    return Mediator(registry, upcasters=upcasters), seen


@each_format
def test_b25_an_older_version_is_brought_up_to_date(name: str, reader: tuple[Mediator, list[Moved]]) -> None:
    """The version is on the wire in every format, also in those that have no word for it."""
    bus, seen = reader
    wire = ParcelBroker(format=name)
    Mediator(Registry(), publisher=wire).publish(Moved("ada"))
    old = evolve(wire.published[0], version=1, payload=b'{"name":"bob"}')
    wire.publish([old], deadline=1)

    for envelope in wire.published:
        bus.receive(envelope, consumer="walk")

    assert [e.version for e in wire.published] == [2, 1]
    assert seen == [Moved("ada"), Moved("bob")]


@each_format
def test_b25_a_newer_version_is_not_guessed_at(name: str, reader: tuple[Mediator, list[Moved]]) -> None:
    """It waits for a release that knows it."""
    bus, seen = reader
    wire = ParcelBroker(format=name)
    Mediator(Registry(), publisher=wire).publish(Moved("ada"))
    wire.publish([evolve(wire.published[0], version=3)], deadline=1)

    with pytest.raises(UnknownMessage, match="3"):
        bus.receive(wire.published[1], consumer="walk")

    assert seen == []
