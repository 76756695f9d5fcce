"""The broker in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.memory import MemoryBroker
from simplecqrs.transport import Garbage
from tests.contracts.broker import DEADLINE, BrokerContract, envelope


class TestContract(BrokerContract):
    """It does what every adapter does."""

    rewinds = True
    rewinds_to_times = True

    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker(refuse=lambda envelope: "odd" if envelope.name == "Odd" else None)

    @pytest.fixture
    def reopen(self, broker: MemoryBroker) -> Callable[[], MemoryBroker]:
        return lambda: broker

    @pytest.fixture
    def unacceptable(self) -> Callable[[str, str], Envelope]:
        return lambda topic, key: envelope(topic, key=key, name="Odd")

    @pytest.fixture
    def litter(self, broker: MemoryBroker) -> Callable[[str], None]:
        return lambda topic: broker.litter(topic, Garbage("no JSON", b"{"))


def test_lists_what_was_published() -> None:
    """A test reads all accepted envelopes, of all topics, in their order."""
    broker = MemoryBroker(refuse=lambda envelope: "odd" if envelope.name == "Odd" else None)
    sent = [envelope("orders"), envelope("customers"), envelope("orders", name="Odd"), envelope("orders")]

    broker.publish(sent, deadline=DEADLINE)

    assert broker.published == [sent[0], sent[1], sent[3]]


def test_raises_when_it_is_told_to_be_down() -> None:
    """Every call raises, and nothing is stored."""
    broker = MemoryBroker()
    (feed,) = broker.feeds("mailing", ["orders"])
    broker.down = True

    for call in (
        lambda: broker.publish([envelope("orders")], deadline=DEADLINE),
        lambda: broker.feeds("mailing", ["orders"]),
        lambda: feed.fetch(1),
        lambda: feed.acknowledge([]),
    ):
        with pytest.raises(BrokerDown):
            call()

    assert broker.published == []


def test_works_again_after_it_was_down() -> None:
    """An outage loses nothing that was accepted before it."""
    broker = MemoryBroker()
    broker.publish([envelope("orders")], deadline=DEADLINE)
    broker.down = True

    broker.down = False

    (feed,) = broker.feeds("mailing", ["orders"])
    assert len(feed.fetch(10)) == 1
