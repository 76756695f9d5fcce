"""Kafka as a broker."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final
from weakref import WeakSet

from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.kafka_batch import Batch
from simplecqrs.brokers.kafka_client import Client, Logger, Troubles
from simplecqrs.brokers.kafka_feed import KafkaFeed
from simplecqrs.brokers.kafka_reader import Reader
from simplecqrs.brokers.kafka_records import content_of
from simplecqrs.brokers.kafka_settings import Settings
from simplecqrs.brokers.kafka_topics import look_at, refusals
from simplecqrs.brokers.kafka_waves import ABOUT_TOPICS, Waves
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured
from simplecqrs.transport import UNKNOWN, Promise, Receipt

__all__ = ["Kafka"]

#: What a broker's configuration says of how many have a record before it is acknowledged.
TOLD: Final = ("min.insync.replicas", "default.replication.factor")


class Kafka:
    """
    Publish to the topics of a Kafka cluster, and read them.

    The order key is the record's key; what has none is spread over the partitions.  A consumer is a group in name
    only: its offsets are kept under its name, and the lock on its feeds says who fetches.

    Args:
        servers: ``host:port`` of one broker or more, with commas in between.
        prefix: a topic's name on the server is the prefix and the topic; a group's, the prefix and the consumer.
        format: a wire format, or its name.
        options: what librdkafka calls configuration properties: those of SASL and TLS, ``message.max.bytes`` ...
        max_bytes: what has a larger payload is read as garbage.
        timeout: seconds to wait for an answer.

    Raises:
        MissingExtra: if confluent-kafka is not installed.
        NotConfigured: if the options cannot be read, or there is no such format.
    """

    #: What traces call it.
    system = "kafka"

    def __init__(
        self,
        servers: str,
        *,
        prefix: str = "",
        format: str | WireFormat = "cloudevents",  # noqa: A002 - what settings call it
        options: Mapping[str, Any] | None = None,
        max_bytes: int = 2**20,
        timeout: float = 5.0,
    ) -> None:
        self._settings = Settings(servers, dict(options or {}))
        self.prefix = prefix
        self.max_bytes = max_bytes
        self._timeout = timeout
        self._wire = named_format(format, prefix="ce_")
        self._producer: Client | None = None
        self._feeds: WeakSet[KafkaFeed] = WeakSet()
        self._silent: set[tuple[str, int]] = set()
        _try(self._settings)

    def __repr__(self) -> str:
        return f"<Kafka {self._settings}>"

    @property
    def promise(self) -> Promise:
        """Say what an acknowledgement is worth: each replica that is in sync has written it.  Raises BrokerDown."""
        self.ping(deadline=self._timeout)
        return "stored"

    @property
    def promise_detail(self) -> str:
        """Say in words what the promise rests on, as far as the server tells.  Raises BrokerDown."""
        with self._asking():
            brokers = self._opened().handle.list_topics(timeout=self._timeout).brokers
            shown = _configuration(self._settings, next(iter(brokers)), self._timeout)
        return f"acks=all, {len(brokers)} broker{'s' * (len(brokers) != 1)}, {shown}"

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Send envelopes to the topics of their names, and wait for what librdkafka reports of each."""
        until = time.monotonic() + deadline
        if not envelopes:
            return []
        with self._asking(), self._producing() as client:
            closed = refusals(client, {f"{self.prefix}{topic}" for topic in {e.topic for e in envelopes}}, until)
            batch = Batch(self._wire, self.prefix, self._settings.largest, closed)
            batch.add(envelopes)
            waves = Waves(client, batch.records, until)
            waves.send(batch.waves())
        self._silent = waves.silent
        for feed in self._feeds:
            feed.expect()
        if waves.is_broken:
            self._producer = None  # what it has under way must not be sent any more
        receipts = batch.receipts(envelopes, waves.receipts, waves.unsent)
        if all(receipt is UNKNOWN for receipt in receipts):
            raise self._down(client.troubles.last or f"it has acknowledged nothing in {deadline} s")
        return receipts

    def ping(self, *, deadline: float) -> None:
        """Ask the cluster whether it answers, and the partitions that have not.  Raises BrokerDown."""
        until = time.monotonic() + min(deadline, self._timeout)
        with self._asking():
            client = self._opened()
            topics = {topic for topic, _ in self._silent} or set(list(client.topics)[:1])
            for topic in topics:
                found = client.handle.list_topics(topic, timeout=max(until - time.monotonic(), 0.001))
                look_at(found.topics[topic], [p for silent, p in self._silent if silent == topic])
            if not topics:
                client.handle.list_topics(timeout=max(until - time.monotonic(), 0.001))
            if self._silent:
                _ask_leaders(self._settings, self._silent, max(until - time.monotonic(), 0.001))

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[KafkaFeed]:
        """Open a feed for each topic, whatever partitions it has.  Raises BrokerDown."""
        feeds = [self._feed(consumer, topic) for topic in topics]
        self._feeds.update(feeds)
        for feed in feeds:
            feed.join()
        return feeds

    def close(self) -> None:
        """Let go of all connections.  The next call opens them again."""
        self._producer = None
        for feed in self._feeds:
            feed.close()

    def _feed(self, consumer: str, topic: str) -> KafkaFeed:
        from confluent_kafka import TopicPartition

        spot: Any = TopicPartition
        name, group = f"{self.prefix}{topic}", f"{self.prefix}{consumer}"
        content = partial(content_of, wire=self._wire, topic=topic, max_bytes=self.max_bytes)
        return KafkaFeed(
            name,
            group,
            connect=partial(_consumer, self._settings, group),
            reading=partial(Reader, name=name, spot=spot, content=content, timeout=self._timeout),
            asking=self._asking,
        )

    @contextmanager
    def _asking(self) -> Generator[None, None, None]:
        """Raise whatever goes wrong with the server as ``BrokerDown``."""
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as error:
            raise self._down(": ".join(filter(None, (_said(error), self._complaint())))) from None
        except BrokerDown as error:
            raise self._down(str(error)) from None

    def _complaint(self) -> str:
        """Return what the producer has complained of last, if there is one; this is when it hands over its log."""
        if self._producer is None or not self._producer.is_ours:
            return ""
        self._producer.handle.poll(0)
        return self._producer.troubles.last

    def _down(self, reason: str) -> BrokerDown:
        text = self._settings.scrub(reason)
        return BrokerDown(text if text.startswith(repr(self)) else f"{self!r}: {text}")

    def _opened(self) -> Client:
        if self._producer is None or not self._producer.is_ours:
            self._producer = _open("Producer", self._settings.producer())
        return self._producer

    @contextmanager
    def _producing(self) -> Generator[Client, None, None]:
        """Lend the producer; if the call is broken off, nothing that it has is sent any more."""
        client = self._opened()
        client.troubles.forget()
        try:
            yield client
        except client.errors:
            raise
        except BaseException:
            client.handle.purge(blocking=False)
            self._producer = None
            raise


def _open(kind: str, settings: Mapping[str, Any]) -> Client:
    """Make a producer or a consumer, which connects by itself."""
    import confluent_kafka

    troubles = Troubles()
    make: Any = getattr(confluent_kafka, kind)
    handle = make({**settings, "error_cb": troubles.note}, logger=Logger())
    return Client(handle, troubles, errors=(confluent_kafka.KafkaException, SystemError))


def _consumer(settings: Settings, group: str) -> Client:
    return _open("Consumer", settings.consumer(group))


def _try(settings: Settings) -> None:
    """Complain now of options that cannot be read."""
    try:
        _open("Producer", settings.unconnected())
    except ModuleNotFoundError:
        raise MissingExtra("Kafka", "kafka") from None
    except Exception as error:  # noqa: BLE001 - of many kinds, and its text may quote the password
        raise NotConfigured(f"Kafka: the options cannot be read: {settings.scrub(_said(error))}") from None


def _ask_leaders(settings: Settings, partitions: Iterable[tuple[str, int]], timeout: float) -> None:
    """Ask the brokers that lead partitions for their last offsets.  Raises BrokerDown."""
    from confluent_kafka import OFFSET_END, TopicPartition

    last: Any = OFFSET_END
    spots = [TopicPartition(topic, partition, last) for topic, partition in partitions if partition >= 0]
    if not spots:
        return
    answers: Any = _consumer(settings, "nobody").handle.offsets_for_times(spots, timeout=timeout)
    for spot in answers:
        if spot.error is not None and spot.error.name() not in ABOUT_TOPICS:
            raise BrokerDown(f"{spot.topic}[{spot.partition}]: {spot.error.str()}")


def _configuration(settings: Settings, broker: int, timeout: float) -> str:
    """Return what a broker shows of its configuration; many show nothing to whom they do not know."""
    import confluent_kafka.admin

    admin: Any = confluent_kafka.admin
    resource = admin.ConfigResource(admin.ResourceType.BROKER, str(broker))
    (answer,) = admin.AdminClient(settings.client()).describe_configs([resource], request_timeout=timeout).values()
    try:
        shown = answer.result(timeout=timeout)
    except Exception as error:  # noqa: BLE001 - it is a detail, and nobody knows how they say no
        return f"the server does not show its {' and '.join(TOLD)}: {settings.scrub(_said(error))}"
    return ", ".join(f"{name} {shown[name].value}" for name in TOLD if name in shown)


def _said(error: Exception) -> str:
    """Return what an error says, without the wrapping of the library."""
    return str(error.args[0].str()) if error.args and hasattr(error.args[0], "str") else str(error)
