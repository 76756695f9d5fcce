"""Azure Service Bus, by hand: azure-servicebus against the peer of the tests, in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.brokers.once import once
from benchmarks.brokers.port import Contender
from simplecqrs.envelope import Envelope

__all__ = ["AZURE", "AzureByHand"]

SUBSCRIPTION = "byhand"
#: The peer that serves now.
_serving: list[Any] = []


class AzureByHand:
    """The client library: a sender and a receiver that stay open, batches, messages fetched ahead."""

    def __init__(self, url: str, prefix: str) -> None:
        from azure.servicebus import ServiceBusClient

        self._client = ServiceBusClient.from_connection_string(url, retry_total=0)
        self._prefix = prefix.replace(":", "-")
        self._senders: dict[str, Any] = {}
        self._receivers: dict[str, Any] = {}

    def join(self, topic: str, /) -> None:
        """Open sender and receiver; the subscription is there with the topic."""
        name = self._prefix + topic
        self._senders[topic] = self._client.get_topic_sender(name, keep_alive=0).__enter__()
        # As the adapter's: it looks at the clock 200 times in a second, or each end of a round would take its time.
        self._receivers[topic] = self._client.get_subscription_receiver(
            name, SUBSCRIPTION, prefetch_count=500, keep_alive=0, socket_timeout=0.005
        ).__enter__()

    def publish(self, topic: str, envelopes: Sequence[Envelope], /) -> None:
        """Send a batch as one transfer."""
        sender = self._senders[topic]
        batch = sender.create_message_batch()
        for envelope in envelopes:
            batch.add_message(_message(envelope))
        sender.send_messages(batch)

    def consume(self, topic: str, /) -> None:
        """Receive 500 at a time; a crash brings them again, and the rows that remember them drop them."""
        receiver = self._receivers[topic]
        while messages := receiver.receive_messages(500, max_wait_time=0.05):
            for message in messages:
                once("bench", message.message_id, b"".join(message.body))
            for message in messages:
                receiver.complete_message(message)

    def clear(self, topic: str, /) -> None:
        """Tell the peer to throw away all it has."""
        _serving[-1].tell("clear")


def _message(envelope: Envelope) -> Any:
    from azure.servicebus import ServiceBusMessage

    facts = {
        "id": str(envelope.id),
        "kind": envelope.kind,
        "name": envelope.name,
        "version": str(envelope.version),
        "time": envelope.time.isoformat(),
        "key": envelope.key,
        "source": envelope.source,
        "correlation_id": envelope.correlation_id,
    }
    return ServiceBusMessage(
        envelope.payload,
        message_id=str(envelope.id),
        session_id=envelope.key,
        partition_key=envelope.key,
        content_type=envelope.content_type,
        application_properties=dict(facts),
    )


@contextmanager
def _serve() -> Iterator[str]:
    from tests.service_bus.child import service_bus_process

    with service_bus_process("counting", SUBSCRIPTION) as child:
        _serving.append(child)
        yield child.url


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    return {"url": url, "prefix": prefix.replace(":", "-")}


def _about(url: str) -> Mapping[str, str]:
    from azure.servicebus import __version__

    return {f"azure-servicebus {__version__}": "against a peer in Python on this machine, which takes most of the time"}


AZURE = Contender(
    name="Azure Service Bus",
    serve=_serve,
    backend="simplecqrs.brokers.azure.AzureServiceBus",
    options=_options,
    by_hand=AzureByHand,
    about=_about,
)
