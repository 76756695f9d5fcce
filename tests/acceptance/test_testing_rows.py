"""The acceptance row of support for tests: 97."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Mediator,
    NotificationEvent,
    Publish,
    Registry,
    Retry,
    SyncRequestHandler,
)
from simplecqrs.consumer import Consumer, Policy
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotPublished
from simplecqrs.fetcher import Fetcher
from simplecqrs.loop import Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.queue import lane_of
from simplecqrs.relay import Relay
from simplecqrs.testing import recording
from simplecqrs.transport import ACCEPTED, Receipt

# 97


@frozen
class SignUp(Command[int]):
    """Makes a user."""

    name: str


@frozen
class SignedUp(NotificationEvent, topic="users", key="number"):
    """Goes out."""

    number: int


@frozen
class Welcomed(DomainEvent):
    """Is handled here."""


def sign_up(command: SignUp, publish: Publish, *, numbers: list[int]) -> int:
    """Be a handler."""
    publish(SignedUp(numbers[0]))
    return numbers[0]


class SignUpHandler(SyncRequestHandler[SignUp, int]):
    """Be the same as a class."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def handle(self, command: SignUp) -> int:
        """Be a handler."""
        self.publish(SignedUp(self.numbers[0]))
        return self.numbers[0]


def test_row_97_a_handler_is_tested_by_calling_it() -> None:
    """Given, when, then, without a mediator: a list takes the events."""
    events: list[object] = []

    answer = sign_up(SignUp("Ada"), events.append, numbers=[7])

    assert (answer, events) == (7, [SignedUp(7)])


def test_row_97_a_class_is_tested_in_a_recording() -> None:
    """Outside of one it says how; recordings do not see each other, and what they record goes nowhere."""
    handler = SignUpHandler([7])

    with recording() as events:
        answer = handler.handle(SignUp("Ada"))
        with recording() as inner:
            handler.handle(SignUp("Grace"))

    assert (answer, events, inner) == (7, [SignedUp(7)], [SignedUp(7)])
    with pytest.raises(NotPublished, match=r"recording\(\)"):
        handler.handle(SignUp("Ada"))


def test_row_97_a_mediator_records_with_a_broker_in_memory() -> None:
    """The recording mediator is a mediator, its broker and a handler that takes everything."""
    log: list[object] = []
    registry, broker = Registry(), MemoryBroker()
    registry.add(SignUp, SignUpHandler)
    registry.add(DomainEvent, log.append)
    registry.add(NotificationEvent, log.append)

    Mediator(registry, publisher=broker, provide={list[int]: lambda: [7]}).send(SignUp("Ada"))

    assert log == [SignedUp(7)]
    assert [envelope.name for envelope in broker.published] == ["SignedUp"]
    assert MemoryBroker().published == []  # no list that all share


def test_row_97_outbox_and_inbox_in_memory_tell_the_whole_story() -> None:
    """Command, outbox, relay, broker, inbox, consumer, with a retry; saga storage comes with the sagas."""
    outbox, inbox, broker = MemoryQueue("outbox"), MemoryQueue("inbox"), MemoryBroker()
    mails: list[int] = []
    failures = [OSError("no mail server")]

    class Outbox:
        def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
            outbox.append([("shop", lane_of(envelope), envelope) for envelope in envelopes])
            return [ACCEPTED] * len(envelopes)

    registry = Registry()

    @registry.handles(SignedUp, consumer="mailing")
    def mail(event: SignedUp) -> None:
        if failures:
            raise failures.pop()
        mails.append(event.number)

    bus = Mediator(registry, publisher=Outbox())
    bus.publish(SignedUp(7))
    waiting = [backlog.pending for backlog in outbox.backlogs()]

    Loop(
        [
            Relay(queue="shop", storage=outbox, publisher=broker),
            Fetcher(consumer="mailing", inbox=inbox, feeds=broker.feeds("mailing", ["users"])),
            Consumer(
                consumer="mailing",
                storage=inbox,
                receive=lambda envelope: bus.receive(envelope, consumer="mailing"),
                policy=lambda _: Policy(Retry(3, first=0)),
            ),
        ]
    ).run(drain=True, seconds=20)

    assert (waiting, mails, failures) == ([1], [7], [])
    assert [backlog.pending for backlog in outbox.backlogs()] == [0]
