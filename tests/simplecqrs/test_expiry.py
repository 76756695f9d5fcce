"""What has expired is neither shipped nor handled; it is counted, logged, and in nobody's way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest

from simplecqrs.consumer import Consumer
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.expiry import handling_unexpired, shipping_unexpired
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.queue import lane_of
from simplecqrs.relay import Relay
from simplecqrs.timing import EXPIRY
from simplecqrs.transport import ACCEPTED, refused


def make(text: str, *, ago: float | None = None, key: str = "") -> Envelope:
    """Return an event that expired so many seconds ago, or will."""
    now = datetime.now(timezone.utc)
    headers = {} if ago is None else {EXPIRY: (now - timedelta(seconds=ago)).isoformat()}
    return Envelope(
        id=uuid4(), kind="event", name="SaleEnds", topic="sales", key=key, time=now, headers=headers,
        payload=text.encode(),
    )  # fmt: skip


def fill(box: MemoryQueue, queue: str, envelopes: Sequence[Envelope]) -> None:
    """Add envelopes to a queue."""
    box.append([(queue, lane_of(envelope), envelope) for envelope in envelopes])


def texts(envelopes: Sequence[Envelope]) -> list[str]:
    """Return what tests know envelopes by."""
    return [envelope.payload.decode() for envelope in envelopes]


def test_what_has_expired_is_not_shipped_and_has_a_receipt_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """So the relay deletes it; the others keep their own receipts, in their places."""
    caplog.set_level(logging.INFO, "simplecqrs.expiry")
    broker = MemoryBroker(refuse=lambda envelope: "odd" if envelope.payload == b"odd" else None)
    publisher = shipping_unexpired(broker)
    batch = [make("a"), make("gone", ago=1), make("odd"), make("late", ago=-60), make("gone too", ago=60)]

    receipts = publisher.publish(batch, deadline=1)

    assert receipts == [ACCEPTED, ACCEPTED, refused("odd"), ACCEPTED, ACCEPTED]
    assert texts(broker.published) == ["a", "late"]
    assert getattr(publisher, "expired") == 2  # noqa: B009 - the type is the publisher's own
    assert [f"SaleEnds {batch[n].id} expired" in r.getMessage() for n, r in zip((1, 4), caplog.records, strict=True)]


def test_nothing_is_sent_if_all_has_expired() -> None:
    """A broker need not be up for that; nothing is counted that was not settled."""
    broker = MemoryBroker()
    broker.down = True
    publisher = shipping_unexpired(broker)

    assert publisher.publish([make("gone", ago=1)], deadline=1) == [ACCEPTED]
    with pytest.raises(BrokerDown):
        publisher.publish([make("gone", ago=1), make("a")], deadline=1)
    assert getattr(publisher, "expired") == 1  # noqa: B009


def test_in_all_else_it_is_the_publisher() -> None:
    """The relay may ask it what it asks any other."""
    broker = MemoryBroker()

    assert shipping_unexpired(broker).promise == broker.promise
    assert shipping_unexpired(broker).feeds("log", []) == []


def test_a_relay_deletes_what_has_expired_and_says_so() -> None:
    """What follows under its key goes on."""
    box, broker = MemoryQueue("outbox"), MemoryBroker()
    fill(box, "events", [make("gone", ago=1, key="7"), make("next", key="7")])
    relay = Relay(queue="events", storage=box, publisher=shipping_unexpired(broker))

    while relay.step():
        pass

    assert texts(broker.published) == ["next"]
    assert [backlog.pending for backlog in box.backlogs()] == [0]
    assert relay.asides["expired"] == 1


def test_a_consumer_drops_what_has_expired_and_says_so() -> None:
    """Without a dead letter, and what follows under its key is handled."""
    box, handled = MemoryQueue("inbox"), list[Envelope]()

    def receive(envelope: Envelope) -> bool:
        handled.append(envelope)
        return True

    fill(box, "log", [make("gone", ago=1, key="7"), make("next", key="7")])
    worker = Consumer(consumer="log", storage=box, receive=handling_unexpired(receive), strict=True)

    while worker.step():
        pass

    assert texts(handled) == ["next"]
    assert [(backlog.pending, backlog.dead) for backlog in box.backlogs()] == [(0, 0)]
    assert worker.asides["expired"] == 1
