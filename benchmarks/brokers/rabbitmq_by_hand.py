"""RabbitMQ by hand: a batch of confirms by py-amqp, a quorum queue, and one acknowledgement for what was committed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from benchmarks.brokers.once import once
from benchmarks.brokers.port import Contender
from simplecqrs.envelope import Envelope

__all__ = ["RABBITMQ"]

PREFETCH = 500


class RabbitByHand:
    """py-amqp, as somebody uses it who has no library."""

    def __init__(self, url: str, prefix: str) -> None:
        import amqp

        parts = urlsplit(url)
        self._message = amqp.Message
        self._connection = amqp.Connection(
            f"{parts.hostname}:{parts.port}",
            unquote(parts.username or "guest"),
            unquote(parts.password or "guest"),
            virtual_host=unquote(parts.path[1:]) or "/",
            heartbeat=60,
        )
        self._connection.connect()
        self._prefix = prefix
        self._channel = self._connection.channel()
        self._channel.exchange_declare(prefix, "topic", durable=True, auto_delete=False)
        self._open: dict[int, Envelope] = {}
        self._number = 0
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._acked)
        self._channel.events["basic_nack"].add(self._nacked)
        self._channel.events["basic_return"].add(self._returned)

    def join(self, topic: str, /) -> None:
        """Make a quorum queue and bind it."""
        arguments = {"x-queue-type": "quorum", "x-single-active-consumer": True}
        name = f"{self._prefix}by-hand:{topic}"
        self._channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
        self._channel.queue_bind(name, self._prefix, topic)

    def publish(self, topic: str, envelopes: Sequence[Envelope], /) -> None:
        """Send all that need not wait for an earlier one of their key, and wait for the confirmations."""
        waiting = list(envelopes)
        while waiting:
            keys: set[str] = set()
            later: list[Envelope] = []
            for envelope in waiting:
                if envelope.key in keys:
                    later.append(envelope)
                    continue
                if envelope.key:
                    keys.add(envelope.key)
                self._number += 1
                self._open[self._number] = envelope
                self._channel.basic_publish(self._written(envelope), self._prefix, topic, mandatory=True)
            while self._open:
                self._connection.drain_events(timeout=30)
            waiting = later

    def publish_singly(self, topic: str, envelopes: Sequence[Envelope], /) -> None:
        """Wait for the confirmation of each."""
        for envelope in envelopes:
            self.publish(topic, [envelope])

    def consume(self, topic: str, /) -> None:
        """Take as much as is there; a crash brings it again, and the rows that remember it drop it."""
        queue = f"{self._prefix}by-hand:{topic}"
        channel = self._connection.channel()
        left = channel.queue_declare(queue, passive=True).message_count
        came: list[Any] = []
        channel.basic_qos(0, PREFETCH, False)
        tag = channel.basic_consume(queue, callback=came.append)
        while left:
            while len(came) < min(PREFETCH, left):
                self._connection.drain_events(timeout=30)
            for message in came:
                once(message.headers["source"], message.message_id, message.body)
            left -= len(came)
            last = came[-1].delivery_tag
            came.clear()
            channel.basic_ack(last, multiple=True)
        channel.basic_cancel(tag)
        channel.close()

    def clear(self, topic: str, /) -> None:
        """Purge the queue."""
        consumer = "by-hand" if topic.endswith("ByHand") else "counting"
        self._channel.queue_purge(f"{self._prefix}{consumer}:{topic}")

    def _written(self, envelope: Envelope) -> Any:
        headers = {
            "kind": envelope.kind,
            "name": envelope.name,
            "version": str(envelope.version),
            "time": envelope.time.isoformat(),
            "key": envelope.key,
            "source": envelope.source,
            "correlation_id": envelope.correlation_id,
        }
        return self._message(
            envelope.payload,
            content_type=envelope.content_type,
            message_id=str(envelope.id),
            delivery_mode=2,
            application_headers=headers,
        )

    def _acked(self, number: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        for known in [n for n in self._open if n <= number] if multiple else [number]:
            del self._open[known]

    def _nacked(self, number: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        raise RuntimeError(f"not taken: {number}")

    def _returned(self, error: Exception, exchange: str, topic: str, message: Any) -> None:
        raise error


@contextmanager
def _serve() -> Iterator[str]:
    url = os.environ.get("CQRS_TEST_RABBITMQ", "")
    yield url
    if url:
        _clean_up(url, os.environ["CQRS_BENCH_PREFIX"])


def _clean_up(url: str, prefix: str) -> None:
    import amqp

    parts = urlsplit(url)
    with amqp.Connection(f"{parts.hostname}:{parts.port}", parts.username, parts.password) as connection:
        channel = connection.channel()
        for name in ("counting:Published", "counting:Counted", "by-hand:PublishedByHand", "by-hand:CountedByHand"):
            channel.queue_delete(f"{prefix}{name}")
        channel.exchange_delete(prefix)


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    return {"url": url, "exchange": prefix, "prefix": prefix}


def _about(url: str) -> Mapping[str, str]:
    import amqp

    parts = urlsplit(url)
    with amqp.Connection(f"{parts.hostname}:{parts.port}", parts.username, parts.password) as connection:
        version = connection.server_properties["version"]
    return {f"RabbitMQ {version}": "one node, quorum queues, persistent messages, all confirmed"}


RABBITMQ = Contender(
    name="RabbitMQ",
    serve=_serve,
    backend="simplecqrs.brokers.rabbitmq.RabbitMQ",
    options=_options,
    by_hand=RabbitByHand,
    singly=RabbitByHand.publish_singly,
    about=_about,
)
