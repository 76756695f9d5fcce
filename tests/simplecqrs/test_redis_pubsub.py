"""Redis Pub/Sub as a broker, on real servers: what arrives, and what does not."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

redis = pytest.importorskip("redis", reason="redis-py is not installed: pip install 'simplecqrs[redis]'")

from simplecqrs.brokers.redis_pubsub import RedisPubSub  # noqa: E402
from simplecqrs.counts import Counts  # noqa: E402
from simplecqrs.envelope import Envelope  # noqa: E402
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured  # noqa: E402
from simplecqrs.fetcher import Fetcher  # noqa: E402
from simplecqrs.memory_queue import MemoryQueue  # noqa: E402
from simplecqrs.metadata import uuid7  # noqa: E402
from simplecqrs.relay import Relay  # noqa: E402
from simplecqrs.transport import ACCEPTED, Feed, Garbage  # noqa: E402
from tests.contracts.broker import DEADLINE, BrokerContract, contents, drain, envelope, statuses  # noqa: E402
from tests.faultproxy import FaultProxy, fault_proxy  # noqa: E402
from tests.redis_server import RedisServer, redis_server  # noqa: E402

pytestmark = [pytest.mark.redis, pytest.mark.services]


class TestContract(BrokerContract):
    """It does what every adapter does for those who listen."""

    keeps = redelivers = False

    @pytest.fixture
    def url(self) -> str:
        url = os.environ.get("CQRS_TEST_REDIS")
        if not url:
            pytest.skip("CQRS_TEST_REDIS names no Redis server, see scripts/services")
        return url

    @pytest.fixture
    def reopen(self, url: str) -> Iterator[Callable[[], RedisPubSub]]:
        prefix, opened = f"test-{uuid7()}:", list[RedisPubSub]()

        def reopen() -> RedisPubSub:
            opened.append(RedisPubSub(url, prefix=prefix))
            return opened[-1]

        yield reopen
        for broker in opened:
            broker.close()

    @pytest.fixture
    def broker(self, topic: str, reopen: Callable[[], RedisPubSub]) -> RedisPubSub:
        """Listen before anything is published, as a consumer that runs."""
        broker = reopen()
        broker.feeds("mailing", [topic, f"{topic}-0", f"{topic}-1"])
        return broker

    @pytest.fixture
    def unacceptable(self) -> Callable[[str, str], Envelope]:
        return lambda topic, key: envelope(topic, key=key, name="half of a pair: \ud83c")

    @pytest.fixture
    def litter(self, url: str, broker: RedisPubSub) -> Callable[[str], None]:
        def litter(topic: str) -> None:
            with redis.Redis.from_url(url) as client:
                client.publish(f"{broker.prefix}{topic}", b"hello")

        return litter


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def broker(server: RedisServer) -> Iterator[RedisPubSub]:
    broker = RedisPubSub(server.url)
    yield broker
    broker.close()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with fault_proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def distant(proxy: FaultProxy) -> Iterator[RedisPubSub]:
    """Open a broker behind the proxy."""
    broker = RedisPubSub(f"redis://127.0.0.1:{proxy.port}/0", timeout=1.0)
    yield broker
    broker.close()


class TestWire:
    """What others hear."""

    def test_publishes_one_document_on_the_channel_of_the_topic(self, broker: RedisPubSub, server: RedisServer) -> None:
        """The channel is prefix and topic: no id is in it, so that one can subscribe to it."""
        with server.client() as client:
            listening = client.pubsub(ignore_subscribe_messages=True)
            listening.subscribe("cqrs:orders")
            listening.get_message(timeout=1)
            sent = envelope("orders", key="7")

            broker.publish([sent], deadline=DEADLINE)

            heard = listening.get_message(timeout=1)
            listening.close()
        assert heard is not None
        assert (heard["channel"], b'"id":"' + str(sent.id).encode() in heard["data"]) == (b"cqrs:orders", True)

    def test_sends_a_batch_in_one_go(self, distant: RedisPubSub, proxy: FaultProxy) -> None:
        """A thousand envelopes are one round trip on one connection."""
        distant.publish([envelope("orders")], deadline=DEADLINE)

        receipts = distant.publish([envelope("orders") for _ in range(1000)], deadline=DEADLINE)

        assert set(receipts) == {ACCEPTED}
        assert proxy.connections == 1

    def test_refuses_what_goes_to_a_channel_that_it_may_not_use(self, server: RedisServer) -> None:
        """An access list that forbids a channel refuses its envelopes, and no others."""
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "shop", "on", ">s3cret", "resetchannels", "&cqrs:orders", "+@all")
        broker = RedisPubSub(f"redis://shop:s3cret@127.0.0.1:{server.port}/0")

        receipts = broker.publish(
            [envelope("secret", key="a"), envelope("secret", key="a"), envelope("orders")], deadline=DEADLINE
        )
        broker.close()

        assert statuses(receipts) == ["refused", "unknown", "accepted"]
        assert "cqrs:secret" in receipts[0].reason

    def test_takes_no_format_that_needs_attributes(self) -> None:
        """A channel has no place for them."""
        with pytest.raises(NotConfigured, match="cloudevents-structured"):
            RedisPubSub("redis://localhost/0", format="cloudevents")


class TestLosses:
    """Nobody keeps anything: what is lost is counted where it can be known."""

    def test_counts_what_nobody_hears(self, broker: RedisPubSub) -> None:
        """It is accepted all the same: nothing would be gained by sending it again."""
        broker.publish([envelope("orders") for _ in range(3)], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])
        sent = [envelope("orders") for _ in range(2)]

        receipts = broker.publish(sent, deadline=DEADLINE)

        assert broker.unclaimed == 3
        assert list(receipts) == [ACCEPTED, ACCEPTED]
        assert drain(feed) == sent

    def test_shows_what_nobody_hears_at_the_relay(self, broker: RedisPubSub) -> None:
        """Its count is among those that a relay shows."""
        broker.publish([envelope("orders")], deadline=DEADLINE)

        relay = Relay(queue="events", storage=MemoryQueue("outbox"), publisher=broker)

        assert relay.asides["events that nobody subscribed to"] == 1

    def test_loses_what_is_published_while_the_connection_is_cut(
        self,
        server: RedisServer,
        broker: RedisPubSub,
        distant: RedisPubSub,
        proxy: FaultProxy,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Of 30 events the middle ten are lost: the gap is counted, said, and what comes after it arrives."""
        (feed,) = distant.feeds("mailing", ["orders"])
        fetcher = Fetcher(consumer="mailing", inbox=MemoryQueue("inbox"), feeds=[feed], counts=Counts())
        sent = [envelope("orders", key="a") for _ in range(30)]
        broker.publish(sent[:10], deadline=DEADLINE)
        before = _heard(feed, 10)
        proxy.cut()
        _wait_until_deaf(server, "cqrs:orders")

        broker.publish(sent[10:20], deadline=DEADLINE)
        with caplog.at_level(logging.WARNING, "simplecqrs"), pytest.raises(BrokerDown):
            drain(feed)
        assert list(feed.fetch(10)) == []
        broker.publish(sent[20:], deadline=DEADLINE)

        assert (before, _heard(feed, 10)) == (sent[:10], sent[20:])
        assert broker.unclaimed == 10
        assert "the connection is lost" in caplog.text
        assert fetcher.asides["times that something may have been lost"] == 1

    def test_loses_what_a_process_held_when_it_died(self, server: RedisServer) -> None:
        """What was fetched and not stored comes again to nobody else."""
        dying, successor = RedisPubSub(server.url), RedisPubSub(server.url)
        (feed,) = dying.feeds("mailing", ["orders"])
        dying.publish([envelope("orders")], deadline=DEADLINE)
        assert len(feed.fetch(1)) == 1
        dying.close()

        (theirs,) = successor.feeds("mailing", ["orders"])

        assert drain(theirs) == []
        successor.close()

    def test_brings_again_what_was_not_acknowledged_in_the_same_process(self, broker: RedisPubSub) -> None:
        """A database that is down for a moment loses nothing, nor does a connection that is cut meanwhile."""
        (feed,) = broker.feeds("mailing", ["orders"])
        sent = [envelope("orders") for _ in range(3)]
        broker.publish(sent, deadline=DEADLINE)
        assert contents(feed.fetch(2)) == sent[:2]
        broker.close()

        assert contents(feed.fetch(3)) == sent[:2]

    def test_stays_subscribed_when_it_is_asked_for_again(self, broker: RedisPubSub) -> None:
        """A feed of the same consumer is the same one, which goes on listening."""
        (feed,) = broker.feeds("mailing", ["orders"])
        broker.publish([envelope("orders")], deadline=DEADLINE)

        (again,) = broker.feeds("mailing", ["orders"])

        assert again is feed
        assert len(drain(again)) == 1


def _heard(feed: Feed, number: int) -> list[Envelope | Garbage]:
    """Drain a feed until so many have come."""
    heard, until = drain(feed), time.monotonic() + 5
    while len(heard) < number and time.monotonic() < until:
        heard += drain(feed)
    return heard


def _wait_until_deaf(server: RedisServer, channel: str) -> None:
    """Wait until the server knows of no subscriber."""
    with server.client() as client:
        while dict(client.pubsub_numsub(channel))[channel.encode()]:
            time.sleep(0.001)


class TestNetwork:
    """Connections that end, hang, or cannot be made."""

    def test_notices_a_server_that_is_silent_for_too_long(
        self, distant: RedisPubSub, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A connection that leads nowhere says nothing, so it is asked."""
        monkeypatch.setattr("simplecqrs.brokers.redis_subscription.SILENCE", 0.1)
        (feed,) = distant.feeds("mailing", ["orders"])
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            assert list(feed.fetch(1)) == []  # it answers
        proxy.mode = "blackhole"
        began = time.monotonic()

        with pytest.raises(BrokerDown, match="no answer to PING"):
            while time.monotonic() < began + 20:
                feed.fetch(1)

        assert time.monotonic() - began < 5  # after which it asks else

    @pytest.mark.parametrize("deadline", [0.1, 0.3])
    def test_keeps_the_deadline_when_nothing_comes_back(self, proxy: FaultProxy, deadline: float) -> None:
        """A publisher does not wait for longer, whatever the adapter's own timeout is."""
        with closing(RedisPubSub(f"redis://127.0.0.1:{proxy.port}/0", timeout=20)) as patient:
            patient.publish([envelope("orders")], deadline=DEADLINE)
            proxy.mode = "blackhole"
            began = time.monotonic()

            with pytest.raises(BrokerDown):
                patient.publish([envelope("orders")], deadline=deadline)

        assert time.monotonic() - began < deadline + 5

    def test_is_down_while_the_server_is_stopped(self, broker: RedisPubSub, server: RedisServer) -> None:
        """And works on when it goes on."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        server.process.send_signal(signal.SIGSTOP)
        os.waitpid(server.process.pid, os.WUNTRACED)  # returns when it has stopped
        try:
            for call in (
                lambda: broker.publish([envelope("orders")], deadline=0.2),
                lambda: broker.ping(deadline=0.2),
            ):
                with pytest.raises(BrokerDown, match=f"127.0.0.1:{server.port}"):
                    call()
        finally:
            server.process.send_signal(signal.SIGCONT)

        assert list(broker.publish([envelope("orders")], deadline=DEADLINE)) == [ACCEPTED]

    def test_is_down_when_the_server_is_gone(self, broker: RedisPubSub, server: RedisServer) -> None:
        """Every call says so, but the acknowledgement, which is nobody's matter but ours."""
        (feed,) = broker.feeds("mailing", ["orders"])
        broker.publish([envelope("orders")], deadline=DEADLINE)
        deliveries = feed.fetch(1)
        server.kill()

        for call in (
            lambda: broker.publish([envelope("orders")], deadline=DEADLINE),
            lambda: broker.feeds("billing", ["orders"]),
            lambda: feed.fetch(2),
            lambda: feed.fetch(2),
        ):
            with pytest.raises(BrokerDown, match=f"127.0.0.1:{server.port}"):
                call()
        feed.acknowledge(deliveries)

    def test_keeps_parent_and_child_apart_after_a_fork(self, broker: RedisPubSub) -> None:
        """Neither hears what is meant for the other: each listens by a connection of its own."""
        (feed,) = broker.feeds("mailing", ["orders"])
        broker.publish([envelope("orders")], deadline=DEADLINE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks while there are threads
            child = os.fork()
        if child == 0:
            feed.fetch(1)
            os._exit(len(_publish(broker, 50)) != 50)
        sent = _publish(broker, 50)

        assert os.waitpid(child, 0)[1] == 0
        arrived = _heard(feed, 101)
        assert len(arrived) == 101
        assert [one for one in arrived if one in sent] == sent


def _publish(broker: RedisPubSub, times: int) -> list[Envelope]:
    sent = [envelope("orders") for _ in range(times)]
    return [one for one in sent if broker.publish([one], deadline=DEADLINE) == [ACCEPTED]]


class TestSettings:
    """What it is made with."""

    def test_shows_no_password(self, server: RedisServer) -> None:
        """Neither in its repr nor in an error."""
        broker = RedisPubSub(f"redis://shop:s3cret@127.0.0.1:{server.port}/0")

        with pytest.raises(BrokerDown) as caught:
            broker.publish([envelope("orders")], deadline=DEADLINE)

        assert "s3cret" not in f"{broker!r} {caught.value} {caught.value.__cause__}"

    def test_promises_nothing(self, broker: RedisPubSub) -> None:
        """So does ``cqrs_status`` say."""
        assert broker.promise == "none"
        assert "nobody keeps" in broker.promise_detail

    def test_names_the_extra_when_redis_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Constructing the adapter fails, and says what to install."""
        monkeypatch.setitem(sys.modules, "redis", None)

        with pytest.raises(MissingExtra, match=r"RedisPubSub.*simplecqrs\[redis\]"):
            RedisPubSub("redis://localhost/0")
