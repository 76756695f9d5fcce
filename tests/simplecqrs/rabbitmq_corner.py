"""A corner of a RabbitMQ server that belongs to one test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from simplecqrs.brokers.rabbitmq import RabbitMQ
from simplecqrs.transport import Delivery, Feed

__all__ = ["Open", "opening", "soon"]


class Open(Protocol):
    """Opens a broker in the corner."""

    def __call__(self, **options: Any) -> RabbitMQ: ...


@contextmanager
def opening(url: str, corner: str) -> Iterator[Open]:
    """Give what opens brokers with an exchange and queues of this name; they are closed with the context."""
    opened: list[RabbitMQ] = []

    def open_broker(**options: Any) -> RabbitMQ:
        opened.append(RabbitMQ(**{"url": url, "exchange": corner, "prefix": corner, **options}))
        return opened[-1]

    yield open_broker
    for broker in opened:
        broker.close()


def soon(feed: Feed, limit: int) -> Sequence[Delivery]:
    """Fetch what is there as soon as the server has noticed that somebody else has left."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if deliveries := feed.fetch(limit):
            return deliveries
        threading.Event().wait(0.002)
    return ()
