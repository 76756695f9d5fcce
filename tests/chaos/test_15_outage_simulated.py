"""No 15: an hour without a broker, at one event a second, on a clock that only runs when the loop waits."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from simplecqrs import loop as loops
from simplecqrs.backoff import Retry
from simplecqrs.envelope import Envelope
from simplecqrs.loop import DOWN_CAP, Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.queue import lane_of
from simplecqrs.relay import Relay
from simplecqrs.transport import Receipt
from tests.contracts.queue import make

HOUR = 3600.0
WAITING = 1000


class Clock:
    """A clock, and a stop that is waited for: waiting takes no time but the clock's."""

    def __init__(self, ends: float) -> None:
        self.now, self.ends = 0.0, ends

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += max(seconds, 0.001)
        return self.is_set()

    def is_set(self) -> bool:
        return self.now > self.ends

    def set(self) -> None:
        self.now = self.ends + 1


class Counting(MemoryBroker):
    """A broker that counts how often it is tried."""

    tries = 0

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        self.tries += 1
        return super().publish(envelopes, deadline=deadline)


class Producing:
    """Appends an event for each second that has passed."""

    name = "producer"

    def __init__(self, clock: Clock, outbox: MemoryQueue) -> None:
        self.clock, self.outbox, self.made = clock, outbox, 0

    def step(self) -> bool:
        until = WAITING + int(self.clock.now)
        for number in range(self.made, until):
            envelope = make(str(number), key=f"k{number % 7}")
            self.outbox.append([("redis", lane_of(envelope), envelope)])
        self.made = until
        return False


def test_15_an_hour_without_a_broker_blames_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The relay tries now and then, counts no attempt, and drains within the longest pause when it is back."""
    caplog.set_level(logging.CRITICAL)
    clock, outbox, broker = Clock(HOUR), MemoryQueue("outbox"), Counting()
    monkeypatch.setattr(loops, "time", clock)
    producing = Producing(clock, outbox)
    relay = Relay(queue="redis", storage=outbox, publisher=broker, retry=Retry(2))
    loop = Loop([producing, relay], clock)  # type: ignore[arg-type]

    broker.down = True
    loop.run()
    tries = broker.tries
    (backlog,) = outbox.backlogs()
    broker.down = False
    clock.ends += 2 * DOWN_CAP
    loop.run()

    assert tries < HOUR / DOWN_CAP * 1.5 + 20
    assert backlog.pending > HOUR
    assert backlog.parked == backlog.blocked == backlog.dead == 0
    assert sorted(int(e.payload) for e in broker.published) == list(range(producing.made))
    for key in range(7):
        numbers = [int(e.payload) for e in broker.published if e.key == f"k{key}"]
        assert numbers == sorted(numbers)
