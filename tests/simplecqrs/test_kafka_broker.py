"""Kafka as a broker, on librdkafka's mock cluster in a process of its own, or on a real one (CQRS_TEST_KAFKA)."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, TypeVar
from uuid import UUID

import pytest

confluent_kafka = pytest.importorskip(
    "confluent_kafka", reason="confluent-kafka is not installed: pip install 'simplecqrs[kafka]'"
)

from simplecqrs.brokers import kafka_feed  # noqa: E402
from simplecqrs.brokers.kafka import Kafka  # noqa: E402
from simplecqrs.brokers.kafka_client import Client  # noqa: E402
from simplecqrs.brokers.kafka_feed import KafkaFeed  # noqa: E402
from simplecqrs.envelope import Envelope  # noqa: E402
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured  # noqa: E402
from simplecqrs.metadata import uuid7  # noqa: E402
from simplecqrs.transport import ACCEPTED, Delivery, Garbage, Receipt  # noqa: E402
from tests.contracts.broker import DEADLINE, BrokerContract, contents, drain, envelope, statuses  # noqa: E402
from tests.faultproxy import fault_proxy  # noqa: E402
from tests.interrupting import Interrupted, interrupted_after  # noqa: E402
from tests.kafka_cluster import KafkaCluster, kafka_cluster  # noqa: E402

pytestmark = [pytest.mark.kafka, pytest.mark.services]

#: The mock lets who waits for messages wait to the end, even if some come.
OPTIONS = {"fetch.wait.max.ms": 2}

Found = TypeVar("Found")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a fetch wait longer for what must be on its way: on a busy machine, who asks once would get nothing."""
    monkeypatch.setattr(kafka_feed, "PATIENCE", 5.0)
    monkeypatch.setattr(kafka_feed, "SETTLE", 0.0)  # nobody else is there


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Run a cluster for all tests of this file that do it no harm."""
    with kafka_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def servers(cluster: KafkaCluster) -> str:
    """Say where a cluster is that does what it should."""
    return os.environ.get("CQRS_TEST_KAFKA") or cluster.servers


@pytest.fixture(scope="module")
def prefix() -> str:
    """Keep the topics of one run apart from others on a real cluster."""
    return f"test-{uuid7()}-"


@pytest.fixture(scope="module")
def shared(servers: str, prefix: str) -> Iterator[Kafka]:
    """Open one for many tests: a new producer needs half a second to get its id."""
    broker = Kafka(servers, prefix=prefix, options=OPTIONS)
    yield broker
    broker.close()


class TestContract(BrokerContract):
    """It does what every adapter does; as all of a topic is to be in order, topics have one partition."""

    rewinds = True
    marks = True
    rewinds_to_times = bool(os.environ.get("CQRS_TEST_KAFKA"))  # the mock knows no times

    @pytest.fixture
    def topic(self, servers: str, cluster: KafkaCluster, prefix: str) -> str:
        topic = f"topic-{uuid7()}"
        names = [f"{prefix}{topic}{ending}" for ending in ("", "-0", "-1", "-2")]
        if servers == cluster.servers:
            for name in names:
                cluster.create(name)
        else:
            create_on(servers, names)
        return topic

    @pytest.fixture
    def broker(self, shared: Kafka) -> Kafka:
        return shared

    @pytest.fixture
    def reopen(self, servers: str, prefix: str) -> Iterator[Callable[[], Kafka]]:
        opened = list[Kafka]()

        def reopen() -> Kafka:
            opened.append(Kafka(servers, prefix=prefix, options=OPTIONS))
            return opened[-1]

        yield reopen
        for broker in opened:
            broker.close()

    @pytest.fixture
    def unacceptable(self) -> Callable[[str, str], Envelope]:
        return lambda topic, key: envelope(topic, key=key, payload=b"x" * 2**20)

    @pytest.fixture
    def litter(self, servers: str, prefix: str) -> Callable[[str], None]:
        def litter(topic: str) -> None:
            producer: Any = confluent_kafka.Producer({"bootstrap.servers": servers})
            producer.produce(f"{prefix}{topic}", b"hello")
            assert not producer.flush(5)

        return litter


def create_on(servers: str, names: list[str]) -> None:
    """Create topics of one partition on a real cluster."""
    import confluent_kafka.admin

    admin: Any = confluent_kafka.admin.AdminClient({"bootstrap.servers": servers})
    for made in admin.create_topics(
        [confluent_kafka.admin.NewTopic(name, num_partitions=1) for name in names]
    ).values():
        made.result(timeout=10)


@pytest.fixture
def topic(cluster: KafkaCluster, servers: str, prefix: str) -> str:
    """Name a topic of one partition."""
    name = f"topic-{uuid7()}"
    if servers == cluster.servers:
        cluster.create(prefix + name)
    else:
        create_on(servers, [prefix + name])
    return name


def records(servers: str, topic: str) -> list[Any]:
    """Return all that is in a topic, partition by partition, as the client library shows it."""
    reader: Any = confluent_kafka.Consumer(
        {"bootstrap.servers": servers, "group.id": "looking", "fetch.wait.max.ms": 2, "enable.partition.eof": True}
    )
    partitions = reader.list_topics(topic, timeout=5).topics[topic].partitions
    reader.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in partitions])
    found, ends = [], 0
    while ends < len(partitions):
        for message in reader.consume(100, 0.1):
            if message.error() is None:
                found.append(message)
            ends += message.error() is not None
    return sorted(found, key=lambda message: (message.partition(), message.offset()))


class TestRecords:
    """What stands in a topic."""

    def test_writes_an_event_as_others_read_it(self, shared: Kafka, servers: str, topic: str) -> None:
        """Key, body and headers are those of the binary mode of CloudEvents."""
        sent = envelope(topic, key="Zoë", source="shop", payload=b'{"n":1}')

        shared.publish([sent], deadline=DEADLINE)

        (record,) = records(servers, shared.prefix + topic)
        headers = {name: value.decode() for name, value in record.headers()}
        assert (record.key(), record.value()) == ("Zoë".encode(), b'{"n":1}')
        assert headers["ce_id"] == str(sent.id)
        assert headers["ce_type"] == "OrderPlaced"
        assert headers["content-type"] == "application/json"

    def test_reads_and_writes_other_formats(self, servers: str, prefix: str, topic: str) -> None:
        """A name is enough."""
        broker = Kafka(servers, prefix=prefix, format="cloudevents-structured", options=OPTIONS)
        sent = envelope(topic, key="7")

        broker.publish([sent], deadline=DEADLINE)

        (record,) = records(servers, prefix + topic)
        assert str(sent.id).encode() in record.value()
        assert drain(broker.feeds("mailing", [topic])[0]) == [sent]

    def test_keeps_each_key_in_one_partition_and_in_order(self, shared: Kafka, cluster: KafkaCluster) -> None:
        """All partitions are used, and come in one feed."""
        topic = f"topic-{uuid7()}"
        cluster.create(shared.prefix + topic, 4)
        broker = Kafka(cluster.servers, prefix=shared.prefix, options=OPTIONS)
        sent = [envelope(topic, key=str(n % 20)) for n in range(200)]

        for start in range(0, 200, 50):
            broker.publish(sent[start : start + 50], deadline=DEADLINE)

        arrived = drain(broker.feeds("mailing", [topic])[0], 30)
        found = records(cluster.servers, shared.prefix + topic)
        assert {key: [e for e in arrived if e.key == key] for key in map(str, range(20))} == {
            key: [e for e in sent if e.key == key] for key in map(str, range(20))
        }
        assert len({record.partition() for record in found}) == 4
        assert len({(record.key(), record.partition()) for record in found}) == 20

    @pytest.mark.parametrize(
        ("record", "error"),
        [
            pytest.param({"value": None, "key": b"7"}, "tombstone", id="tombstone"),
            pytest.param({"value": b"{}"}, "no CloudEvent", id="no headers"),
            pytest.param({"value": b"\xff", "headers": {"ce_id": b"\xff\xfe"}}, "UnicodeDecodeError", id="no text"),
            pytest.param({"value": b"x" * 1000, "headers": {"a": b"1"}}, "the limit is 500", id="too large"),
        ],
    )
    def test_hands_over_what_cannot_be_read(
        self, servers: str, prefix: str, topic: str, record: dict[str, Any], error: str
    ) -> None:
        """As garbage, with its bytes and headers as far as they can be shown; what comes next comes."""
        producer: Any = confluent_kafka.Producer({"bootstrap.servers": servers})
        producer.produce(prefix + topic, **record)
        assert not producer.flush(5)
        broker = Kafka(servers, prefix=prefix, max_bytes=500, options=OPTIONS)
        sent = envelope(topic)
        broker.publish([sent], deadline=DEADLINE)

        garbage, after = drain(broker.feeds("mailing", [topic])[0])

        assert isinstance(garbage, Garbage)
        assert error in garbage.error
        assert garbage.payload == (record["value"] or b"")[:500]
        assert set(garbage.headers) == set(record.get("headers", {}))
        assert after == sent

    def test_takes_the_key_of_a_record_where_the_format_has_none(self, shared: Kafka, servers: str, topic: str) -> None:
        """Other systems say the order by nothing else; one that is no text is shown as one."""
        producer: Any = confluent_kafka.Producer({"bootstrap.servers": servers})
        headers = {"ce_specversion": "1.0", "ce_id": str(uuid7()), "ce_type": "OrderPlaced", "ce_source": "elsewhere"}
        for key in ("Zoë".encode(), b"\xff\x01", None, b"x" * 300):
            producer.produce(shared.prefix + topic, b"{}", key, headers=headers)
        assert not producer.flush(5)

        *arrived, long = drain(shared.feeds("mailing", [topic])[0])

        assert [e.key for e in arrived] == ["Zoë", "\\xff\x01", ""]
        assert isinstance(long, Garbage)


class TestRefusals:
    """What the cluster will not have."""

    @pytest.mark.parametrize("code", ["UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED"])
    def test_refuses_what_goes_to_a_topic_that_it_may_not_write(
        self, cluster: KafkaCluster, prefix: str, code: str
    ) -> None:
        """At its first event, with the topic and the reason; other topics go on."""
        topic, other = f"topic-{uuid7()}", f"topic-{uuid7()}"
        cluster.fail_topic(prefix + topic, code)
        broker = Kafka(cluster.servers, prefix=prefix)
        sent = [envelope(topic, key="a"), envelope(other, key="a"), envelope(topic, key="a"), envelope(topic)]

        receipts = broker.publish(sent, deadline=DEADLINE)

        assert statuses(receipts) == ["refused", "accepted", "unknown", "refused"]
        assert prefix + topic in receipts[0].reason

    def test_finds_the_record_on_whose_account_a_batch_is_refused(
        self, cluster: KafkaCluster, shared: Kafka, topic: str
    ) -> None:
        """A batch is refused as a whole; in halves all others get through, and none overtakes one of its key."""
        sent = [envelope(topic, key=key) for key in "abacaab"]
        cluster.fail(
            "Produce", "INVALID_RECORD", "INVALID_RECORD", "INVALID_RECORD"
        )  # of 7, of the first 3, of the first

        receipts = shared.publish(sent, deadline=DEADLINE)

        assert statuses(receipts) == ["refused", "accepted", "unknown", "accepted", "unknown", "unknown", "accepted"]
        assert drain(shared.feeds("mailing", [topic])[0]) == [sent[1], sent[3], sent[6]]

    def test_lets_nothing_overtake_a_wave_that_is_refused(self, cluster: KafkaCluster, prefix: str, topic: str) -> None:
        """What does not fit into one batch waits until that was taken: else it might be taken in its stead."""
        broker = Kafka(cluster.servers, prefix=prefix, options={"message.max.bytes": 2000, **OPTIONS})
        sent = [envelope(topic, key="a", payload=b"x" * 1000) for _ in range(5)]
        broker.publish([envelope(topic)], deadline=DEADLINE)
        cluster.fail("Produce", "INVALID_RECORD")

        receipts = broker.publish(sent, deadline=DEADLINE)

        assert statuses(receipts) == ["refused", *["unknown"] * 4]
        assert len(records(cluster.servers, prefix + topic)) == 1

    @pytest.mark.parametrize(
        "codes",
        [
            ["NOT_LEADER_FOR_PARTITION", "NOT_LEADER_FOR_PARTITION"],
            ["REQUEST_TIMED_OUT"],
            ["NOT_ENOUGH_REPLICAS", "_TRANSPORT"],
        ],
        ids=" ".join,
    )
    def test_tries_again_what_only_needs_time(
        self, cluster: KafkaCluster, shared: Kafka, topic: str, codes: list[str]
    ) -> None:
        """Leaders move, replicas lag, connections break: all of it arrives, once and in order."""
        sent = [envelope(topic, key="a") for _ in range(20)]
        cluster.fail("Produce", *codes)

        receipts = shared.publish(sent, deadline=DEADLINE)

        assert set(receipts) == {ACCEPTED}
        assert drain(shared.feeds("mailing", [topic])[0]) == sent


@pytest.fixture
def private() -> Iterator[KafkaCluster]:
    """Run a cluster that may be harmed."""
    with kafka_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def broker(private: KafkaCluster) -> Iterator[Kafka]:
    """Open a broker that has published, to topics of one partition."""
    private.create("orders")
    broker = Kafka(private.servers, options=OPTIONS, timeout=0.5)
    broker.publish([envelope("orders")], deadline=DEADLINE)
    yield broker
    broker.close()


class TestOutages:
    """Brokers that are down, hang, or are slow."""

    def test_is_down_while_no_broker_answers_and_up_again_after(self, private: KafkaCluster, broker: Kafka) -> None:
        """Whatever is asked of it; one object serves as long as the process runs."""
        feed = joined(broker)
        deliveries = patiently(lambda: feed.fetch(1))
        private.down()

        for call in (
            lambda: broker.publish([envelope("orders")], deadline=0.3),
            lambda: broker.ping(deadline=0.3),
            lambda: feed.acknowledge(deliveries),
            lambda: feed.fetch(1),
            lambda: broker.promise,
            lambda: broker.feeds("mailing", ["orders"]),
        ):
            began = time.monotonic()
            with pytest.raises(BrokerDown, match=r"<Kafka 127\.0\.0\.1"):
                call()
            assert time.monotonic() - began < 5

        private.up()
        sent = envelope("orders")
        assert published_at_last(broker, sent) == ACCEPTED
        assert read_until(feed, sent)[-1] == sent

    def test_returns_at_its_deadline_when_nothing_is_answered(self, private: KafkaCluster, broker: Kafka) -> None:
        """And it sends nothing of it any more, except what was under way."""
        first, second = envelope("orders", key="a"), envelope("orders", key="a")
        with private.paused():
            began = time.monotonic()
            with pytest.raises(BrokerDown):
                broker.publish([first], deadline=0.4)
            spent = time.monotonic() - began

        receipt = published_at_last(broker, second)
        arrived = read_until(joined(broker), second)[1:]
        assert 0.3 < spent < 1.5
        assert receipt == ACCEPTED
        assert [e for e in arrived if e != first] == [second]

    def test_takes_an_event_that_is_late_for_unknown(self, private: KafkaCluster, broker: Kafka) -> None:
        """A broker that is slow has it all the same; the event is sent again, and dropped where it was seen."""
        sent = envelope("orders", key="a")
        private.rtt(600)
        with pytest.raises(BrokerDown):
            broker.publish([sent], deadline=0.3)
        private.rtt(0)

        receipt = published_at_last(broker, sent)

        assert receipt == ACCEPTED
        assert set(map(id_of, read_until(joined(broker), sent)[1:])) == {sent.id}

    def test_tells_a_partition_whose_leader_is_gone_from_an_event_that_is_to_blame(
        self, private: KafkaCluster, broker: Kafka
    ) -> None:
        """What goes to other partitions is accepted; a ping asks those that did not answer."""
        private.create("elsewhere")
        private.lead("elsewhere", 0, 1)
        private.lead("orders", 0, 2)
        broker.publish([envelope("elsewhere"), envelope("orders")], deadline=DEADLINE)
        private.down(2)

        receipts = broker.publish([envelope("elsewhere"), envelope("orders", key="a")], deadline=0.5)

        assert statuses(receipts) == ["accepted", "unknown"]
        with pytest.raises(BrokerDown):
            broker.ping(deadline=0.5)
        private.up(2)
        assert published_at_last(broker, envelope("orders", key="a")) == ACCEPTED
        broker.ping(deadline=1)

    def test_follows_leaders_and_coordinators_that_move(self, private: KafkaCluster, broker: Kafka) -> None:
        """Nothing is lost, and nothing comes twice."""
        feed = joined(broker)
        fetched(feed, 1)
        sent = [envelope("orders", key="a") for _ in range(4)]
        for leader, one in zip((1, 2, 1, 2), sent, strict=True):
            private.lead("orders", 0, leader)
            private.coordinate("mailing", 3 - leader)
            broker.publish([one], deadline=DEADLINE)

            assert contents(fetched(feed, 100)) == [one]

    def test_is_not_spoilt_by_an_interruption(self, private: KafkaCluster, broker: Kafka) -> None:
        """A call that a signal ends, as a time limit of Celery does, leaves nothing that is sent later."""
        before, after = envelope("orders", key="a"), envelope("orders", key="a")
        with private.paused(), pytest.raises(Interrupted), interrupted_after(0.2):
            broker.publish([before], deadline=DEADLINE)

        receipt = published_at_last(broker, after)

        assert receipt == ACCEPTED
        assert [e for e in read_until(joined(broker), after)[1:] if e != before] == [after]

    def test_keeps_parent_and_child_apart_after_a_fork(self, private: KafkaCluster, broker: Kafka) -> None:
        """Both publish with one object, and the child ends without waiting for threads that it does not have."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks while there are threads
            child = os.fork()
        if child == 0:
            os._exit(published(broker, 20) != 20)

        ours = published(broker, 20)

        assert ours == 20
        assert os.waitpid(child, 0)[1] == 0
        assert len(records(private.servers, "orders")) == 41


def patiently(call: Callable[[], Found]) -> Found:
    """Call as relays and fetchers do: again, until the broker is up."""
    until = time.monotonic() + 10
    while True:
        try:
            return call()
        except BrokerDown:
            if time.monotonic() > until:
                raise


def published_at_last(broker: Kafka, sent: Envelope) -> Receipt:
    return patiently(lambda: broker.publish([sent], deadline=2.0)[0])


def joined(broker: Kafka) -> KafkaFeed:
    """Open the feed of the orders."""
    return patiently(lambda: broker.feeds("mailing", ["orders"]))[0]


def read_until(feed: KafkaFeed, last: Envelope) -> list[Envelope | Garbage]:
    """Fetch and acknowledge all that comes before an envelope, and this."""
    arrived: list[Envelope | Garbage] = []
    while last not in arrived:
        arrived += contents(fetched(feed, 100))
    return arrived


def id_of(content: Envelope | Garbage) -> UUID:
    assert isinstance(content, Envelope)
    return content.id


def published(broker: Kafka, times: int) -> int:
    """Publish as often and return how many were accepted; raise nothing, as a forked child must not."""
    try:
        return sum(broker.publish([envelope("orders")], deadline=DEADLINE) == [ACCEPTED] for _ in range(times))
    except BrokerDown:
        return -1


#: Fetches and acknowledges two messages for each line; its sessions, if there were any, would last a second.
FETCHING = """
import sys
from simplecqrs.brokers.kafka import Kafka
options = {"fetch.wait.max.ms": 2, "session.timeout.ms": 1000, "heartbeat.interval.ms": 300}
feed, = Kafka(sys.argv[1], prefix=sys.argv[2], options=options).feeds("mailing", [sys.argv[3]])
for _ in sys.stdin:
    deliveries = feed.fetch(2)
    feed.acknowledge(deliveries)
    print(*[delivery.id for delivery in deliveries], flush=True)
"""


def commit(servers: str, group: str, topic: str, offset: int) -> None:
    """Put a consumer elsewhere, as an operator does."""
    client: Any = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": group})
    client.commit(offsets=[confluent_kafka.TopicPartition(topic, 0, offset)], asynchronous=False)


class TestConsumers:
    """Fetchers of one consumer, and what others do to it."""

    def test_lets_two_fetchers_take_turns(self, cluster: KafkaCluster, prefix: str, topic: str) -> None:
        """Whoever has the lock goes on where the other has stored; nothing comes twice, and nothing is left out."""
        brokers = [Kafka(cluster.servers, prefix=prefix, options=OPTIONS) for _ in range(2)]
        sent = [envelope(topic, key=str(n % 3)) for n in range(60)]
        brokers[0].publish(sent, deadline=DEADLINE)
        feeds = [broker.feeds("mailing", [topic])[0] for broker in brokers]

        arrived = [content for turn in range(12) for content in contents(fetched(feeds[turn % 2], 5))]

        assert arrived == sent

    def test_does_not_send_others_back_when_it_was_stopped_for_a_while(
        self, cluster: KafkaCluster, prefix: str, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A late acknowledgement changes nothing; nobody was thrown out of anything meanwhile."""
        monkeypatch.setattr(kafka_feed, "LOOK", 0.0)  # it was stopped for longer
        brokers = [Kafka(cluster.servers, prefix=prefix, options=OPTIONS) for _ in range(2)]
        sent = [envelope(topic) for _ in range(6)]
        brokers[0].publish(sent, deadline=DEADLINE)
        (zombie,), (healthy,) = (broker.feeds("mailing", [topic]) for broker in brokers)
        late = zombie.fetch(2)
        first = contents(fetched(healthy, 4))

        zombie.acknowledge(late)

        assert first == sent[:4]
        assert drain(healthy) == sent[4:]
        assert drain(zombie) == []

    def test_reads_a_backlog_without_a_break(
        self, cluster: KafkaCluster, prefix: str, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By itself librdkafka asks for nothing for a second after it had read ahead as much as it may."""
        monkeypatch.setattr(kafka_feed, "PATIENCE", 0.5)
        broker = Kafka(cluster.servers, prefix=prefix, options={**OPTIONS, "queued.min.messages": 100})
        sent = [envelope(topic) for _ in range(500)]
        for start in range(0, 500, 100):
            broker.publish(sent[start : start + 100], deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", [topic])
        arrived = contents(fetched(feed, 100))

        while len(arrived) < len(sent) and (deliveries := feed.fetch(100)):
            feed.acknowledge(deliveries)
            arrived += contents(deliveries)

        assert arrived == sent

    def test_does_not_wait_to_be_told_that_nothing_more_is_there(
        self, cluster: KafkaCluster, prefix: str, topic: str
    ) -> None:
        """A server takes its time to say so, and who fetches has work on its own side."""
        broker = Kafka(cluster.servers, prefix=prefix, options={"fetch.wait.max.ms": 3_000})
        sent = [envelope(topic) for _ in range(3)]
        broker.publish(sent, deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", [topic])
        assert contents(fetched(feed, 3)) == sent

        began = time.monotonic()

        assert feed.fetch(3) == []
        assert time.monotonic() - began < 2.5

    def test_goes_elsewhere_as_soon_as_it_has_gone_somewhere(self, shared: Kafka, topic: str) -> None:
        """Before 2.16, librdkafka ends the process if partitions are assigned anew while it lets go of them."""
        sent = [envelope(topic) for _ in range(3)]
        shared.publish(sent, deadline=DEADLINE)

        for _ in range(60):
            (feed,) = shared.feeds("mailing", [topic])
            feed.rewind_to("0:2")
            feed.rewind(None)
            again = feed.fetch(1)
            feed.rewind_to("0:1")
            feed.close()

        assert contents(again) == sent[:1]
        assert contents(fetched(shared.feeds("mailing", [topic])[0], 5)) == sent[1:]

    def test_goes_on_after_it_was_stopped_for_longer_than_a_session(
        self, cluster: KafkaCluster, shared: Kafka, topic: str
    ) -> None:
        """Nobody has thrown it out, since it is a member of nothing."""
        shared.publish([envelope(topic) for _ in range(4)], deadline=DEADLINE)
        command = [sys.executable, "-c", FETCHING, cluster.servers, shared.prefix, topic]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as fetcher:
            assert fetcher.stdin is not None
            assert fetcher.stdout is not None
            print(file=fetcher.stdin, flush=True)
            first = fetcher.stdout.readline()

            fetcher.send_signal(signal.SIGSTOP)
            os.waitpid(fetcher.pid, os.WUNTRACED)
            time.sleep(1.2)
            fetcher.send_signal(signal.SIGCONT)
            print(file=fetcher.stdin, flush=True)
            second = fetcher.stdout.readline()

        assert (first, second) == ("0:0 0:1\n", "0:2 0:3\n")

    def test_goes_where_an_operator_puts_it(self, cluster: KafkaCluster, shared: Kafka, topic: str) -> None:
        """The server's offsets are the truth, back or forth."""
        sent = [envelope(topic) for _ in range(6)]
        shared.publish(sent, deadline=DEADLINE)
        (feed,) = shared.feeds("mailing", [topic])
        fetched(feed, 2)

        commit(cluster.servers, f"{shared.prefix}mailing", f"{shared.prefix}{topic}", 4)
        forth = contents(fetched(feed, 1))
        commit(cluster.servers, f"{shared.prefix}mailing", f"{shared.prefix}{topic}", 1)
        back = contents(fetched(feed, 1))

        assert (forth, back) == ([sent[4]], [sent[1]])

    def test_reads_partitions_that_are_added_from_their_beginning(
        self, cluster: KafkaCluster, prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also what stood in them before anybody saw them; what was stored of the others does not come again."""
        monkeypatch.setattr(kafka_feed, "PARTITIONS", 0.0)
        topic = f"topic-{uuid7()}"
        cluster.create(prefix + topic, 4)
        broker = Kafka(cluster.servers, prefix=prefix, options=OPTIONS)
        sent = [envelope(topic, key=str(n)) for n in range(40)]
        broker.publish(sent, deadline=DEADLINE)
        (feed,) = broker.feeds("mailing", [topic])
        feed.close()
        old = FewerPartitions(feed._connect, 2)
        feed._connect = old
        before = drain(feed)
        old.shown = 4
        after = drain(feed)

        assert 0 < len(before) < 40
        assert sorted(map(id_of, before + after)) == sorted(e.id for e in sent)

    def test_finds_a_topic_that_is_made_later(
        self, cluster: KafkaCluster, shared: Kafka, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A consumer may come before the first event, and makes no topic itself."""
        monkeypatch.setattr(kafka_feed, "NO_PARTITIONS", 0.0)
        topic = f"topic-{uuid7()}"
        (feed,) = shared.feeds("mailing", [topic])
        nothing = feed.fetch(10)
        cluster.create(shared.prefix + topic)
        sent = envelope(topic)
        shared.publish([sent], deadline=DEADLINE)

        assert list(nothing) == []
        assert drain(feed, least=1) == [sent]

    def test_says_what_the_server_dropped_before_it_was_stored(
        self, shared: Kafka, topic: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The alarm has the numbers; what is left comes."""
        (feed,) = shared.feeds("mailing", [topic])
        shared.publish([envelope(topic)], deadline=DEADLINE)
        fetched(feed, 1)
        sent = [envelope(topic, payload=b"x" * 900_000) for _ in range(12)]  # of which the mock keeps 5 MiB
        for one in sent:
            shared.publish([one], deadline=DEADLINE)
        fresh = Kafka(shared._settings.servers, prefix=shared.prefix, options=OPTIONS)

        with caplog.at_level(logging.ERROR, "simplecqrs"):
            feeds = fresh.feeds("mailing", [topic])
            arrived = drain(feeds[0])
            newcomers = drain(fresh.feeds("newcomer", [topic])[0])

        lost = 12 - len(arrived)
        assert feeds[0].lost == lost
        assert arrived == newcomers == sent[lost:]
        assert lost > 0
        (record,) = caplog.records
        assert f"{topic}[0]: {lost} messages are gone that {shared.prefix}mailing had not stored, from 1 to {lost}" in (
            record.getMessage()
        )

    def test_begins_anew_where_a_topic_was_made_anew(
        self, cluster: KafkaCluster, shared: Kafka, topic: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its place is beyond the end; what has been seen is dropped at the door."""
        commit(cluster.servers, f"{shared.prefix}mailing", f"{shared.prefix}{topic}", 100)
        sent = [envelope(topic), envelope(topic)]
        shared.publish(sent, deadline=DEADLINE)

        with caplog.at_level(logging.ERROR, "simplecqrs"):
            arrived = drain(shared.feeds("mailing", [topic])[0])

        assert arrived == sent
        assert "ends at 2" in caplog.text

    def test_notices_a_cluster_that_was_restored_from_an_earlier_copy(
        self, shared: Kafka, topic: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """By the mark that somebody has kept; the other way round nothing is wrong."""
        shared.publish([envelope(topic) for _ in range(3)], deadline=DEADLINE)
        (feed,) = shared.feeds("mailing", [topic])
        drain(feed)

        mark = feed.mark
        feed.compare("0:2")
        before = feed.lost
        feed.compare("0:9 1:1")

        assert (mark, before, feed.lost) == ("0:3", 0, 2)
        assert "[0] ends at 3, and" in caplog.text

    def test_goes_back_to_what_came_at_a_time(self, shared: Kafka, topic: str) -> None:
        """Where the server says where that is; where nothing came since, to the end."""
        sent = [envelope(topic) for _ in range(4)]
        shared.publish(sent, deadline=DEADLINE)
        (feed,) = shared.feeds("mailing", [topic])
        drain(feed)
        feed.close()
        feed._connect = Timing(feed._connect, {1_000: 2})

        feed.rewind(datetime.fromtimestamp(1, timezone.utc))
        again = drain(feed)
        feed.rewind(datetime.fromtimestamp(2, timezone.utc))

        assert (again, drain(feed)) == (sent[2:], [])

    def test_stays_where_it_was_put_though_somebody_was_about_to_commit(
        self, cluster: KafkaCluster, shared: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was fetched before is acknowledged a moment later, and changes nothing."""
        sent = [envelope(topic) for _ in range(3)]
        shared.publish(sent, deadline=DEADLINE)
        (feed,) = shared.feeds("mailing", [topic])
        place = (cluster.servers, f"{shared.prefix}mailing", f"{shared.prefix}{topic}", 3)
        monkeypatch.setattr(kafka_feed, "settle", lambda: commit(*place))

        feed.rewind(None)

        assert drain(shared.feeds("mailing", [topic])[0]) == sent

    @pytest.mark.parametrize(
        ("api", "code"),
        [
            ("OffsetFetch", "NOT_COORDINATOR"),
            ("OffsetCommit", "COORDINATOR_NOT_AVAILABLE"),
            ("OffsetCommit", "_TRANSPORT"),
            ("Fetch", "NOT_LEADER_FOR_PARTITION"),
            ("Fetch", "_TRANSPORT"),
        ],
    )
    def test_waits_for_what_passes(self, cluster: KafkaCluster, shared: Kafka, topic: str, api: str, code: str) -> None:
        """Within the call, or as an outage that ends; all arrives, in order."""
        sent = [envelope(topic) for _ in range(4)]
        shared.publish(sent, deadline=DEADLINE)
        (feed,) = shared.feeds("mailing", [topic])
        first = contents(fetched(feed, 2))
        cluster.fail(api, code)

        second = contents(fetched(feed, 2))
        cluster.fail_no_more(api)

        assert first + second == sent

    def test_says_that_others_are_members_of_its_group(self, cluster: KafkaCluster, shared: Kafka, topic: str) -> None:
        """Then the server takes no offsets from us; the batch comes again."""
        shared.publish([envelope(topic)], deadline=DEADLINE)
        (feed,) = shared.feeds("mailing", [topic])
        deliveries = feed.fetch(1)
        cluster.fail("OffsetCommit", "UNKNOWN_MEMBER_ID")

        with pytest.raises(BrokerDown, match="ember"):
            feed.acknowledge(deliveries)

        assert contents(fetched(feed, 1)) == contents(deliveries)

    def test_says_that_it_may_not_read(self, cluster: KafkaCluster, shared: Kafka, topic: str) -> None:
        """As long as that is so."""
        sent = envelope(topic)
        shared.publish([sent], deadline=DEADLINE)
        cluster.fail("OffsetFetch", "GROUP_AUTHORIZATION_FAILED")

        with pytest.raises(BrokerDown, match="authoriz"):
            shared.feeds("mailing", [topic])

        assert drain(shared.feeds("mailing", [topic])[0]) == [sent]

    def test_reads_all_when_it_may_though_it_could_not_ask_where_it_was(
        self, cluster: KafkaCluster, shared: Kafka, topic: str
    ) -> None:
        """It has connected anew, and nothing was assigned before the first answer failed."""
        sent = envelope(topic)
        shared.publish([sent], deadline=DEADLINE)
        (feed,) = shared.feeds("mailing", [topic])
        feed.close()
        cluster.fail("OffsetFetch", "GROUP_AUTHORIZATION_FAILED")

        with pytest.raises(BrokerDown, match="authoriz"):
            feed.fetch(1)

        assert contents(fetched(feed, 1)) == [sent]


def fetched(feed: KafkaFeed, limit: int) -> Sequence[Delivery]:
    """Fetch until something is there, and acknowledge; again after what passes."""
    deliveries: Sequence[Delivery] = ()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with suppress(BrokerDown):
            deliveries = deliveries or feed.fetch(limit)
            if deliveries:
                feed.acknowledge(deliveries)
                return deliveries
        time.sleep(0.005)
    raise AssertionError("nothing comes")


class FewerPartitions:
    """Connects to a cluster that seems to have fewer partitions than it has: the mock cannot get more."""

    def __init__(self, connect: Callable[[], Client], shown: int) -> None:
        self.connect = connect
        self.shown = shown

    def __call__(self) -> Client:
        client = self.connect()
        return Client(Hiding(client.handle, self), client.troubles, client.errors)


class Timing:
    """Connects to a server that knows at which milliseconds offsets came; the mock does not."""

    def __init__(self, connect: Callable[[], Client], offsets: dict[int, int]) -> None:
        self._connect = connect
        self._offsets = offsets

    def __call__(self) -> Client:
        client = self._connect()
        client.handle = Known(client.handle, self._offsets)
        return client


class Known:
    """A client of the library, which is told what the server knows."""

    def __init__(self, handle: Any, offsets: dict[int, int]) -> None:
        self._handle = handle
        self._offsets = offsets

    def offsets_for_times(self, spots: list[Any], *, timeout: float) -> list[Any]:
        for spot in spots:
            spot.offset = self._offsets.get(spot.offset, -1)
        return spots

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


class Hiding:
    """A client of the library, to which not all partitions are shown."""

    def __init__(self, handle: Any, fewer: FewerPartitions) -> None:
        self.handle = handle
        self.fewer = fewer

    def list_topics(self, topic: str, timeout: float) -> Any:
        found = self.handle.list_topics(topic, timeout=timeout)
        partitions = found.topics[topic].partitions
        found.topics[topic].partitions = {p: partitions[p] for p in sorted(partitions)[: self.fewer.shown]}
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handle, name)


class TestOptions:
    """What librdkafka is told, and what is told of it."""

    def test_takes_what_librdkafka_takes(self, cluster: KafkaCluster, prefix: str, topic: str) -> None:
        """Such as compression; names and values are its own."""
        broker = Kafka(cluster.servers, prefix=prefix, options={"compression.type": "gzip", **OPTIONS})
        sent = envelope(topic, payload=b"x" * 10_000)

        broker.publish([sent], deadline=DEADLINE)

        assert drain(broker.feeds("mailing", [topic])[0]) == [sent]

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"acks": "1", "linger.ms": 5}, "must not contain acks, linger.ms"),
            ({"retires": 3}, "retires"),
            (
                {"sasl.mechanism": "PLAIN", "sasl.password": "s3cret", "fetch.wait.max.ms": "s3cret"},
                "fetch.wait.max.ms",
            ),
            ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere"}, "ssl.ca.location"),
        ],
    )
    def test_names_the_option_that_cannot_be(self, options: dict[str, Any], reason: str) -> None:
        """When it is made, not when it is used; and shows no password."""
        with pytest.raises(NotConfigured, match=reason) as caught:
            Kafka("localhost:9092", options=options)

        assert "s3cret" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_asks_for_servers(self) -> None:
        """An empty setting is found at once."""
        with pytest.raises(NotConfigured, match="host:port"):
            Kafka("")

    def test_shows_no_password(
        self, cluster: KafkaCluster, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Neither in its repr, nor in an error, nor in a log line, at whatever level, nor on the terminal."""
        options = {
            "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "shop",
            "sasl.password": "s3cret", "debug": "all", "log_level": 7,
        }  # fmt: skip
        broker = Kafka(cluster.servers, options=options, timeout=0.5)

        with caplog.at_level(logging.DEBUG), pytest.raises(BrokerDown) as caught:
            broker.publish([envelope("orders")], deadline=0.5)
        broker.close()

        chain = [caught.value, caught.value.__cause__, caught.value.__context__]
        assert "rdkafka#producer" in caplog.text
        assert "s3cret" not in f"{broker!r} {chain} {caplog.text} {broker._settings!r}"
        assert capfd.readouterr() == ("", "")

    def test_says_nothing_on_the_terminal(
        self, private: KafkaCluster, broker: Kafka, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Not even in an outage: librdkafka's lines go to logging."""
        private.down()
        for call in (
            lambda: broker.publish([envelope("orders")], deadline=0.2),
            lambda: broker.feeds("mailing", ["orders"]),
        ):
            with pytest.raises(BrokerDown):
                call()

        assert capfd.readouterr() == ("", "")

    def test_opens_nothing_before_it_is_used(self, cluster: KafkaCluster) -> None:
        """Constructing it makes no connection."""
        with fault_proxy("127.0.0.1", int(cluster.servers.partition(",")[0].rpartition(":")[2])) as proxy:
            broker = Kafka(f"127.0.0.1:{proxy.port}")
            before = proxy.connections
            broker.ping(deadline=2)

        assert (before, proxy.connections) == (0, 1)

    def test_says_what_an_acknowledgement_rests_on(self, shared: Kafka) -> None:
        """As far as the server tells; the mock does not show its configuration."""
        assert shared.promise == "stored"
        assert shared.promise_detail.startswith("acks=all, ")
        assert "min.insync.replicas" in shared.promise_detail

    def test_imports_the_library_only_when_it_is_used(self) -> None:
        """Importing the adapter imports no client library."""
        program = "import sys, simplecqrs.brokers.kafka; sys.exit('confluent_kafka' in sys.modules)"

        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

    def test_names_the_extra_when_the_library_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Constructing the adapter fails, and says what to install."""
        monkeypatch.setitem(sys.modules, "confluent_kafka", None)

        with pytest.raises(MissingExtra, match=r"simplecqrs\[kafka\]"):
            Kafka("localhost:9092")


def test_a_child_that_uses_nothing_ends_at_once(shared: Kafka) -> None:
    """It does not wait for its parent's threads when its objects are dropped."""
    shared.ping(deadline=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks while there are threads
        child = os.fork()
    if child == 0:
        began = time.monotonic()
        shared._producer = None
        os._exit(time.monotonic() - began > 5)

    assert os.waitpid(child, 0)[1] == 0
