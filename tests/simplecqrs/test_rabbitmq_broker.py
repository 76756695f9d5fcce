"""RabbitMQ as a broker, on a real server."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

amqp = pytest.importorskip("amqp", reason="py-amqp is not installed: pip install 'simplecqrs[rabbitmq]'")

from simplecqrs.brokers.rabbitmq import RabbitMQ  # noqa: E402
from simplecqrs.brokers.rabbitmq_feed import RabbitFeed  # noqa: E402
from simplecqrs.envelope import Envelope  # noqa: E402
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured  # noqa: E402
from simplecqrs.metadata import uuid7  # noqa: E402
from simplecqrs.transport import ACCEPTED, Garbage  # noqa: E402
from tests.contracts.broker import DEADLINE, BrokerContract, contents, drain, envelope, statuses  # noqa: E402
from tests.simplecqrs.rabbitmq_corner import Open, soon  # noqa: E402

pytestmark = [pytest.mark.rabbitmq, pytest.mark.services]


@pytest.fixture
def broker(open_broker: Open) -> RabbitMQ:
    return open_broker()


@pytest.fixture
def feed(broker: RabbitMQ) -> RabbitFeed:
    """Join the queue of orders for mailing."""
    return broker.feeds("mailing", ["orders"])[0]


class TestContract(BrokerContract):
    """It does what every adapter does, except for messages that were published before their queue was made."""

    keeps = False

    @pytest.fixture
    def broker(self, open_broker: Open) -> RabbitMQ:
        return open_broker()

    @pytest.fixture
    def topic(self, broker: RabbitMQ) -> str:
        topic = f"topic-{uuid7()}"
        broker.feeds("mailing", [topic])
        return topic

    @pytest.fixture
    def reopen(self, broker: RabbitMQ, open_broker: Open, raw: Any, corner: str, topic: str) -> Callable[[], RabbitMQ]:
        def reopen() -> RabbitMQ:
            broker.close()  # the server gives a queue to one at a time, and takes a moment to see that he has gone
            while raw.queue_declare(f"{corner}mailing:{topic}", passive=True).consumer_count:
                pass
            return open_broker()

        return reopen

    @pytest.fixture
    def unacceptable(self) -> Callable[[str, str], Envelope]:
        return lambda topic, key: envelope(topic, key=key, name="half of a pair: \ud83c")

    @pytest.fixture
    def litter(self, broker: RabbitMQ, raw: Any) -> Callable[[str], None]:
        return lambda topic: raw.basic_publish_confirm(amqp.Message(b"hello"), broker.exchange, topic)


class TestWire:
    """What goes over the wire."""

    def test_sends_persistent_messages_with_the_ids_of_their_events(self, broker: RabbitMQ, raw: Any) -> None:
        """The topic is the routing key, the payload the body, and what else is known are headers of CloudEvents."""
        broker.feeds("mailing", ["orders"])
        sent = envelope("orders", key="7", source="shop", headers={"user": "Zoë"}, payload=b'{"n": 1}')

        broker.publish([sent], deadline=DEADLINE)

        raw.queue_declare("copy", exclusive=True)
        raw.queue_bind("copy", broker.exchange, "orders")
        broker.publish([sent], deadline=DEADLINE)
        message = raw.basic_get("copy", no_ack=True)
        assert message.delivery_info["routing_key"] == "orders"
        assert message.body == b'{"n": 1}'
        assert {name: message.properties[name] for name in ("delivery_mode", "message_id", "content_type")} == {
            "delivery_mode": 2,
            "message_id": str(sent.id),
            "content_type": "application/json",
        }
        assert message.headers["cloudEvents:type"] == "OrderPlaced"
        assert message.headers["cloudEvents:partitionkey"] == "7"

    @pytest.mark.parametrize("form", ["cloudevents", "cloudevents-structured"])
    def test_speaks_several_formats(self, open_broker: Open, form: str) -> None:
        """What was sent arrives, in each of them."""
        broker = open_broker(format=form)
        (feed,) = broker.feeds("mailing", ["orders"])
        sent = envelope("orders", key="7", headers={"user": "Zoë"}, payload=b"\x00\xff")

        broker.publish([sent], deadline=DEADLINE)

        assert drain(feed) == [sent]

    def test_reads_headers_that_are_no_text(self, broker: RabbitMQ, feed: RabbitFeed, raw: Any) -> None:
        """Others send numbers, booleans, moments, and tables, which say nothing to us."""
        headers = {
            "cloudEvents:specversion": "1.0",
            "cloudEvents:id": str(uuid7()),
            "cloudEvents:type": "OrderPlaced",
            "cloudEvents:source": "/their/shop",
            "cloudEvents:time": datetime(2026, 1, 2, tzinfo=timezone.utc),
            "cloudEvents:cqrsversion": 7,
            "cloudEvents:urgent": True,
            "cloudEvents:nothing": None,
            "x-death": [{"count": 1}],
        }

        raw.basic_publish_confirm(amqp.Message(b"{}", application_headers=headers), broker.exchange, "orders")

        (arrived,) = drain(feed)
        assert isinstance(arrived, Envelope)
        assert (arrived.version, arrived.time.isoformat()) == (7, "2026-01-02T00:00:00+00:00")
        assert arrived.headers == {"urgent": "true"}

    @pytest.mark.parametrize(
        "message",
        [
            pytest.param({"content_type": b"\xff"}, id="content type that is no text"),
            pytest.param({"application_headers": {"cloudEvents:id": b"\xff\xfe"}}, id="header that is no text"),
            pytest.param({"application_headers": {"when": "far"}}, id="moment in the far future"),
            pytest.param({}, id="nothing at all"),
        ],
    )
    @pytest.mark.parametrize("body", [b"hello", b""], ids=["body", "no body"])
    def test_buries_what_it_cannot_read(
        self, broker: RabbitMQ, feed: RabbitFeed, raw: Any, message: dict[str, Any], body: bytes
    ) -> None:
        """A message that the library itself cannot decode is garbage with its body, and holds up nothing."""
        before, after = envelope("orders"), envelope("orders")
        broker.publish([before], deadline=DEADLINE)
        raw.basic_publish_confirm(_Spoilt(body, **message), broker.exchange, "orders")
        broker.publish([after], deadline=DEADLINE)
        first, garbage, last = drain(feed)

        assert (first, last) == (before, after)
        assert isinstance(garbage, Garbage)
        assert garbage.payload == body

    def test_buries_what_came_by_a_routing_key_that_is_no_text(self, broker: RabbitMQ, raw: Any) -> None:
        """A consumer of all topics gets whatever strangers publish."""
        (feed,) = broker.feeds("mailing", ["#"])
        raw.basic_publish_confirm(amqp.Message(b"hello"), broker.exchange, b"\xff\xff.orders")
        raw.queue_declare("barrier", exclusive=True)
        sent = envelope("orders")

        broker.publish([sent], deadline=DEADLINE)
        garbage, after = drain(feed)

        assert isinstance(garbage, Garbage)
        assert after == sent

    def test_buries_payloads_above_the_limit(self, open_broker: Open) -> None:
        """The beginning of the payload is kept, and the rest is not."""
        broker = open_broker(max_bytes=500)
        (feed,) = broker.feeds("mailing", ["orders"])
        broker.publish([envelope("orders", payload=b"x" * 501), envelope("orders")], deadline=DEADLINE)

        garbage, after = drain(feed)

        assert isinstance(garbage, Garbage)
        assert garbage.payload == b"x" * 500
        assert isinstance(after, Envelope)

    def test_subscribes_by_wildcards(self, broker: RabbitMQ) -> None:
        """What comes by one keeps its own topic."""
        (feed,) = broker.feeds("mailing", ["shop.*"])
        sent = [envelope("shop.orders"), envelope("shop.customers")]

        receipts = broker.publish([*sent, envelope("stock.moved")], deadline=DEADLINE)

        assert statuses(receipts) == ["accepted", "accepted", "refused"]
        assert drain(feed) == sent


class _Spoilt(amqp.Message):  # type: ignore[misc]
    """A message that may have a moment among its headers that no datetime can hold."""

    def _serialize_properties(self) -> bytes:
        data: bytes = super()._serialize_properties()
        return data.replace(b"S" + struct.pack(">I", 3) + b"far", b"T" + struct.pack(">Q", 2**60)).replace(
            struct.pack(">I", 13) + b"\x04when", struct.pack(">I", 14) + b"\x04when"
        )


class TestRefusals:
    """What is wrong with one event is told apart from what is wrong with the server."""

    def test_refuses_what_no_queue_is_bound_for(self, broker: RabbitMQ) -> None:
        """Nobody would ever get it; the reason names the topic, and other topics go on."""
        broker.feeds("mailing", ["orders"])
        sent = [envelope("nobody", key="a"), envelope("orders"), envelope("nobody", key="a"), envelope("nobody")]

        receipts = broker.publish(sent, deadline=DEADLINE)

        assert statuses(receipts) == ["refused", "accepted", "unknown", "refused"]
        assert "nobody has subscribed" in receipts[0].reason

    def test_takes_what_it_has_refused_when_somebody_has_subscribed(self, broker: RabbitMQ) -> None:
        """An outbox tries again, so an event waits for its first consumer."""
        sent = envelope("orders")
        broker.publish([sent], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", ["orders"])

        receipts = broker.publish([sent], deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED]
        assert drain(feed) == [sent]

    def test_accepts_what_no_queue_is_bound_for_if_told_to(self, open_broker: Open) -> None:
        """Then it is gone, as it is where events are for whoever happens to listen."""
        broker = open_broker(unroutable="accept")

        receipts = broker.publish([envelope("nobody")], deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED]
        assert "is dropped" in broker.promise_detail

    def test_refuses_what_a_full_queue_does_not_take(self, broker: RabbitMQ, raw: Any) -> None:
        """The server's no is for one event; what follows it under its key is not sent, and cannot overtake it."""
        full = {"x-max-length": 2, "x-overflow": "reject-publish"}
        broker.ping(deadline=DEADLINE)
        raw.queue_declare("full", exclusive=True, arguments=full)
        raw.queue_bind("full", broker.exchange, "orders")

        receipts = broker.publish([envelope("orders", key=key) for key in "abcc"], deadline=DEADLINE)

        assert statuses(receipts) == ["accepted", "accepted", "refused", "unknown"]
        assert "basic.nack" in receipts[2].reason

    @pytest.mark.parametrize(
        ("attributes", "reason"),
        [
            pytest.param({"payload": b"x" * 5000}, "max_message_bytes is 4000", id="body"),
            pytest.param({"topic": "ö" * 128}, "the topic has 256 bytes", id="topic"),
            pytest.param({"headers": {"much": "x" * 200_000}}, "its headers have", id="headers"),
            pytest.param({"name": "half of a pair: \ud83c"}, "surrogates not allowed", id="no text"),
        ],
    )
    def test_refuses_without_sending_what_the_server_would_choke_on(
        self, open_broker: Open, attributes: dict[str, Any], reason: str
    ) -> None:
        """Sent, it would close the channel for all that are with it."""
        broker = open_broker(max_message_bytes=4000)
        broker.feeds("mailing", ["orders"])

        receipts = broker.publish(
            [envelope(**{"topic": "orders", **attributes}), envelope("orders")], deadline=DEADLINE
        )

        assert statuses(receipts) == ["refused", "accepted"]
        assert reason in receipts[0].reason

    def test_refuses_what_closes_the_channel_because_of_its_size(self, broker: RabbitMQ) -> None:
        """The server says how large it was; of what was with it nothing is known, and the next call brings it."""
        (feed,) = broker.feeds("mailing", ["orders"])
        sent = [envelope("orders", key=str(n), payload=b"x" * (2_000_001 if n == 5 else 10)) for n in range(10)]

        receipts = broker.publish(sent, deadline=DEADLINE)
        again = broker.publish([*sent[:5], *sent[6:]], deadline=DEADLINE)

        assert statuses(receipts)[5:] == ["refused", *["unknown"] * 4]
        assert "2000001" in receipts[5].reason
        assert list(again) == [ACCEPTED] * 9
        assert {one.id for one in drain(feed) if isinstance(one, Envelope)} == {one.id for one in sent} - {sent[5].id}

    def test_is_down_when_the_channel_is_closed_for_a_reason_that_names_no_event(
        self, broker: RabbitMQ, raw: Any
    ) -> None:
        """An exchange that somebody has deleted is made again by the next call."""
        broker.ping(deadline=DEADLINE)
        raw.exchange_delete(broker.exchange)

        with pytest.raises(BrokerDown, match="no exchange"):
            broker.publish([envelope("orders")], deadline=DEADLINE)

        broker.feeds("mailing", ["orders"])
        assert list(broker.publish([envelope("orders")], deadline=DEADLINE)) == [ACCEPTED]

    def test_is_down_where_a_queue_was_made_otherwise(self, open_broker: Open) -> None:
        """The error names the queue and the cure."""
        open_broker(queue_type="classic").feeds("mailing", ["orders"])

        with pytest.raises(BrokerDown, match=r"mailing:orders.*made with other arguments"):
            open_broker().feeds("mailing", ["orders"])

    def test_makes_nothing_if_told_so(self, open_broker: Open) -> None:
        """Exchange and queues may be the business of somebody else."""
        ours = open_broker(declare=False)
        with pytest.raises(BrokerDown, match="no exchange"):
            ours.feeds("mailing", ["orders"])
        open_broker().feeds("mailing", ["orders"])

        (feed,) = ours.feeds("mailing", ["orders"])
        sent = envelope("orders")
        ours.publish([sent], deadline=DEADLINE)

        assert drain(feed) == [sent]


class TestFeeds:
    """Queues, and what others do to them."""

    @pytest.mark.parametrize("queue_type", ["quorum", "classic"])
    def test_gives_a_queue_to_one_fetcher_at_a_time(self, open_broker: Open, queue_type: str) -> None:
        """While one has not acknowledged, another gets nothing, at once; the first to come afterwards gets the rest."""
        ours, theirs = (open_broker(queue_type=queue_type).feeds("mailing", ["orders"])[0] for _ in range(2))
        sent = [envelope("orders", key="a") for _ in range(6)]
        open_broker(queue_type=queue_type).publish(sent, deadline=DEADLINE)

        deliveries = ours.fetch(2)
        nothing = theirs.fetch(2)
        ours.acknowledge(deliveries)
        rest = [*drain(theirs, 3), *drain(ours, 3)]

        assert contents(deliveries) == sent[:2]
        assert list(nothing) == []
        assert rest == sent[2:]

    def test_takes_turns_with_other_fetchers(self, open_broker: Open) -> None:
        """Neither keeps the queue between an acknowledgement and the next fetch."""
        brokers = [open_broker(prefetch=10) for _ in range(2)]
        feeds = [broker.feeds("mailing", ["orders"])[0] for broker in brokers]
        sent = [envelope("orders", key="a") for _ in range(200)]
        brokers[0].publish(sent, deadline=DEADLINE)
        came: list[Envelope | Garbage] = []

        for feed in feeds * 10:
            deliveries = soon(feed, 10)
            came += contents(deliveries)
            feed.acknowledge(deliveries)

        assert came == sent

    def test_loses_nothing_that_comes_back_again_and_again(self, open_broker: Open, feed: RabbitFeed) -> None:
        """A quorum queue would drop a message after twenty deliveries, in later versions, unless told not to."""
        sent = [envelope("orders") for _ in range(3)]
        open_broker().publish(sent, deadline=DEADLINE)

        for _ in range(30):
            dying = open_broker()
            assert contents(soon(dying.feeds("mailing", ["orders"])[0], 2)) == sent[:2]
            dying.close()

        assert contents(soon(feed, 3)) == sent

    def test_ignores_the_acknowledgement_of_what_came_by_another_connection(
        self, broker: RabbitMQ, feed: RabbitFeed
    ) -> None:
        """Numbers of deliveries begin anew with each; what was meant by an old one comes again."""
        sent = [envelope("orders") for _ in range(2)]
        broker.publish(sent, deadline=DEADLINE)
        old = feed.fetch(1)
        broker.close()
        again = soon(feed, 1)

        feed.acknowledge(old)

        assert contents(again) == contents(old) == sent[:1]
        assert drain(feed) == sent

    def test_keeps_the_order_when_only_some_are_acknowledged(self, broker: RabbitMQ, feed: RabbitFeed) -> None:
        """What the server sends in the place of those comes after what is left of the first."""
        sent = [envelope("orders", key="a") for _ in range(9)]
        broker.publish(sent, deadline=DEADLINE)
        first = feed.fetch(4)
        feed.acknowledge(first[:1])
        feed.acknowledge(first[2:3])

        again = feed.fetch(1)
        feed.acknowledge(again)

        assert contents(again) == [sent[1]]
        assert drain(feed, 3) == sent[3:]

    def test_makes_a_queue_again_that_was_deleted(
        self, broker: RabbitMQ, feed: RabbitFeed, raw: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It sounds an alarm, since what was published meanwhile is not in it."""
        raw.queue_delete(feed.name)

        with caplog.at_level(logging.ERROR, "simplecqrs"):
            nothing = feed.fetch(10)
        sent = envelope("orders")
        broker.publish([sent], deadline=DEADLINE)

        assert list(nothing) == []
        assert drain(feed) == [sent]
        assert f"{feed.name}: the queue is gone" in caplog.text

    def test_makes_a_queue_again_that_was_deleted_between_fetch_and_acknowledgement(
        self, broker: RabbitMQ, feed: RabbitFeed, raw: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The server takes the consumer's place away; what was fetched is stored by then."""
        broker.publish([envelope("orders") for _ in range(3)], deadline=DEADLINE)
        deliveries = feed.fetch(3)
        raw.queue_delete(feed.name)

        feed.acknowledge(deliveries)
        with caplog.at_level(logging.ERROR, "simplecqrs"):
            nothing = feed.fetch(2)
        sent = envelope("orders")
        broker.publish([sent], deadline=DEADLINE)

        assert list(nothing) == []
        assert drain(feed) == [sent]
        assert "the queue is gone" in caplog.text

    def test_gives_consumers_queues_of_their_own_whatever_their_names_are(self, broker: RabbitMQ) -> None:
        """A colon in a name is not taken for the one between consumer and topic."""
        names = {feed.name for consumer, topic in (("a:b", "c"), ("a", "b:c"), ("a%3Ab", "c"))
                 for feed in broker.feeds(consumer, [topic])}  # fmt: skip

        assert len(names) == 3

    def test_opens_a_feed_once(self, broker: RabbitMQ, feed: RabbitFeed) -> None:
        """A tick of Celery that opens its feeds anew has what the one before it has left."""
        broker.publish([envelope("orders")], deadline=DEADLINE)
        deliveries = feed.fetch(1)

        (again,) = broker.feeds("mailing", ["orders"])

        assert list(again.fetch(1)) == list(deliveries)


class TestConfiguration:
    """What is wrong with it is said when it is made."""

    @pytest.mark.parametrize(
        "url",
        [
            "amqp://:s3/cret@localhost",
            "http://s3cret@localhost",
            "amqp://localhost/?heartbeat=s3",
            "s3cret",
            "amqp://:s3",
        ],
    )
    def test_refuses_a_url_that_it_cannot_read(self, url: str) -> None:
        """The error tells the cure, and not what may be a password."""
        with pytest.raises(NotConfigured, match="percent-encoded") as caught:
            RabbitMQ(url)

        assert "s3" not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"queue_type": "stream"}, "queue_type='stream' can be quorum or classic"),
            ({"unroutable": "drop"}, "unroutable='drop' can be refuse or accept"),
            ({"format": "xml"}, "there is no wire format"),
        ],
    )
    def test_refuses_options_that_cannot_be(self, options: dict[str, Any], problem: str) -> None:
        """The error says what can."""
        with pytest.raises(NotConfigured, match=problem):
            RabbitMQ("amqp://localhost", **options)

    @pytest.mark.parametrize(
        ("url", "place"),
        [
            ("amqp://localhost", "amqp://localhost:5672/"),
            ("amqps://shop:pw@mq.example.org/", "amqps://mq.example.org:5671/"),
            ("amqp://shop:pw@[::1]:5673/%2F", "amqp://[::1]:5673/"),
            ("amqp://shop@localhost/a%2Fb", "amqp://localhost:5672/a/b"),
        ],
    )
    def test_reads_where_the_server_is(self, url: str, place: str) -> None:
        """Ports and the virtual host have defaults."""
        assert repr(RabbitMQ(url)) == f"<RabbitMQ {place}>"

    def test_imports_its_library_only_when_it_is_used(self) -> None:
        """Importing the adapter imports no client library."""
        program = "import sys, simplecqrs.brokers.rabbitmq; sys.exit('amqp' in sys.modules)"

        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

    def test_names_the_extra_when_its_library_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Constructing the adapter fails, and says what to install."""
        monkeypatch.setitem(sys.modules, "amqp", None)

        with pytest.raises(MissingExtra, match=r"simplecqrs\[rabbitmq\]"):
            RabbitMQ("amqp://localhost")
