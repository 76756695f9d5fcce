"""Acceptance row 39: Redis Pub/Sub, from a command's event to who listens, through the outbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from simplecqrs import Mediator, NotificationEvent, Registry
from simplecqrs.relay import Relay
from tests.desk.project import Project

redis = pytest.importorskip("redis")

from django_cqrs.brokers import broker  # noqa: E402
from django_cqrs.relay import relays  # noqa: E402
from simplecqrs.brokers.redis_pubsub import RedisPubSub  # noqa: E402
from tests.redis_server import RedisServer, redis_server  # noqa: E402

pytestmark = [pytest.mark.usefixtures("committed"), pytest.mark.services, pytest.mark.redis]


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """Somebody is somewhere else."""

    who: str
    step: int = 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def walkers(project: Project, settings: Any, server: RedisServer) -> Iterator[Project]:
    """Let moves go through Redis Pub/Sub, as a project says it."""
    options = {"url": server.url, "prefix": "shop:"}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"live": {"BACKEND": "simplecqrs.brokers.redis_pubsub.RedisPubSub", "OPTIONS": options}},
        "ROUTES": {"moves": "live"},
        "CONSUMERS": {"walk": {"broker": "live", "topics": ["moves"]}},
    }
    project.consume(Moved, consumer="walk")
    yield project
    pubsub = broker("live")
    assert isinstance(pubsub, RedisPubSub)
    pubsub.close()


def test_row_39_an_event_is_one_json_document_on_the_channel_of_its_topic(server: RedisServer) -> None:
    """Any client of Redis can subscribe: prefix and topic are the channel, and no id is in it."""
    publisher = RedisPubSub(server.url, prefix="shop:")
    with server.client() as client:
        listening = client.pubsub(ignore_subscribe_messages=True)
        listening.subscribe("shop:moves")
        listening.get_message(timeout=1)

        for step in range(2):
            Mediator(Registry(), publisher=publisher).publish(Moved("ada", step))

        heard = [listening.get_message(timeout=1) for _ in range(2)]
        listening.close()
    publisher.close()
    documents = [json.loads(message["data"]) for message in heard if message]
    assert {message["channel"] for message in heard if message} == {b"shop:moves"}
    assert [document["data"] for document in documents] == [{"who": "ada", "step": 0}, {"who": "ada", "step": 1}]
    assert documents[0]["specversion"] == "1.0"
    assert documents[0]["type"] == "Moved"


def test_row_39_a_publisher_does_not_subscribe_to_what_it_sends(server: RedisServer) -> None:
    """The predecessor did, so that no count of listeners could be trusted."""
    publisher = RedisPubSub(server.url, prefix="shop:")

    Mediator(Registry(), publisher=publisher).publish(Moved("ada"))

    with server.client() as client:
        assert client.pubsub_channels() == []
    assert publisher.unclaimed == 1
    publisher.close()


def test_row_39_it_goes_from_the_outbox_to_a_handler(walkers: Project) -> None:
    """A consumer that listens has it handled; what was sent before it listened, is lost, and counted."""
    walkers.publish(Moved("ada", 1))
    walkers.ship()
    walkers.work("walk")  # it listens from now on
    walkers.publish(Moved("ada", 2), Moved("bob", 1))
    walkers.ship()
    walkers.work("walk")

    assert sorted(walkers.seen) == ["walk ada2", "walk bob1"]
    asides = [relay.asides for relay in relays() if isinstance(relay, Relay) and relay.queue == "live"]
    assert asides[0]["events that nobody subscribed to"] == 1
