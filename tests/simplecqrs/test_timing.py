"""Due times and expiry: what may be said, and where it can be kept."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, NotificationEvent, Publish, Registry, current
from simplecqrs.brokers.wire import read_fields, write_fields
from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidMessage, NotPublished
from simplecqrs.memory import MemoryBroker
from simplecqrs.testing import Scenario, recording
from simplecqrs.timing import EXPIRY, Timed, check_times, expires_at

NOON = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
NAIVE = NOON.replace(tzinfo=None)
HOUR = timedelta(hours=1)


@frozen
class SaleEnds(NotificationEvent):
    """For everybody."""

    shop: str = "tea"


@frozen
class DoorOpened(DomainEvent):
    """For this process."""


@frozen
class EndSale(Command[None]):
    """Publishes what a test wants."""


def selling(event: Timed, publisher: MemoryBroker | None = None) -> tuple[Mediator, list[SaleEnds]]:
    """Return a mediator whose command publishes an event, and what its handler here was told."""
    registry, told = Registry(), list[SaleEnds]()

    @registry.handles(EndSale)
    def end(command: EndSale, publish: Publish) -> None:
        publish(event)

    registry.add(SaleEnds, told.append)
    return Mediator(registry, publisher=publisher), told


# what may be said


@pytest.mark.parametrize(
    ("times", "complaint"),
    [
        ({"due": NAIVE}, r"SaleEnds: due=.* in which time zone.*timedelta\(hours=1\)"),
        ({"expires": NAIVE}, "SaleEnds: expires=.* in which time zone"),
        ({"due": 60}, "SaleEnds: due=60 is no time; give an aware datetime, or a timedelta"),
        ({"due": timedelta.max}, "SaleEnds: due=.* in no year"),
        ({"expires": timedelta(0)}, "nobody would ever get it"),
        ({"due": NOON, "expires": NOON}, "nobody would ever get it"),
    ],
)
def test_times_that_cannot_be_kept_are_refused_at_once(times: Any, complaint: str) -> None:
    """With the message, the time and the cure."""
    with pytest.raises(InvalidMessage, match=complaint):
        Timed(SaleEnds(), **times)


def test_only_events_can_be_timed_and_only_once() -> None:
    """Commands are deferred."""
    with pytest.raises(InvalidMessage, match="takes an event; to have a command handled later, defer it"):
        Timed(EndSale())  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match="SaleEnds is Timed twice"):
        Timed(Timed(SaleEnds(), due=HOUR), expires=HOUR)


def test_a_due_time_that_has_passed_is_none_to_complain_of() -> None:
    """It was computed; the message is due at once."""
    check_times("SaleEnds", -HOUR, None)
    check_times("SaleEnds", datetime(2001, 1, 1, tzinfo=timezone.utc), HOUR)


@pytest.mark.parametrize(
    ("due", "expires", "expected"),
    [
        (None, None, None),
        (None, HOUR, NOON + HOUR),
        (HOUR, HOUR, NOON + 2 * HOUR),
        (NOON - HOUR, HOUR, NOON),
        (HOUR, NOON + 3 * HOUR, NOON + 3 * HOUR),
    ],
)
def test_a_relative_expiry_counts_from_the_due_time(due: Any, expires: Any, expected: datetime | None) -> None:
    """So that it says how long the message is worth something."""
    assert expires_at(due, expires, NOON) == expected


# where it can be kept


def test_an_hour_is_an_hour_when_clocks_are_put_back() -> None:
    """An expiry that is relative counts real time, whatever the clocks on the wall show."""
    due = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    assert expires_at(due, timedelta(hours=1), due) == datetime(2026, 10, 25, 1, 30, tzinfo=timezone.utc)


def test_an_event_that_expires_is_handled_here_and_ships_with_its_expiry() -> None:
    """In the header that CloudEvents has for it."""
    broker = MemoryBroker()
    bus, told = selling(Timed(SaleEnds(), expires=HOUR), broker)

    bus.send(EndSale())
    bus.publish(Timed(SaleEnds("coffee"), expires=NOON))

    assert told == [SaleEnds("tea"), SaleEnds("coffee")]
    first, second = broker.published
    assert first.expires == first.time + HOUR
    assert (second.headers, second.expires) == ({EXPIRY: "2030-01-01T12:00:00+00:00"}, NOON)


@pytest.mark.parametrize("publisher", [MemoryBroker(), None])
def test_a_mediator_without_an_outbox_refuses_due_times(publisher: MemoryBroker | None) -> None:
    """It could only lose the event, or send it at once."""
    bus, told = selling(Timed(SaleEnds(), due=HOUR), publisher)

    with pytest.raises(NotPublished, match="SaleEnds"):
        bus.send(EndSale())
    with pytest.raises(NotPublished, match="SaleEnds"):
        bus.publish(Timed(SaleEnds(), due=HOUR))
    assert told == []


def test_the_refusal_names_the_cure() -> None:
    """Another mediator."""
    bus, _ = selling(Timed(SaleEnds(), due=HOUR), MemoryBroker())

    with pytest.raises(NotPublished, match="no outbox that keeps it until then; publish it with Django's"):
        bus.send(EndSale())


def test_what_stays_in_the_process_neither_waits_nor_expires() -> None:
    """Its handlers run where it is published."""
    bus = Mediator(Registry())

    with pytest.raises(NotPublished, match=r"DoorOpened reaches only handlers .*consumer=\.\.\."):
        bus.publish(Timed(DoorOpened(), expires=HOUR))


def test_a_plain_event_is_not_changed_by_a_timed_one() -> None:
    """Times belong to one event, not to its class."""
    broker = MemoryBroker()
    bus, told = selling(Timed(SaleEnds(), expires=HOUR), broker)
    bus.send(EndSale())

    bus.publish(SaleEnds("plain"))

    assert told == [SaleEnds("tea"), SaleEnds("plain")]
    assert broker.published[1].expires is None


# the header


def enveloped(**headers: str) -> Envelope:
    """Return an event with these headers."""
    broker = MemoryBroker()
    bus = Mediator(Registry(), publisher=broker)
    bus.publish(Timed(SaleEnds(), expires=NOON) if not headers else SaleEnds())
    [found] = broker.published
    return Envelope(
        id=found.id, kind="event", name=found.name, topic=found.topic, time=found.time,
        headers=headers or found.headers, payload=found.payload,
    )  # fmt: skip


def test_the_expiry_travels_over_a_wire() -> None:
    """As one of the headers, so every broker carries it."""
    envelope = enveloped()
    fields = {name.encode(): value.encode() for name, value in write_fields(envelope).items()}

    read = read_fields(fields, envelope.payload, topic="SaleEnds", max_bytes=1000)

    assert isinstance(read, Envelope)
    assert read.expires == NOON


@pytest.mark.parametrize("text", ["tomorrow", "2030-01-01T12:00:00", "", "0001-01-01T00:00:00+14:00"])
def test_an_expiry_that_nobody_can_read_is_none(text: str) -> None:
    """A stranger may have written it; the message is not to be lost for that."""
    assert enveloped(**{EXPIRY: text}).expires is None
    assert enveloped(**{EXPIRY: "2030-01-01T13:00:00+01:00"}).expires == NOON
    assert enveloped(**{EXPIRY: "2030-01-01T12:00:00Z"}).expires == NOON


def test_what_a_message_causes_does_not_expire_with_it() -> None:
    """Other headers are inherited."""
    registry, seen = Registry(), list[dict[str, str]]()

    def note(event: SaleEnds) -> None:
        seen.append(dict(current().headers))

    registry.add(SaleEnds, note, consumer="notes")
    Mediator(registry, publisher=MemoryBroker()).receive(
        enveloped(**{EXPIRY: NOON.isoformat(), "user": "7"}), consumer="notes"
    )

    assert seen == [{"user": "7"}]


# tests of handlers


def test_a_test_sees_the_times_of_what_a_handler_publishes() -> None:
    """They are values like any other."""
    seen: list[Any] = []

    def end(command: EndSale, publish: Publish) -> None:
        publish(Timed(SaleEnds(), due=HOUR, expires=HOUR))

    end(EndSale(), seen.append)

    assert seen == [Timed(SaleEnds(), due=HOUR, expires=HOUR)]


def test_recording_records_them_as_they_are() -> None:
    """Also of class handlers, which publish by themselves."""
    from simplecqrs.ambient import publish_here

    with recording() as events:
        publish_here(Timed(SaleEnds(), due=HOUR))

    assert events == [Timed(SaleEnds(), due=HOUR)]


def test_no_time_passes_in_a_story() -> None:
    """What is due later is told when it is published."""
    registry = Registry()

    @registry.handles(EndSale)
    def end(command: EndSale, publish: Publish) -> None:
        publish(Timed(SaleEnds(), due=HOUR))

    Scenario(registry).when(EndSale()).then(SaleEnds())
