"""The acceptance row of AMQP: 42."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from attrs import frozen

from django_cqrs.brokers import broker
from django_cqrs.models import Inbox, Outbox, ParkedOutbox
from simplecqrs import NotificationEvent
from tests.desk.project import Project

amqp = pytest.importorskip("amqp")
pytestmark = [pytest.mark.usefixtures("committed"), pytest.mark.services, pytest.mark.rabbitmq]
URL = os.environ.get("CQRS_TEST_RABBITMQ", "")


@frozen
class Posted(NotificationEvent, name="Posted", topic="post.letters", key="who"):
    """A letter is on its way."""

    who: str


@frozen
class Lost(NotificationEvent, name="Lost", topic="losses", key="who"):
    """A letter is gone."""

    who: str


@pytest.fixture
def channel() -> Iterator[Any]:
    """Talk to the server without us."""
    if not URL:
        pytest.skip("CQRS_TEST_RABBITMQ names no server, see scripts/services")
    parts = urlsplit(URL)
    with amqp.Connection(f"{parts.hostname}:{parts.port}", parts.username, parts.password) as connection:
        yield connection.channel()


@pytest.fixture
def prefix(channel: Any, project: Project, settings: Any) -> Iterator[str]:
    """Let both topics go by RabbitMQ, under names of the test's own; two consumers read them."""
    prefix = f"row42-{uuid4().hex}:"
    options = {"url": URL, "prefix": prefix, "exchange": prefix}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"rabbit": {"BACKEND": "simplecqrs.brokers.rabbitmq.RabbitMQ", "OPTIONS": options}},
        "ROUTES": {"*": "rabbit"},
        "CONSUMERS": {
            "reader": {"broker": "rabbit", "topics": ["post.letters"]},
            "clerk": {"broker": "rabbit", "topics": ["post.*"]},
        },
    }
    with closing(broker("rabbit")) as rabbit:  # type: ignore[type-var]
        rabbit.feeds("reader", ["post.letters"])
        rabbit.feeds("clerk", ["post.*"])
        yield prefix
    for queue in ("reader:post.letters", "clerk:post.*"):
        channel.queue_delete(prefix + queue)
    channel.exchange_delete(prefix)


def test_row_42_what_is_published_survives_a_restart(channel: Any, prefix: str, project: Project) -> None:
    """The message is persistent, queue and exchange are durable: whoever says otherwise is told so."""
    spy = channel.queue_declare(exclusive=True).queue
    channel.queue_bind(spy, prefix, "#")
    project.publish(Posted("ada"))
    project.ship()

    message = channel.basic_get(spy)
    assert message.properties["delivery_mode"] == 2
    assert message.delivery_info["routing_key"] == "post.letters"
    with pytest.raises(amqp.PreconditionFailed, match="durable"):
        channel.exchange_declare(prefix, "topic", durable=False, auto_delete=False)


def test_row_42_topics_are_routed_and_consumed(channel: Any, prefix: str, project: Project) -> None:
    """One names the topic and one a pattern: each gets the event once, and the server is told after the commit."""
    project.consume(Posted, consumer="reader")
    project.consume(Posted, consumer="clerk")
    project.publish(Posted("ada"), Posted("bob"))
    project.ship()

    project.work("reader", "clerk")

    assert sorted(project.seen) == ["clerk ada", "clerk bob", "reader ada", "reader bob"]
    waiting = [
        channel.queue_declare(prefix + queue, passive=True).message_count
        for queue in ("reader:post.letters", "clerk:post.*")
    ]
    assert waiting == [0, 0]
    assert not Outbox.objects.exists()
    assert not Inbox.objects.exists()


@pytest.mark.usefixtures("prefix")
def test_row_42_what_no_queue_is_bound_for_is_not_lost(project: Project) -> None:
    """The server returns it; it waits in the outbox, with the cause, and is tried again."""
    project.publish(Lost("ada"))

    project.ship()

    assert ParkedOutbox.objects.get().topic == "losses"
