"""The whole way in memory: a command, its events in an outbox, a broker, an inbox, a handler."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import pytest
from attrs import evolve, frozen

from simplecqrs import Command, IntegrationEvent, Mediator, Publish, Registry, Retry, context, current
from simplecqrs.consumer import Consumer, Policy
from simplecqrs.envelope import Envelope
from simplecqrs.fetcher import Fetcher
from simplecqrs.loop import Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.queue import lane_of
from simplecqrs.relay import Relay
from simplecqrs.transport import ACCEPTED, Receipt


@frozen
class PlaceOrder(Command[int]):
    number: int


@frozen
class OrderPlaced(IntegrationEvent, topic="orders", key="number"):
    number: int


@frozen
class ReceiptSent(IntegrationEvent, topic="receipts", key="number"):
    number: int


class Outbox:
    """A publisher that keeps events until a relay ships them."""

    def __init__(self, queue: MemoryQueue) -> None:
        self.queue = queue

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        self.queue.append([("shop", lane_of(envelope), envelope) for envelope in envelopes])
        return [ACCEPTED] * len(envelopes)


class World:
    """A shop and a mailing department, joined by a broker."""

    def __init__(self, *, outbox: bool) -> None:
        self.db = MemoryTransactions()
        self.broker = MemoryBroker()
        self.outbox = MemoryQueue("outbox", transactions=self.db)
        self.inbox = MemoryQueue("inbox", transactions=self.db)
        self.mails: list[tuple[int, str, str | None]] = []
        self.failures: list[Exception] = []
        registry = Registry()
        registry.handles(PlaceOrder)(self.place_order)
        registry.handles(OrderPlaced, consumer="mailing")(self.send_receipt)
        self.bus = Mediator(
            registry,
            transaction=lambda _: self.db.transaction(),
            publisher=Outbox(self.outbox) if outbox else self.broker,
        )

    def place_order(self, command: PlaceOrder, publish: Publish) -> int:
        publish(OrderPlaced(command.number))
        if command.number == 13:
            raise ValueError("unlucky")
        return command.number

    def send_receipt(self, event: OrderPlaced, publish: Publish) -> None:
        publish(ReceiptSent(event.number))
        if self.failures:
            raise self.failures.pop()
        metadata = current()
        self.mails.append((event.number, metadata.correlation_id, metadata.headers.get("user")))

    def jobs(self) -> list[Relay | Fetcher | Consumer]:
        """Return them against the stream, so that draining has to go round."""
        return [
            Consumer(
                consumer="mailing",
                storage=self.inbox,
                receive=lambda envelope: self.bus.receive(envelope, consumer="mailing"),
                policy=lambda _: Policy(Retry(3, first=0)),
            ),
            Fetcher(consumer="mailing", inbox=self.inbox, feeds=self.broker.feeds("mailing", ["orders"])),
            Relay(queue="shop", storage=self.outbox, publisher=self.broker),
        ]

    def run(self) -> None:
        Loop(self.jobs()).run(drain=True, seconds=20)


@pytest.mark.parametrize("outbox", [True, False])
def test_a_command_s_event_reaches_a_consumer(*, outbox: bool) -> None:
    """Once, with the metadata of the command, with and without an outbox."""
    world = World(outbox=outbox)

    with context(correlation_id="c-1", user="ada"):
        assert world.bus.send(PlaceOrder(1)) == 1
    assert world.mails == []
    world.run()
    world.run()

    assert world.mails == [(1, "c-1", "ada")]


def test_a_command_that_fails_publishes_nothing() -> None:
    """Its events are gone with its transaction."""
    world = World(outbox=True)

    with pytest.raises(ValueError, match="unlucky"):
        world.bus.send(PlaceOrder(13))
    world.run()

    assert world.mails == []
    assert world.broker.published == []


def test_what_a_consumer_s_handler_publishes_shares_the_fate_of_its_message() -> None:
    """A failed attempt leaves no event; the one that succeeds leaves one, caused by the first."""
    world = World(outbox=True)
    world.failures = [OSError("no mail server")]
    world.bus.send(PlaceOrder(1))

    world.run()

    placed, sent = world.broker.published
    assert [mail[0] for mail in world.mails] == [1]
    assert (placed.name, sent.name) == ("OrderPlaced", "ReceiptSent")
    assert sent.causation_id == str(placed.id)
    assert sent.correlation_id == placed.correlation_id


def test_a_broker_that_repeats_itself_does_not_repeat_effects() -> None:
    """The same event three times is one mail."""
    world = World(outbox=True)
    world.bus.send(PlaceOrder(1))
    world.run()

    world.broker.publish(world.broker.published[:1] * 2, deadline=1)
    world.run()

    assert len(world.mails) == 1


def test_what_no_release_can_read_is_a_dead_letter_and_what_a_later_one_can_waits() -> None:
    """A payload that is no order; and a version that nobody knows yet."""
    world = World(outbox=True)
    world.bus.send(PlaceOrder(1))
    world.run()
    [good] = [envelope for envelope in world.broker.published if envelope.name == "OrderPlaced"]

    forged = evolve(good, id=uuid4(), payload=b'{"number": "x"}', key="2")
    newer = evolve(good, id=uuid4(), version=9, key="3")
    world.broker.publish([forged, newer], deadline=1)
    world.run()

    assert [letter.cause.partition(":")[0] for letter in world.inbox.letters()] == ["InvalidPayload"]
    assert [blocked.reason.partition(":")[0] for blocked in world.inbox.blocked() if blocked.key == "3"] == [
        "NewerVersion"
    ]
    assert len(world.mails) == 1
