"""Redis Streams as a broker, on real servers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

redis = pytest.importorskip("redis", reason="redis-py is not installed: pip install 'simplecqrs[redis]'")

from simplecqrs.brokers.redis import RedisStreams  # noqa: E402
from simplecqrs.envelope import Envelope  # noqa: E402
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured  # noqa: E402
from simplecqrs.metadata import uuid7  # noqa: E402
from simplecqrs.transport import ACCEPTED, Garbage  # noqa: E402
from tests.contracts.broker import DEADLINE, BrokerContract, contents, drain, envelope, statuses  # noqa: E402
from tests.contracts.trimming import TrimmingContract  # noqa: E402
from tests.faultproxy import FaultProxy, fault_proxy  # noqa: E402
from tests.interrupting import Interrupted, interrupted_after  # noqa: E402
from tests.redis_server import RedisServer, redis_server  # noqa: E402

pytestmark = [pytest.mark.redis, pytest.mark.services]


class TestContract(BrokerContract, TrimmingContract):
    """It does what every adapter does."""

    rewinds = True
    marks = True
    rewinds_to_times = True

    @pytest.fixture
    def url(self) -> str:
        url = os.environ.get("CQRS_TEST_REDIS")
        if not url:
            pytest.skip("CQRS_TEST_REDIS names no Redis server, see scripts/services")
        return url

    @pytest.fixture
    def reopen(self, url: str) -> Iterator[Callable[[], RedisStreams]]:
        prefix, opened = f"test-{uuid7()}:", list[RedisStreams]()

        def reopen() -> RedisStreams:
            opened.append(RedisStreams(url, prefix=prefix))
            return opened[-1]

        yield reopen
        for broker in opened:
            broker.close()
        with redis.Redis.from_url(url) as client:
            client.delete(f"{prefix}nothing", *client.scan_iter(f"{prefix}*"))

    @pytest.fixture
    def broker(self, reopen: Callable[[], RedisStreams]) -> RedisStreams:
        return reopen()

    @pytest.fixture
    def unacceptable(self) -> Callable[[str, str], Envelope]:
        return lambda topic, key: envelope(topic, key=key, name="half of a pair: \ud83c")

    @pytest.fixture
    def litter(self, url: str, broker: RedisStreams) -> Callable[[str], None]:
        def litter(topic: str) -> None:
            with redis.Redis.from_url(url) as client:
                client.xadd(f"{broker.prefix}{topic}", {"hello": "world"})

        return litter


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


@pytest.fixture
def broker(server: RedisServer) -> Iterator[RedisStreams]:
    broker = RedisStreams(server.url)
    yield broker
    broker.close()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with fault_proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def distant(proxy: FaultProxy) -> Iterator[RedisStreams]:
    """Open a broker behind the proxy, with its connection made."""
    broker = RedisStreams(f"redis://127.0.0.1:{proxy.port}/0", timeout=2.0)
    broker.publish([envelope("warm-up")], deadline=DEADLINE)
    yield broker
    broker.close()


class TestWire:
    """What stands in a stream."""

    def test_writes_a_field_for_each_attribute_that_is_not_empty(
        self, broker: RedisStreams, client: redis.Redis
    ) -> None:
        """Others can read a stream by redis-cli; the topic is the stream's name."""
        sent = envelope("orders", key="7", headers={"user": "Zoë"}, payload=b"{}")

        broker.publish([sent], deadline=DEADLINE)

        ((_, fields),) = client.xrange("cqrs:orders")
        assert {name.decode(): value.decode() for name, value in fields.items()} == {
            "payload": "{}",
            "id": str(sent.id),
            "kind": "event",
            "name": "OrderPlaced",
            "version": "1",
            "time": sent.time.isoformat(),
            "content_type": "application/json",
            "key": "7",
            "headers": '{"user":"Zoë"}',
        }

    def test_reads_payloads_above_the_limit_as_garbage(self, server: RedisServer) -> None:
        """The beginning of the payload is kept, and the rest is not."""
        broker = RedisStreams(server.url, max_bytes=500)
        broker.publish([envelope("orders", payload=b"x" * 501), envelope("orders")], deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", ["orders"])
        garbage, after = contents(feed.fetch(10))
        broker.close()

        assert isinstance(garbage, Garbage)
        assert garbage.payload == b"x" * 500
        assert isinstance(after, Envelope)

    def test_sends_a_batch_of_one_topic_as_one_command(self, broker: RedisStreams, client: redis.Redis) -> None:
        """A thousand envelopes are one call of the script."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        client.config_resetstat()

        broker.publish([envelope("orders") for _ in range(1000)], deadline=DEADLINE)

        stats = client.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] == 1
        assert client.xlen("cqrs:orders") == 1001

    def test_works_with_options_in_the_url_that_would_change_the_client(self, server: RedisServer) -> None:
        """What the adapter relies on cannot be overridden by a URL."""
        broker = RedisStreams(f"{server.url}?decode_responses=true&protocol=3&retry_on_timeout=true&socket_timeout=99")
        sent = envelope("orders", payload=b"\xff")
        broker.publish([sent], deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", ["orders"])
        arrived = drain(feed)
        broker.close()

        assert arrived == [sent]


class TestRefusals:
    """What is wrong with one stream is told apart from what is wrong with the server."""

    def test_refuses_what_goes_to_a_key_that_is_no_stream(self, broker: RedisStreams, client: redis.Redis) -> None:
        """The receipt names the stream, other topics go on, and followers of a key are unknown."""
        client.set("cqrs:spoilt", "a string")
        sent = [envelope("spoilt", key="a"), envelope("orders"), envelope("spoilt", key="a"), envelope("spoilt")]

        receipts = broker.publish(sent, deadline=DEADLINE)

        assert statuses(receipts) == ["refused", "accepted", "unknown", "refused"]
        assert "cqrs:spoilt: WRONGTYPE" in receipts[0].reason

    def test_refuses_what_goes_to_a_stream_that_it_may_not_touch(
        self, server: RedisServer, client: redis.Redis
    ) -> None:
        """An access list that forbids a stream refuses its envelopes, and no others."""
        client.acl_setuser("shop", enabled=True, passwords=["+s3cret"], keys=["cqrs:orders"], categories=["+@all"])
        broker = RedisStreams(f"redis://shop:s3cret@127.0.0.1:{server.port}/0")
        sent = [envelope("secret", key="a"), envelope("secret", key="a"), envelope("orders")]

        receipts = broker.publish(sent, deadline=DEADLINE)
        broker.close()

        assert statuses(receipts) == ["refused", "unknown", "accepted"]

    @pytest.mark.parametrize("forbidden", ["-evalsha", "-xadd"])
    def test_is_down_for_a_user_who_may_not_publish_at_all(
        self, server: RedisServer, client: redis.Redis, forbidden: str
    ) -> None:
        """An access list that forbids the commands is the configuration's fault, not the envelopes'."""
        client.acl_setuser(
            "shop", enabled=True, passwords=["+s3cret"], keys=["*"], categories=["+@all"], commands=[forbidden]
        )
        broker = RedisStreams(f"redis://shop:s3cret@127.0.0.1:{server.port}/0")

        with pytest.raises(BrokerDown):
            broker.publish([envelope("orders")], deadline=DEADLINE)

    def test_is_down_where_the_server_runs_no_scripts(self, tmp_path: Path) -> None:
        """What the server says to the call as a whole is not held against the envelopes."""
        with redis_server(tmp_path, "--rename-command", "EVALSHA", "") as server:
            broker = RedisStreams(server.url)

            with pytest.raises(BrokerDown, match="EVALSHA"):
                broker.publish([envelope("orders")], deadline=DEADLINE)

    def test_is_down_while_the_server_is_out_of_memory(self, broker: RedisStreams, client: redis.Redis) -> None:
        """A full server refuses no envelope; when there is room again, all goes on."""
        client.config_set("maxmemory", "1")
        with pytest.raises(BrokerDown, match="OOM"):
            broker.publish([envelope("orders"), envelope("customers")], deadline=DEADLINE)
        client.config_set("maxmemory", "0")

        receipts = broker.publish([envelope("orders")], deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED]
        assert client.xlen("cqrs:orders") == 1
        assert client.exists("cqrs:customers") == 0

    def test_is_down_while_the_server_is_read_only(self, broker: RedisStreams, client: redis.Redis) -> None:
        """After a failover the old primary is a replica, which takes nothing."""
        client.replicaof("127.0.0.1", "1")

        with pytest.raises(BrokerDown, match="READONLY"):
            broker.publish([envelope("orders")], deadline=DEADLINE)

    def test_publishes_when_the_server_has_forgotten_the_script(
        self, broker: RedisStreams, client: redis.Redis
    ) -> None:
        """A restarted or flushed server is given the script again."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        client.script_flush()

        receipts = broker.publish([envelope("orders"), envelope("customers")], deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED, ACCEPTED]
        assert (client.xlen("cqrs:orders"), client.xlen("cqrs:customers")) == (2, 1)


class TestNetwork:
    """Connections that end, hang, or cannot be made."""

    def test_sends_nothing_twice_when_a_reply_is_lost(
        self, distant: RedisStreams, proxy: FaultProxy, client: redis.Redis
    ) -> None:
        """What may have been stored is not sent again behind the caller's back."""
        proxy.mode = "lose_one_reply"

        with pytest.raises(BrokerDown):
            distant.publish([envelope("orders")], deadline=DEADLINE)

        assert proxy.lost.is_set()
        assert client.xlen("cqrs:orders") == 1

    @pytest.mark.parametrize("deadline", [0.2, 0.5])
    def test_keeps_the_deadline_when_nothing_comes_back(self, proxy: FaultProxy, deadline: float) -> None:
        """On an open connection and on a new one, whatever the adapter's own timeout is."""
        with closing(RedisStreams(f"redis://127.0.0.1:{proxy.port}/0", timeout=20)) as patient:
            patient.ping(deadline=DEADLINE)
            proxy.mode = "blackhole"

            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(BrokerDown):
                    patient.publish([envelope("orders")], deadline=deadline)

                assert deadline * 0.9 <= time.monotonic() - began < deadline + 5

    def test_waits_as_long_as_its_timeout_again_after_a_short_deadline(self, proxy: FaultProxy) -> None:
        """A connection that was opened in a hurry does not make others hurry."""
        broker = RedisStreams(f"redis://127.0.0.1:{proxy.port}/0", timeout=0.5)
        broker.publish([envelope("orders")], deadline=0.1)
        (feed,) = broker.feeds("mailing", ["orders"])
        proxy.mode = "blackhole"
        began = time.monotonic()

        with pytest.raises(BrokerDown):
            feed.fetch(1)

        assert time.monotonic() - began > 0.4

    def test_connects_again_after_an_outage(
        self, distant: RedisStreams, proxy: FaultProxy, client: redis.Redis
    ) -> None:
        """One object serves as long as the process runs."""
        proxy.mode = "refuse"
        for _ in range(2):
            with pytest.raises(BrokerDown):
                distant.publish([envelope("orders")], deadline=DEADLINE)
        proxy.mode = "pass"

        receipts = distant.publish([envelope("orders")], deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED]
        assert client.xlen("cqrs:orders") >= 1

    def test_keeps_its_connection(self, distant: RedisStreams, proxy: FaultProxy) -> None:
        """Publishing, fetching and acknowledging share one, opened once."""
        before = proxy.connections

        distant.publish([envelope("orders")], deadline=DEADLINE)
        (feed,) = distant.feeds("mailing", ["orders"])
        drain(feed)
        distant.publish([envelope("orders")], deadline=DEADLINE - 1)

        assert proxy.connections == before == 1

    def test_does_not_take_a_late_reply_for_the_next_one(self, broker: RedisStreams, client: redis.Redis) -> None:
        """A call that is interrupted, as by a time limit of Celery, leaves no connection that lags behind."""
        client.set("cqrs:spoilt", "a string")
        broker.publish([envelope("orders")], deadline=DEADLINE)
        client.execute_command("CLIENT", "PAUSE", 400, "ALL")
        with pytest.raises(Interrupted), interrupted_after(0.1):
            broker.publish([envelope("orders")], deadline=DEADLINE)

        receipts = broker.publish([envelope("spoilt")], deadline=DEADLINE)

        assert statuses(receipts) == ["refused"]

    def test_opens_nothing_before_it_is_used(self, server: RedisServer, proxy: FaultProxy) -> None:
        """Constructing it makes no connection."""
        RedisStreams(f"redis://127.0.0.1:{proxy.port}/0")

        assert proxy.connections == 0

    def test_is_down_when_the_server_is_gone(self, server: RedisServer, broker: RedisStreams) -> None:
        """Every call says so, with the address and without a wait."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])
        deliveries = feed.fetch(1)
        server.kill()

        for call in (
            lambda: broker.publish([envelope("orders")], deadline=DEADLINE),
            lambda: broker.feeds("mailing", ["orders"]),
            lambda: feed.fetch(1),
            lambda: feed.acknowledge(deliveries),
            lambda: broker.promise,
        ):
            with pytest.raises(BrokerDown, match=f"127.0.0.1:{server.port}"):
                call()

    def test_keeps_parent_and_child_apart_after_a_fork(self, broker: RedisStreams, client: redis.Redis) -> None:
        """Both publish at the same time with one object, and neither reads the other's replies."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks while there are threads
            child = os.fork()
        if child == 0:
            os._exit(_published(broker, 100) != 100)

        ours = _published(broker, 100)

        assert ours == 100
        assert os.waitpid(child, 0)[1] == 0
        assert client.xlen("cqrs:orders") == 201


def _published(broker: RedisStreams, times: int) -> int:
    """Publish as often and return how many were accepted; raise nothing, as a forked child must not."""
    try:
        return sum(broker.publish([envelope("orders")], deadline=DEADLINE) == [ACCEPTED] for _ in range(times))
    except BrokerDown:
        return -1


class TestGroups:
    """Consumer groups, and what others do to them."""

    def test_makes_a_group_again_that_was_flushed_away(
        self, broker: RedisStreams, client: redis.Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It reads from the beginning, so nothing is skipped, and it sounds an alarm."""
        (feed,) = broker.feeds("mailing", ["orders"])
        client.flushall()
        sent = [envelope("orders"), envelope("orders")]
        broker.publish(sent, deadline=DEADLINE)

        with caplog.at_level(logging.ERROR, "simplecqrs"):
            arrived = drain(feed)

        assert arrived == sent
        assert "cqrs:orders: the group is gone" in caplog.text

    def test_makes_a_group_again_that_was_flushed_away_with_its_stream(
        self, broker: RedisStreams, client: redis.Redis
    ) -> None:
        """A feed whose stream is gone is empty, and works on when there is a stream again."""
        (feed,) = broker.feeds("mailing", ["orders"])
        client.flushall()

        nothing = feed.fetch(10)
        sent = envelope("orders")
        broker.publish([sent], deadline=DEADLINE)

        assert list(nothing) == []
        assert drain(feed) == [sent]

    def test_gives_up_entries_that_were_deleted_before_they_were_acknowledged(
        self, broker: RedisStreams, client: redis.Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        """They are acknowledged and reported as errors, and what is left comes in its order."""
        sent = [envelope("orders") for _ in range(3)]
        broker.publish(sent, deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])
        deliveries = feed.fetch(3)
        client.xdel("cqrs:orders", deliveries[1].id)

        with caplog.at_level(logging.ERROR, "simplecqrs"):
            again = feed.fetch(3)

        assert contents(again) == [sent[0], sent[2]]
        assert client.xpending("cqrs:orders", "mailing")["pending"] == 2
        assert "1 entries were deleted before mailing had stored them" in caplog.text
        assert deliveries[1].id in caplog.text

    def test_does_not_stop_at_a_batch_that_was_trimmed_away(self, broker: RedisStreams, client: redis.Redis) -> None:
        """An empty answer means that nothing is there, so it goes on to what is."""
        broker.publish([envelope("orders") for _ in range(5)], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])
        feed.fetch(2)
        client.xtrim("cqrs:orders", maxlen=0, approximate=False)
        sent = envelope("orders")
        broker.publish([sent], deadline=DEADLINE)

        assert contents(feed.fetch(2)) == [sent]

    def test_does_not_pile_up_pending_entries_while_nothing_is_acknowledged(
        self, broker: RedisStreams, client: redis.Redis
    ) -> None:
        """A consumer whose database is down asks again and again for the same."""
        broker.publish([envelope("orders") for _ in range(100)], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])

        for _ in range(20):
            feed.fetch(5)

        assert client.xpending("cqrs:orders", "mailing")["pending"] == 5

    def test_brings_first_what_another_fetcher_has_taken_meanwhile(self, broker: RedisStreams) -> None:
        """A fetcher that seemed dead and read once more cannot make its successor skip what it read."""
        (ours,) = broker.feeds("mailing", ["orders"])
        (zombie,) = broker.feeds("mailing", ["orders"])
        drain(ours)
        sent = [envelope("orders") for _ in range(4)]
        broker.publish(sent, deadline=DEADLINE)
        zombie.fetch(2)

        assert drain(ours, 2) == sent

    def test_never_trims_a_stream(self, broker: RedisStreams, client: redis.Redis) -> None:
        """What was acknowledged stays until somebody purges: other consumers may come."""
        broker.publish([envelope("orders") for _ in range(500)], deadline=DEADLINE)
        drain(broker.feeds("mailing", ["orders"])[0])

        assert client.xlen("cqrs:orders") == 500


class TestGaps:
    """What is missing is counted, and said."""

    def test_counts_what_was_trimmed_away_unread(
        self, broker: RedisStreams, client: redis.Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once, by whichever fetcher comes; what was trimmed after it was read is no loss."""
        broker.publish([envelope("orders") for _ in range(9)], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])
        feed.acknowledge(feed.fetch(4))
        client.xtrim("cqrs:orders", maxlen=6, approximate=False)
        (late,) = broker.feeds("mailing", ["orders"])
        late.fetch(1)
        none_yet = late.lost

        client.xtrim("cqrs:orders", maxlen=2, approximate=False)
        (next_one,) = broker.feeds("mailing", ["orders"])
        arrived = drain(next_one)
        (last,) = broker.feeds("mailing", ["orders"])
        drain(last)

        # One of the four was fetched, and not acknowledged.
        assert (none_yet, next_one.lost, last.lost, len(arrived)) == (0, 3, 0, 2)
        assert "2 entries were deleted before mailing had read them" in caplog.text

    def test_counts_what_was_trimmed_away_though_it_was_past_it_when_it_looked(
        self, broker: RedisStreams, client: redis.Redis
    ) -> None:
        """When all is read that there is, the server's counters still tell."""
        broker.publish([envelope("orders") for _ in range(9)], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])
        feed.acknowledge(feed.fetch(1))
        client.xtrim("cqrs:orders", maxlen=5, approximate=False)

        drain(feed)
        (late,) = broker.feeds("mailing", ["orders"])
        late.fetch(1)

        assert (feed.lost, late.lost) == (0, 3)

    @pytest.mark.parametrize("more", [0, 3])
    def test_notices_a_server_that_was_restored_from_an_earlier_copy(
        self, broker: RedisStreams, client: redis.Redis, caplog: pytest.LogCaptureFixture, more: int
    ) -> None:
        """Also where more has come since, and where another process had been there before."""
        broker.publish([envelope("orders") for _ in range(3)], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])
        feed.acknowledge(feed.fetch(3))
        copy = client.dump("cqrs:orders")
        broker.publish([envelope("orders") for _ in range(2)], deadline=DEADLINE)
        drain(feed)
        let_a_millisecond_pass(client)
        client.restore("cqrs:orders", 0, copy, replace=True)  # type: ignore[arg-type]
        broker.publish([envelope("orders") for _ in range(more)], deadline=DEADLINE)

        (successor,) = broker.feeds("mailing", ["orders"])
        successor.compare(feed.mark)
        arrived = drain(successor)
        again = successor.mark

        assert (successor.lost, len(arrived)) == (1, more)
        assert "the server is as it was before" in caplog.text
        assert again < feed.mark or more

    def test_notices_a_server_that_was_emptied_while_nobody_was_there(
        self, broker: RedisStreams, client: redis.Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        """By the mark that somebody has kept; a consumer that is new has none, and loses nothing."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])
        drain(feed)
        client.flushall()
        broker.publish([envelope("orders")], deadline=DEADLINE)

        (successor,), (newcomer,) = broker.feeds("mailing", ["orders"]), broker.feeds("newcomer", ["orders"])
        successor.compare(feed.mark)
        newcomer.compare("")

        assert (len(drain(successor)), successor.lost) == (1, 1)
        assert (len(drain(newcomer)), newcomer.lost) == (1, 0)
        assert "the group is gone" in caplog.text

    def test_takes_no_rewinding_and_no_purge_for_a_loss(self, broker: RedisStreams, client: redis.Redis) -> None:
        """Nor that an operator deletes the last entry."""
        broker.publish([envelope("orders") for _ in range(6)], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])
        drain(feed)
        client.xtrim("cqrs:orders", minid=feed.mark, approximate=False)
        feed.rewind(None)
        (first,) = broker.feeds("mailing", ["orders"])
        first.compare(feed.mark)
        drain(first)
        client.xdel("cqrs:orders", feed.mark)
        broker.publish([envelope("orders")], deadline=DEADLINE)

        (last,) = broker.feeds("mailing", ["orders"])
        last.compare(feed.mark)
        drain(last)

        assert (first.lost, last.lost) == (0, 0)

    def test_works_for_who_may_not_look(self, server: RedisServer, client: redis.Redis) -> None:
        """Then nothing is counted, and all goes on."""
        client.execute_command("ACL", "SETUSER", "poor", "on", ">secret", "~*", "+@all", "-xinfo")
        broker = RedisStreams(server.url.replace("redis://", "redis://poor:secret@"))
        sent = envelope("orders")
        broker.publish([sent], deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", ["orders"])
        arrived = drain(feed)
        broker.close()

        assert (arrived, feed.lost) == ([sent], 0)


class TestPromise:
    """What an acknowledgement is worth, as the server says."""

    @pytest.mark.parametrize(
        ("settings", "promise", "detail"),
        [
            pytest.param({}, "memory", "appendonly no", id="no file"),
            pytest.param({"appendonly": "yes", "appendfsync": "always"}, "stored", "appendfsync always", id="always"),
            pytest.param({"appendonly": "yes", "appendfsync": "everysec"}, "stored", "everysec", id="each second"),
            pytest.param({"appendonly": "yes", "appendfsync": "no"}, "memory", "appendfsync no", id="some time"),
            pytest.param(
                {"appendonly": "yes", "maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"},
                "memory",
                "allkeys-lru",
                id="a cache",
            ),
        ],
    )
    def test_reads_the_promise_from_the_server(
        self, broker: RedisStreams, client: redis.Redis, settings: dict[str, str], promise: str, detail: str
    ) -> None:
        """It is stored only where the server writes every change to a file, and drops nothing."""
        for name, value in settings.items():
            client.config_set(name, value)

        assert broker.promise == promise
        assert detail in broker.promise_detail

    def test_promises_little_where_the_configuration_is_not_shown(self, tmp_path: Path) -> None:
        """Hosted servers often deny CONFIG; then it says that it does not know."""
        with redis_server(tmp_path, "--rename-command", "CONFIG", "") as server:
            broker = RedisStreams(server.url)

            assert broker.promise == "memory"
            assert "not known" in broker.promise_detail
            broker.close()


class TestSecrets:
    """A password stands in a URL, and nowhere else."""

    @pytest.mark.parametrize(
        "url", ["redis://:s3cret@{host}/0", "redis://shop:s3cret@{host}/0", "redis://{host}/0?password=s3cret"]
    )
    def test_shows_no_password(self, tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str) -> None:
        """Neither in its repr, nor in an error, nor in a log line, at whatever level."""
        with redis_server(tmp_path, "--requirepass", "right", password="right") as server:
            broker = RedisStreams(url.format(host=f"127.0.0.1:{server.port}"))

            with caplog.at_level(logging.DEBUG), pytest.raises(BrokerDown) as caught:
                broker.publish([envelope("orders")], deadline=DEADLINE)

        chain = [caught.value, caught.value.__cause__, caught.value.__context__]
        assert "s3cret" not in f"{broker!r} {chain} {caplog.text}"
        assert f"127.0.0.1:{server.port}" in str(caught.value)

    @pytest.mark.parametrize("url", ["redis://:s3/cret@localhost:6379/0", "http://:s3/cret@localhost/0"])
    def test_shows_no_password_of_a_url_that_cannot_be_read(self, url: str) -> None:
        """A password with a slash makes a URL of another shape; the error tells the cure only."""
        with pytest.raises(NotConfigured, match="percent-encoded") as caught:
            RedisStreams(url)

        assert "s3" not in str(caught.value)
        assert caught.value.__cause__ is None


def let_a_millisecond_pass(client: redis.Redis) -> None:
    """Wait until the server gives no id again that it has given."""
    seconds, microseconds = client.time()  # type: ignore[misc]
    while client.time() <= (seconds, microseconds + 1_000):  # type: ignore[operator]
        continue


class TestImport:
    """redis-py is optional."""

    def test_imports_redis_only_when_it_is_used(self) -> None:
        """Importing the adapter imports no client library."""
        program = "import sys, simplecqrs.brokers.redis; sys.exit('redis' in sys.modules)"

        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

    def test_names_the_extra_when_redis_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Constructing the adapter fails, and says what to install."""
        monkeypatch.setitem(sys.modules, "redis", None)

        with pytest.raises(MissingExtra, match=r"simplecqrs\[redis\]"):
            RedisStreams("redis://localhost/0")


def test_a_ping_tells_a_server_that_is_gone() -> None:
    """Nothing listens there."""
    with pytest.raises(BrokerDown):
        RedisStreams("redis://127.0.0.1:1/0").ping(deadline=1)
