"""RabbitMQ as a broker."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Literal

from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.brokers.rabbitmq_address import read_address
from simplecqrs.brokers.rabbitmq_confirms import Batch, Confirms, Letter
from simplecqrs.brokers.rabbitmq_feed import RabbitFeed
from simplecqrs.brokers.rabbitmq_frames import tolerant
from simplecqrs.brokers.rabbitmq_link import Link
from simplecqrs.brokers.rabbitmq_messages import properties_of, read_message
from simplecqrs.brokers.rabbitmq_queues import QUEUES, queue_name
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured
from simplecqrs.transport import UNKNOWN, Promise, Receipt, refused

__all__ = ["RabbitMQ"]

BLOCKED: Final = "the server takes no messages at present: it has an alarm for memory or disk (connection.blocked)"
EXISTS: Final = (
    "it was made with other arguments before: make it anew when it is empty, or give the options by which it was made"
)
PRECONDITION_FAILED: Final = 406
#: The most that AMQP can ask for at a time.
MOST: Final = 65535


class RabbitMQ:
    """
    Publish to a topic exchange of RabbitMQ, and read from a durable queue for each consumer and topic.

    The topic is the routing key.  A consumer's topic may hold RabbitMQ's wildcards ``*`` and ``#``.  Queues begin when
    their consumer first comes: what was published before that is not in them.

    Args:
        url: ``amqp://user:password@host:port/vhost``, or ``amqps://...`` with TLS.
        exchange: its name; it is made, durable, unless it is there.  No queue of Celery's in the same virtual host may
            be called so: Celery makes an exchange of another type for each, by the queue's name.
        prefix: a queue's name is the prefix, the consumer, a colon and the topic.
        format: how messages stand on the wire: a name, or an object.
        queue_type: ``quorum``, or ``classic`` where there is one node only.
        unroutable: what becomes of an event that no queue is bound for: ``refuse``, so that it waits in the outbox and
            is tried again, or ``accept``, so that it is gone.
        declare: exchange and queues are made by this; else by somebody else, and it only looks whether they are there.
        prefetch: messages that a fetcher asks for at a time, up to 65535; they are in memory together.  Lower it only
            when nothing was fetched that is not acknowledged: quorum queues keep their order only among those who ask
            for as many as others did before them.
        max_bytes: what has a larger payload is read as garbage.
        max_message_bytes: what the server takes at most, its ``max_message_size``; what is larger is not sent.
        timeout: seconds to wait for a connection, and for an answer.
        heartbeat: seconds; after twice as long a silence either side gives the other up.
        ca_file: of whoever signed the server's certificate; empty: whom this system trusts.
        cert_file: a certificate of our own, for servers that ask for one.
        key_file: its key.

    Raises:
        MissingExtra: if py-amqp is not installed.
        NotConfigured: if URL or options cannot be read.
    """

    #: What traces call it.
    system = "rabbitmq"

    def __init__(
        self,
        url: str,
        *,
        exchange: str = "cqrs.topic",
        prefix: str = "cqrs:",
        format: str | WireFormat = "cloudevents",  # noqa: A002 - as it is called in OPTIONS
        queue_type: Literal["quorum", "classic"] = "quorum",
        unroutable: Literal["refuse", "accept"] = "refuse",
        declare: bool = True,
        prefetch: int = 250,
        max_bytes: int = 2**20,
        max_message_bytes: int = 2**24,
        timeout: float = 2.0,
        heartbeat: int = 20,
        ca_file: str = "",
        cert_file: str = "",
        key_file: str = "",
    ) -> None:
        if queue_type not in QUEUES:
            raise NotConfigured(f"RabbitMQ: queue_type={queue_type!r} can be {' or '.join(QUEUES)}")
        if not 1 <= prefetch <= MOST:
            raise NotConfigured(f"RabbitMQ: prefetch={prefetch!r} can be 1 to {MOST}")
        if unroutable not in ("refuse", "accept"):
            raise NotConfigured(f"RabbitMQ: unroutable={unroutable!r} can be refuse or accept")
        self.exchange = exchange
        self.prefix = prefix
        self.max_bytes = max_bytes
        self._max_message_bytes = max_message_bytes
        self._format = named_format(format, prefix="cloudEvents:")
        self._queue = QUEUES[queue_type]
        self._mandatory = unroutable == "refuse"
        self._declares = declare
        self._prefetch = prefetch
        address = read_address(url, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        self._place = address.place
        self._message, errors = _library()
        options = {**address.options(), "heartbeat": heartbeat}
        # Two, since a server that blocks those who publish reads nothing else from them either.
        self._publishing, self._consuming = (
            Link(repr(self), partial(_connect, {**options, **_name(f"{prefix}{what}")}), errors, timeout)
            for what in ("publisher", "fetcher")
        )
        self._confirms: Confirms | None = None
        self._life = 0
        self._feeds: dict[str, RabbitFeed] = {}

    def __repr__(self) -> str:
        return f"<RabbitMQ {self._place}>"

    @property
    def promise(self) -> Promise:
        """Say what an acknowledgement is worth, if there is a server.  Raises BrokerDown."""
        self.ping(deadline=self._publishing.timeout)
        return "stored"

    @property
    def promise_detail(self) -> str:
        """Say in words what the promise rests on."""
        queues = (
            "a majority of each quorum queue's members" if "quorum" in self._queue.values() else "each queue's node"
        )
        dropped = "" if self._mandatory else "; what no queue is bound for is dropped"
        return f"persistent messages, confirmed when {queues} has written them{dropped}"

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Publish envelopes, all that may go at once in one wave, and wait for the server's confirmations."""
        until = time.monotonic() + deadline
        batch = Batch(envelopes, map(self._letter, envelopes))
        problem = f"{self!r}: no confirmation within the deadline"
        cause: BaseException | None = None
        try:
            if batch.is_open:
                self._send(batch, until)
        except BrokerDown as error:
            problem, cause = str(error), error.__cause__
            batch.blame(getattr(cause, "reply_text", None) or "")
        receipts = batch.receipts
        if receipts and all(receipt is UNKNOWN for receipt in receipts):
            raise BrokerDown(problem) from cause
        return receipts

    def ping(self, *, deadline: float) -> None:
        """Ask the server whether the exchange is there.  Raises BrokerDown, also while it takes no messages."""
        with self._publishing.using(deadline) as connection:
            self._refuse_while_blocked()
            self._confirming(connection).channel.exchange_declare(self.exchange, "topic", passive=True)
            self._refuse_while_blocked()

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[RabbitFeed]:
        """Open a feed for each topic: a queue of the consumer's own.  Raises BrokerDown."""
        feeds = [self._feed(consumer, topic) for topic in topics]
        for feed in feeds:
            feed.join()
        return feeds

    def close(self) -> None:
        """Close the connections, if they are open; what was fetched and not acknowledged goes back to its queue."""
        self._publishing.close()
        self._consuming.close()

    def _letter(self, envelope: Envelope) -> Letter | Receipt:
        try:
            parcel = self._format.write(envelope)
            if len(parcel.body) > self._max_message_bytes:
                raise ValueError(f"it has {len(parcel.body)} bytes; max_message_bytes is {self._max_message_bytes}")
            properties = properties_of(envelope, parcel)
        except ValueError as error:
            return refused(f"{self.exchange}: {error}")
        return Letter(envelope, self._message(parcel.body, **properties), len(parcel.body))

    def _send(self, batch: Batch, until: float) -> None:
        with self._publishing.using(until - time.monotonic()) as connection:
            self._refuse_while_blocked()
            self._confirming(connection).send(batch, self._publishing, until)
            self._refuse_while_blocked()
            if batch.is_open:  # the answers that lag behind are not worth a wait at the next call
                raise TimeoutError("no confirmation within the deadline")

    def _refuse_while_blocked(self) -> None:
        if self._publishing.blocked:
            raise BrokerDown(f"{self!r}: {BLOCKED}")

    def _confirming(self, connection: Any) -> Confirms:
        if self._confirms is None or self._life != self._publishing.life:
            channel = connection.channel()
            self._declare_exchange(channel)
            self._confirms = Confirms(channel, self.exchange, mandatory=self._mandatory)
            self._life = self._publishing.life
        return self._confirms

    def _feed(self, consumer: str, topic: str) -> RabbitFeed:
        name = f"{self.prefix}{queue_name(consumer, topic)}"
        if name not in self._feeds:
            self._feeds[name] = RabbitFeed(
                name,
                link=self._consuming,
                prefetch=self._prefetch,
                declare=partial(self._declare_queue, name, topic),
                read=partial(read_message, self._format, topic=topic, max_bytes=self.max_bytes),
            )
        return self._feeds[name]

    def _declare_queue(self, name: str, topic: str, channel: Any) -> None:
        self._declare_exchange(channel)
        self._made(channel.queue_declare, name, durable=True, auto_delete=False, arguments=self._queue)
        if self._declares:
            channel.queue_bind(name, self.exchange, topic)

    def _declare_exchange(self, channel: Any) -> None:
        self._made(channel.exchange_declare, self.exchange, type="topic", durable=True, auto_delete=False)

    def _made(self, declare: Callable[..., Any], name: str, **options: Any) -> None:
        try:
            declare(name, passive=not self._declares, **options)
        except Exception as error:
            if getattr(error, "reply_code", 0) != PRECONDITION_FAILED:
                raise
            raise BrokerDown(f"{self!r}: {error}; {EXISTS}") from error


def _name(name: str) -> dict[str, Any]:
    """Return the options by which operators see whose connection it is."""
    return {"client_properties": {"connection_name": name}}


def _library() -> tuple[Callable[..., Any], tuple[type[Exception], ...]]:
    """Return what makes messages, and the errors of the library."""
    try:
        import amqp
    except ImportError:
        raise MissingExtra("RabbitMQ", "rabbitmq") from None
    return amqp.Message, (amqp.AMQPError, OSError)


def _connect(
    options: dict[str, Any], timeout: float, on_blocked: Callable[[Any], None], on_unblocked: Callable[[], None]
) -> Any:
    """Open a connection."""
    import amqp
    from amqp.method_framing import frame_handler

    # Unless it was told so, the kernel gives up what is not answered within a second.
    patience = {getattr(socket, name): int(timeout * 1000) for name in ("TCP_USER_TIMEOUT",) if hasattr(socket, name)}
    connection = amqp.Connection(
        **options,
        connect_timeout=timeout,
        socket_settings=patience,
        on_blocked=on_blocked,
        on_unblocked=on_unblocked,
        frame_handler=tolerant(frame_handler),
    )
    try:
        connection.connect()
    except amqp.AMQPError:
        connection.collect()
        raise
    # The server knows by now that we listen to this.  py-amqp would look for it before each message that it sends.
    connection.client_properties.get("capabilities", {})["connection.blocked"] = False
    return connection
