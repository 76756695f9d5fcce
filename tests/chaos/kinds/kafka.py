"""
Kafka under fire: the real client library, and librdkafka's mock cluster in a process of its own.

What the mock has taken is in its memory, and of that it keeps 5 MiB a partition; so a kill closes ports and connections
only, and the log is read along.  It tells clients where each broker is, so that no proxy can stand in between: cuts are
answers by which it fails, and lost connections.  Its brokers close a connection on which too large a request comes.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import define, evolve, field, frozen

from simplecqrs.envelope import Envelope
from tests.chaos.checker import Entry, Fact
from tests.chaos.kinds.port import Kind, Server
from tests.chaos.proxy import Cut

__all__ = ["KAFKA", "too_large"]

#: Bytes of a request that a broker bears.
LARGEST = 4_000_000
#: How requests fail.
FAILURES = (
    ("Produce", "NOT_LEADER_FOR_PARTITION"),
    ("Produce", "REQUEST_TIMED_OUT"),
    ("Produce", "NOT_ENOUGH_REPLICAS"),
    ("Produce", "_TRANSPORT"),
    ("Fetch", "_TRANSPORT"),
    ("OffsetCommit", "COORDINATOR_NOT_AVAILABLE"),
    ("OffsetCommit", "_TRANSPORT"),
    ("OffsetFetch", "NOT_COORDINATOR"),
)


def too_large(envelope: Envelope) -> Envelope:
    """Make an event one on which a broker closes the connection."""
    return evolve(envelope, payload=b"x" * (LARGEST + 1))


@frozen
class _Cluster:
    cluster: Any

    @property
    def url(self) -> str:
        return str(self.cluster.servers)

    def kill(self) -> None:
        self.cluster.down()

    def start(self) -> None:
        self.cluster.up()

    def pause(self) -> None:
        self.cluster.pause()

    def resume(self) -> None:
        self.cluster.resume()


class _Reader(threading.Thread):
    """Reads a topic of one partition along."""

    def __init__(self, servers: str, topic: str) -> None:
        super().__init__(daemon=True)
        import confluent_kafka

        settings: dict[str, Any] = {"bootstrap.servers": servers, "group.id": "log", "log_level": 0}
        self.entries: list[Entry] = []
        self._done = threading.Event()
        self._client: Any = confluent_kafka.Consumer({**settings, "fetch.wait.max.ms": 5})
        self._place = confluent_kafka.TopicPartition(topic, 0, 0)

    def run(self) -> None:
        self._client.assign([self._place])
        while not self._done.is_set():
            self.entries += [_entry(message) for message in self._client.consume(500, 0.1) if message.error() is None]

    def finish(self) -> Sequence[Entry]:
        """Return all, when nothing has come for a while."""
        known = -1
        while known != len(self.entries):
            known = len(self.entries)
            self._done.wait(2)
        self._done.set()
        self.join()
        return self.entries


def _entry(message: Any) -> Entry:
    payload, headers = json.loads(message.value()), dict(message.headers())
    return Entry(headers["ce_id"].decode().replace("-", ""), Fact(payload["key"], payload["version"], payload["deed"]))


#: By the addresses of their brokers.
_clusters: dict[str, Any] = {}
_readers: dict[tuple[str, str], _Reader] = {}


@contextmanager
def _serve() -> Iterator[Server]:
    pytest.importorskip("confluent_kafka")
    from tests.kafka_cluster import kafka_cluster

    with kafka_cluster(largest=LARGEST) as cluster:
        _clusters[cluster.servers] = cluster
        yield _Cluster(cluster)


def _topic(prefix: str) -> str:
    return f"{prefix}bumps".replace(":", "-")


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    topic = _topic(prefix)
    if (url, topic) not in _readers:
        _clusters[url].create(topic)
        _readers[url, topic] = _Reader(url, topic)
        _readers[url, topic].start()
    options = {"message.max.bytes": 2 * LARGEST, "fetch.wait.max.ms": 5}
    return {"servers": url, "prefix": prefix.replace(":", "-"), "options": options}


def _log(url: str, prefix: str) -> Sequence[Entry]:
    return _readers.pop((url, _topic(prefix))).finish()


@define
class _Failing:
    """Lets requests of the cluster fail, one at a time."""

    url: str
    marker: bytes = b""
    cuts: int = 0
    _lot: random.Random = field(factory=lambda: random.Random(19))

    def start(self) -> str:
        return self.url

    def begin(self, cut: Cut | None = None) -> None:
        _clusters[self.url].fail(*self._lot.choice(FAILURES))
        self.cuts = 1

    def close(self) -> None:
        _clusters.pop(self.url)


KAFKA = Kind(
    name="kafka",
    serve=_serve,
    backend="simplecqrs.brokers.kafka.Kafka",
    options=_options,
    log=_log,
    breaker="tests.chaos.kinds.kafka.too_large",
    between=_Failing,
    marks=[pytest.mark.services, pytest.mark.kafka],
)
