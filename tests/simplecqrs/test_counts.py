"""What relays and consumers count, and how long messages had waited for them."""

from __future__ import annotations

import time

import pytest

from simplecqrs.backoff import Retry
from simplecqrs.consumer import Consumer
from simplecqrs.counts import Counts, Waited, Waits
from simplecqrs.envelope import Envelope
from simplecqrs.loop import Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.policies import Policy
from simplecqrs.queue import Box, lane_of
from simplecqrs.relay import Relay
from tests.contracts.queue import make

ONCE = Retry(1)


def filled(box: Box, *texts: str) -> MemoryQueue:
    """Return a queue with these messages."""
    queue = MemoryQueue(box)
    envelopes = [make(text, key=text) for text in texts]
    queue.append([("shop", lane_of(envelope), envelope) for envelope in envelopes])
    return queue


def test_waits_are_added_up_until_they_are_taken() -> None:
    """All together and the longest, then they begin anew; a clock that is ahead makes no negative wait."""
    waits, now = Waits(), time.monotonic()

    waits.add([now - 2, now - 5])
    waits.add([now + 60])

    assert waits.take() == (3, pytest.approx(7, abs=0.5), pytest.approx(5, abs=0.5))
    assert waits.take() == Waited(0, 0.0, 0.0)


def test_a_relay_counts_what_is_accepted_what_fails_and_what_dies() -> None:
    """Only what was accepted has waited until it was done."""
    broker = MemoryBroker(refuse=lambda e: "too odd" if e.payload == b"odd" else None)
    relay = Relay(queue="shop", storage=filled("outbox", "one", "odd", "two"), publisher=broker, retry=ONCE)

    Loop([relay]).run(drain=True)

    assert relay.counts == Counts(published=2, failed=1, dead=1)
    assert relay.counts.waits.take().number == 2


def test_a_consumer_counts_what_is_handled_what_fails_and_what_dies() -> None:
    """An attempt that is not the last one is no death."""

    def receive(envelope: Envelope) -> bool:
        if envelope.payload == b"odd":
            raise ValueError("too odd")
        return True

    policy = Policy(retry=Retry(2, first=0))
    inbox = filled("inbox", "one", "odd", "two")
    worker = Consumer(consumer="shop", storage=inbox, receive=receive, policy=lambda _: policy)

    Loop([worker]).run(drain=True)

    assert worker.counts == Counts(handled=2, failed=2, dead=1)
    assert worker.counts.waits.take().number == 2
