"""
RabbitMQ under fire: quorum queues, and a second consumer's queue that nobody reads, which is the log.

The event that breaks whatever it is sent with is larger than the server takes, but not than the adapter was told: the
server closes the channel, and says no more of it than that something was too large.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import evolve, frozen

from simplecqrs.brokers.rabbitmq import RabbitMQ
from simplecqrs.envelope import Envelope
from tests.chaos.checker import Entry, Fact
from tests.chaos.kinds.port import Kind, Server

__all__ = ["RABBITMQ", "swell"]

TOPIC = "bumps"
LEDGER, LOG = "ledger", "log"
#: Bytes that the server takes.
LARGEST = 200_000


def swell(envelope: Envelope) -> Envelope:
    """Make an event too large for the server; its payload says what it said before."""
    return evolve(envelope, payload=envelope.payload + b" " * LARGEST)


@frozen
class _Node:
    server: Any
    url: str

    def kill(self) -> None:
        self.server.do("kill")

    def start(self) -> None:
        self.server.do("start")

    def pause(self) -> None:
        self.server.do("pause")

    def resume(self) -> None:
        self.server.do("resume")


@contextmanager
def _serve() -> Iterator[Server]:
    pytest.importorskip("amqp")
    from tests.rabbitmq_server import rabbitmq_server

    with rabbitmq_server(f"max_message_size = {LARGEST}") as server:
        yield _Node(server, server.url)


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    """Make the queues as well: an exchange keeps nothing for those who come later."""
    options = {"url": url, "exchange": f"{prefix}events", "prefix": prefix}
    broker = RabbitMQ(**options)
    for consumer in (LEDGER, LOG):
        broker.feeds(consumer, [TOPIC])
    broker.close()
    return options


def _log(url: str, prefix: str) -> Sequence[Entry]:
    """Take all that lies in the queue that nobody reads."""
    import amqp

    entries: list[Entry] = []
    parts = urlsplit(url)
    with amqp.Connection(f"{parts.hostname}:{parts.port}") as connection:
        channel = connection.channel()
        queue = f"{prefix}{LOG}:{TOPIC}"
        number = channel.queue_declare(queue, passive=True).message_count
        channel.basic_qos(0, min(number, 65535), False)  # a quorum queue gives 2,000 unless told otherwise
        channel.basic_consume(queue, callback=lambda message: entries.append(_entry(message)))
        while len(entries) < number:
            connection.drain_events(timeout=10)
    return entries


def _entry(message: Any) -> Entry:
    payload = json.loads(message.body)
    return Entry(message.message_id.replace("-", ""), Fact(payload["key"], payload["version"], payload["deed"]))


RABBITMQ = Kind(
    name="rabbitmq",
    serve=_serve,
    backend="simplecqrs.brokers.rabbitmq.RabbitMQ",
    options=_options,
    log=_log,
    breaker="tests.chaos.kinds.rabbitmq.swell",
    marks=[pytest.mark.services, pytest.mark.rabbitmq],
)
