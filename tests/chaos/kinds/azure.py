"""
Azure Service Bus under fire: the real client library, and a peer of its protocol in a process of its own.

The peer keeps what it has taken, as the service does, so what a kill of it takes away are its connections.  Locks are
short: whatever a consumer held that was killed comes again soon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from tests.chaos.checker import Entry, Fact
from tests.chaos.kinds.port import Kind, Server

__all__ = ["AZURE"]

KEY = "s3cret"
#: Subscriptions of every topic: the consumer's, and one that nobody reads, which is the log.
LEDGER, LOG = "ledger", "log"


@frozen
class _Service:
    child: Any
    url: str

    def kill(self) -> None:
        self.child.tell("refuse")
        self.child.tell("drop")

    def start(self) -> None:
        self.child.tell("accept")

    def pause(self) -> None:
        self.child.pause()

    def resume(self) -> None:
        self.child.resume()


@contextmanager
def _serve() -> Iterator[Server]:
    pytest.importorskip("azure.servicebus")
    from tests.service_bus.child import service_bus_process

    with service_bus_process(LEDGER, LOG, lock_seconds=5) as child:
        yield _Service(child, f"amqp://127.0.0.1:{child.port}")


def _connection_string(url: str) -> str:
    from tests.service_bus.peer import connection_string

    return connection_string(urlsplit(url).port or 0, KEY)


def _options(url: str, prefix: str) -> Mapping[str, Any]:
    return {"url": _connection_string(url), "prefix": prefix.replace(":", "-")}


def _log(url: str, prefix: str) -> Sequence[Entry]:
    """Look at all that lies in the subscription that nobody reads."""
    from azure.servicebus import ServiceBusClient

    client, entries, start = ServiceBusClient.from_connection_string(_connection_string(url)), list[Entry](), 1
    with client.get_subscription_receiver(f"{prefix.replace(':', '-')}bumps", LOG, keep_alive=0) as receiver:
        while messages := receiver.peek_messages(200, sequence_number=start):
            start = (messages[-1].sequence_number or 0) + 1
            entries += [_entry(message.message_id, json.loads(b"".join(message.body))) for message in messages]
    return entries


def _entry(message_id: str | None, payload: Mapping[str, Any]) -> Entry:
    return Entry((message_id or "").replace("-", ""), Fact(payload["key"], payload["version"], payload["deed"]))


AZURE = Kind(
    name="azure",
    serve=_serve,
    backend="simplecqrs.brokers.azure.AzureServiceBus",
    options=_options,
    log=_log,
    marks=[pytest.mark.services],
)
