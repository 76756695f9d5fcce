"""A queue of RabbitMQ, as a consumer reads it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import uuid4

from simplecqrs.brokers.rabbitmq_link import Link
from simplecqrs.envelope import Envelope
from simplecqrs.transport import Delivery, Garbage

__all__ = ["RabbitFeed"]

#: Seconds that a queue may pause between messages that it has, and that it may take to forget a consumer.
PAUSE: Final = 0.1
#: The most that AMQP can ask for at a time.
MOST: Final = 65535
NOT_FOUND: Final = 404
GONE: Final = "%s: the queue is gone, and is made again; what was published meanwhile went past it"

log = logging.getLogger("simplecqrs.brokers.rabbitmq")


class RabbitFeed:
    """
    The queue of a consumer and a topic.

    It is consumed only from a fetch that brings something to the acknowledgement of all that it has brought.  So the
    server gives what a dead fetcher left to whoever fetches next, and a fetcher that pauses is in nobody's way.  A
    fetch asks first whether somebody else consumes: waiting for nothing, it would keep the fetcher's lock from him.

    Args:
        name: of the queue.
        declare: makes queue and binding, given a channel.
        read: returns what a message of py-amqp holds.
    """

    def __init__(
        self, name: str, *, link: Link, declare: Callable[[Any], None], read: Callable[[Any], Envelope | Garbage]
    ) -> None:
        self.name = name
        self._link = link
        self._declare = declare
        self._read = read
        self._channel: Any = None
        self._life = 0
        self._life_id = ""
        self._tag = ""  # of the last consumer
        self._open: dict[str, Any] = {}  # fetched and not acknowledged, by the ids of the deliveries
        self._leave()

    def join(self) -> None:
        """Make queue and binding, unless they are there.  Raises BrokerDown."""
        with self._link.using() as connection:
            self._join(connection)

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what was fetched before and never acknowledged, or, if there is no such thing, what is new."""
        with self._link.using() as connection:
            self._join(connection)
            try:
                if not (self._open or self._was_removed):
                    self._take(connection, limit)
            except self._link.errors as error:
                if getattr(error, "reply_code", 0) != NOT_FOUND:
                    raise
                self._was_removed = True
            if self._was_removed:
                log.error(GONE, self.name, extra={"cqrs_feed": self.name})
                self._leave()
                self._join(connection)
            return [Delivery(key, self._read(message)) for key, message in list(self._open.items())[:limit]]

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Acknowledge what came over this connection; all else comes again."""
        keys = [delivery.id for delivery in deliveries if delivery.id in self._open]
        if not keys:
            return
        with self._link.using():
            if self._life != self._link.life:
                return
            self._acknowledge(keys)

    def _acknowledge(self, keys: Sequence[str]) -> None:
        tags = [self._open.pop(key).delivery_tag for key in keys]
        if self._open:
            self._is_short = True  # whoever has acknowledged some is sent more
            for tag in tags:
                self._channel.basic_ack(tag)
            return
        # In this order: after the acknowledgement the server would send more.
        self._channel.basic_cancel(self._tag, nowait=True)
        self._channel.basic_ack(max(tags), multiple=True)
        if self._is_short:
            self._leave()  # what has come meanwhile is anybody's
        self._has_left = True

    def _take(self, connection: Any, limit: int) -> None:
        """Consume as much as there is, up to the limit."""
        _, waiting, consumers = self._channel.queue_declare(self.name, passive=True)
        self._has_left = self._has_left and consumers > 0
        if not waiting or (consumers and not self._has_left):  # our own goodbye may still be under way
            return
        expected = min(limit, waiting, MOST)
        if expected != self._prefetch:
            self._channel.basic_qos(0, expected, False)
            self._prefetch = expected
        self._number += 1
        self._channel.callbacks.pop(self._tag, None)
        self._tag = str(self._number)
        self._channel.basic_consume(
            self.name, self._tag, nowait=True, callback=self._came, on_cancel=self._was_cancelled
        )
        self._collect(connection, expected, PAUSE if consumers else self._link.timeout)
        self._is_short = len(self._open) < expected
        if not self._open:
            self._leave()

    def _collect(self, connection: Any, expected: int, patience: float) -> None:
        """Read what comes until it is as much as expected, or nothing comes any more."""
        until = time.monotonic() + patience
        try:
            while len(self._open) < expected and not self._was_removed:
                before = len(self._open)
                self._link.wait(until - time.monotonic())
                connection.blocking_read(None)
                if len(self._open) > before:
                    until = time.monotonic() + PAUSE
        except TimeoutError:
            pass
        self._link.wait(self._link.timeout)

    def _join(self, connection: Any) -> None:
        if self._life == self._link.life and self._channel is not None:
            return
        self._leave()
        self._life, self._life_id = self._link.life, uuid4().hex
        channel = connection.channel()
        channel.auto_decode = False  # a body is bytes, whatever its properties say
        self._declare(channel)
        self._channel = channel

    def _leave(self) -> None:
        """Close the channel, if it is still there: the server takes back what came by it."""
        channel, self._channel, tag = self._channel, None, self._tag
        self._prefetch = self._number = 0
        self._tag = ""
        self._has_left = self._is_short = self._was_removed = False
        if channel is not None and self._life == self._link.life:
            if tag in channel.callbacks:
                channel.basic_cancel(tag)  # else py-amqp warns of each message that it reads while it closes
            channel.close()
        self._open.clear()

    def _came(self, message: Any) -> None:
        self._open[f"{self._life_id}-{message.delivery_tag}"] = message

    def _was_cancelled(self, _: str) -> None:
        self._was_removed = True
