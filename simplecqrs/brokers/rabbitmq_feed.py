"""A queue of RabbitMQ, as a consumer reads it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import uuid4

from attrs import define, field

from simplecqrs.brokers.rabbitmq_link import Link
from simplecqrs.envelope import Envelope
from simplecqrs.transport import Delivery, Garbage

__all__ = ["RabbitFeed"]

#: Seconds that a queue may pause between messages that it has.
PAUSE: Final = 0.5
#: Seconds that it may take to forget a consumer who has left.
GOODBYE: Final = 0.1
NOT_FOUND: Final = 404
GONE: Final = "%s: the queue is gone, and is made again; what was published meanwhile went past it"

log = logging.getLogger("simplecqrs.brokers.rabbitmq")


@define
class _Stay:
    """
    What a feed knows for as long as its channel lasts.

    Args:
        life: of the link.
    """

    channel: Any = None
    life: int = 0
    name: str = field(factory=lambda: uuid4().hex)  # since numbers of deliveries begin anew with each channel
    tag: str = ""  # of the last consumer
    asked: int = 0  # for so many at a time
    open: dict[str, Any] = field(factory=dict[str, Any])  # fetched and not acknowledged, by the ids of the deliveries
    may_get_more: bool = False
    was_removed: bool = False


class RabbitFeed:
    """
    The queue of a consumer and a topic.

    It has a single active consumer, so that the server gives what a dead one left to the next before all that is new;
    and a fetcher is that consumer only from a fetch that brings something to the acknowledgement of all of it, so that
    one that pauses is in nobody's way.  A fetch asks first whether somebody else consumes: while it waited for
    nothing, it would keep the fetchers' lock from him.

    A quorum queue puts what is returned behind all else that was returned before.  So whoever comes next has to be
    given all of that at once: each asks for no fewer messages than any other did, whatever the limit of its fetch is.

    Args:
        name: of the queue.
        prefetch: messages to ask for at a time.
        declare: makes queue and binding, given a channel.
        read: returns what a message of py-amqp holds.

    Attributes:
        lost: how often the queue was gone, with whatever was in it.
    """

    def __init__(
        self,
        name: str,
        *,
        link: Link,
        prefetch: int,
        declare: Callable[[Any], None],
        read: Callable[[Any], Envelope | Garbage],
    ) -> None:
        self.name = name
        self.lost = 0
        self._prefetch = prefetch
        self._link = link
        self._declare = declare
        self._read = read
        self._has_left = False  # and the server may not have noticed yet
        self._stay = _Stay()

    def join(self) -> None:
        """Make queue and binding, unless they are there.  Raises BrokerDown."""
        with self._link.using() as connection:
            self._join(connection)

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what was fetched before and never acknowledged, or, if there is no such thing, what is new."""
        with self._link.using() as connection:
            self._join(connection)
            try:
                if not (self._stay.open or self._stay.was_removed):
                    self._take(connection)
            except self._link.errors as error:
                if getattr(error, "reply_code", 0) != NOT_FOUND:
                    raise
                self._stay.was_removed = True
        if self._stay.was_removed:
            self.lost += 1
            log.error(GONE, self.name, extra={"cqrs_feed": self.name})
            self._link.close()
            self.join()
        return [Delivery(key, self._read(message)) for key, message in list(self._stay.open.items())[:limit]]

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Acknowledge what came over this connection; all else comes again."""
        keys = [delivery.id for delivery in deliveries if delivery.id in self._stay.open]
        if not keys:
            return
        with self._link.using():
            if self._stay.life == self._link.life:
                self._acknowledge(keys)

    def _acknowledge(self, keys: Sequence[str]) -> None:
        tags = [self._stay.open.pop(key).delivery_tag for key in keys]
        if self._stay.open:
            self._stay.may_get_more = True  # in the place of these
            for tag in tags:
                self._stay.channel.basic_ack(tag)
        elif self._stay.may_get_more:
            self._stay.channel.basic_ack(max(tags), multiple=True)
            self._leave()
        else:
            # In this order: after the acknowledgement the server would send more.
            self._stay.channel.basic_cancel(self._stay.tag, nowait=True)
            self._stay.channel.basic_ack(max(tags), multiple=True)
            self._has_left = True

    def _take(self, connection: Any) -> None:
        """Consume as much as there is, up to what is asked for at a time."""
        _, waiting, consumers = self._stay.channel.queue_declare(self.name, passive=True)
        may_be_us, self._has_left = self._has_left, self._has_left and consumers > 0
        if not waiting or (consumers and not may_be_us):
            return
        expected = min(self._prefetch, waiting)
        if expected != self._stay.asked:
            self._stay.channel.basic_qos(0, expected, False)
            self._stay.asked = expected
        self._stay.channel.callbacks.pop(self._stay.tag, None)
        self._stay.tag = uuid4().hex
        self._stay.channel.basic_consume(
            self.name, self._stay.tag, nowait=True, callback=self._came, on_cancel=self._was_cancelled
        )
        self._collect(connection, expected, GOODBYE if consumers else self._link.timeout)
        self._stay.may_get_more = len(self._stay.open) < expected
        if not self._stay.open:
            self._leave()
            self._has_left = False

    def _collect(self, connection: Any, expected: int, patience: float) -> None:
        """Read what comes until it is as much as expected, or nothing comes any more."""
        until = time.monotonic() + patience
        try:
            while len(self._stay.open) < expected and not self._stay.was_removed:
                before = len(self._stay.open)
                self._link.wait(until - time.monotonic())
                connection.blocking_read(None)
                if len(self._stay.open) > before:
                    until = time.monotonic() + PAUSE
        except TimeoutError:
            pass
        self._link.wait(self._link.timeout)

    def _join(self, connection: Any) -> None:
        if self._stay.life == self._link.life:
            return
        channel = connection.channel()
        channel.auto_decode = False  # a body is bytes, whatever its properties say
        self._declare(channel)
        self._stay = _Stay(channel, self._link.life)

    def _leave(self) -> None:
        """
        Give back what may be on its way to us.

        By the end of the connection, and not by a farewell to the queue: that would have the next consumer begin with
        what comes after it.
        """
        self._link.close()
        self._stay = _Stay()
        self._has_left = True

    def _came(self, message: Any) -> None:
        self._stay.open[f"{self._stay.name}-{message.delivery_tag}"] = message

    def _was_cancelled(self, _: str) -> None:
        self._stay.was_removed = True
