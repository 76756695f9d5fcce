"""What every adapter to a broker does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from simplecqrs.envelope import Envelope
from simplecqrs.metadata import uuid7
from simplecqrs.packing import Compress, Packing, Signer
from simplecqrs.transport import ACCEPTED, Broker, Delivery, Feed, Garbage, Receipt

DEADLINE = 5.0


def envelope(topic: str, **attributes: Any) -> Envelope:
    """Make an envelope to publish, of which only the topic matters."""
    facts: dict[str, Any] = {
        "id": uuid7(),
        "kind": "event",
        "name": "OrderPlaced",
        "time": datetime.now(timezone.utc),
        "payload": b"{}",
    }
    return Envelope(topic=topic, **{**facts, **attributes})


def drain(feed: Feed, limit: int = 100, *, least: int = 0) -> list[Envelope | Garbage]:
    """Fetch and acknowledge until nothing comes; a feed that was opened before is told a moment later what is new."""
    drained: list[Envelope | Garbage] = []
    until = time.monotonic() + DEADLINE
    while (deliveries := feed.fetch(limit)) or (len(drained) < least and time.monotonic() < until):
        drained += contents(deliveries)
        feed.acknowledge(deliveries)
    return drained


def contents(deliveries: Sequence[Delivery]) -> list[Envelope | Garbage]:
    """Return what deliveries hold."""
    return [delivery.content for delivery in deliveries]


def statuses(receipts: Sequence[Receipt]) -> list[str]:
    """Return what became of envelopes."""
    return [receipt.status for receipt in receipts]


#: W3C's header.
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class BrokerContract:
    """
    What every adapter does.

    Override ``broker`` and ``reopen``, which opens the same broker as another process would; ``unacceptable``, which
    makes an envelope that the broker refuses; and ``litter``, which puts something into a topic that is no envelope.
    Override ``topic`` where the consumer ``mailing`` has to be known before something is published to it.

    Attributes:
        keeps: it keeps what is published before the first consumer comes.
        redelivers: what was fetched and not acknowledged comes again to whoever fetches next.
        rewinds: its feeds can go back.
        rewinds_to_times: not only to their beginning.
        marks: its feeds know how far they are.
    """

    keeps = True
    redelivers = True
    rewinds = False
    rewinds_to_times = False
    marks = False

    @pytest.fixture
    def topic(self) -> str:
        """Name a topic that no other test uses."""
        return f"topic-{uuid7()}"

    @pytest.fixture
    def broker(self) -> Broker:
        raise NotImplementedError

    @pytest.fixture
    def reopen(self) -> Callable[[], Broker]:
        raise NotImplementedError

    @pytest.fixture
    def unacceptable(self) -> Callable[[str, str], Envelope]:
        """Return what makes of a topic and a key an envelope that the broker refuses."""
        raise NotImplementedError

    @pytest.fixture
    def litter(self) -> Callable[[str], None]:
        raise NotImplementedError

    # Publishing

    def test_gives_a_receipt_for_each_envelope(self, broker: Broker, topic: str) -> None:
        """There are as many receipts as envelopes, and all are accepted."""
        receipts = broker.publish([envelope(topic), envelope(topic, key="a")], deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED, ACCEPTED]

    def test_gives_no_receipt_for_nothing(self, broker: Broker) -> None:
        """An empty batch is no error."""
        assert list(broker.publish([], deadline=DEADLINE)) == []

    def test_answers_a_ping(self, broker: Broker, topic: str) -> None:
        """Nothing is sent by it."""
        broker.ping(deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", [topic])
        assert drain(feed) == []

    def test_keeps_the_order_within_a_topic(self, broker: Broker, topic: str) -> None:
        """What is published arrives in its order, over several batches."""
        sent = [envelope(topic, key=str(n % 3)) for n in range(30)]

        for start in range(0, 30, 10):
            broker.publish(sent[start : start + 10], deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", [topic])
        assert drain(feed, 7) == sent

    def test_publishes_to_several_topics_in_one_call(self, broker: Broker, topic: str) -> None:
        """Each topic gets its own, and receipts are in the order of the envelopes."""
        even, odd = broker.feeds("mailing", [f"{topic}-0", f"{topic}-1"])
        sent = [envelope(f"{topic}-{n % 2}", key="a") for n in range(6)]

        receipts = broker.publish(sent, deadline=DEADLINE)

        assert list(receipts) == [ACCEPTED] * 6
        assert (drain(even, least=3), drain(odd, least=3)) == (sent[::2], sent[1::2])

    def test_stops_a_key_at_its_first_refusal(
        self, broker: Broker, topic: str, unacceptable: Callable[[str, str], Envelope]
    ) -> None:
        """What follows a refused envelope of the same key is unknown, and was not sent."""
        sent = [envelope(topic, key="a"), unacceptable(topic, "a"), envelope(topic, key="a"), envelope(topic, key="a")]

        receipts = broker.publish(sent, deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", [topic])
        assert statuses(receipts) == ["accepted", "refused", "unknown", "unknown"]
        assert drain(feed) == sent[:1]

    def test_says_why_it_refuses(
        self, broker: Broker, topic: str, unacceptable: Callable[[str, str], Envelope]
    ) -> None:
        """A refused envelope's receipt has a reason."""
        (receipt,) = broker.publish([unacceptable(topic, "a")], deadline=DEADLINE)

        assert receipt.status == "refused"
        assert receipt.reason

    def test_goes_on_with_other_keys_after_a_refusal(
        self, broker: Broker, topic: str, unacceptable: Callable[[str, str], Envelope]
    ) -> None:
        """A refusal stops neither another key, nor the same key in another topic, nor what has no key."""
        broker.feeds("mailing", [f"{topic}-2"])
        others = [envelope(topic, key="b"), envelope(f"{topic}-2", key="a"), envelope(topic)]

        receipts = broker.publish([unacceptable(topic, "a"), *others], deadline=DEADLINE)

        assert statuses(receipts) == ["refused", "accepted", "accepted", "accepted"]

    def test_refuses_an_envelope_without_a_key_alone(
        self, broker: Broker, topic: str, unacceptable: Callable[[str, str], Envelope]
    ) -> None:
        """What has no key has no followers, so a refusal stops nothing."""
        receipts = broker.publish([unacceptable(topic, ""), envelope(topic)], deadline=DEADLINE)

        assert statuses(receipts) == ["refused", "accepted"]

    def test_takes_later_what_it_did_not_try(
        self, broker: Broker, topic: str, unacceptable: Callable[[str, str], Envelope]
    ) -> None:
        """A stopped key is stopped for one call only."""
        follower = envelope(topic, key="a")
        broker.publish([unacceptable(topic, "a"), follower], deadline=DEADLINE)

        receipts = broker.publish([follower], deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", [topic])
        assert list(receipts) == [ACCEPTED]
        assert drain(feed) == [follower]

    def test_may_be_handed_the_same_again(self, broker: Broker, topic: str) -> None:
        """A repeated call is accepted, and brings nothing but what was sent."""
        sent = [envelope(topic, key="a"), envelope(topic, key="a")]
        broker.publish(sent, deadline=DEADLINE)

        receipts = broker.publish(sent, deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", [topic])
        assert list(receipts) == [ACCEPTED, ACCEPTED]
        assert {arrived.id for arrived in drain(feed) if isinstance(arrived, Envelope)} == {one.id for one in sent}

    def test_returns_within_the_deadline(self, broker: Broker, topic: str) -> None:
        """A batch of a thousand is over before the deadline, all of it accepted."""
        began = time.monotonic()

        receipts = broker.publish([envelope(topic, key=str(n)) for n in range(1000)], deadline=DEADLINE)

        assert time.monotonic() - began < DEADLINE
        assert set(receipts) == {ACCEPTED}

    def test_says_what_an_acknowledgement_is_worth(self, broker: Broker) -> None:
        """The promise is one of the three."""
        assert broker.promise in ("stored", "memory", "none")

    # What arrives

    @pytest.mark.parametrize(
        "attributes",
        [
            pytest.param({}, id="nothing but the necessary"),
            pytest.param({"kind": "command", "version": 7}, id="command of a version"),
            pytest.param({"key": "Zoë/№ 1 🎈"}, id="unicode key"),
            pytest.param({"key": "\"'\\ \t\n{}[],:\x01\x7f"}, id="key of special characters"),
            pytest.param({"name": "straße", "source": "läden.example"}, id="unicode name and source"),
            pytest.param({"correlation_id": "request-1", "causation_id": "c-2"}, id="ids"),
            pytest.param({"headers": {"user": "7", "näme": "Ünï 🎈", "empty": "", "quote": '"'}}, id="headers"),
            pytest.param({"headers": {"traceparent": TRACE, "tracestate": "a=b", "baggage": "c=d"}}, id="trace"),
            pytest.param({"content_type": "application/x-protobuf", "payload": bytes(range(256))}, id="any bytes"),
            pytest.param({"payload": b""}, id="no payload"),
            pytest.param({"payload": b"x" * 1_000_000}, id="large payload"),
            pytest.param({"time": datetime(2026, 1, 2, tzinfo=timezone.utc)}, id="time without a fraction"),
        ],
    )
    def test_hands_over_every_attribute(self, broker: Broker, topic: str, attributes: dict[str, Any]) -> None:
        """What arrives equals what was sent."""
        sent = envelope(topic, **attributes)

        broker.publish([sent], deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", [topic])
        assert drain(feed) == [sent]

    @pytest.mark.parametrize("packing", [Packing(), Packing(compress=Compress(above=0))], ids=["plain", "compressed"])
    def test_hands_over_what_was_packed_and_signed(self, broker: Broker, topic: str, packing: Packing) -> None:
        """Byte by byte, so that the signature holds."""
        signer = Signer({"a": "s" * 32})
        sent = envelope(topic, key="ä", headers={"tenant": "x y"}, payload=b'{"a":  "%s", "b": 1e2}' % (b"x" * 99))

        broker.publish([signer.sign(packing.pack(sent))], deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", [topic])
        [found] = drain(feed)
        assert isinstance(found, Envelope)
        assert signer.problem(found) == ""
        assert Packing().unpack(found).payload == sent.payload

    def test_tells_the_time_in_utc(self, broker: Broker, topic: str) -> None:
        """A time of another zone arrives as the same moment in UTC."""
        moment = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=5, minutes=45)))

        broker.publish([envelope(topic, time=moment)], deadline=DEADLINE)

        ((arrived,),) = map(drain, broker.feeds("mailing", [topic]))
        assert isinstance(arrived, Envelope)
        assert arrived.time == moment

    def test_hands_over_garbage_as_such(self, broker: Broker, topic: str, litter: Callable[[str], None]) -> None:
        """Something that is no envelope raises nothing, says what is wrong, and stops nothing."""
        before, after = envelope(topic), envelope(topic)
        broker.publish([before], deadline=DEADLINE)
        litter(topic)
        broker.publish([after], deadline=DEADLINE)

        (feed,) = broker.feeds("mailing", [topic])
        first, garbage, last = drain(feed)

        assert (first, last) == (before, after)
        assert isinstance(garbage, Garbage)
        assert garbage.error

    # Fetching

    def test_opens_a_feed_for_each_topic(self, broker: Broker, topic: str) -> None:
        """There is at least one feed for each topic, and no two have the same name."""
        feeds = broker.feeds("mailing", [topic, f"{topic}-2"])

        assert len(feeds) == len({feed.name for feed in feeds}) >= 2

    def test_does_not_wait_for_messages(self, broker: Broker, topic: str) -> None:
        """Where nothing is, a fetch returns nothing, at once."""
        (feed,) = broker.feeds("mailing", [topic])
        began = time.monotonic()

        assert list(feed.fetch(10)) == []
        assert time.monotonic() - began < 1

    def test_fetches_no_more_than_the_limit(self, broker: Broker, topic: str) -> None:
        """The limit is kept, and the rest comes when the first are acknowledged."""
        sent = [envelope(topic) for _ in range(5)]
        broker.publish(sent, deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", [topic])

        deliveries = feed.fetch(3)
        feed.acknowledge(deliveries)

        assert contents(deliveries) == sent[:3]
        assert drain(feed) == sent[3:]

    @pytest.mark.needs("keeps")
    def test_brings_what_was_published_before_the_consumer_came(self, broker: Broker, topic: str) -> None:
        """A consumer that comes later gets what is there."""
        sent = [envelope(topic), envelope(topic)]
        broker.publish(sent, deadline=DEADLINE)

        (feed,) = broker.feeds("latecomer", [topic])

        assert drain(feed) == sent

    def test_brings_everything_to_every_consumer(self, broker: Broker, topic: str) -> None:
        """What one consumer has acknowledged still comes to another."""
        (mailing,) = broker.feeds("mailing", [topic])
        (billing,) = broker.feeds("billing", [topic])
        sent = [envelope(topic), envelope(topic)]
        broker.publish(sent, deadline=DEADLINE)

        assert drain(mailing, least=2) == sent
        assert drain(billing, least=2) == sent

    def test_brings_again_what_was_not_acknowledged(self, broker: Broker, topic: str) -> None:
        """Fetching twice brings the same, in the same order, even if there is more by then."""
        sent = [envelope(topic) for _ in range(3)]
        broker.publish(sent, deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", [topic])
        first = feed.fetch(3)
        broker.publish([envelope(topic)], deadline=DEADLINE)

        second = feed.fetch(3)

        assert list(second) == list(first)

    @pytest.mark.needs("redelivers")
    def test_brings_what_a_dead_fetcher_left_first_and_in_order(
        self, broker: Broker, topic: str, reopen: Callable[[], Broker]
    ) -> None:
        """After a crash in the middle of a batch the rest of it comes, and then what is new."""
        sent = [envelope(topic, key="a") for _ in range(6)]
        broker.publish(sent[:4], deadline=DEADLINE)
        (dead,) = broker.feeds("mailing", [topic])
        dead.acknowledge(dead.fetch(4)[1:2])
        broker.publish(sent[4:], deadline=DEADLINE)

        (successor,) = reopen().feeds("mailing", [topic])

        assert drain(successor, 2) == [sent[0], *sent[2:]]

    def test_brings_nothing_that_was_acknowledged(
        self, broker: Broker, topic: str, reopen: Callable[[], Broker]
    ) -> None:
        """What is acknowledged does not come again, to no fetcher of the consumer."""
        broker.publish([envelope(topic), envelope(topic)], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", [topic])
        drain(feed)

        (successor,) = reopen().feeds("mailing", [topic])

        assert drain(feed) == []
        assert drain(successor) == []

    def test_may_be_told_twice_that_something_is_stored(self, broker: Broker, topic: str) -> None:
        """A repeated acknowledgement is no error, nor is one of nothing, and neither loses what is next."""
        sent = [envelope(topic), envelope(topic)]
        broker.publish(sent, deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", [topic])
        deliveries = feed.fetch(1)

        feed.acknowledge(deliveries)
        feed.acknowledge(deliveries)
        feed.acknowledge([])

        assert drain(feed) == sent[1:]

    # Going back

    @pytest.mark.needs("rewinds")
    def test_brings_everything_again_after_it_was_rewound(
        self, broker: Broker, topic: str, reopen: Callable[[], Broker]
    ) -> None:
        """In its order, to who had it and to who comes next; another consumer's place stays."""
        sent = [envelope(topic, key="a") for _ in range(3)]
        broker.publish(sent, deadline=DEADLINE)
        (feed,), (other,) = broker.feeds("mailing", [topic]), broker.feeds("billing", [topic])
        drain(feed)
        drain(other)

        rewound(feed, None)
        again = drain(feed, 2, least=3)
        rewound(reopen().feeds("mailing", [topic])[0], None)

        assert again == sent
        assert drain(reopen().feeds("mailing", [topic])[0], least=3) == sent
        assert drain(other) == []

    @pytest.mark.needs("rewinds_to_times")
    def test_brings_again_what_came_at_a_time_or_later(self, broker: Broker, topic: str) -> None:
        """And nothing that came before; of a time to come, nothing."""
        early, late = envelope(topic), []
        broker.publish([early], deadline=DEADLINE)
        time.sleep(0.01)  # brokers count milliseconds
        moment = datetime.now(timezone.utc)
        time.sleep(0.01)
        late = [envelope(topic), envelope(topic)]
        broker.publish(late, deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", [topic])
        drain(feed, least=3)

        rewound(feed, moment)
        again = drain(feed, least=2)
        rewound(feed, moment + timedelta(days=1))

        assert again == late
        assert drain(feed) == []

    @pytest.mark.needs("marks")
    def test_brings_again_what_came_behind_a_mark(
        self, broker: Broker, topic: str, reopen: Callable[[], Broker]
    ) -> None:
        """Whoever has it: it is a text."""
        sent = [envelope(topic, key="a") for _ in range(4)]
        broker.publish(sent, deadline=DEADLINE)
        feed: Any = broker.feeds("mailing", [topic])[0]
        feed.acknowledge(feed.fetch(2))
        mark = feed.mark
        drain(feed)

        later: Any = reopen().feeds("mailing", [topic])[0]
        later.rewind_to(mark)
        later.compare(mark)

        assert drain(later, least=2) == sent[2:]
        assert later.lost == 0


def rewound(feed: Any, since: datetime | None) -> None:
    """Let a feed go back."""
    feed.rewind(since)
