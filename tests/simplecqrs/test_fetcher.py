"""A fetcher takes what a broker has for a consumer into its inbox."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import pytest
from attrs import evolve

from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.fetcher import Fetcher
from simplecqrs.loop import Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.transport import Delivery, Feed, Garbage
from tests.contracts.queue import make

NAME = "mailing"


class Station:
    """A broker with an event or two, and a fetcher."""

    def __init__(self, *feeds: Feed, batch: int = 500) -> None:
        self.broker = MemoryBroker()
        self.inbox = MemoryQueue("inbox")
        self.fetcher = Fetcher(
            consumer=NAME, inbox=self.inbox, feeds=feeds or self.broker.feeds(NAME, ["orders"]), batch=batch
        )

    def publish(self, *envelopes: Envelope) -> None:
        self.broker.publish(envelopes, deadline=1)

    @property
    def stored(self) -> list[str]:
        with self.inbox.hold(NAME, lanes=range(16), limit=16, local=True, idle=1) as held:
            return [row.envelope.payload.decode() for row in held.read(100, 10_000)] if held is not None else []


def test_what_a_feed_has_is_stored_and_acknowledged() -> None:
    """In its order; the next step finds nothing."""
    station = Station()
    station.publish(make("1", key="a"), make("2", key="a"))

    assert [station.fetcher.step(), station.fetcher.step()] == [2, 0]

    assert station.stored == ["1", "2"]
    assert (station.fetcher.counts.fetched, station.fetcher.counts.seen) == (2, 0)


def test_a_batch_bounds_what_is_fetched() -> None:
    """The rest comes with the next step."""
    station = Station(batch=2)
    station.publish(*(make(str(n), key="a") for n in range(3)))

    assert [station.fetcher.step(), station.fetcher.step()] == [2, 1]
    assert station.stored == ["0", "1", "2"]


def test_large_messages_come_in_small_batches() -> None:
    """The first batch tells how large they are; one at least comes."""
    station = Station()
    fetcher = evolve(station.fetcher, max_bytes=1000)
    station.publish(*(make("x" * 300, key="a") for _ in range(60)), *(make("y" * 2000, key="a") for _ in range(5)))

    assert [fetcher.step() for _ in range(8)] == [50, 3, 3, 3, 3, 1, 1, 1]


class Forgetful:
    """A feed whose acknowledgements are lost, some of the time."""

    name = "orders"

    def __init__(self, feed: Feed, losses: int) -> None:
        self.feed = feed
        self.losses = losses

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        return self.feed.fetch(limit)

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        if self.losses:
            self.losses -= 1
            raise BrokerDown("cut")
        self.feed.acknowledge(deliveries)


def test_what_was_stored_and_not_acknowledged_enters_once() -> None:
    """A crash between commit and acknowledgement brings the batch again; the door drops it."""
    station = Station()
    station.fetcher = Fetcher(
        consumer=NAME, inbox=station.inbox, feeds=[Forgetful(station.broker.feeds(NAME, ["orders"])[0], losses=2)]
    )
    station.publish(make("1", key="a"), make("2", key="a"))
    for _ in range(2):
        with pytest.raises(BrokerDown):
            station.fetcher.step()

    station.publish(make("3", key="a"))
    station.fetcher.step()

    assert station.stored == ["1", "2", "3"]
    assert (station.fetcher.counts.fetched, station.fetcher.counts.seen) == (3, 4)


def test_what_could_not_be_stored_is_not_acknowledged() -> None:
    """A batch whose commit fails comes again, whole."""

    class Full(MemoryQueue):
        full = True

        @contextmanager
        def fetching(self, consumer: str, feed: str, /) -> Generator[bool, None, None]:
            with super().fetching(consumer, feed) as ours:
                yield ours
                if self.full:
                    raise OSError("disk full")

    station = Station()
    inbox = Full("inbox")
    fetcher = Fetcher(consumer=NAME, inbox=inbox, feeds=station.broker.feeds(NAME, ["orders"]))
    station.publish(make("1", key="a"))
    with pytest.raises(OSError, match="disk full"):
        fetcher.step()
    assert fetcher.counts.fetched == 0
    inbox.full = False

    assert fetcher.step() == 1
    assert (fetcher.counts.fetched, fetcher.counts.seen) == (1, 0)


def test_garbage_is_a_dead_letter_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """With its bytes, acknowledged, and shouted about."""
    station = Station()
    station.broker.litter("orders", Garbage("no id", b"\x00{", {"user": "ada"}))
    station.publish(make("1", key="a"))

    assert [station.fetcher.step(), station.fetcher.step()] == [2, 0]

    assert station.stored == ["1"]
    [letter] = station.inbox.letters()
    assert (letter.reason, letter.payload) == ("no id", b"\x00{")
    assert "1 messages could not be read; first: no id" in caplog.text


def test_a_fetcher_whose_feed_is_taken_does_nothing() -> None:
    """Another one is at it."""
    station = Station()
    station.publish(make("1", key="a"))
    done: list[int] = []

    with station.inbox.fetching(NAME, "orders"):
        thread = threading.Thread(target=lambda: done.append(station.fetcher.step()))
        thread.start()
        thread.join()

    assert done == [0]
    assert station.fetcher.step() == 1


def test_fetchers_in_threads_store_each_message_once_and_in_order() -> None:
    """Three of them on one feed."""
    station = Station(batch=7)
    station.publish(*(make(str(n), key="a") for n in range(90)))
    threads = [threading.Thread(target=lambda: Loop([station.fetcher]).run(drain=True, seconds=20)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Loop([station.fetcher]).run(drain=True)

    assert station.stored == [str(n) for n in range(90)]
