"""The acceptance row of Kafka: 41."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from attrs import frozen

from django_cqrs.brokers import broker
from django_cqrs.models import Inbox, Outbox, ParkedOutbox
from simplecqrs import NotificationEvent
from simplecqrs.errors import NotConfigured
from tests.desk.project import Project
from tests.kafka_cluster import KafkaCluster, kafka_cluster

confluent_kafka = pytest.importorskip("confluent_kafka")
pytestmark = [pytest.mark.usefixtures("committed"), pytest.mark.services, pytest.mark.kafka]


@frozen
class Posted(NotificationEvent, name="Posted", topic="letters", key="who"):
    """A letter is on its way."""

    who: str
    step: int = 0


@frozen
class Lost(NotificationEvent, name="Lost", topic="losses"):
    """A letter is gone."""

    who: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Run a cluster."""
    with kafka_cluster() as cluster:
        yield cluster


@pytest.fixture
def prefix(cluster: KafkaCluster, project: Project, settings: Any) -> Iterator[str]:
    """Let both topics go by Kafka, under names of the test's own; a consumer reads one of them."""
    prefix = f"row41-{uuid4().hex}-"
    options = {"servers": cluster.servers, "prefix": prefix, "options": {"fetch.wait.max.ms": 5}}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"kafka": {"BACKEND": "simplecqrs.brokers.kafka.Kafka", "OPTIONS": options}},
        "ROUTES": {"*": "kafka"},
        "CONSUMERS": {"reader": {"broker": "kafka", "topics": ["letters"]}},
    }
    with closing(broker("kafka")):  # type: ignore[type-var]
        yield prefix


def read(cluster: KafkaCluster, topic: str) -> list[Any]:
    """Return all that is in a topic, without us."""
    reader: Any = confluent_kafka.Consumer(
        {"bootstrap.servers": cluster.servers, "group.id": "looking", "enable.partition.eof": True}
    )
    partitions = reader.list_topics(topic, timeout=5).topics[topic].partitions
    reader.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in partitions])
    found, ends = list[Any](), 0
    while ends < len(partitions):
        messages = reader.consume(100, 0.05)
        found += [message for message in messages if message.error() is None]
        ends += sum(message.error() is not None for message in messages)
    return found


def test_row_41_each_event_has_the_topic_that_it_says(cluster: KafkaCluster, prefix: str, project: Project) -> None:
    """One producer serves all topics."""
    project.publish(Posted("ada"), Lost("ada"))

    project.ship()

    assert [message.topic() for name in ("letters", "losses") for message in read(cluster, prefix + name)] == [
        f"{prefix}letters",
        f"{prefix}losses",
    ]


def test_row_41_its_key_is_the_records_key(cluster: KafkaCluster, prefix: str, project: Project) -> None:
    """So what is about one thing stays in one partition, in its order; what has no key has none there either."""
    project.publish(*[Posted(who, step) for step in range(5) for who in ("ada", "bob", "cid")], Lost("ada"))

    project.ship()

    records = read(cluster, f"{prefix}letters")
    assert len({(record.key(), record.partition()) for record in records}) == 3
    steps = {key: [r.value() for r in records if r.key() == key] for key in (b"ada", b"bob", b"cid")}
    assert all(values == sorted(values) and len(values) == 5 for values in steps.values())
    assert [record.key() for record in read(cluster, f"{prefix}losses")] == [None]


def test_row_41_what_only_needs_time_is_tried_again(cluster: KafkaCluster, prefix: str, project: Project) -> None:
    """Whether within a call or by the relay; nobody sets a number of attempts, and nothing is given up."""
    project.publish(Posted("ada"))
    cluster.fail("Produce", "NOT_LEADER_FOR_PARTITION", "REQUEST_TIMED_OUT", "NOT_ENOUGH_REPLICAS")

    project.ship()

    assert len(read(cluster, f"{prefix}letters")) == 1
    assert not Outbox.objects.exists()
    assert not ParkedOutbox.objects.exists()


def test_row_41_options_of_sasl_and_tls_are_librdkafkas(cluster: KafkaCluster) -> None:
    """They are read when the broker is made, and a mistake in them is named; passwords are not."""
    from simplecqrs.brokers.kafka import Kafka

    options = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "shop"}
    broker = Kafka(cluster.servers, options={**options, "sasl.password": "s3cret"})

    with pytest.raises(NotConfigured, match=r"sasl\.mechanisms?"):
        Kafka(cluster.servers, options={**options, "sasl.mechanism": "", "sasl.password": "s3cret"})

    assert "s3cret" not in repr(broker)


@pytest.mark.usefixtures("prefix")
def test_row_41_a_consumer_handles_what_was_published(project: Project) -> None:
    """Once each, by way of its inbox; also what was published before it came."""
    project.consume(Posted, consumer="reader")
    project.publish(Posted("ada"), Posted("bob"), Posted("ada", 1))
    project.ship()

    project.work("reader")

    assert project.seen.index("reader ada0") < project.seen.index("reader ada1")
    assert sorted(project.seen) == ["reader ada0", "reader ada1", "reader bob0"]
    assert not Outbox.objects.exists()
    assert not Inbox.objects.exists()
