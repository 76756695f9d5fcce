"""Azure Service Bus as a broker: topics and their subscriptions."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from simplecqrs.brokers.azure_feed import AzureFeed
from simplecqrs.brokers.azure_links import Links
from simplecqrs.brokers.azure_locks import LockLost
from simplecqrs.brokers.azure_parcels import read_message, write_message
from simplecqrs.brokers.azure_sending import Gate, Outcome, Rejected, Sending
from simplecqrs.brokers.azure_sessions import NoSession, SessionFeed
from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.named_formats import named_format
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown, MissingExtra, NotConfigured
from simplecqrs.transport import Garbage, Promise, Receipt

__all__ = ["AzureServiceBus"]

#: Seconds that a receiver waits for something to read before it looks at the clock.
POLL: Final = 0.005
#: Between topic and subscription in a path.
SUBSCRIPTIONS: Final = "/Subscriptions/"
#: What Service Bus says about a message, and not about who sends it.
ABOUT_MESSAGES: Final = (
    b"amqp:link:message-size-exceeded", b"amqp:not-allowed", b"amqp:decode-error", b"amqp:invalid-field",
    b"com.microsoft:argument-error", b"com.microsoft:argument-out-of-range", b"com.microsoft:precondition-failed",
)  # fmt: skip


class AzureServiceBus:
    """
    Publish to topics of Azure Service Bus, and read them by subscriptions.

    Topics and subscriptions are the operator's: a topic bears the prefix and the topic's name, a subscription the name
    that ``subscription`` makes of the consumer's.

    Args:
        url: a connection string (``Endpoint=sb://...;SharedAccessKeyName=...;SharedAccessKey=...``), or with a
            ``credential`` the namespace, ``name.servicebus.windows.net``.
        credential: of ``azure.identity``, or another one that ``ServiceBusClient`` takes.
        prefix: a topic's name there is the prefix and the topic.
        subscription: a subscription's name; ``{consumer}`` stands for the consumer's.
        sessions: the subscriptions ask for sessions; a session is an order key.
        format: of the messages, a name or an object.
        prefetch: messages that are on their way to a consumer before it asks.
        timeout: seconds to wait for a connection, and for an answer.
        max_bytes: what has a larger payload is read as garbage.

    Raises:
        MissingExtra: if azure-servicebus is not installed.
        NotConfigured: if the URL cannot be read, or there is no such format.
    """

    #: What traces call it.
    system = "servicebus"

    def __init__(
        self,
        url: str,
        *,
        credential: Any = None,
        prefix: str = "",
        subscription: str = "{consumer}",
        sessions: bool = False,
        format: str | WireFormat = "cloudevents",  # noqa: A002 - a setting, and so it is best called
        prefetch: int = 100,
        timeout: float = 5.0,
        max_bytes: int = 2**20,
    ) -> None:
        self._namespace = url
        self._credential = credential
        self.prefix = prefix
        self.subscription = subscription
        self.sessions = sessions
        self.max_bytes = max_bytes
        self._format = named_format(format, prefix="cloudEvents:")
        self._prefetch = prefetch
        self._timeout = timeout
        self._probe = f"{prefix}cqrs-ping"  # a topic to ask for in a ping
        self._links = Links(self._make)
        self._pings = Links(self._make)
        self._host: str = self._client().fully_qualified_namespace

    def __repr__(self) -> str:
        return f"<AzureServiceBus sb://{self._host}>"

    @property
    def promise(self) -> Promise:
        """Say what an acknowledgement is worth: Service Bus keeps what it has accepted."""
        return "stored"

    @property
    def promise_detail(self) -> str:
        """Say in words what the promise rests on."""
        return "Service Bus answers when its replicas have the message"

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Send envelopes to their topics, in as few transfers as they fit into."""
        until = time.monotonic() + deadline
        outcome, topics, trouble = Outcome(envelopes), dict[str, list[int]](), None
        for index, envelope in enumerate(envelopes):
            topics.setdefault(envelope.topic, []).append(index)
        for topic, indexes in topics.items():
            self._probe = path = f"{self.prefix}{topic}"
            try:
                Sending(Gate(path, self._lending, until), outcome, self._write).send(
                    indexes, [envelopes[index] for index in indexes]
                )
            except Rejected as error:  # the topic itself
                outcome.refuse_rest(indexes, str(error))
            except BrokerDown as error:
                trouble = error
        if trouble is not None and all(receipt.status == "unknown" for receipt in outcome.receipts):
            raise trouble
        return outcome.receipts

    def ping(self, *, deadline: float) -> None:
        """Open a link to the topic that was used last, with a connection and a token of its own.  Raises BrokerDown."""
        try:
            with self._translating(self._probe):
                self._pings.get(self._probe, deadline)
        except Rejected:  # that there is no such topic is an answer
            return
        finally:
            self._pings.drop(self._probe)

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[AzureFeed]:
        """Open a feed for each topic: the subscription of the consumer.  Raises BrokerDown."""
        feeds = [self._feed(consumer, topic) for topic in topics]
        if not self.sessions:  # to ask for one is to take it
            for feed in feeds:
                with self._receiving(feed.name):
                    pass
        return feeds

    def close(self) -> None:
        """Close all connections.  The next call opens them again."""
        self._links.close()
        self._pings.close()

    def _feed(self, consumer: str, topic: str) -> AzureFeed:
        path = f"{self.prefix}{topic}{SUBSCRIPTIONS}{self.subscription.format(consumer=consumer)}"

        def read(message: Any) -> Envelope | Garbage:
            return read_message(message, self._format, topic=topic, max_bytes=self.max_bytes)

        kind = SessionFeed if self.sessions else AzureFeed
        return kind(path, consumer, lending=self._receiving, complete=_complete, read=read)

    def _write(self, envelope: Envelope) -> Any:
        from azure.servicebus import ServiceBusMessage

        return write_message(ServiceBusMessage, envelope, self._format, sessions=self.sessions)

    def _client(self) -> Any:
        """Make a client.  It connects nowhere; that is the matter of its senders and receivers."""
        try:
            from azure.servicebus import ServiceBusClient
        except ImportError:
            raise MissingExtra("AzureServiceBus", "azure") from None
        # Openings are waited for here; what hangs longer is to give up by itself.
        options: dict[str, Any] = {"retry_total": 0, "try_timeout": 2 * self._timeout}
        try:
            if self._credential is not None:
                return ServiceBusClient(self._namespace, self._credential, **options)
            return ServiceBusClient.from_connection_string(self._namespace, **options)
        except (TypeError, ValueError):  # its text may quote the key
            raise NotConfigured(
                "AzureServiceBus: the url cannot be read: give a connection string, as Azure's portal shows it"
                " (Endpoint=sb://...;SharedAccessKeyName=...;SharedAccessKey=...), or a namespace and a credential"
            ) from None

    def _make(self, path: str) -> Any:
        """Make a sender or receiver; with keep_alive a thread would read on its connection, and closing wait for it."""
        client = self._client()
        topic, is_subscription, name = path.partition(SUBSCRIPTIONS)
        if not is_subscription:
            return client.get_topic_sender(topic, keep_alive=0)
        options: dict[str, Any] = {
            "prefetch_count": max(self._prefetch, 1), "keep_alive": 0, "socket_timeout": POLL, "timeout": self._timeout
        }  # fmt: skip
        if self.sessions:
            from azure.servicebus import NEXT_AVAILABLE_SESSION

            options |= {"session_id": NEXT_AVAILABLE_SESSION, "max_wait_time": 0.2}
        return client.get_subscription_receiver(topic, name, **options)

    @contextmanager
    def _lending(self, path: str, seconds: float) -> Generator[Any, None, None]:
        """Lend a sender or receiver; if anything is raised meanwhile, it is closed."""
        try:
            with self._translating(path):
                yield self._links.get(path, seconds)
        except BaseException:
            self._links.drop(path)
            raise

    @contextmanager
    def _receiving(self, path: str) -> Generator[Any, None, None]:
        try:
            with self._lending(path, self._timeout) as receiver:
                yield receiver
        except Rejected as error:
            raise BrokerDown(str(error)) from error.__cause__

    @contextmanager
    def _translating(self, path: str) -> Generator[None, None, None]:
        """Turn what the library raises into what we raise."""
        from azure.core.exceptions import AzureError

        try:
            yield
        except BrokerDown as error:
            raise BrokerDown(f"{self!r}: {error}") from None
        except (AzureError, OSError, ValueError) as error:
            raise self._translated(error, path) from error

    def _translated(self, error: Exception, path: str) -> Exception:
        from azure.servicebus import exceptions as known

        inner: Any = getattr(error, "inner_exception", None)
        said, what = _said(error, inner), _named(path)
        if isinstance(error, (known.MessageLockLostError, known.SessionLockLostError)):
            return LockLost(said)
        if isinstance(error, known.OperationTimeoutError) and self.sessions and SUBSCRIPTIONS in path:
            return NoSession(said)
        if isinstance(error, known.MessagingEntityNotFoundError) or getattr(inner, "status_code", 0) == 404:
            return Rejected(f"{self!r} has no {what}: create it ({said})")
        if isinstance(error, known.MessagingEntityDisabledError):
            return Rejected(f"{self!r}: {what} is disabled: enable it")
        condition = getattr(inner, "condition", None)
        if getattr(condition, "value", condition) in ABOUT_MESSAGES:
            return Rejected(f"{what}: {said}")
        return BrokerDown(f"{self!r}: {what}: {said}")


def _complete(receiver: Any, message: Any) -> bool:
    """Settle a message; false if its lock is lost."""
    from azure.servicebus.exceptions import MessageAlreadySettled, MessageLockLostError

    try:
        receiver.complete_message(message)
    except (MessageLockLostError, MessageAlreadySettled):
        return False
    return True


def _said(error: Exception, inner: Any) -> str:
    """Return what the service said, of a token that it did not take as well."""
    said = getattr(inner, "status_description", None) or error
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _named(path: str) -> str:
    topic, is_subscription, name = path.partition(SUBSCRIPTIONS)
    return f"subscription {name} of the topic {topic}" if is_subscription else f"topic {topic}"
