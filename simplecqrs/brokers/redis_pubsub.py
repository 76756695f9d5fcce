"""Redis Pub/Sub as a broker: whoever listens hears, and nobody keeps anything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from threading import Lock
from typing import Final

from simplecqrs.brokers.cloudevents import CloudEventsBinary
from simplecqrs.brokers.formats import Parcel, WireFormat
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.brokers.redis_server import RedisServer, is_about_a_name
from simplecqrs.brokers.redis_subscription import RedisSubscription
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotConfigured
from simplecqrs.transport import ACCEPTED, UNKNOWN, Garbage, Promise, Receipt, order_of, refused

__all__ = ["RedisPubSub"]

#: By URL and prefix: a relay has an object for each of its threads, and whoever shows the count may be another thread.
_unclaimed: Final[Counter[tuple[str, str]]] = Counter()
_lock: Final = Lock()


class RedisPubSub:
    """
    Publish to channels of Redis, one for each topic, and subscribe to them.

    An event reaches who listens at that moment, once at most.  What is published while a consumer does not run, while
    its connection is cut, or while nobody listens at all, is lost; so is what a process holds when it dies.

    ``*`` in the topic of a consumer stands for anything, as other producers may have a channel for each message.

    Args:
        url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://...`` or ``unix://...``.
        prefix: a channel's name is the prefix and the topic.
        format: of the messages, a name or an object.  A channel carries a body and nothing beside it.
        timeout: seconds to wait for a connection, and for an answer.
        max_bytes: what has a larger payload is read as garbage.

    Attributes:
        unclaimed: events that nobody heard, of all objects of this process that publish to the same place.
        promise: what an acknowledgement is worth: ``none``.

    Raises:
        MissingExtra: if redis-py is not installed.
        NotConfigured: if the URL cannot be read, or the format cannot be had.
    """

    #: What traces call it.
    system = "redis"
    promise: Promise = "none"
    promise_detail = "nobody keeps what is published; who does not listen does not hear"

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "cqrs:",
        format: str | WireFormat = "cloudevents-structured",  # noqa: A002 - what settings call it
        timeout: float = 2.0,
        max_bytes: int = 2**20,
    ) -> None:
        self._server = RedisServer("RedisPubSub", url, timeout)
        self.prefix = prefix
        self.max_bytes = max_bytes
        self._place = (url, prefix)
        self._wire = named_format(format, prefix="ce_")
        if isinstance(self._wire, CloudEventsBinary):
            raise NotConfigured(
                "RedisPubSub: format 'cloudevents' puts attributes beside the payload, where a channel carries nothing:"
                " take 'cloudevents-structured'"
            )
        self._feeds: dict[tuple[str, str], RedisSubscription] = {}

    def __repr__(self) -> str:
        return repr(self._server)

    @property
    def unclaimed(self) -> int:
        """Return how many events of this process nobody heard."""
        return _unclaimed[self._place]

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Send envelopes to the channels of their topics, all in one round trip, and count those that nobody heard."""
        until = time.monotonic() + deadline
        receipts, stopped = [UNKNOWN] * len(envelopes), set[tuple[str, str]]()
        commands: dict[int, tuple[str, str, bytes]] = {}
        for index, envelope in enumerate(envelopes):
            if order_of(envelope) in stopped:
                continue
            try:
                commands[index] = "PUBLISH", f"{self.prefix}{envelope.topic}", self._wire.write(envelope).body
            except ValueError as error:
                receipts[index] = self._refuse(envelope, f"it cannot be written: {error}", stopped)
        unheard = 0
        for index, reply in zip(commands, self._converse(list(commands.values()), until), strict=True):
            envelope = envelopes[index]
            if not isinstance(reply, Exception):
                receipts[index] = ACCEPTED
                unheard += not reply
            elif order_of(envelope) not in stopped:  # a channel is forbidden for all that goes there
                receipts[index] = self._refuse(envelope, f"{commands[index][1]}: {reply}", stopped)
        self._count(unheard)
        return receipts

    def ping(self, *, deadline: float) -> None:
        """Ask the server whether it answers.  Raises BrokerDown."""
        with self._server.asking(deadline) as client:
            client.ping()

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[RedisSubscription]:
        """Subscribe to each topic, unless this object has for this consumer.  Raises BrokerDown."""
        return [self._feed(consumer, topic) for topic in topics]

    def close(self) -> None:
        """Close the connection and all subscriptions.  The next call of each opens it again."""
        self._server.close()
        for feed in self._feeds.values():
            feed.close()

    def _feed(self, consumer: str, topic: str) -> RedisSubscription:
        def read(body: bytes) -> Envelope | Garbage:
            return self._wire.read(Parcel(body), topic=topic, max_bytes=self.max_bytes)

        feed = self._feeds.get((consumer, topic))
        if feed is None:
            feed = RedisSubscription(f"{self.prefix}{topic}", consumer, server=self._server, read=read)
            feed.join()
            self._feeds[consumer, topic] = feed
        return feed

    def _count(self, unheard: int) -> None:
        with _lock:
            _unclaimed[self._place] += unheard

    def _refuse(self, envelope: Envelope, reason: str, stopped: set[tuple[str, str]]) -> Receipt:
        if envelope.key:
            stopped.add(order_of(envelope))
        return refused(reason)

    def _converse(self, commands: Sequence[tuple[str, str, bytes]], until: float) -> list[int | Exception]:
        with self._server.asking(max(until - time.monotonic(), 0.001)) as client:
            replies: list[int | Exception] = self._server.converse(client, commands, until)
            for reply in replies:
                if isinstance(reply, Exception) and not is_about_a_name(reply):
                    raise reply
        return replies
