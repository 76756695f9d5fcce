"""Acceptance row 40: Azure Service Bus, by the real client library, against a peer that speaks its protocol."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen

from simplecqrs import Mediator, NotificationEvent, Registry
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from tests.desk.project import Project

azure = pytest.importorskip("azure.servicebus")

from django_cqrs.brokers import broker  # noqa: E402
from django_cqrs.inbox import door  # noqa: E402
from simplecqrs.brokers.azure import AzureServiceBus  # noqa: E402
from tests.service_bus.fixtures import hurry  # noqa: E402
from tests.service_bus.peer import Peer, service_bus  # noqa: E402

__all__ = ["hurry"]

pytestmark = [
    pytest.mark.usefixtures("committed"),
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # see ``hurry``
]


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """Somebody is somewhere else."""

    who: str
    step: int = 0


@pytest.fixture
def peer() -> Iterator[Peer]:
    with service_bus() as peer:
        peer.store.create("shop-moves", "walk", "others")
        yield peer


@pytest.fixture
def publisher(peer: Peer) -> Iterator[AzureServiceBus]:
    publisher = AzureServiceBus(peer.url, prefix="shop-")
    yield publisher
    publisher.close()


@pytest.fixture
def walkers(project: Project, settings: Any, peer: Peer) -> Iterator[Project]:
    """Let moves go through Service Bus, as a project says it."""
    options = {"url": peer.url, "prefix": "shop-"}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"bus": {"BACKEND": "simplecqrs.brokers.azure.AzureServiceBus", "OPTIONS": options}},
        "ROUTES": {"moves": "bus"},
        "CONSUMERS": {"walk": {"broker": "bus", "topics": ["moves"]}},
    }
    project.consume(Moved, consumer="walk")
    yield project
    bus = broker("bus")
    assert isinstance(bus, AzureServiceBus)
    bus.close()


def test_row_40_an_event_goes_to_the_topic_as_json_that_says_so(publisher: AzureServiceBus, peer: Peer) -> None:
    """Whoever reads the topic with the client library finds content type, id, key and name of the event."""
    Mediator(Registry(), publisher=publisher).publish(Moved("ada", 1))

    client = azure.ServiceBusClient.from_connection_string(peer.url)
    with client.get_subscription_receiver("shop-moves", "others", keep_alive=0, prefetch_count=1) as receiver:
        (message,) = receiver.receive_messages(1, max_wait_time=1)
        assert (message.content_type, b"".join(message.body)) == ("application/json", b'{"who":"ada","step":1}')
        assert (message.subject, message.session_id, message.partition_key) == ("Moved", "ada", "ada")
        assert message.application_properties[b"cloudEvents:id"].decode() == message.message_id


def test_row_40_the_client_is_kept_open(publisher: AzureServiceBus, peer: Peer) -> None:
    """The predecessor closed it after each message."""
    for step in range(20):
        Mediator(Registry(), publisher=publisher).publish(Moved("ada", step))

    assert peer.connections == 1
    assert peer.store.topics["shop-moves"].transfers == {1: 20}


def test_row_40_a_timeout_is_kept(publisher: AzureServiceBus, peer: Peer) -> None:
    """A service that does not answer is not waited for any longer, and is used again when it does."""
    bus = Mediator(Registry(), publisher=publisher)
    bus.publish(Moved("ada"))
    peer.hush()
    began = time.monotonic()

    with pytest.raises(BrokerDown):
        publisher.ping(deadline=0.3)

    assert time.monotonic() - began < 3
    peer.speak()
    publisher.ping(deadline=5)
    bus.publish(Moved("ada"))


def test_row_40_it_goes_from_the_outbox_to_a_handler(walkers: Project, peer: Peer) -> None:
    """In the order of each key, and completed when it is stored."""
    walkers.publish(*(Moved(who, step) for step in range(3) for who in ("ada", "bob")))
    walkers.ship()
    walkers.work("walk")

    assert [seen for seen in walkers.seen if "ada" in seen] == ["walk ada0", "walk ada1", "walk ada2"]
    assert [seen for seen in walkers.seen if "bob" in seen] == ["walk bob0", "walk bob1", "walk bob2"]
    assert peer.store.topics["shop-moves"].subscriptions["walk"].completed == 6


def test_row_40_what_was_stored_and_comes_again_has_its_effect_once(walkers: Project, peer: Peer) -> None:
    """Its lock runs out before it is completed: Service Bus hands it over again, and the door knows it."""
    walkers.publish(Moved("ada", 1))
    walkers.ship()
    bus = broker("bus")
    (feed,) = bus.feeds("walk", ["moves"])
    deliveries = feed.fetch(1)
    stored = door("default").store("walk", [d.content for d in deliveries if isinstance(d.content, Envelope)])
    peer.expire()
    feed.acknowledge(deliveries)

    walkers.work("walk")

    assert stored.new == 1
    assert walkers.seen == ["walk ada1"]
    assert peer.store.topics["shop-moves"].subscriptions["walk"].completed == 1
