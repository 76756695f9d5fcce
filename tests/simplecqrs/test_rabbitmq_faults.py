"""RabbitMQ as a broker when servers, networks and users are not as they should be."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

amqp = pytest.importorskip("amqp", reason="py-amqp is not installed: pip install 'simplecqrs[rabbitmq]'")

from simplecqrs.brokers.rabbitmq import RabbitMQ  # noqa: E402
from simplecqrs.brokers.rabbitmq_feed import RabbitFeed  # noqa: E402
from simplecqrs.errors import BrokerDown  # noqa: E402
from simplecqrs.transport import ACCEPTED  # noqa: E402
from tests.contracts.broker import DEADLINE, contents, drain, envelope, statuses  # noqa: E402
from tests.faultproxy import FaultProxy, fault_proxy  # noqa: E402
from tests.interrupting import Interrupted, interrupted_after  # noqa: E402
from tests.rabbitmq_server import RabbitServer  # noqa: E402
from tests.simplecqrs.rabbitmq_corner import Open, soon  # noqa: E402

pytestmark = [pytest.mark.rabbitmq, pytest.mark.services]


@pytest.fixture
def broker(open_broker: Open) -> RabbitMQ:
    """Open a broker, with a queue for orders."""
    broker = open_broker()
    broker.feeds("mailing", ["orders"])
    return broker


@pytest.fixture
def feed(broker: RabbitMQ) -> RabbitFeed:
    return broker.feeds("mailing", ["orders"])[0]


@pytest.fixture
def proxy(rabbitmq: RabbitServer) -> Iterator[FaultProxy]:
    with fault_proxy("127.0.0.1", rabbitmq.port) as proxy:
        yield proxy


@pytest.fixture
def distant(proxy: FaultProxy, open_broker: Open, broker: RabbitMQ) -> RabbitMQ:
    """Open a broker behind the proxy, with its connections made; of itself it waits longer than any test."""
    distant = open_broker(url=f"amqp://127.0.0.1:{proxy.port}", timeout=20)
    distant.feeds("mailing", ["orders"])
    distant.ping(deadline=DEADLINE)
    return distant


def orders(number: int, **attributes: Any) -> list[Any]:
    """Make events that all go into the queue of orders."""
    return [envelope("orders", **attributes) for _ in range(number)]


class TestNetwork:
    """Connections that end, hang, or cannot be made."""

    def test_sends_nothing_twice_when_a_confirmation_is_lost(
        self, distant: RabbitMQ, proxy: FaultProxy, feed: RabbitFeed
    ) -> None:
        """What may have been stored is not sent again behind the caller's back."""
        sent = orders(1)
        proxy.mode = "lose_one_reply"

        with pytest.raises(BrokerDown):
            distant.publish(sent, deadline=DEADLINE)

        assert proxy.lost.is_set()
        assert drain(feed) == sent

    @pytest.mark.parametrize("deadline", [0.2, 0.5])
    def test_keeps_the_deadline_when_nothing_comes_back(
        self, distant: RabbitMQ, proxy: FaultProxy, deadline: float
    ) -> None:
        """On an open connection and on a new one, whatever the adapter's own timeout is."""
        proxy.mode = "blackhole"

        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(BrokerDown):
                distant.publish(orders(1), deadline=deadline)

            assert deadline * 0.9 <= time.monotonic() - began < deadline + 5
        proxy.mode = "refuse"  # or a farewell would wait as well

    def test_connects_again_after_an_outage(self, distant: RabbitMQ, proxy: FaultProxy, feed: RabbitFeed) -> None:
        """One object serves as long as the process runs."""
        (theirs,) = distant.feeds("mailing", ["orders"])
        proxy.mode = "refuse"
        for _ in range(2):
            with pytest.raises(BrokerDown):
                distant.publish(orders(1), deadline=DEADLINE)
            with pytest.raises(BrokerDown):
                theirs.fetch(1)
        proxy.mode = "pass"
        sent = orders(2)

        receipts = distant.publish(sent, deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED] * 2
        assert drain(theirs)[-2:] == sent

    def test_keeps_its_connections(self, distant: RabbitMQ, proxy: FaultProxy) -> None:
        """One for what is published and one for what is fetched, opened once."""
        before = proxy.connections

        for _ in range(3):
            distant.publish(orders(2), deadline=DEADLINE)
            drain(distant.feeds("mailing", ["orders"])[0])

        assert proxy.connections == before == 2

    def test_opens_nothing_before_it_is_used(self, proxy: FaultProxy) -> None:
        """Constructing it makes no connection."""
        RabbitMQ(f"amqp://127.0.0.1:{proxy.port}")

        assert proxy.connections == 0

    def test_does_not_take_a_late_answer_for_the_next_one(self, broker: RabbitMQ, rabbitmq: RabbitServer) -> None:
        """A call that is interrupted, as by a time limit of Celery, leaves no connection that lags behind."""
        broker.publish(orders(1), deadline=DEADLINE)
        rabbitmq.do("pause")
        try:
            with pytest.raises(Interrupted), interrupted_after(0.1):
                broker.publish(orders(1), deadline=DEADLINE)
        finally:
            rabbitmq.do("resume")

        receipts = broker.publish([envelope("nobody")], deadline=DEADLINE)

        assert statuses(receipts) == ["refused"]

    def test_brings_again_what_was_fetched_over_a_connection_that_broke(
        self, distant: RabbitMQ, proxy: FaultProxy
    ) -> None:
        """In its order, and before what is new; an acknowledgement that comes too late does no harm."""
        (feed,) = distant.feeds("mailing", ["orders"])
        sent = orders(4, key="a")
        distant.publish(sent, deadline=DEADLINE)
        deliveries = feed.fetch(2)
        proxy.cut()
        with suppress(BrokerDown):  # who writes first into a connection that has ended may not be told
            feed.acknowledge(deliveries[:1])

        again = soon(feed, 3)
        feed.acknowledge(deliveries)

        assert contents(again) == sent[:3]
        assert list(feed.fetch(3)) == list(again)

    def test_keeps_parent_and_child_apart_after_a_fork(self, broker: RabbitMQ, feed: RabbitFeed) -> None:
        """Both publish at the same time with one object, and neither reads the other's answers."""
        broker.publish(orders(1), deadline=DEADLINE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks while there are threads
            child = os.fork()
        if child == 0:
            os._exit(_published(broker, 100) != 100)

        ours = _published(broker, 100)

        assert ours == 100
        assert os.waitpid(child, 0)[1] == 0
        assert len(drain(feed, 500)) == 201

    def test_speaks_tls(self, open_broker: Open, rabbitmq: RabbitServer) -> None:
        """The server's certificate is checked against the file of whoever signed it; nobody else's will do."""
        url = f"amqps://guest:guest@127.0.0.1:{rabbitmq.tls_port}"
        broker = open_broker(url=url, ca_file=str(rabbitmq.ca_file))
        (feed,) = broker.feeds("mailing", ["orders"])
        sent = [*orders(30), *orders(1, payload=b"x" * 500_000)]

        receipts = broker.publish(sent, deadline=DEADLINE)
        with pytest.raises(BrokerDown, match="CERTIFICATE_VERIFY_FAILED"):
            open_broker(url=url).ping(deadline=DEADLINE)

        assert set(receipts) == {ACCEPTED}
        assert drain(feed, 7) == sent


def _published(broker: RabbitMQ, times: int) -> int:
    """Publish as often and return how many were accepted; raise nothing, as a forked child must not."""
    try:
        return sum(broker.publish(orders(1), deadline=DEADLINE) == [ACCEPTED] for _ in range(times))
    except BrokerDown:
        return -1


class TestServer:
    """Servers that die, hang, or are full."""

    def test_keeps_what_was_confirmed_when_the_server_is_killed(
        self, broker: RabbitMQ, feed: RabbitFeed, rabbitmq: RabbitServer
    ) -> None:
        """Every call says that it is gone, with the address and without a wait; when it is back, all goes on."""
        sent = orders(20, key="a")
        broker.publish(sent[:10], deadline=DEADLINE)
        deliveries = feed.fetch(5)
        threading.Event().wait(1)  # RabbitMQ 3.10 takes that long to write down the name of a new quorum queue
        rabbitmq.do("kill")
        try:
            for call in (
                lambda: broker.publish(sent[10:], deadline=DEADLINE),
                lambda: broker.ping(deadline=DEADLINE),
                lambda: broker.feeds("billing", ["orders"]),
                lambda: feed.fetch(1),
                lambda: feed.acknowledge(deliveries),
                lambda: broker.promise,
            ):
                began = time.monotonic()
                with pytest.raises(BrokerDown, match=f"127.0.0.1:{rabbitmq.port}"):
                    call()
                assert time.monotonic() - began < 2  # its timeout
        finally:
            rabbitmq.do("start")

        receipts = broker.publish(sent[10:], deadline=DEADLINE)

        assert set(receipts) == {ACCEPTED}
        assert [*contents(first := soon(feed, 20)), *_rest(feed, first)] == sent

    def test_does_not_wait_for_a_server_that_hangs(
        self, broker: RabbitMQ, feed: RabbitFeed, rabbitmq: RabbitServer
    ) -> None:
        """It waits as long as it was told to; afterwards all goes on, perhaps with something twice."""
        broker.publish(orders(1), deadline=DEADLINE)
        sent = orders(3, key="a")
        rabbitmq.do("pause")
        try:
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(BrokerDown):
                    broker.publish(sent, deadline=0.3)
                assert time.monotonic() - began < 2  # the adapter's own timeout
        finally:
            rabbitmq.do("resume")

        receipts = broker.publish(sent, deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED] * 3
        ids = [one.id for one in drain(feed)[1:]]  # type: ignore[union-attr]
        assert list(dict.fromkeys(ids)) == [one.id for one in sent]

    def test_is_down_while_the_server_has_an_alarm(
        self, broker: RabbitMQ, feed: RabbitFeed, rabbitmq: RabbitServer, proxy: FaultProxy, open_broker: Open
    ) -> None:
        """A full server refuses no event.  It says so at once, keeps the connection, and can be read from."""
        distant = open_broker(url=f"amqp://127.0.0.1:{proxy.port}")
        sent = orders(2)
        distant.publish(sent[:1], deadline=DEADLINE)
        rabbitmq.control("eval", "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).")
        try:
            for _ in range(5):
                began = time.monotonic()
                with pytest.raises(BrokerDown, match="alarm for memory or disk"):
                    distant.publish(sent[1:], deadline=DEADLINE)
                with pytest.raises(BrokerDown, match="alarm for memory or disk"):
                    distant.ping(deadline=DEADLINE)
                assert time.monotonic() - began < DEADLINE
            came = drain(feed)
        finally:
            rabbitmq.control("eval", "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).")

        receipts = _until_it_is_up(distant, sent[1:])

        assert came == sent[:1]
        assert receipts == [ACCEPTED]
        assert proxy.connections == 1
        assert {one.id for one in drain(feed)} == {sent[1].id}  # type: ignore[union-attr]

    def test_an_idle_publisher_that_was_cut_off_loses_no_receipt(
        self, broker: RabbitMQ, feed: RabbitFeed, rabbitmq: RabbitServer
    ) -> None:
        """It looks before it sends, and opens a new connection."""
        broker.publish(orders(1), deadline=DEADLINE)
        rabbitmq.control("close_all_connections", "maintenance")

        receipts = broker.publish(orders(1), deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED]
        assert len(drain(feed)) == 2

    def test_shares_a_virtual_host_with_celery(self, rabbitmq: RabbitServer, corner: str) -> None:
        """Celery makes an exchange of its own kind for each queue, and on our pages its queue is called cqrs."""
        celery = pytest.importorskip("celery", reason="Celery is not installed: pip install 'simplecqrs[celery]'")
        ours, sent = RabbitMQ(rabbitmq.url, prefix=corner), orders(1)  # with the exchange that it has by default
        with celery.Celery("shop", broker=rabbitmq.url, set_as_current=False) as app, closing(ours):
            app.send_task("django_cqrs.consume", queue="cqrs")
            (feed,) = ours.feeds("mailing", ["orders"])

            receipts = ours.publish(sent, deadline=DEADLINE)

            assert list(receipts) == [ACCEPTED]
            assert drain(feed) == sent
            with app.connection() as connection:
                assert connection.default_channel.queue_purge("cqrs") == 1

    def test_a_silent_fetcher_loses_its_place(self, open_broker: Open, feed: RabbitFeed, broker: RabbitMQ) -> None:
        """Whoever says nothing for twice the heartbeat is taken for dead; one who goes on fetching is not."""
        sent = orders(3, key="a")
        broker.publish(sent, deadline=DEADLINE)
        silent = open_broker(heartbeat=1).feeds("mailing", ["orders"])[0]
        held = silent.fetch(1)
        until = time.monotonic() + 2.5
        while time.monotonic() < until:  # its database may be down
            assert list(silent.fetch(1)) == list(held)
            assert list(feed.fetch(1)) == []
            threading.Event().wait(0.1)

        successor = contents(soon(feed, 3))
        silent.acknowledge(held)

        assert successor == sent


def _rest(feed: RabbitFeed, deliveries: Any) -> list[Any]:
    feed.acknowledge(deliveries)
    return drain(feed, 20)


def _until_it_is_up(broker: RabbitMQ, sent: Any) -> list[Any]:
    """Publish again until the server takes messages."""
    until = time.monotonic() + 10
    while True:
        try:
            return list(broker.publish(sent, deadline=DEADLINE))
        except BrokerDown:
            if time.monotonic() > until:
                raise
            threading.Event().wait(0.02)


class TestUsers:
    """Who may not come in, and who may not write everywhere."""

    @pytest.mark.parametrize(
        ("place", "problem"),
        [
            pytest.param("guest:s3cret@127.0.0.1:{port}/", "ACCESS_REFUSED", id="password"),
            pytest.param("guest:guest@127.0.0.1:{port}/s3cret-host", "vhost s3cret-host not found", id="virtual host"),
        ],
    )
    def test_is_down_for_whom_the_server_does_not_let_in(
        self, rabbitmq: RabbitServer, place: str, problem: str
    ) -> None:
        """The error says why."""
        broker = RabbitMQ(f"amqp://{place.format(port=rabbitmq.port)}")

        with pytest.raises(BrokerDown, match=problem):
            broker.publish(orders(1), deadline=DEADLINE)

    def test_shows_no_password(self, rabbitmq: RabbitServer, caplog: pytest.LogCaptureFixture) -> None:
        """Neither in its repr, nor in an error, nor in a log line, at whatever level."""
        broker = RabbitMQ(f"amqp://guest:s3cret@127.0.0.1:{rabbitmq.port}/")

        with caplog.at_level(logging.DEBUG), pytest.raises(BrokerDown) as caught:
            broker.publish(orders(1), deadline=DEADLINE)

        chain = [caught.value, caught.value.__cause__, caught.value.__context__]
        assert "s3cret" not in f"{broker!r} {vars(broker)} {chain} {caplog.text}"
        assert f"127.0.0.1:{rabbitmq.port}" in str(caught.value)

    def test_tells_a_topic_that_its_user_may_not_write_to_from_an_exchange(
        self, rabbitmq: RabbitServer, broker: RabbitMQ, open_broker: Open, corner: str
    ) -> None:
        """
        The server closes the channel on it and names the topic; what was with it is taken by the next call.

        An exchange that is forbidden is the configuration's fault, and no event's.
        """
        broker.feeds("mailing", ["secret"])
        users = "rabbit_auth_backend_internal"  # in one go: each call of rabbitmqctl boots Erlang
        rabbitmq.control(
            "eval",
            f"""
            {users}:add_user(<<"shop">>, <<"pw">>, <<"test">>),
            {users}:set_permissions(<<"shop">>, <<"/">>, <<".*">>, <<"^test">>, <<".*">>, <<"test">>),
            {users}:set_topic_permissions(
                <<"shop">>, <<"/">>, <<"{corner}">>, <<"^orders">>, <<".*">>, <<"test">>).
        """,
        )
        shop = open_broker(url=f"amqp://shop:pw@127.0.0.1:{rabbitmq.port}")
        outside = open_broker(url=f"amqp://shop:pw@127.0.0.1:{rabbitmq.port}", exchange=f"outside-{corner}")
        sent = [envelope("secret", key="a"), envelope("secret", key="a"), *orders(3), envelope("secret")]

        receipts = shop.publish(sent, deadline=DEADLINE)
        again = shop.publish(sent[2:5], deadline=DEADLINE)
        with pytest.raises(BrokerDown, match="access to exchange"):
            outside.publish(orders(1), deadline=DEADLINE)

        assert statuses(receipts) == ["refused", *["unknown"] * 4, "refused"]
        assert "access to topic 'secret'" in receipts[0].reason
        assert list(again) == [ACCEPTED] * 3


def test_a_ping_tells_a_server_that_is_gone() -> None:
    """Nothing listens there."""
    with pytest.raises(BrokerDown):
        RabbitMQ("amqp://127.0.0.1:1").ping(deadline=1)


def test_its_certificates_are_files(tmp_path: Path) -> None:
    """One that is not there is named when it is needed."""
    with pytest.raises(BrokerDown):
        RabbitMQ("amqps://127.0.0.1:1", ca_file=str(tmp_path / "nothing")).ping(deadline=1)
