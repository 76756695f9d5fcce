"""What tests of the adapter share: a peer, and a broker whose links are open already."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from simplecqrs.brokers.azure import AzureServiceBus
from tests.contracts.broker import drain
from tests.service_bus.peer import Peer, service_bus

CONSUMERS = ("mailing", "billing", "latecomer")


class Hurried:
    """The module ``time``, of which it sleeps a fiftieth."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 50)


@pytest.fixture(scope="module", autouse=True)
def hurry() -> Iterator[None]:
    """
    Let the client library look more often whether a link is open.

    It does so every 50 ms, for which tests have no time.  Nothing else of it is touched.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("azure.servicebus._servicebus_sender.time", Hurried())
        patch.setattr("azure.servicebus._servicebus_receiver.time", Hurried())
        yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves sockets open whose handshake has failed
        gc.collect()


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with service_bus() as peer:
        for name in ("orders", "orders-0", "orders-1", "orders-2"):
            peer.store.create(name, *CONSUMERS)
        yield peer


@pytest.fixture(scope="module")
def shared(peer: Peer) -> Iterator[AzureServiceBus]:
    """Keep links open, since opening one takes half a second."""
    shared = AzureServiceBus(peer.url)
    yield shared
    shared.close()


@pytest.fixture
def broker(peer: Peer, shared: AzureServiceBus) -> Iterator[AzureServiceBus]:
    """Give a broker with open links, and nothing in its topics, nor on the way from them."""
    peer.clear()
    drops = peer.drops
    drain(shared.feeds("mailing", ["orders"])[0])
    yield shared
    if peer.drops != drops:
        shared.close()
    for path in [path for path in shared._links._open if path.count("/") and path != "orders/Subscriptions/mailing"]:
        shared._links.drop(path)
    drain(shared.feeds("mailing", ["orders"])[0])
