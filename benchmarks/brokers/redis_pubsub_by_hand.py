"""Redis Pub/Sub, by hand: redis-py."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.brokers.once import once
from benchmarks.brokers.port import Contender
from simplecqrs.envelope import Envelope

__all__ = ["REDIS_PUBSUB", "RedisPubSubByHand"]


class RedisPubSubByHand:
    """One connection to publish by, one to listen by for each channel; a message is one JSON document."""

    def __init__(self, url: str, prefix: str) -> None:
        import redis

        self._client = redis.Redis.from_url(url)
        self._prefix = prefix
        self._listening: dict[str, Any] = {}

    def join(self, topic: str, /) -> None:
        """Subscribe."""
        listening = self._listening[topic] = self._client.pubsub(ignore_subscribe_messages=True)
        listening.subscribe(self._prefix + topic)
        listening.get_message(timeout=1)

    def publish(self, topic: str, envelopes: Sequence[Envelope], /) -> None:
        """Publish in one go."""
        pipeline = self._client.pipeline(transaction=False)
        for envelope in envelopes:
            pipeline.publish(self._prefix + topic, json.dumps(_document(envelope)))
        pipeline.execute()

    def consume(self, topic: str, /) -> None:
        """Handle each as it is heard."""
        while (message := self._listening[topic].get_message(timeout=0.01)) is not None:
            document = json.loads(message["data"])
            once(document["source"], document["id"], json.dumps(document["data"]).encode())

    def clear(self, topic: str, /) -> None:
        """Hear what was published, and forget it."""
        from django_cqrs.brokers import broker

        if topic in self._listening:
            while self._listening[topic].get_message(timeout=0.01) is not None:
                pass
        (feed,) = broker("raced").feeds("counting", [topic])
        while deliveries := feed.fetch(500):
            feed.acknowledge(deliveries)


def _document(envelope: Envelope) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(envelope.id),
        "type": envelope.name,
        "source": envelope.source,
        "time": envelope.time.isoformat(),
        "datacontenttype": envelope.content_type,
        "partitionkey": envelope.key,
        "correlationid": envelope.correlation_id,
        "version": envelope.version,
        "data": json.loads(envelope.payload),
    }


@contextmanager
def _serve() -> Iterator[str]:
    yield os.environ.get("CQRS_TEST_REDIS", "")


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    return {"url": url, "prefix": prefix}


REDIS_PUBSUB = Contender(
    name="Redis Pub/Sub",
    serve=_serve,
    backend="simplecqrs.brokers.redis_pubsub.RedisPubSub",
    options=_options,
    by_hand=RedisPubSubByHand,
)
