"""Kafka by hand: an idempotent producer with a callback for each message, and offsets committed after the commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from benchmarks.brokers.once import once
from benchmarks.brokers.port import Contender
from simplecqrs.envelope import Envelope

__all__ = ["KAFKA"]

GROUP = "by-hand"
#: The mock lets who waits for messages wait to the end, even if some come.
WAIT = {"fetch.wait.max.ms": 5}
#: Milliseconds after which a broker answers, as one does that writes, and waits for its replicas.
ANSWER = 5


class KafkaByHand:
    """confluent-kafka, as somebody uses it who knows it well."""

    def __init__(self, url: str, prefix: str) -> None:
        from confluent_kafka import Consumer, Producer

        self._servers = {"bootstrap.servers": url, "log_level": 2}
        self._prefix = prefix.replace(":", "-")
        self._producer: Any = Producer({**self._servers, "enable.idempotence": True, "acks": "all", "linger.ms": 1000})
        self._make: Any = Consumer
        self._consumers: dict[str, Any] = {}

    def join(self, topic: str, /) -> None:
        """Read all partitions: who is alone needs no group's members."""
        settings = {"group.id": GROUP, "enable.auto.commit": False, **WAIT}
        consumer = self._consumers[topic] = self._make({**self._servers, **settings})
        found = self._producer.list_topics(self._prefix + topic, timeout=5).topics[self._prefix + topic]
        consumer.assign([_spot(self._prefix + topic, partition, 0) for partition in found.partitions])

    def publish(self, topic: str, envelopes: Sequence[Envelope], /) -> None:
        """Produce all, flush, and see what was reported of each: one batch at a time, or a refusal spoils the order."""
        outcomes: dict[int, Any] = {}

        def report(number: int, error: Any, _: Any) -> None:
            outcomes[number] = error

        for number, envelope in enumerate(envelopes):
            key, headers = envelope.key.encode(), _headers(envelope)
            callback = partial(report, number)
            self._producer.produce(self._prefix + topic, envelope.payload, key, headers=headers, on_delivery=callback)
        self._producer.flush(30)
        failed = [number for number in range(len(envelopes)) if outcomes.get(number, "unknown") is not None]
        assert not failed, failed

    def consume(self, topic: str, /) -> None:
        """Read 500 at a time; a crash brings them again, and the rows that remember them drop them."""
        consumer, ends = self._consumers[topic], self._ends(topic)
        while ends:
            messages = [message for message in consumer.consume(500, 0.01) if message.error() is None]
            for message in messages:
                headers = dict(message.headers())
                once(headers["ce_source"].decode(), headers["ce_id"].decode(), message.value())
            last = {message.partition(): message.offset() + 1 for message in messages}
            if last:
                spots = [_spot(self._prefix + topic, partition, offset) for partition, offset in last.items()]
                consumer.commit(offsets=spots, asynchronous=False)
            ends = {partition: end for partition, end in ends.items() if last.get(partition, 0) < end}

    def _ends(self, topic: str) -> dict[int, int]:
        """Return where partitions end that are not read to their end."""
        consumer = self._consumers[topic]
        ends = consumer.offsets_for_times([_spot(s.topic, s.partition, -1) for s in consumer.assignment()], timeout=5)
        starts = {s.partition: max(s.offset, 0) for s in consumer.committed(ends, timeout=5)}
        return {spot.partition: spot.offset for spot in ends if spot.offset > starts[spot.partition]}

    def clear(self, topic: str, /) -> None:
        """Leave it: brokers drop what is old by themselves, and who publishes only has not read it."""


def _spot(topic: str, partition: int, offset: int) -> Any:
    from confluent_kafka import TopicPartition

    return TopicPartition(topic, partition, offset)


def _headers(envelope: Envelope) -> list[tuple[str, str]]:
    return [
        ("ce_specversion", "1.0"),
        ("ce_id", str(envelope.id)),
        ("ce_source", envelope.source),
        ("ce_type", envelope.name),
        ("ce_time", envelope.time.isoformat()),
        ("ce_cqrskind", envelope.kind),
        ("ce_cqrsversion", str(envelope.version)),
        ("ce_partitionkey", envelope.key),
        ("ce_correlationid", envelope.correlation_id),
        ("content-type", envelope.content_type),
    ]


@contextmanager
def _serve() -> Iterator[str]:
    if find_spec("confluent_kafka") is None:
        yield ""
        return
    from tests.kafka_cluster import kafka_cluster

    with kafka_cluster() as cluster:
        cluster.rtt(ANSWER)
        yield cluster.servers


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    return {"servers": url, "prefix": prefix.replace(":", "-"), "options": WAIT}


def _about(_: str) -> Mapping[str, str]:
    import confluent_kafka

    library = f"librdkafka {confluent_kafka.libversion()[0]}"
    what = "its mock cluster of three brokers in another process, in memory; topics have 4 partitions"
    return {library: f"{what}; a broker answers after {ANSWER} ms"}


KAFKA = Contender(
    name="Kafka",
    serve=_serve,
    backend="simplecqrs.brokers.kafka.Kafka",
    options=_options,
    by_hand=KafkaByHand,
    about=_about,
)
