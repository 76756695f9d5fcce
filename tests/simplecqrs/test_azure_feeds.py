"""Subscriptions of Azure Service Bus: locks, what comes again, and sessions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("azure.servicebus", reason="it is not installed: pip install 'simplecqrs[azure]'")

from simplecqrs.brokers.azure import AzureServiceBus
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import Envelope, Feed
from tests.contracts.broker import DEADLINE, contents, drain, envelope
from tests.service_bus.fixtures import broker, hurry, peer, shared
from tests.service_bus.peer import Peer
from tests.service_bus.store import Subscription

__all__ = ["broker", "hurry", "peer", "shared"]

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # see ``hurry``
]


@pytest.fixture
def opened(peer: Peer) -> Iterator[Callable[..., AzureServiceBus]]:
    """Open brokers as further processes would."""
    brokers: list[AzureServiceBus] = []

    def opened(**options: bool | int) -> AzureServiceBus:
        brokers.append(AzureServiceBus(peer.url, **options))  # type: ignore[arg-type]
        return brokers[-1]

    yield opened
    for one in brokers:
        one.close()


def soon(feed: Feed) -> list[object]:
    """Fetch until something comes, acknowledge it, and return it."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if deliveries := feed.fetch(100):
            feed.acknowledge(deliveries)
            return contents(deliveries)
    raise AssertionError("nothing came")


def published(broker: AzureServiceBus, topic: str, number: int) -> list[Envelope]:
    """Publish as many under one key."""
    sent = [envelope(topic, key="a") for _ in range(number)]
    assert {receipt.status for receipt in broker.publish(sent, deadline=DEADLINE)} == {"accepted"}
    return sent


class TestLocks:
    """Who fetches a message holds its lock, until it is acknowledged or its time is over."""

    def test_waits_for_what_another_fetcher_has_locked(
        self, peer: Peer, opened: Callable[..., AzureServiceBus]
    ) -> None:
        """What is newer waits, until the older is acknowledged there."""
        peer.store.create("shared", "mailing")
        ours, theirs = opened(prefetch=1), opened(prefetch=1)
        (feed,), (other,) = ours.feeds("mailing", ["shared"]), theirs.feeds("mailing", ["shared"])
        first = published(ours, "shared", 2)  # as many as are on their way to us at a time
        deliveries = feed.fetch(1)
        second = published(ours, "shared", 1)

        waiting = [list(other.fetch(1)) for _ in range(3)]
        feed.acknowledge(deliveries)

        assert waiting == [[], [], []]
        assert [*contents(deliveries), *soon(feed)] == first
        assert soon(other) == second

    def test_keeps_nothing_locked_while_it_waits_for_another_fetcher(
        self, peer: Peer, opened: Callable[..., AzureServiceBus]
    ) -> None:
        """Two that wait for each other would do so for ever: what waits is given up when its time is over."""
        peer.store.create("crossed", "mailing", lock_seconds=0.3)
        ours, theirs = opened(prefetch=1), opened(prefetch=1)
        (feed,), (other,) = ours.feeds("mailing", ["crossed"]), theirs.feeds("mailing", ["crossed"])
        first = published(ours, "crossed", 1)
        deliveries = feed.fetch(1)
        second = published(ours, "crossed", 3)

        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert contents(feed.fetch(1)) == first  # which renews its lock
            assert list(other.fetch(1)) == []
        feed.acknowledge(deliveries)

        arrived: list[object] = []
        until = time.monotonic() + 5
        while len(arrived) < 3 and time.monotonic() < until:
            arrived += [*drain(feed, 1), *drain(other, 1)]
        assert arrived == second

    def test_brings_first_what_a_dead_fetcher_has_locked_when_its_time_is_over(
        self, peer: Peer, opened: Callable[..., AzureServiceBus]
    ) -> None:
        """Service Bus would hand over what is newer in the meantime."""
        peer.store.create("short", "mailing", lock_seconds=0.5)
        dead, successor = opened(), opened()
        sent = published(dead, "short", 3)
        assert contents(dead.feeds("mailing", ["short"])[0].fetch(3)) == sent
        dead.close()
        sent += published(successor, "short", 2)

        (feed,) = successor.feeds("mailing", ["short"])
        at_once = list(feed.fetch(10))
        arrived = soon(feed)
        while len(arrived) < 5:
            arrived += soon(feed)

        assert at_once == []
        assert arrived == sent

    def test_renews_the_locks_of_what_is_not_acknowledged(
        self, peer: Peer, opened: Callable[..., AzureServiceBus]
    ) -> None:
        """As long as it is asked for: a database that is down for long makes no dead letters."""
        peer.store.create("renewed", "mailing", lock_seconds=0.4)
        broker = opened()
        sent = published(broker, "renewed", 2)
        (feed,) = broker.feeds("mailing", ["renewed"])

        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            assert contents(feed.fetch(10)) == sent

        assert [entry.failures for entry in _subscription(peer, "renewed").entries.values()] == [0, 0]

    def test_gives_up_what_has_lost_its_lock(
        self, broker: AzureServiceBus, peer: Peer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It comes again, in its order, and says so in the log."""
        (feed,) = broker.feeds("mailing", ["orders"])
        sent = published(broker, "orders", 3)
        deliveries = feed.fetch(3)
        peer.expire()

        with caplog.at_level(logging.WARNING, "simplecqrs"):
            feed.acknowledge(deliveries)

        assert contents(deliveries) == drain(feed) == sent
        assert "3 locks ran out" in caplog.text

    def test_brings_again_what_somebody_abandoned(self, broker: AzureServiceBus, peer: Peer) -> None:
        """What was stored then is known at the door."""
        (feed,) = broker.feeds("mailing", ["orders"])
        sent = published(broker, "orders", 2)
        deliveries = feed.fetch(2)
        with peer.store.lock:
            subscription = _subscription(peer, "orders")
            subscription.settle(next(iter(subscription.locked)), "modified")
        feed.acknowledge(deliveries)

        assert drain(feed) == sent[:1]

    def test_comes_again_after_a_reconnect(self, broker: AzureServiceBus, peer: Peer) -> None:
        """The connection ends between fetch and acknowledgement."""
        (feed,) = broker.feeds("mailing", ["orders"])
        sent = published(broker, "orders", 3)
        deliveries = feed.fetch(3)
        peer.drop()
        with pytest.raises(BrokerDown):
            feed.acknowledge(deliveries)
        peer.expire()

        assert contents(deliveries) == sent
        assert [*soon(feed), *drain(feed)] == sent

    def test_is_down_while_connections_are_refused(self, broker: AzureServiceBus, peer: Peer) -> None:
        """And reads on when they are not."""
        (feed,) = broker.feeds("mailing", ["orders"])
        sent = published(broker, "orders", 1)
        peer.refuses = True
        peer.drop()
        for _ in range(2):
            with pytest.raises(BrokerDown):
                feed.fetch(1)
        peer.refuses = False
        peer.expire()

        assert soon(feed) == sent

    def test_does_not_wait_long_for_a_server_that_hangs(
        self, peer: Peer, opened: Callable[..., AzureServiceBus]
    ) -> None:
        """Neither with an acknowledgement, which the client library would wait a minute for, nor with a fetch."""
        peer.store.create("hanging", "mailing", lock_seconds=1)
        broker = opened(timeout=0.3)
        sent = published(broker, "hanging", 2)
        (feed,) = broker.feeds("mailing", ["hanging"])
        deliveries = feed.fetch(2)
        peer.hush()
        began = time.monotonic()

        for call in (lambda: feed.acknowledge(deliveries), lambda: feed.fetch(2)):
            with pytest.raises(BrokerDown):
                call()

        assert time.monotonic() - began < 20
        peer.speak()
        (last,) = published(broker, "hanging", 1)
        arrived = soon(feed)
        while last not in arrived:  # what was acknowledged may come again before it, or not
            arrived += soon(feed)
        assert contents(deliveries) == sent

    def test_does_not_wait_for_what_was_put_off(self, broker: AzureServiceBus, peer: Peer) -> None:
        """Gaps in the numbers are looked into once, and are no reason to wait if nothing is there."""
        (feed,) = broker.feeds("mailing", ["orders"])
        published(broker, "orders", 2)
        drain(feed)
        with peer.store.lock:
            _subscription(peer, "orders")._last += 5

        sent = published(broker, "orders", 2)

        assert drain(feed) == sent


class TestSessions:
    """Where a session is an order key, and who holds it holds all of its messages."""

    def test_brings_each_key_in_its_order(self, peer: Peer, opened: Callable[..., AzureServiceBus]) -> None:
        """One session after the other; what has no key has a session of its own."""
        peer.store.create("keyed", "mailing", sessions=True)
        broker = opened(sessions=True)
        sent = [envelope("keyed", key=key) for key in ("a", "b", "", "a", "b", "")]
        broker.publish(sent, deadline=DEADLINE)

        arrived = drain(broker.feeds("mailing", ["keyed"])[0])

        assert sorted(arrived, key=lambda one: one.key) == sorted(sent, key=lambda one: one.key)  # type: ignore[union-attr]

    def test_leaves_sessions_that_are_held_to_those_who_hold_them(
        self, peer: Peer, opened: Callable[..., AzureServiceBus]
    ) -> None:
        """Two fetchers have different keys; when one dies, its keys are free at once."""
        peer.store.create("parted", "mailing", sessions=True)
        dying, living = opened(sessions=True), opened(sessions=True)
        sent = [envelope("parted", key=key) for key in "aabb"]
        dying.publish(sent, deadline=DEADLINE)
        assert contents(dying.feeds("mailing", ["parted"])[0].fetch(10)) == sent[:2]
        (feed,) = living.feeds("mailing", ["parted"])

        theirs = drain(feed)
        dying.close()

        assert theirs == sent[2:]
        assert soon(feed) == sent[:2]

    def test_brings_again_what_was_not_acknowledged_in_a_session(
        self, peer: Peer, opened: Callable[..., AzureServiceBus]
    ) -> None:
        """First, and in its order; the lock of the session is renewed meanwhile."""
        peer.store.create("held", "mailing", sessions=True, lock_seconds=0.4)
        broker = opened(sessions=True)
        sent = published(broker, "held", 2)
        (feed,) = broker.feeds("mailing", ["held"])

        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert contents(feed.fetch(10)) == sent

        assert drain(feed) == sent

    def test_takes_a_session_anew_that_was_lost(self, peer: Peer, opened: Callable[..., AzureServiceBus]) -> None:
        """Its messages come again, first and in order."""
        peer.store.create("lost", "mailing", sessions=True)
        broker = opened(sessions=True)
        sent = published(broker, "lost", 3)
        (feed,) = broker.feeds("mailing", ["lost"])
        feed.fetch(2)
        peer.expire()

        with pytest.raises(BrokerDown):
            feed.acknowledge(feed.fetch(2))

        assert [*soon(feed), *drain(feed)] == sent

    def test_does_not_wait_for_a_session(self, peer: Peer, opened: Callable[..., AzureServiceBus]) -> None:
        """Where nothing is, a fetch returns nothing, soon."""
        peer.store.create("empty", "mailing", sessions=True)
        (feed,) = opened(sessions=True).feeds("mailing", ["empty"])
        began = time.monotonic()

        assert list(feed.fetch(10)) == []
        assert time.monotonic() - began < 5

    def test_gives_every_session_its_turn(self, peer: Peer, opened: Callable[..., AzureServiceBus]) -> None:
        """One that never gets empty does not keep others waiting for ever."""
        peer.store.create("turns", "mailing", sessions=True)
        broker = opened(sessions=True)
        busy, quiet = [envelope("turns", key="busy") for _ in range(30)], envelope("turns", key="quiet")
        broker.publish([*busy, quiet], deadline=DEADLINE)

        arrived = drain(broker.feeds("mailing", ["turns"])[0], 2)

        assert arrived.index(quiet) < 30
        assert [one for one in arrived if one != quiet] == busy


def _subscription(peer: Peer, topic: str) -> Subscription:
    return peer.store.topics[topic].subscriptions["mailing"]
