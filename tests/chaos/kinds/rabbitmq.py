"""RabbitMQ under fire: quorum queues, and a second consumer's queue that nobody reads, which is the log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from simplecqrs.brokers.rabbitmq import RabbitMQ
from tests.chaos.checker import Entry, Fact
from tests.chaos.kinds.port import Kind, service

__all__ = ["RABBITMQ"]

TOPIC = "bumps"
LEDGER, LOG = "ledger", "log"


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
    serve=partial(service, "rabbitmq"),
    backend="simplecqrs.brokers.rabbitmq.RabbitMQ",
    options=_options,
    log=_log,
    marks=[pytest.mark.services, pytest.mark.rabbitmq],
)
